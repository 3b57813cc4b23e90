"""The six places a scene may show, drawn from a number: the same number, the same place to the pixel.

Every place has a far part above the horizon and a ground below it; `PLACES` maps its name to what draws both.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Color = tuple[int, int, int]
Painter = Callable[[ImageDraw.ImageDraw, "Ground", random.Random], None]

_HORIZON: Final = (0.36, 0.46)
"""Of the height, lowest and highest."""
_BRIGHTNESS: Final = (0.92, 1.05)
_GRAIN: Final = 4.0
_GRAIN_CELL_PX: Final = 8


@dataclass(frozen=True)
class Ground:
    """Where the picture's ground begins.

    Attributes:
        width: Of the picture, pixels.
        height: Likewise.
        horizon_px: The first row of the ground.
    """

    width: int
    height: int
    horizon_px: int


@dataclass(frozen=True)
class Place:
    """How a place is drawn.

    Attributes:
        far: Colours of the part above the horizon, at its top and at its bottom.
        near: Colours of the ground, likewise.
        furnish: Draws what belongs to the place.
    """

    far: tuple[Color, Color]
    near: tuple[Color, Color]
    furnish: Painter


def ground(backdrop: int, *, width: int, height: int) -> Ground:
    """Give where the ground of a backdrop begins, without drawing it."""
    share = random.Random(f"horizon {backdrop}").uniform(*_HORIZON)
    return Ground(width, height, round(share * height))


def draw_place(name: str, backdrop: int, *, width: int, height: int) -> Image.Image:
    """Draw an empty place.

    Args:
        name: One of `PLACES`.
        backdrop: Any number; fixes every random choice.
        width: Pixels.
        height: Pixels.
    """
    place = PLACES[name]
    base = ground(backdrop, width=width, height=height)
    rng = random.Random(f"backdrop {backdrop}")
    far = _gradient(place.far, width, base.horizon_px)
    near = _gradient(place.near, width, height - base.horizon_px)
    rgb = np.concatenate([far, near]) * rng.uniform(*_BRIGHTNESS) + _grain(backdrop, base)[..., None]
    picture = Image.fromarray(rgb.clip(0, 255).astype(np.uint8), "RGB")
    place.furnish(ImageDraw.Draw(picture), base, rng)
    return picture


def _gradient(colors: tuple[Color, Color], width: int, height: int) -> NDArray[np.float32]:
    share = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    top, bottom = (np.array(color, dtype=np.float32) for color in colors)
    column = top + (bottom - top) * share  # [H, 1, 3]
    return np.repeat(column, width, axis=1).astype(np.float32)


def _grain(backdrop: int, base: Ground) -> NDArray[np.float32]:
    cells = (base.height // _GRAIN_CELL_PX + 1, base.width // _GRAIN_CELL_PX + 1)
    noise = np.random.Generator(np.random.PCG64(backdrop)).standard_normal(cells, dtype=np.float32)
    smooth = Image.fromarray(noise).resize((base.width, base.height), Image.Resampling.BILINEAR)
    return np.asarray(smooth, dtype=np.float32) * np.float32(_GRAIN)


def _park(draw: ImageDraw.ImageDraw, base: Ground, rng: random.Random) -> None:
    _clouds(draw, base, rng)
    for _ in range(rng.randint(3, 6)):
        x, r = rng.randint(0, base.width), rng.randint(14, 34)
        shade = rng.randint(-8, 8)
        box = (x - 2 * r, base.horizon_px - r, x + 2 * r, base.horizon_px + r)
        draw.ellipse(box, fill=(98 + shade, 158 + shade, 74 + shade))
    draw.rectangle((0, base.horizon_px, base.width, base.horizon_px + 36), fill=(118, 176, 80))
    for _ in range(40):
        x, y = rng.randrange(base.width), rng.randrange(base.horizon_px + 4, base.height)
        draw.line((x, y, x + rng.randint(-2, 2), y - 4), fill=(84, 146, 62))


def _beach(draw: ImageDraw.ImageDraw, base: Ground, rng: random.Random) -> None:
    _clouds(draw, base, rng)
    shore, top = base.horizon_px, round(base.horizon_px * rng.uniform(0.62, 0.76))
    draw.rectangle((0, top, base.width, shore), fill=(70, 150, 200))
    for _ in range(14):
        x, y = rng.randrange(base.width), rng.randrange(top + 3, shore - 1)
        draw.line((x, y, x + rng.randint(8, 22), y), fill=(126, 190, 224))
    for x in range(-10, base.width, 22):
        draw.ellipse((x, shore - 4, x + 30, shore + 4), fill=(246, 240, 222))


def _street(draw: ImageDraw.ImageDraw, base: Ground, rng: random.Random) -> None:
    x = -rng.randint(0, 20)
    while x < base.width:
        x = _building(draw, base, x, rng) + 3
    draw.rectangle((0, base.horizon_px, base.width, base.horizon_px + 9), fill=(176, 174, 170))
    line = round(base.height * rng.uniform(0.68, 0.76))
    for x in range(rng.randint(0, 20), base.width, 50):
        draw.rectangle((x, line, x + 26, line + 4), fill=(235, 235, 210))


def _building(draw: ImageDraw.ImageDraw, base: Ground, left: int, rng: random.Random) -> int:
    """Draw one building from `left` on and give where it ends."""
    right, gray = left + rng.randint(32, 62), rng.randint(125, 185)
    top = base.horizon_px - rng.randint(24, round(base.horizon_px * 0.85))
    draw.rectangle((left, top, right, base.horizon_px), fill=(gray, gray - 10, gray - 20))
    for y in range(top + 6, base.horizon_px - 8, 12):
        for x in range(left + 6, right - 7, 12):
            draw.rectangle((x, y, x + 5, y + 6), fill=(gray + 32, gray + 36, gray + 40))
    return right


def _snow(draw: ImageDraw.ImageDraw, base: Ground, rng: random.Random) -> None:
    for _ in range(rng.randint(2, 4)):
        x, h = rng.randint(0, base.width), rng.randint(30, base.horizon_px - 8)
        left, right, peak = (x - 2 * h, base.horizon_px), (x + 2 * h, base.horizon_px), (x, base.horizon_px - h)
        draw.polygon((left, peak, right), fill=(150, 172, 198))
        third = h // 3
        draw.polygon(((x - 2 * third, peak[1] + third), peak, (x + 2 * third, peak[1] + third)), fill=(238, 243, 250))
    draw.rectangle((0, base.horizon_px, base.width, base.horizon_px + 6), fill=(228, 236, 244))
    for _ in range(70):
        x, y = rng.randrange(base.width), rng.randrange(base.horizon_px)
        draw.ellipse((x, y, x + 2, y + 2), fill=(250, 252, 255))


def _room(draw: ImageDraw.ImageDraw, base: Ground, rng: random.Random) -> None:
    for x in range(rng.randint(0, 30), base.width, 40):
        draw.line((x, 0, x, base.horizon_px - 5), fill=(226, 208, 184), width=2)
    left, bottom = rng.randint(20, base.width - 90), base.horizon_px - 22
    draw.rectangle((left, 12, left + 62, bottom), fill=(190, 225, 245), outline=(250, 250, 250), width=4)
    draw.line((left + 31, 12, left + 31, bottom), fill=(250, 250, 250), width=3)
    draw.rectangle((0, base.horizon_px - 5, base.width, base.horizon_px), fill=(245, 240, 230))
    for y in range(base.horizon_px + 14, base.height, 22):
        draw.line((0, y, base.width, y), fill=(136, 93, 58))


def _kitchen(draw: ImageDraw.ImageDraw, base: Ground, rng: random.Random) -> None:
    tile, start = 24, rng.randrange(24)
    for x in range(start, base.width, tile):
        draw.line((x, 0, x, base.horizon_px), fill=(180, 203, 200))
    for y in range(start, base.horizon_px, tile):
        draw.line((0, y, base.width, y), fill=(180, 203, 200))
    draw.rectangle((0, base.horizon_px, base.width, base.horizon_px + 5), fill=(160, 150, 140))
    middle, floor = base.width / 2, base.height - base.horizon_px
    for step in range(-12, 13):
        draw.line((middle + 20 * step, base.horizon_px + 6, middle + 52 * step, base.height), fill=(196, 196, 192))
    for share in (0.16, 0.36, 0.62, 0.94):
        y = base.horizon_px + 5 + round(floor * share)
        draw.line((0, y, base.width, y), fill=(196, 196, 192))


def _clouds(draw: ImageDraw.ImageDraw, base: Ground, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 3)):
        x, y = rng.randint(0, base.width), rng.randint(8, max(9, base.horizon_px // 2))
        for dx, r in ((0, 7), (9, 10), (21, 8)):
            draw.ellipse((x + dx - r, y - r * 0.7, x + dx + r, y + r * 0.7), fill=(242, 247, 251))


PLACES: Final[Mapping[str, Place]] = {
    "park": Place(((120, 190, 240), (205, 230, 245)), ((112, 172, 76), (88, 148, 58)), _park),
    "beach": Place(((130, 200, 245), (230, 245, 250)), ((240, 220, 165), (225, 200, 140)), _beach),
    "street": Place(((165, 195, 220), (215, 225, 235)), ((120, 120, 125), (95, 95, 100)), _street),
    "snow": Place(((172, 194, 220), (222, 232, 242)), ((236, 242, 249), (208, 220, 234)), _snow),
    "room": Place(((236, 220, 196), (228, 210, 184)), ((172, 120, 80), (146, 100, 64)), _room),
    "kitchen": Place(((205, 225, 222), (190, 212, 210)), ((222, 222, 218), (200, 200, 198)), _kitchen),
}
"""Every place by its name."""
