"""Visual7W's pointing questions: "Which …?", and four boxes of the same picture to choose from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from training.world.kinds import is_novel
from training.world.scene import Scene

from . import lexicon
from .ask import LEFT_RIGHT
from .balance import Shares
from .quota import quotas
from .seen import OPPOSITE, Seen

WRONG_CHOICES: Final = 3
"""A question comes with its answer and so many other boxes."""

WEIGHTS: Final = {
    "color of kind": 0.28,
    "color": 0.22,
    "kind": 0.20,
    "name": 0.10,
    "side": 0.06,
    "order": 0.06,
    "relation": 0.08,
}

_TEMPLATES: Final = {
    "color of kind": (
        "Which {noun} is {color}?",
        "Which of the {nouns} is {color}?",
        "Which one is the {color} {noun}?",
    ),
    "color": (
        "Which thing is {color}?",
        "Which object is {color}?",
        "Which one is {color}?",
        "Which of these is {color}?",
    ),
    "kind": ("Which thing is {a_noun}?", "Which object is the {noun}?", "Which one is {a_noun}?"),
    "name": (
        "Which thing is the {noun}?",
        "Which is the {noun}?",
        "Which object is the {noun}?",
        "Which one is the {noun}?",
    ),
    "side": ("Which {noun} is on the {side}?", "Which is the {noun} on the {side}?", "Which one is the {side} {noun}?"),
    "order": (
        "Which is the {side}most {noun}?",
        "Which {noun} is {side}most?",
        "Which {noun} is furthest to the {side}?",
    ),
    "relation": (
        "Which thing is {relation} the {anchor}?",
        "Which object is {relation} the {anchor}?",
        "Which one is {relation} the {anchor}?",
    ),
}


@dataclass(frozen=True)
class Which:
    """A pointing question.

    Attributes:
        scene: The picture's.
        text: As asked.
        answer: Index of the thing that is meant.
        wrong: Indices of the other three choices.
    """

    scene: Scene
    text: str
    answer: int
    wrong: tuple[int, ...]


_Askable = tuple[str, dict[str, str], tuple[int, ...]]
"""Family, slots, and the things that are named, the one that is meant first."""


def which_questions(scenes: Sequence[Scene], *, amount: int, rng: Random) -> list[Which]:
    """Ask so many questions about pictures with at least four things; fewer where they show no more."""
    fit = [scene for scene in scenes if len(scene.things) > WRONG_CHOICES]
    shares = Shares(WEIGHTS)
    questions: list[Which] = []
    wanted = 0
    for scene, quota in zip(fit, quotas(amount, len(fit)), strict=True):
        wanted += quota
        questions += _about(Seen(scene), wanted - len(questions), shares=shares, rng=rng)
    return questions


def _about(seen: Seen, quota: int, *, shares: Shares, rng: Random) -> list[Which]:
    offered: dict[str, list[tuple[str, int]]] = {family: [] for family in WEIGHTS}
    for family, slots, indices in _askable(seen):
        if any(_concerns(seen, about) for about in indices):
            offered[family] += [(template.format(**slots), indices[0]) for template in _TEMPLATES[family]]
    chosen: list[Which] = []
    while len(chosen) < quota and any(offered.values()):
        family = next(family for family in shares.by_need() if offered[family])
        text, index = offered[family].pop(rng.randrange(len(offered[family])))
        chosen.append(Which(seen.scene, text, index, _distractors(seen, index, rng)))
        shares.add(family)
    return chosen


def _concerns(seen: Seen, index: int) -> bool:
    return seen.scene.split != "novel" or is_novel(seen.kind(index), seen.colors[index])


def _distractors(seen: Seen, answer: int, rng: Random) -> tuple[int, ...]:
    """Draw three other things, those of the same kind or colour first."""
    others = [index for index in range(len(seen.things)) if index != answer]
    rng.shuffle(others)
    others.sort(key=lambda index: (seen.kind(index) != seen.kind(answer), seen.colors[index] != seen.colors[answer]))
    return tuple(others[:WRONG_CHOICES])


def _askable(seen: Seen) -> Iterator[_Askable]:
    """Give everything that means one thing alone."""
    for index in range(len(seen.things)):
        yield from _by_color(seen, index)
        yield from _by_name(seen, index)
    for kind in seen.kinds:
        yield from _by_side(seen, kind)
    for anchor in range(len(seen.things)):
        yield from _by_relation(seen, anchor)


def _by_color(seen: Seen, index: int) -> Iterator[_Askable]:
    kind, color = seen.kind(index), seen.colors[index]
    if color is None:
        return
    if seen.kinds[kind] > 1 and seen.of_color(color, kind) == [index]:
        yield "color of kind", {"noun": kind, "nouns": lexicon.plural(kind), "color": color}, (index,)
    if seen.only_of_color(color) == index:
        yield "color", {"color": color}, (index,)


def _by_name(seen: Seen, index: int) -> Iterator[_Askable]:
    kind, color, name = seen.kind(index), seen.colors[index], seen.name(index)
    if name == kind:
        yield "kind", {"noun": kind, "a_noun": lexicon.a(kind)}, (index,)
    if name is not None and color is not None:
        yield "name", {"noun": f"{color} {kind}"}, (index,)


def _by_side(seen: Seen, kind: str) -> Iterator[_Askable]:
    among = seen.of_kind(kind)
    for index in among:
        side = seen.alone_on_side(index, among)
        if side is not None:
            yield "side", {"noun": kind, "side": side}, (index,)
    for side in LEFT_RIGHT:
        outermost = seen.extreme(side, among)
        if outermost is not None:
            yield "order", {"noun": kind, "side": side}, (outermost,)


def _by_relation(seen: Seen, anchor: int) -> Iterator[_Askable]:
    name = seen.name(anchor)
    if name is None:
        return
    for relation in OPPOSITE:
        found = seen.the_one(relation, anchor, range(len(seen.things)))
        if found is not None:
            yield "relation", {"relation": lexicon.relation_words(relation), "anchor": name}, (found, anchor)
