"""SNLI-VE's statements about one picture: entailed, contradicted, or neither.

*Neither* lies in the picture, never in the words: by night a colour cannot be seen, and a closed crate may hold what is
spoken of. The same sentence comes with all three labels, equally often.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

from training.world.kinds import CRATE, KINDS, novel_colors, seen_colors
from training.world.scene import Scene

from . import lexicon
from .balance import Shares
from .claims import Look
from .seen import Seen

Label = Literal["entailment", "neutral", "contradiction"]
LABELS: Final[tuple[Label, ...]] = ("entailment", "neutral", "contradiction")
DECIDED: Final[tuple[Label, ...]] = ("entailment", "contradiction")

WEIGHTS: Final = {"definite": 0.34, "indefinite": 0.33, "existence": 0.33}

MOST_PER_SENTENCE: Final = 30
"""A sentence is put to at most so many pictures of each label, so that no kind prevails."""

HARD_RATE: Final = 0.5
"""So many contradicted sentences are put to pictures that show such a thing in another colour, where there are any."""

FITS_PX: Final = 62
"""Kinds of this usual size and below may be thought to lie in a crate."""

_TEMPLATES: Final[Mapping[str, tuple[str, ...]]] = {
    "definite": (
        "The {noun} is {color}.",
        "The {noun} in the picture is {color}.",
        "The {noun} has a {color} color.",
        "The color of the {noun} is {color}.",
        "The {noun} that is shown is {color}.",
    ),
    "indefinite": (
        "There is {a_look}.",
        "There is {a_look} in the picture.",
        "There is {a_look} here.",
        "Somewhere there is {a_look}.",
        "One of the things is {a_look}.",
    ),
    "existence": (
        "There is {a_look}.",
        "There is {a_look} in the scene.",
        "There is at least one {noun}.",
        "Somewhere there is {a_look}.",
        "One of the things is {a_look}.",
    ),
}


@dataclass(frozen=True)
class Hypothesis:
    """A sentence about a picture, and whether the picture bears it out."""

    scene: Scene
    text: str
    label: Label


def hypotheses(scenes: Sequence[Scene], *, amount: int, rng: Random) -> list[Hypothesis]:
    """State so many things about the pictures of one split; fewer where they allow no more.

    Sentences come in threes: one text, three pictures, three labels. A split so small that no picture leaves anything
    open has them in twos.
    """
    judged_looks = {family: list(_judged_looks(family, [Seen(scene) for scene in scenes])) for family in WEIGHTS}
    groups = _groups(judged_looks, LABELS, rng)
    if not any(groups.values()):
        groups = _groups(judged_looks, DECIDED, rng)
    shares = Shares(WEIGHTS)
    stated: list[Hypothesis] = []
    while len(stated) < amount and any(groups.values()):
        family = next(family for family in shares.by_need() if groups[family])
        stated += groups[family].pop()
        shares.add(family)
    return stated


def judged(look: Look, seen: Seen) -> Label:
    """Say whether "there is a …" follows from the picture."""
    if look.matches(seen):
        return "entailment"
    hidden_color = look.color is not None and seen.is_night and bool(Look(look.noun).matches(seen))
    hidden_thing = seen.kinds[CRATE] > 0 and _fits_a_crate(look.noun)
    return "neutral" if hidden_color or hidden_thing else "contradiction"


def judged_alone(look: Look, seen: Seen) -> Label | None:
    """Say whether "the … is red" follows from the picture; None where there is no such thing, or several."""
    things = Look(look.noun).matches(seen)
    if len(things) != 1:
        return None
    if seen.is_night:
        return "neutral"
    return "entailment" if look.matches(seen) else "contradiction"


_JUDGES: Final[Mapping[str, Callable[[Look, Seen], Label | None]]] = {
    "definite": judged_alone,
    "indefinite": judged,
    "existence": judged,
}


@dataclass(frozen=True)
class _JudgedLook:
    """Which pictures entail, leave open and contradict a statement about something that looks so."""

    look: Look
    scenes: Mapping[Label, Sequence[Seen]]


def _judged_looks(family: str, seen: Sequence[Seen]) -> Iterator[_JudgedLook]:
    is_novel = bool(seen) and seen[0].scene.split == "novel"
    for look in _LOOKS[family](is_novel):
        labels = [_JUDGES[family](look, one) for one in seen]
        scenes = {
            wanted: [one for one, label in zip(seen, labels, strict=True) if label == wanted] for wanted in LABELS
        }
        yield _JudgedLook(look, scenes)


def _groups(
    judged_looks: Mapping[str, Sequence[_JudgedLook]], labels: Sequence[Label], rng: Random
) -> dict[str, list[list[Hypothesis]]]:
    """Put every sentence to one picture of each label, as often as there are pictures; by family, in random order."""
    groups: dict[str, list[list[Hypothesis]]] = {}
    for family, listed in judged_looks.items():
        groups[family] = [
            group for one in listed for template in _TEMPLATES[family] for group in _worded(template, one, labels, rng)
        ]
        rng.shuffle(groups[family])
    return groups


def _worded(template: str, judged_look: _JudgedLook, labels: Sequence[Label], rng: Random) -> list[list[Hypothesis]]:
    look, scenes = judged_look.look, judged_look.scenes
    text = template.format(a_look=lexicon.a(look.words), noun=look.noun, color=look.color)
    count = min(MOST_PER_SENTENCE, *(len(scenes[label]) for label in labels))
    drawn = {label: _hard_first(look, scenes[label], count, rng) for label in labels}
    return [[Hypothesis(drawn[label][place].scene, text, label) for label in labels] for place in range(count)]


def _hard_first(look: Look, scenes: Sequence[Seen], count: int, rng: Random) -> list[Seen]:
    """Draw pictures; of those that contradict a colour, half show such a thing in another colour."""
    mixed = rng.sample(scenes, len(scenes))
    mixed.sort(key=lambda seen: not Look(look.noun).matches(seen))
    wanted = round(count * HARD_RATE)
    return mixed[:wanted] + rng.sample(mixed[wanted:], count - wanted)


def _fits_a_crate(noun: str) -> bool:
    return noun in KINDS and KINDS[noun].usual_px <= FITS_PX and KINDS[noun].supercategory != "person"


def _colored_looks(novel: bool) -> list[Look]:
    colors = novel_colors if novel else seen_colors
    return [Look(kind, color) for kind in KINDS if KINDS[kind].is_paintable for color in colors(kind)]


def _plain_looks(novel: bool) -> list[Look]:
    """List the kinds that a crate may hold; none where colours are what is tested."""
    return [] if novel else [Look(kind) for kind in KINDS if _fits_a_crate(kind) and kind != CRATE]


_LOOKS: Final[Mapping[str, Callable[[bool], list[Look]]]] = {
    "definite": _colored_looks,
    "indefinite": _colored_looks,
    "existence": _plain_looks,
}
