"""Drawing answers: pictures side by side with boxes and labels, a caption below; and a picture to try a model on.

Small pictures are enlarged before anything is drawn on them, so that lines and letters keep their size.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from twelve.image import RGB

LEAST_WIDTH, MOST_WIDTH = 640, 1600
"""Of the whole drawing, in pixels; a single picture in between keeps its size."""

MOST_HEIGHT = 1600
"""Of one picture: a narrow one is not enlarged beyond."""

SAMPLE_WIDTH, SAMPLE_HEIGHT = 320, 240
MOST_COLUMNS = 4
GAP = 8
FONT_SIZE = 18
LINE_HEIGHT = 24
LINE_WIDTH = 4
HALO = 2
"""Black around each line: it shows on a picture of any colour."""

BEST, OTHER = (255, 200, 0), (200, 200, 200)
INK, PAPER = (20, 20, 20), (255, 255, 255)
GROUPS = (
    BEST,
    (120, 210, 255),
    (160, 230, 110),
    (255, 160, 200),
    (255, 165, 90),
    (200, 180, 255),
    (110, 225, 205),
    (235, 235, 160),
)
"""Light, so that INK can be read on each."""

SKY, GRASS, RED, BLUE, BLACK = (150, 200, 240), (100, 160, 80), (210, 40, 40), (40, 80, 200), (30, 30, 30)

Color = tuple[int, int, int]
BoxPx = tuple[float, float, float, float]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True)
class Mark:
    """A box to draw.

    Attributes:
        box_px: XYXY in pixels of the picture, before it is enlarged.
        label: Beside it; "" for none.
        is_best: Drawn to be seen first; others are grey.
        group: Boxes of one name share a colour, as far as GROUPS goes each name another; "" = that of the best.
    """

    box_px: BoxPx
    label: str
    is_best: bool = True
    group: str = ""


@dataclass(frozen=True)
class Panel:
    """A picture with what is drawn on it.

    Attributes:
        rgb: [H, W, 3] uint8.
        marks: Later ones lie on top.
        is_chosen: Framed, as the answer among several pictures.
    """

    rgb: RGB
    marks: tuple[Mark, ...] = ()
    is_chosen: bool = False


def drawing(panels: Sequence[Panel], caption: str) -> bytes:
    """Draw pictures side by side, with a caption below.

    Args:
        panels: At least one; from MOST_COLUMNS on they break into rows.
        caption: One or more lines; long ones are broken.

    Returns:
        A PNG file.
    """
    columns = min(len(panels), MOST_COLUMNS)
    width = _clamped(panels[0].rgb.shape[1] * columns + GAP * (columns - 1), LEAST_WIDTH, MOST_WIDTH)
    cell = (width - GAP * (columns - 1)) // columns
    rows = [_beside([_panel(one, cell) for one in panels[at : at + columns]]) for at in range(0, len(panels), columns)]
    return _png(_below([*rows, _caption(caption, width)]))


def sample(*, width: int = SAMPLE_WIDTH, height: int = SAMPLE_HEIGHT) -> bytes:
    """Draw a red car and a blue ball on a meadow: a picture to try a model on.

    Returns:
        A PNG file.
    """
    image = Image.new("RGB", (width, height), SKY)
    pen = ImageDraw.Draw(image)
    x, y = width / 100, height / 100  # a hundredth of each side
    pen.rectangle((0, 60 * y, width, height), fill=GRASS)
    pen.rectangle((20 * x, 35 * y, 38 * x, 52 * y), fill=RED)
    pen.rectangle((10 * x, 48 * y, 48 * x, 68 * y), fill=RED)
    for left in (15, 35):
        pen.ellipse((left * x, 60 * y, (left + 9) * x, 74 * y), fill=BLACK)
    pen.ellipse((65 * x, 55 * y, 85 * x, 82 * y), fill=BLUE)
    return _png(image)


def _panel(panel: Panel, width: int) -> Image.Image:
    """Bring a picture to a width, or to the greatest height, and draw on it."""
    image = Image.fromarray(np.array(panel.rgb))
    scale = min(width / image.width, MOST_HEIGHT / image.height)
    sides = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    image = image.resize(sides, Image.Resampling.LANCZOS)
    pen = ImageDraw.Draw(image)
    colors = _colors(panel.marks)
    boxes = [(mark, _scaled(mark.box_px, scale, image.size)) for mark in panel.marks]
    for mark, box in boxes:
        _outline(pen, box, colors[mark])
    for mark, box in boxes:  # over all lines
        _label(pen, mark.label, box, colors[mark], image.size)
    if panel.is_chosen:
        _outline(pen, (0, 0, image.width - 1, image.height - 1), BEST)
    return image


def _scaled(box_px: BoxPx, scale: float, size: tuple[int, int]) -> BoxPx:
    """Bring a box to the enlarged picture, and inside it."""
    x1, y1, x2, y2 = (side * scale for side in box_px)
    left, top = _clamped(x1, 0, size[0] - 1), _clamped(y1, 0, size[1] - 1)
    return (left, top, _clamped(x2, left, size[0] - 1), _clamped(y2, top, size[1] - 1))


def _colors(marks: Sequence[Mark]) -> Mapping[Mark, Color]:
    """Choose each mark's colour; the group of the topmost one has that of the best."""
    groups = list(dict.fromkeys(mark.group for mark in reversed(marks) if mark.group))
    places = {group: place % len(GROUPS) for place, group in enumerate(groups)}
    return {mark: GROUPS[places.get(mark.group, 0)] if mark.is_best else OTHER for mark in marks}


def _outline(pen: ImageDraw.ImageDraw, box: BoxPx, color: Color) -> None:
    x1, y1, x2, y2 = box
    pen.rectangle((x1 - HALO, y1 - HALO, x2 + HALO, y2 + HALO), outline=BLACK, width=LINE_WIDTH + 2 * HALO)
    pen.rectangle(box, outline=color, width=LINE_WIDTH)


def _label(pen: ImageDraw.ImageDraw, label: str, box: BoxPx, color: Color, size: tuple[int, int]) -> None:
    """Write a label above its box, or inside where there is no room above; always inside the picture."""
    if not label:
        return
    width = pen.textlength(label, font=_font()) + 2 * HALO + LINE_WIDTH
    x = max(0.0, min(box[0], size[0] - width))
    y = box[1] - LINE_HEIGHT if box[1] >= LINE_HEIGHT else min(box[1], max(0, size[1] - LINE_HEIGHT))
    pen.rectangle((x, y, x + width, y + LINE_HEIGHT), fill=color)
    pen.text((x + LINE_WIDTH, y + LINE_HEIGHT / 2), label, fill=INK, font=_font(), anchor="lm")


def _caption(caption: str, width: int) -> Image.Image:
    lines = [line for paragraph in caption.splitlines() for line in _broken(paragraph, width - 2 * GAP)]
    image = Image.new("RGB", (width, LINE_HEIGHT * len(lines) + 2 * GAP), PAPER)
    pen = ImageDraw.Draw(image)
    for place, line in enumerate(lines):
        pen.text((GAP, GAP + LINE_HEIGHT * (place + 0.5)), line, fill=INK, font=_font(), anchor="lm")
    return image


def _broken(paragraph: str, width: float) -> list[str]:
    """Break a paragraph between words; a word that is wider than a line is broken where the line ends."""
    lines = [""]
    for word in paragraph.split():
        joined = f"{lines[-1]} {word}".strip()
        if _font().getlength(joined) <= width:
            lines[-1] = joined
        else:
            lines += _cut(word, width)
    return [line for line in lines if line]


def _cut(word: str, width: float) -> list[str]:
    pieces = ceil(_font().getlength(word) / width)
    length = ceil(len(word) / pieces)
    return [word[at : at + length] for at in range(0, len(word), length)]


def _beside(images: Sequence[Image.Image]) -> Image.Image:
    width = sum(image.width for image in images) + GAP * (len(images) - 1)
    row = Image.new("RGB", (width, max(image.height for image in images)), PAPER)
    x = 0
    for image in images:
        row.paste(image, (x, 0))
        x += image.width + GAP
    return row


def _below(images: Sequence[Image.Image]) -> Image.Image:
    height = sum(image.height for image in images) + GAP * (len(images) - 1)
    column = Image.new("RGB", (max(image.width for image in images), height), PAPER)
    y = 0
    for image in images:
        column.paste(image, (0, y))
        y += image.height + GAP
    return column


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _font() -> Font:
    """Give Pillow's own font: there is no other that every machine has."""
    return ImageFont.load_default(FONT_SIZE)


def _clamped(value: float, least: float, most: float) -> int:
    return round(max(least, min(value, most)))
