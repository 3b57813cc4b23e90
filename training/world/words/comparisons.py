"""NLVR2's statements about two pictures. Each is put to four pairs: true of two, false of two.

Nobody who reads only the statement can do better than one half, exactly.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from training.world.kinds import is_novel, novel_colors, seen_colors
from training.world.scene import Scene, Split

from . import lexicon
from .balance import Shares
from .claims import Look
from .seen import Seen

PAIRS: Final = 4
"""Pairs of pictures in a set; every statement of the set is put to each of them."""

STATEMENTS: Final = 6
"""A set has at most so many statements."""

TOPIC_RATE: Final = 0.6
"""So often a picture of a set shows what the set is about."""

TRIES_PER_SET: Final = 20
"""Pictures are drawn at most so often for one set that is needed, before a split counts as exhausted."""

Pair = tuple[Seen, Seen]
Truth = Callable[[int, int], bool]


@dataclass(frozen=True)
class Statement:
    """A sentence, and its truth for each pair of its set."""

    text: str
    labels: tuple[bool, ...]


@dataclass(frozen=True)
class ComparisonSet:
    """Pairs of pictures, and statements that are each true of half of them."""

    pairs: tuple[tuple[Scene, Scene], ...]
    statements: tuple[Statement, ...]


@dataclass(frozen=True)
class _Form:
    """A kind of statement: how it is worded, and what the two pictures' counts must be for it."""

    templates: tuple[str, ...]
    truth: Truth


_FORMS: Final[Mapping[str, _Form]] = {
    "left": _Form(
        (
            "The left picture shows {a_look}.",
            "There is {a_look} in the left image.",
            "The left image contains {a_look}.",
        ),
        lambda left, right: left > 0,
    ),
    "right": _Form(
        (
            "The right picture shows {a_look}.",
            "There is {a_look} in the right image.",
            "The right image contains {a_look}.",
        ),
        lambda left, right: right > 0,
    ),
    "any": _Form(
        ("At least one of the pictures shows {a_look}.", "There is {a_look} in at least one image."),
        lambda left, right: left + right > 0,
    ),
    "both": _Form(
        ("Both pictures show {a_look}.", "There is {a_look} in each image."), lambda left, right: min(left, right) > 0
    ),
    "neither": _Form(
        ("Neither picture shows {a_look}.", "There are no {looks} in the images."),
        lambda left, right: left + right == 0,
    ),
    "one": _Form(
        ("Exactly one of the pictures shows {a_look}.", "Only one image contains {a_look}."),
        lambda left, right: (left > 0) != (right > 0),
    ),
    "more": _Form(
        ("There are more {looks} in the left picture than in the right one.",), lambda left, right: left > right
    ),
    "fewer": _Form(
        ("There are fewer {looks} in the left picture than in the right one.",), lambda left, right: left < right
    ),
    "two left": _Form(("The left picture shows exactly two {looks}.",), lambda left, right: left == 2),
    "two right": _Form(("The right picture shows exactly two {looks}.",), lambda left, right: right == 2),
    "several": _Form(
        ("There are at least three {looks} in the two pictures together.",), lambda left, right: left + right >= 3
    ),
}

WEIGHTS: Final = {
    "left": 0.24,
    "right": 0.24,
    "any": 0.16,
    "both": 0.14,
    "neither": 0.07,
    "one": 0.06,
    "more": 0.03,
    "fewer": 0.02,
    "two left": 0.01,
    "two right": 0.01,
    "several": 0.02,
}


def comparison_sets(scenes: Sequence[Scene], *, amount: int, rng: Random) -> list[ComparisonSet]:
    """Make sets of so many labelled statements in all, about the pictures of one split."""
    by_day = [Seen(scene) for scene in scenes if scene.light == "day"]
    topics = _topics(by_day)
    shares = Shares(WEIGHTS)
    sets: list[ComparisonSet] = []
    made, tries = 0, TRIES_PER_SET * (1 + amount // (PAIRS * STATEMENTS))
    while topics and made < amount and tries:
        tries -= 1
        pairs = _pairs(rng.choice(topics), by_day, rng)
        statements = _statements(pairs, shares=shares, rng=rng, split=by_day[0].scene.split)
        if statements:
            sets.append(ComparisonSet(tuple((left.scene, right.scene) for left, right in pairs), tuple(statements)))
            made += PAIRS * len(statements)
    return sets


@dataclass(frozen=True)
class _Topic:
    """What a set is about, with the pictures that show it and those that do not."""

    look: Look
    showing: tuple[int, ...]
    lacking: tuple[int, ...]


def _topics(scenes: Sequence[Seen]) -> list[_Topic]:
    """List what enough pictures show and enough do not."""
    split: Split = scenes[0].scene.split if scenes else "train"
    looks = [Look(kind) for kind in lexicon.KIND_NAMES] if split != "novel" else []
    topics: list[_Topic] = []
    for look in looks + list(_colored_looks(split)):
        showing = [number for number, seen in enumerate(scenes) if look.matches(seen)]
        lacking = [number for number, seen in enumerate(scenes) if not look.matches(seen)]
        if showing and lacking and len(scenes) > 1:
            topics.append(_Topic(look, tuple(showing), tuple(lacking)))
    return topics


def _colored_looks(split: Split) -> Iterator[Look]:
    for kind in lexicon.KIND_NAMES:
        if lexicon.is_paintable(kind):
            for color in novel_colors(kind) if split == "novel" else seen_colors(kind):
                yield Look(kind, color)


def _pairs(topic: _Topic, scenes: Sequence[Seen], rng: Random) -> list[Pair]:
    """Draw four pairs of two different pictures, some of which show the topic."""
    drawn: list[int] = []
    while len(drawn) < 2 * PAIRS:
        number = rng.choice(topic.showing if rng.random() < TOPIC_RATE else topic.lacking)
        if len(drawn) % 2 == 0 or number != drawn[-1]:
            drawn.append(number)
    return [(scenes[left], scenes[right]) for left, right in zip(drawn[::2], drawn[1::2], strict=True)]


def _statements(pairs: Sequence[Pair], *, shares: Shares, rng: Random, split: Split) -> list[Statement]:
    offered = _balanced(pairs, split)
    statements: list[Statement] = []
    while len(statements) < STATEMENTS and any(offered.values()):
        form = next(form for form in shares.by_need() if offered.get(form))
        look, labels = offered[form].pop(rng.randrange(len(offered[form])))
        template = rng.choice(_FORMS[form].templates)
        statements.append(Statement(template.format(a_look=lexicon.a(look.words), looks=look.plural), labels))
        shares.add(form)
    return statements


def _balanced(pairs: Sequence[Pair], split: Split) -> dict[str, list[tuple[Look, tuple[bool, ...]]]]:
    """List by form what is true of exactly half of the pairs."""
    offered: dict[str, list[tuple[Look, tuple[bool, ...]]]] = {}
    for look in _looks(pairs, split):
        counts = [(len(look.matches(left)), len(look.matches(right))) for left, right in pairs]
        for name, form in _FORMS.items():
            labels = tuple(form.truth(left, right) for left, right in counts)
            if sum(labels) * 2 == PAIRS:
                offered.setdefault(name, []).append((look, labels))
    return offered


def _looks(pairs: Sequence[Pair], split: Split) -> list[Look]:
    """List what may be spoken of: kinds, groups and painted kinds that one of the pictures shows."""
    shown = [seen for pair in pairs for seen in pair]
    kinds = dict.fromkeys(kind for seen in shown for kind in seen.kinds)
    groups = dict.fromkeys(group for seen in shown for group in seen.groups)
    painted = dict.fromkeys(
        Look(seen.kind(index), color)
        for seen in shown
        for index, color in enumerate(seen.colors)
        if color is not None and is_novel(seen.kind(index), color) == (split == "novel")
    )
    plain = [Look(noun) for noun in (*kinds, *groups)]
    return list(painted) if split == "novel" else plain + list(painted)
