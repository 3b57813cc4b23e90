"""What can be seen in a scene, and so may be said of it.

The words never look into a scene directly: `Seen` hides what the picture hides (colours by night) and knows the margins
inside which a word such as "left" would be a matter of taste.
"""

from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import Final, Literal

from training.world.scene import Scene, Size

from . import lexicon

Relation = Literal["left of", "right of", "above", "below"]
Side = Literal["left", "right"]
Level = Literal["top", "bottom"]

OPPOSITE: Final[dict[str, Relation]] = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
}

DOMINANCE: Final = 1.6
"""A relation is named when the distance along its axis is so many times that along the other one."""

MARGIN: Final = 0.08
"""Centres nearer than this share of the picture's width stand in no relation, nor in an order."""

MIDDLE: Final = (0.42, 0.58)
"""Between these shares of width (or height) a thing is on neither side."""


class Seen:
    """One scene as its picture shows it.

    Attributes:
        scene: The ground truth.
        things: Its things, from back to front; indices into this tuple name things everywhere in `words`.
        colors: The colour that each thing shows, None for a kind that has no paint and for everything by night.
    """

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.things = scene.things
        self.colors = tuple(None if self.is_night else thing.color for thing in scene.things)

    @property
    def is_night(self) -> bool:
        """Say whether the things are silhouettes."""
        return self.scene.light == "night"

    @cached_property
    def kinds(self) -> Counter[str]:
        """Count the things of each kind."""
        return Counter(thing.kind for thing in self.things)

    @cached_property
    def groups(self) -> Counter[str]:
        """Count the things of each group that has a word of its own ("animal")."""
        return Counter(group for thing in self.things for group in lexicon.groups_of(thing.kind))

    def kind(self, index: int) -> str:
        """Give the kind of a thing."""
        return self.things[index].kind

    def size(self, index: int) -> Size | None:
        """Give a thing's size where a word may name it."""
        return self.things[index].size

    def of_kind(self, kind: str) -> list[int]:
        """List the things of a kind."""
        return [index for index, thing in enumerate(self.things) if thing.kind == kind]

    def of_group(self, group: str) -> list[int]:
        """List the things of a group."""
        return [index for index, thing in enumerate(self.things) if group in lexicon.groups_of(thing.kind)]

    def of_color(self, color: str, kind: str | None = None) -> list[int]:
        """List the things painted in a colour, of one kind or of all."""
        return [
            index
            for index, seen in enumerate(self.colors)
            if seen == color and (kind is None or self.kind(index) == kind)
        ]

    def only_of_color(self, color: str) -> int | None:
        """Give the one thing that looks so, or None; unpainted kinds that look so too make it ambiguous."""
        painted = self.of_color(color)
        also = any(color in lexicon.looks_of(thing.kind) for thing in self.things if thing.color is None)
        return painted[0] if len(painted) == 1 and not also else None

    def nouns(self, index: int) -> list[str]:
        """List the single nouns that mean this thing alone: its kind, its group."""
        kind = [self.kind(index)] if self.kinds[self.kind(index)] == 1 else []
        return kind + [group for group in lexicon.groups_of(self.kind(index)) if self.groups[group] == 1]

    def name(self, index: int) -> str | None:
        """Give the shortest words without a place that mean this thing alone ("car", "red car"), or None."""
        kind, color = self.kind(index), self.colors[index]
        if self.kinds[kind] == 1:
            return kind
        if color is not None and self.of_color(color, kind) == [index]:
            return f"{color} {kind}"
        return None

    def relation(self, first: int, second: int) -> Relation | None:
        """Say how the first thing lies to the second, None where no single word is right."""
        (x, y), (u, v) = self.things[first].center_px, self.things[second].center_px
        across, down, margin = x - u, y - v, MARGIN * self.scene.width
        if abs(across) > DOMINANCE * abs(down) and abs(across) > margin:
            return "left of" if across < 0 else "right of"
        if abs(down) > DOMINANCE * abs(across) and abs(down) > margin:
            return "above" if down < 0 else "below"
        return None

    def the_one(self, relation: str, anchor: int, among: Sequence[int]) -> int | None:
        """Give the one thing that stands in a relation to the anchor, None where another could be meant too."""
        found = [index for index in among if index != anchor and self._tends(index, anchor, relation)]
        return found[0] if len(found) == 1 and self.relation(found[0], anchor) == relation else None

    def side(self, index: int) -> Side | None:
        """Say in which half of the picture a thing is, None in the middle."""
        share = self.things[index].center_px[0] / self.scene.width
        return "left" if share < MIDDLE[0] else "right" if share > MIDDLE[1] else None

    def level(self, index: int) -> Level | None:
        """Say whether a thing is in the upper or the lower half, None in the middle."""
        share = self.things[index].center_px[1] / self.scene.height
        return "top" if share < MIDDLE[0] else "bottom" if share > MIDDLE[1] else None

    def alone_on_side(self, index: int, among: Sequence[int]) -> Side | None:
        """Give the half in which this one of several things is, where all others are in the opposite half."""
        side, others = self.side(index), [other for other in among if other != index]
        if side is None or not others or any(self.side(other) in (side, None) for other in others):
            return None
        return side

    def extreme(self, side: Side, among: Sequence[int]) -> int | None:
        """Give the leftmost or rightmost of some things, None where two compete or there is only one."""
        if len(among) < 2:
            return None
        sign = 1 if side == "left" else -1
        ordered = sorted(among, key=lambda index: sign * self.things[index].center_px[0])
        first, second = (sign * self.things[index].center_px[0] for index in ordered[:2])
        return ordered[0] if second - first > MARGIN * self.scene.width else None

    def _tends(self, first: int, second: int, relation: str) -> bool:
        """Say whether the first thing is at all on that side of the second, however little."""
        (x, y), (u, v) = self.things[first].center_px, self.things[second].center_px
        return {"left of": x < u, "right of": x > u, "above": y < v, "below": y > v}[relation]
