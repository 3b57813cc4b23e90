"""What a scene holds: which kinds, how many of each, in which colours and sizes.

Kinds often repeat, in different colours, because counting and referring need it; every choice is a weighted draw.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from training.world.kinds import COLORS, CRATE, KINDS, PAINTABLE, Kind, is_novel, novel_colors, seen_colors
from training.world.sprites import Figure

Choice = TypeVar("Choice")

COUNTS: Final = {3: 0.10, 4: 0.18, 5: 0.24, 6: 0.22, 7: 0.15, 8: 0.11}
"""How many things a scene holds."""
REPEATS: Final = {1: 0.22, 2: 0.30, 3: 0.26, 4: 0.22}
"""How many things the first kind of a scene has."""
SECOND_PAIR: Final = 0.35
"""How often the second kind is there twice."""
SAME_COLOR: Final = 0.2
"""How often a thing takes a colour that the scene already shows."""
NOVEL_COLOR: Final = 0.5
"""How often a painted thing of a novel scene forms a novel pair."""
PAINTED_WEIGHT: Final = 2.0
"""How much more often a kind is drawn because it is paintable."""
LIVING_WEIGHTS: Final = {"person": 12.0, "animal": 5.0}
"""How much more often, by supercategory, in a scene where people and animals prevail."""
SCALES: Final = {
    0.68: 0.14,
    0.74: 0.14,
    0.80: 0.14,
    0.94: 0.06,
    1.0: 0.06,
    1.06: 0.06,
    1.26: 0.14,
    1.36: 0.14,
    1.46: 0.12,
}
"""Times the usual size: small ones, the dead zone, large ones."""


@dataclass(frozen=True)
class Wish:
    """What a scene is to be.

    Attributes:
        novel: Whether it holds at least one novel pair; if not, it holds none.
        living: Whether people and animals prevail.
        crate: Whether it holds a closed crate.
    """

    novel: bool
    living: bool
    crate: bool


def compose(wish: Wish, rng: random.Random) -> list[Figure]:
    """Draw the figures of a scene; where they stand is another question."""
    kinds = _kinds(wish, _draw(COUNTS, rng), rng)
    colors: list[str | None] = []
    for kind in kinds:
        colors.append(_color(kind, colors, wish, rng))
    if wish.novel and not any(map(is_novel, kinds, colors)):
        number = rng.choice([number for number, kind in enumerate(kinds) if kind in PAINTABLE])
        colors[number] = rng.choice(novel_colors(kinds[number]))
    return [figure(kind, color, rng) for kind, color in zip(kinds, colors, strict=True)]


def figure(kind: str, color: str | None, rng: random.Random) -> Figure:
    """Draw how a thing of this kind and colour looks."""
    side_px = round(KINDS[kind].usual_px * _draw(SCALES, rng))
    return Figure(kind, color, rng.randrange(len(KINDS[kind].sprites)), side_px, rng.random() < 0.5)


def is_as_wished(figures: Sequence[Figure], *, novel: bool) -> bool:
    """Say whether the figures may stand in a scene of the novel split, or of the others."""
    return any(is_novel(figure.kind, figure.color) for figure in figures) == novel


def allowed_colors(kind: str, *, novel: bool) -> tuple[str, ...]:
    """Give the colours a paintable kind may have in the novel split, or in the others."""
    return COLORS if novel else seen_colors(kind)


def _kinds(wish: Wish, count: int, rng: random.Random) -> list[str]:
    """Draw the kind of each thing, the same ones together."""
    chosen = _different_kinds(wish, count, rng)
    repeats = [min(_draw(REPEATS, rng), count - 1), 2 if rng.random() < SECOND_PAIR else 1]
    kinds = [kind for kind, times in zip(chosen, repeats, strict=False) for _ in range(times)]
    kinds = (kinds + chosen[2:])[:count]
    if wish.crate:
        kinds[-1] = CRATE
    return kinds if any(kind in PAINTABLE for kind in kinds) else [rng.choice(PAINTABLE), *kinds[1:]]


def _different_kinds(wish: Wish, count: int, rng: random.Random) -> list[str]:
    weights = {name: _weight(kind, wish) for name, kind in KINDS.items() if name != CRATE}
    chosen: list[str] = []
    for _ in range(count):
        chosen.append(_draw(weights, rng))
        del weights[chosen[-1]]
    return chosen


def _weight(kind: Kind, wish: Wish) -> float:
    painted = PAINTED_WEIGHT if kind.is_paintable else 1.0
    return painted * (LIVING_WEIGHTS.get(kind.supercategory, 1.0) if wish.living else 1.0)


def _color(kind: str, others: Sequence[str | None], wish: Wish, rng: random.Random) -> str | None:
    if kind not in PAINTABLE:
        return None
    if wish.novel and rng.random() < NOVEL_COLOR:
        return rng.choice(novel_colors(kind))
    shown = [color for color in others if color in seen_colors(kind)]
    if shown and rng.random() < SAME_COLOR:
        return rng.choice(shown)
    return rng.choice(seen_colors(kind))


def _draw(weights: dict[Choice, float], rng: random.Random) -> Choice:
    return rng.choices(list(weights), list(weights.values()))[0]
