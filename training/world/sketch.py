"""A sketch: a scene's ground truth together with all that is needed to draw it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from training.world.kinds import KINDS
from training.world.scene import BoxXYXY, Scene, Size, Thing
from training.world.sprites import Figure, Mask, SpriteCase

LARGEST_SMALL: Final = 0.85
SMALLEST_LARGE: Final = 1.2
"""Times the kind's usual size. Between the two lies the dead zone, where neither word is said."""

_OUTLINE_ROWS: Final = 8
"""A polygon follows the outline at this many heights."""


@dataclass(frozen=True)
class Placement:
    """A figure and where it stands.

    Attributes:
        figure: What is drawn.
        left: Of the figure's picture, pixels.
        bottom: The first row below it; what stands lower is nearer.
        airborne: Whether it hangs in the air: without a shadow, behind all that stands on the ground.
    """

    figure: Figure
    left: int
    bottom: int
    airborne: bool = False


@dataclass(frozen=True)
class Sketch:
    """A scene as it is planned and drawn.

    Attributes:
        scene: The ground truth.
        placements: From back to front, one for each of the scene's things.
        backdrop: The number that fixes how the place looks.
    """

    scene: Scene
    placements: tuple[Placement, ...]
    backdrop: int


@dataclass(frozen=True)
class View:
    """A thing as it is seen among the others.

    Attributes:
        thing: With its visible extent.
        visible: The share of its pixels that nothing hides.
    """

    thing: Thing
    visible: float


def back_to_front(placements: Sequence[Placement]) -> tuple[Placement, ...]:
    """Order placements as they are drawn."""
    return tuple(sorted(placements, key=lambda placement: (not placement.airborne, placement.bottom)))


def bounds(placement: Placement, case: SpriteCase) -> BoxXYXY:
    """Give the box of the figure's picture, whatever hides it."""
    height, width = case.mask(placement.figure).shape
    top = placement.bottom - height
    return (placement.left, top, placement.left + width, placement.bottom)


def look_at(placements: Sequence[Placement], case: SpriteCase, *, width: int, height: int) -> list[View] | None:
    """Give what is seen of each thing.

    Args:
        placements: From back to front, each wholly inside the picture.
        case: Holds the outlines.
        width: Of the picture, pixels.
        height: Likewise.

    Returns:
        One view a placement, in their order; None when a thing is hidden altogether.
    """
    owner = np.full((height, width), -1, dtype=np.int16)  # [H, W]: the number of the foremost thing
    for number, placement in enumerate(placements):
        x1, y1, x2, y2 = bounds(placement, case)
        owner[y1:y2, x1:x2][case.mask(placement.figure)] = number
    views = [_view(placement, owner == number, case) for number, placement in enumerate(placements)]
    return None if None in views else [view for view in views if view is not None]


def size_of(figure: Figure) -> Size | None:
    """Give the word for a figure's size, or None inside the dead zone."""
    scale = figure.side_px / KINDS[figure.kind].usual_px
    if scale <= LARGEST_SMALL:
        return "small"
    return "large" if scale >= SMALLEST_LARGE else None


def _view(placement: Placement, seen: Mask, case: SpriteCase) -> View | None:
    area = int(seen.sum())
    if area == 0:
        return None
    figure = placement.figure
    thing = Thing(
        kind=figure.kind,
        color=figure.color,
        size=size_of(figure),
        box_px=_box(seen),
        polygon_px=_outline(seen),
        area_px=area,
    )
    return View(thing, area / int(case.mask(figure).sum()))


def _box(seen: Mask) -> BoxXYXY:
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def _outline(seen: Mask) -> tuple[int, ...]:
    """Give a polygon: down the left edge of what is seen and up its right edge."""
    rows = np.flatnonzero(seen.any(axis=1))
    chosen = rows[np.linspace(0, len(rows) - 1, min(_OUTLINE_ROWS, len(rows))).round().astype(int)]
    left = [(int(seen[row].argmax()), int(row)) for row in chosen]
    right = [(seen.shape[1] - int(seen[row, ::-1].argmax()), int(row)) for row in chosen]
    left[-1], right[-1] = (left[-1][0], left[-1][1] + 1), (right[-1][0], right[-1][1] + 1)
    return tuple(number for point in left + right[::-1] for number in point)
