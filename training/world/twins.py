"""Twins: a scene with one thing changed and nothing else.

The same question then has another answer, and the same caption fits only one of the two pictures.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from training.world.compose import allowed_colors, is_as_wished
from training.world.kinds import CRATE, KINDS, Kind
from training.world.layout import Stage, find_room, things_seen
from training.world.scene import Light
from training.world.sketch import Placement, Sketch, back_to_front, bounds
from training.world.sprites import Figure

Placements = tuple[Placement, ...]
Edit = Callable[[Sketch, int, Stage, random.Random], Placements | None]

FEWEST_THINGS: Final = 3
MIN_MOVE_PX: Final = 60
"""A moved thing's middle goes at least this far to the side."""

_TRIES: Final = 40


def twin_of(sketch: Sketch, *, id: int, stage: Stage, rng: random.Random) -> Sketch | None:
    """Edit one thing of a sketch.

    Args:
        sketch: The original.
        id: The twin's.
        stage: Of the original.
        rng: Draws what is edited and how.

    Returns:
        The twin, within all margins and with the novel pairs of its split, or None when no edit was found.
    """
    edits = EDITS[sketch.scene.light]
    for _ in range(_TRIES):
        name = rng.choices(list(edits), list(edits.values()))[0]
        number = rng.randrange(len(sketch.placements))
        twin = _edited(sketch, name, number, stage=stage, rng=rng)
        if twin is not None:
            return replace(twin, scene=replace(twin.scene, id=id))
    return None


def _edited(sketch: Sketch, name: str, number: int, *, stage: Stage, rng: random.Random) -> Sketch | None:
    placements = _EDIT_BY_NAME[name](sketch, number, stage, rng)
    if placements is None or not _keeps_its_split(sketch, placements):
        return None
    things = things_seen(placements, stage)
    if things is None:
        return None
    scene = replace(sketch.scene, things=things, twin=sketch.scene.id, edit=(name, number))
    return replace(sketch, scene=scene, placements=placements)


def _keeps_its_split(sketch: Sketch, placements: Sequence[Placement]) -> bool:
    return is_as_wished([placement.figure for placement in placements], novel=sketch.scene.split == "novel")


def _recolor(sketch: Sketch, number: int, stage: Stage, rng: random.Random) -> Placements | None:
    figure = sketch.placements[number].figure
    if figure.color is None:
        return None
    others = [color for color in _colors_for(figure.kind, sketch) if color != figure.color]
    return _with_figure(sketch, number, replace(figure, color=rng.choice(others)))


def _change_kind(sketch: Sketch, number: int, stage: Stage, rng: random.Random) -> Placements | None:
    """Put another kind in a thing's place, of the same colour where it has one."""
    old = sketch.placements[number]
    kinds = [kind for kind in KINDS.values() if _could_replace(kind, old, sketch)]
    if not kinds:
        return None
    kind = rng.choice(kinds)
    scale = old.figure.side_px / KINDS[old.figure.kind].usual_px
    look = rng.randrange(len(kind.sprites))
    figure = replace(old.figure, kind=kind.name, look=look, side_px=round(kind.usual_px * scale))
    placed = _with_figure(sketch, number, figure)
    old_box, box = bounds(old, stage.case), bounds(placed[number], stage.case)
    shift = (old_box[0] + old_box[2] - box[0] - box[2]) // 2
    return _with(placed, number, replace(placed[number], left=placed[number].left + shift))


def _could_replace(kind: Kind, old: Placement, sketch: Sketch) -> bool:
    figure = old.figure
    if kind.name in (figure.kind, CRATE) or (old.airborne and not kind.flies):
        return False
    return kind.is_paintable == (figure.color is not None) and figure.color in (None, *_colors_for(kind.name, sketch))


def _remove(sketch: Sketch, number: int, stage: Stage, rng: random.Random) -> Placements | None:
    if len(sketch.placements) <= FEWEST_THINGS:
        return None
    return sketch.placements[:number] + sketch.placements[number + 1 :]


def _move(sketch: Sketch, number: int, stage: Stage, rng: random.Random) -> Placements | None:
    old = sketch.placements[number]
    others = sketch.placements[:number] + sketch.placements[number + 1 :]
    new = find_room(old.figure, others, stage, rng)
    if new is None or abs(new.left - old.left) < MIN_MOVE_PX:
        return None
    return back_to_front([*others, new])


def _colors_for(kind: str, sketch: Sketch) -> tuple[str, ...]:
    return allowed_colors(kind, novel=sketch.scene.split == "novel")


def _with_figure(sketch: Sketch, number: int, figure: Figure) -> Placements:
    return _with(sketch.placements, number, replace(sketch.placements[number], figure=figure))


def _with(placements: Placements, number: int, placement: Placement) -> Placements:
    return (*placements[:number], placement, *placements[number + 1 :])


_EDIT_BY_NAME: Final[Mapping[str, Edit]] = {
    "color": _recolor,
    "kind": _change_kind,
    "remove": _remove,
    "move": _move,
}

EDITS: Final[Mapping[Light, Mapping[str, float]]] = {
    "day": {"color": 0.55, "kind": 0.14, "remove": 0.08, "move": 0.23},
    "night": {"kind": 0.40, "remove": 0.20, "move": 0.40},
}
"""How often each edit is tried. By night a colour cannot be seen, so changing one would change nothing."""
