"""Where things stand: wholly inside the picture, apart from one another, and mostly visible."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

from training.world.kinds import KINDS
from training.world.places import Ground
from training.world.scene import BoxXYXY, Thing
from training.world.sketch import Placement, back_to_front, bounds, look_at
from training.world.sprites import Figure, SpriteCase

MIN_DISTANCE_PX: Final = 26.0
"""Between the middles of two things: relations then have a direction."""
MIN_VISIBLE: Final = 0.6
"""Share of each thing that nothing hides."""
MAX_OVERLAP: Final = 0.18
"""Share of the smaller of two boxes that the other may cover."""
EDGE_PX: Final = 3
"""Between a thing and the picture's edge."""
FOOTING_PX: Final = 10
"""Between the horizon and what stands on the ground."""
AIRBORNE: Final = 0.75
"""How often what may fly does."""

_TRIES_PER_THING: Final = 40


@dataclass(frozen=True)
class Stage:
    """What a layout is for.

    Attributes:
        case: Holds the outlines.
        ground: The picture's size and horizon.
    """

    case: SpriteCase
    ground: Ground


def lay_out(figures: Sequence[Figure], stage: Stage, rng: random.Random) -> tuple[Placement, ...] | None:
    """Place the figures.

    Returns:
        Placements from back to front, or None when no room was found for one of them.
    """
    placed: list[Placement] = []
    for figure in sorted(figures, key=lambda figure: -figure.side_px):
        placement = find_room(figure, placed, stage, rng)
        if placement is None:
            return None
        placed.append(placement)
    return back_to_front(placed)


def find_room(figure: Figure, others: Sequence[Placement], stage: Stage, rng: random.Random) -> Placement | None:
    """Find a place for one more figure among the others, or None."""
    other_boxes = [bounds(other, stage.case) for other in others]
    airborne = KINDS[figure.kind].flies and rng.random() < AIRBORNE
    for _ in range(_TRIES_PER_THING):
        placement = _anywhere(figure, stage, rng)
        if airborne:
            placement = _in_the_air(placement, stage, rng)
        box = bounds(placement, stage.case)
        if all(_are_apart(box, other) for other in other_boxes):
            return placement
    return None


def things_seen(placements: Sequence[Placement], stage: Stage) -> tuple[Thing, ...] | None:
    """Give the ground truth of a layout, or None where it breaks a margin."""
    ground = stage.ground
    boxes = [bounds(placement, stage.case) for placement in placements]
    if not all(_is_inside(box, ground) for box in boxes):
        return None
    views = look_at(placements, stage.case, width=ground.width, height=ground.height)
    if views is None or any(view.visible < MIN_VISIBLE for view in views):
        return None
    things = tuple(view.thing for view in views)
    if any(_distance(one.box_px, other.box_px) < MIN_DISTANCE_PX for one, other in combinations(things, 2)):
        return None
    return things


def _anywhere(figure: Figure, stage: Stage, rng: random.Random) -> Placement:
    height, width = stage.case.mask(figure).shape
    ground = stage.ground
    highest = max(ground.horizon_px + FOOTING_PX, height + EDGE_PX)
    left = rng.randint(EDGE_PX, ground.width - EDGE_PX - width)
    return Placement(figure, left, rng.randint(highest, ground.height - EDGE_PX))


def _in_the_air(placement: Placement, stage: Stage, rng: random.Random) -> Placement:
    lowest = stage.case.mask(placement.figure).shape[0] + EDGE_PX
    return replace(placement, bottom=rng.randint(lowest, max(lowest, stage.ground.horizon_px)), airborne=True)


def _is_inside(box: BoxXYXY, ground: Ground) -> bool:
    x1, y1, x2, y2 = box
    return x1 >= EDGE_PX and y1 >= EDGE_PX and x2 <= ground.width - EDGE_PX and y2 <= ground.height - EDGE_PX


def _are_apart(one: BoxXYXY, other: BoxXYXY) -> bool:
    shared = _area((max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])))
    return shared <= MAX_OVERLAP * min(_area(one), _area(other)) and _distance(one, other) >= MIN_DISTANCE_PX


def _area(box: BoxXYXY) -> int:
    return max(0, box[2] - box[0]) * max(0, box[3] - box[1])


def _distance(one: BoxXYXY, other: BoxXYXY) -> float:
    dx = (one[0] + one[2] - other[0] - other[2]) / 2
    dy = (one[1] + one[3] - other[1] - other[3]) / 2
    return float((dx * dx + dy * dy) ** 0.5)
