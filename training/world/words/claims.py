"""What a sentence says of a scene, so that it can be checked against any scene.

A claim is a value with `holds(seen)`: true of the picture, or not. Claims mean what a reader takes them to mean: "a red
car" asks for at least one, "two cars" for exactly two.
"""

from dataclasses import dataclass
from typing import Protocol

from . import lexicon
from .seen import Seen


class Claim(Protocol):
    """One thing that a sentence says."""

    def holds(self, seen: Seen) -> bool:
        """Say whether the picture shows it."""
        ...


@dataclass(frozen=True)
class Look:
    """What something looks like: a kind or a group, and a colour where one is named."""

    noun: str
    color: str | None = None

    @property
    def words(self) -> str:
        """Give "red car"."""
        return f"{self.color} {self.noun}" if self.color else self.noun

    @property
    def plural(self) -> str:
        """Give "red cars"."""
        nouns = lexicon.plural(self.noun)
        return f"{self.color} {nouns}" if self.color else nouns

    def matches(self, seen: Seen) -> list[int]:
        """List the things that look so."""
        things = seen.of_kind(self.noun) or seen.of_group(self.noun)
        return [index for index in things if self.color in (None, seen.colors[index])]


@dataclass(frozen=True)
class Shown:
    """At least one thing looks so."""

    look: Look

    def holds(self, seen: Seen) -> bool:
        """Say whether there is one."""
        return bool(self.look.matches(seen))


@dataclass(frozen=True)
class Counted:
    """Exactly so many things look so."""

    look: Look
    count: int

    def holds(self, seen: Seen) -> bool:
        """Say whether there are that many."""
        return len(self.look.matches(seen)) == self.count


@dataclass(frozen=True)
class Related:
    """Something that looks like the first stands so to something that looks like the second."""

    first: Look
    relation: str
    second: Look

    def holds(self, seen: Seen) -> bool:
        """Say whether there are two such things."""
        return any(
            seen.relation(one, two) == self.relation
            for one in self.first.matches(seen)
            for two in self.second.matches(seen)
            if one != two
        )


@dataclass(frozen=True)
class OnSide:
    """Something that looks so is in the left or the right half."""

    look: Look
    side: str

    def holds(self, seen: Seen) -> bool:
        """Say whether there is one there."""
        return any(seen.side(index) == self.side for index in self.look.matches(seen))


@dataclass(frozen=True)
class At:
    """The picture shows this place."""

    place: str

    def holds(self, seen: Seen) -> bool:
        """Say whether it does."""
        return seen.scene.place == self.place


@dataclass(frozen=True)
class ByNight:
    """The picture is dark."""

    def holds(self, seen: Seen) -> bool:
        """Say whether it is."""
        return seen.is_night
