"""Captions: what people would say who describe a picture, true of it and, mostly, not of its edited twins."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from training.world.kinds import is_novel
from training.world.scene import Scene

from . import lexicon
from .claims import At, ByNight, Claim, Counted, Look, OnSide, Related, Shown
from .groups import twin_groups
from .seen import Seen

CAPTIONS: Final = 5
"""A picture has so many captions, as in COCO and Flickr30k."""

VAGUE_CAPTIONS: Final = 1
"""So many of them may be true of a twin too."""

TRIES: Final = 100
"""So many captions are drafted before the five are chosen."""


@dataclass(frozen=True)
class Phrase:
    """A part of a caption that names things, or the place (then it names no things)."""

    words: str
    things: tuple[int, ...] = ()


@dataclass(frozen=True)
class Caption:
    """A sentence in pieces, and what it claims."""

    pieces: tuple[str | Phrase, ...]
    claims: tuple[Claim, ...]

    @property
    def text(self) -> str:
        """Give the sentence with its capital letter and its full stop."""
        words = " ".join(piece if isinstance(piece, str) else piece.words for piece in self.pieces)
        return words[0].upper() + words[1:].replace(" ,", ",") + "."

    @property
    def things(self) -> frozenset[int]:
        """Give everything that the caption names."""
        return frozenset(i for piece in self.pieces if isinstance(piece, Phrase) for i in piece.things)

    def holds(self, seen: Seen) -> bool:
        """Say whether it is true of a picture."""
        return all(claim.holds(seen) for claim in self.claims)


Draft = Callable[[Seen, Random], Caption | None]


def scene_captions(scenes: Sequence[Scene], rng: Random) -> dict[int, tuple[Caption, ...]]:
    """Describe whole scenes, as COCO's captions do; by scene id."""
    return _captions(scenes, _SCENE_DRAFTS, rng)


def living_captions(scenes: Sequence[Scene], rng: Random) -> dict[int, tuple[Caption, ...]]:
    """Describe scenes around their people and animals, as Flickr30k's captions do; by scene id."""
    return _captions(scenes, _LIVING_DRAFTS, rng)


def _captions(scenes: Sequence[Scene], drafts: Sequence[Draft], rng: Random) -> dict[int, tuple[Caption, ...]]:
    captions: dict[int, tuple[Caption, ...]] = {}
    for group in twin_groups(scenes):
        looks = [Seen(scene) for scene in group]
        for seen in looks:
            twins = [other for other in looks if other is not seen]
            captions[seen.scene.id] = _chosen(_drafted(seen, twins, drafts, rng), twins)
    return captions


def _drafted(seen: Seen, twins: Sequence[Seen], drafts: Sequence[Draft], rng: Random) -> list[Caption]:
    """Draft captions, none twice, those that do what the split is for; of any scene where the drafts yield too few."""
    texts: dict[str, Caption] = {}
    for kinds_of_draft in (drafts, _SCENE_DRAFTS):
        for _ in range(TRIES if len(texts) < CAPTIONS else 0):
            draft = rng.choice(kinds_of_draft)(seen, rng)
            if draft is not None:
                texts.setdefault(draft.text, draft)
    for draft in _missing(seen, twins, rng):
        texts.setdefault(draft.text, draft)
    novel = {i for i, thing in enumerate(seen.things) if is_novel(thing.kind, seen.colors[i])}
    about_novelty = [draft for draft in texts.values() if draft.things & novel]
    return about_novelty or list(texts.values()) or [_plain(seen)]


def _chosen(drafts: Sequence[Caption], twins: Sequence[Seen]) -> tuple[Caption, ...]:
    """Take those first that are false of every twin, but keep one that is not where there is one."""
    telling = [draft for draft in drafts if not any(draft.holds(twin) for twin in twins)]
    vague = [draft for draft in drafts if draft not in telling]
    ordered = telling[: CAPTIONS - VAGUE_CAPTIONS] + vague[:VAGUE_CAPTIONS] + telling[CAPTIONS - VAGUE_CAPTIONS :]
    filled = ordered + vague[VAGUE_CAPTIONS:]
    return tuple((filled * CAPTIONS)[:CAPTIONS])


def _look(seen: Seen, index: int) -> Look:
    return Look(seen.kind(index), seen.colors[index])


def _phrase(seen: Seen, index: int) -> Phrase:
    return Phrase(lexicon.a(_look(seen, index).words), (index,))


def _at(seen: Seen) -> tuple[tuple[str | Phrase, ...], tuple[Claim, ...]]:
    """Say where, and that it is night when it is."""
    place = seen.scene.place
    preposition, _, noun = lexicon.at(place).partition(" ")
    pieces: tuple[str | Phrase, ...] = (preposition, Phrase(noun))
    if seen.is_night:
        return (*pieces, "at night"), (At(place), ByNight())
    return pieces, (At(place),)


def _plain(seen: Seen) -> Caption:
    """Describe a scene of which nothing else can be said."""
    where, claims = _at(seen)
    return Caption(("a picture taken", *where), claims)


def _sample(seen: Seen, count: int, rng: Random) -> list[int]:
    """Draw things of different kinds."""
    kinds = rng.sample(list(seen.kinds), min(count, len(seen.kinds)))
    return [rng.choice(seen.of_kind(kind)) for kind in kinds]


def _listing(seen: Seen, rng: Random) -> Caption | None:
    """Name two or three things and the place."""
    drawn = _sample(seen, rng.choice((2, 2, 3)), rng)
    if len(drawn) < 2:
        return None
    where, claims = _at(seen)
    *first, last = (_phrase(seen, index) for index in drawn)
    commas: list[str | Phrase] = [piece for phrase in first for piece in (phrase, ",")][:-1]
    return Caption((*commas, "and", last, *where), (*(Shown(_look(seen, i)) for i in drawn), *claims))


def _pair(seen: Seen, rng: Random) -> Caption | None:
    """Say how one thing stands to another."""
    drawn = _sample(seen, 2, rng)
    relation = seen.relation(*drawn) if len(drawn) == 2 else None
    if relation is None:
        return None
    one, two = drawn
    where, claims = _at(seen)
    ending = where if rng.random() < 0.5 else ()
    return Caption(
        (_phrase(seen, one), lexicon.relation_words(relation), _phrase(seen, two), *ending),
        (Related(_look(seen, one), relation, _look(seen, two)), *(claims if ending else ())),
    )


def _sided(seen: Seen, rng: Random) -> Caption | None:
    """Say what is left and what is right."""
    drawn = _sample(seen, 2, rng)
    sides = [seen.side(index) for index in drawn]
    if len(drawn) < 2 or set(sides) != {"left", "right"}:
        return None
    where, claims = _at(seen)
    (one, two), (here, there) = drawn, sides
    return Caption(
        (_phrase(seen, one), f"on the {here} and", _phrase(seen, two), f"on the {there}", *where),
        (OnSide(_look(seen, one), str(here)), OnSide(_look(seen, two), str(there)), *claims),
    )


def _on_one_side(seen: Seen, rng: Random) -> Caption | None:
    """Say on which side one thing is."""
    index = rng.randrange(len(seen.things))
    side = seen.side(index)
    if side is None:
        return None
    where, claims = _at(seen)
    return Caption((_phrase(seen, index), f"on the {side} side", *where), (OnSide(_look(seen, index), side), *claims))


def _several(seen: Seen, rng: Random) -> Caption | None:
    """Count the things of a kind and name another one."""
    many = [kind for kind, count in seen.kinds.items() if 2 <= count <= 4]
    if not many:
        return None
    kind = rng.choice(many)
    count, where = seen.kinds[kind], _at(seen)
    others = [index for index in range(len(seen.things)) if seen.kind(index) != kind]
    more = [rng.choice(others)] if others else []
    beside: list[str | Phrase] = [piece for index in more for piece in ("with", _phrase(seen, index))]
    return Caption(
        (Phrase(lexicon.counted(count, kind), tuple(seen.of_kind(kind))), *beside, *where[0]),
        (Counted(Look(kind), count), *(Shown(_look(seen, index)) for index in more), *where[1]),
    )


def _missing(seen: Seen, twins: Sequence[Seen], rng: Random) -> Iterator[Caption]:
    """Say that something is not there, where a twin has it."""
    where, claims = _at(seen)
    for twin in twins:
        for kind in twin.kinds:
            if kind in seen.kinds:
                continue
            for index in _sample(seen, len(seen.kinds), rng):
                nothing = Counted(Look(kind), 0)
                yield Caption(
                    (_phrase(seen, index), *where, "but", f"no {kind}"),
                    (Shown(_look(seen, index)), *claims, nothing),
                )


def _living(seen: Seen, rng: Random) -> int | None:
    found = [index for index in range(len(seen.things)) if lexicon.is_living(seen.kind(index))]
    return rng.choice(found) if found else None


def _other(seen: Seen, index: int, rng: Random) -> int | None:
    found = [other for other in range(len(seen.things)) if seen.kind(other) != seen.kind(index)]
    return rng.choice(found) if found else None


def _doing(seen: Seen, rng: Random) -> Caption | None:
    """Say what somebody is doing, and what is with them."""
    who = _living(seen, rng)
    other = _other(seen, who, rng) if who is not None else None
    if who is None or other is None:
        return None
    where, claims = _at(seen)
    verb = f"{rng.choice(('is ', ''))}{lexicon.doing(seen.kind(who))}"
    return Caption(
        (_phrase(seen, who), verb, *where, "with", _phrase(seen, other)),
        (Shown(_look(seen, who)), Shown(_look(seen, other)), *claims),
    )


def _doing_beside(seen: Seen, rng: Random) -> Caption | None:
    """Say where somebody is, seen from another thing."""
    who = _living(seen, rng)
    other = _other(seen, who, rng) if who is not None else None
    relation = seen.relation(who, other) if who is not None and other is not None else None
    if who is None or other is None or relation is None:
        return None
    verb = f"is {lexicon.doing(seen.kind(who))}"
    return Caption(
        (_phrase(seen, who), verb, lexicon.relation_words(relation), _phrase(seen, other)),
        (Related(_look(seen, who), relation, _look(seen, other)),),
    )


def _together(seen: Seen, rng: Random) -> Caption | None:
    """Name somebody and two other things."""
    who = _living(seen, rng)
    if who is None:
        return None
    others = [index for index in _sample(seen, 3, rng) if seen.kind(index) != seen.kind(who)][:2]
    if len(others) < 2:
        return None
    where, claims = _at(seen)
    one, two = (_phrase(seen, index) for index in others)
    return Caption(
        (_phrase(seen, who), rng.choice(("beside", "with")), one, "and", two, *where),
        (*(Shown(_look(seen, index)) for index in (who, *others)), *claims),
    )


_SCENE_DRAFTS: Final[tuple[Draft, ...]] = (_listing, _listing, _listing, _pair, _sided, _on_one_side, _several)
_LIVING_DRAFTS: Final[tuple[Draft, ...]] = (_doing, _doing, _together, _doing_beside, _several, _sided, _on_one_side)
ENTITY_TYPES: Final[Mapping[str, str]] = {
    "person": "people",
    "animal": "animals",
    "vehicle": "vehicles",
    "clothing": "clothing",
    "instrument": "instruments",
}
"""Flickr30k Entities' names for supercategories; whatever is not here is "other"."""
