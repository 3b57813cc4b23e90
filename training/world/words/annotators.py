"""Ten people who answer a VQA question: they mostly agree, use synonyms, miscount at times; the majority is right."""

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Final

from . import lexicon
from .ask import Ask

ANNOTATORS: Final = 10

MOST_DISSENTERS: Final = 4
"""At least six of the ten give the answer that is true, in the words of the world."""

SYNONYM_RATE: Final = 0.15
MISCOUNT_RATE: Final = 0.05
SLIP_RATE: Final = 0.02

_CONFIDENCES: Final = ("yes", "maybe", "no")
_SURE: Final = (0.88, 0.10, 0.02)
_UNSURE: Final = (0.35, 0.45, 0.20)

_CONFUSED: Final[Mapping[str, str]] = {
    "yes": "no",
    "no": "yes",
    "left": "right",
    "right": "left",
    "day": "night",
    "night": "day",
    "small": "large",
    "large": "small",
    "red": "orange",
    "orange": "red",
    "blue": "purple",
    "purple": "blue",
    "gray": "white",
    "pink": "purple",
    "brown": "orange",
    "dog": "cat",
    "truck": "bus",
    "room": "kitchen",
}


@dataclass(frozen=True)
class Vote:
    """What one annotator said, and how sure they were ("yes", "maybe", "no")."""

    answer: str
    confidence: str


def votes(ask: Ask, rng: Random) -> list[Vote]:
    """Let ten people answer."""
    said = [_said(ask, rng) for _ in range(ANNOTATORS)]
    dissent = [place for place, answer in enumerate(said) if answer != ask.answer]
    for place in dissent[MOST_DISSENTERS:]:
        said[place] = ask.answer
    return [Vote(answer, _confidence(answer == ask.answer, rng)) for answer in said]


def _said(ask: Ask, rng: Random) -> str:
    drawn = rng.random()
    if ask.answer.isdigit():
        return _miscounted(int(ask.answer), rng) if drawn < MISCOUNT_RATE else ask.answer
    if drawn < SLIP_RATE:
        return _CONFUSED.get(ask.answer, ask.answer)
    synonym = lexicon.synonym(ask.answer)
    return synonym if synonym is not None and drawn < SLIP_RATE + SYNONYM_RATE else ask.answer


def _miscounted(count: int, rng: Random) -> str:
    return str(max(0, count + rng.choice((-1, 1))))


def _confidence(agrees: bool, rng: Random) -> str:
    return rng.choices(_CONFIDENCES, weights=_SURE if agrees else _UNSURE)[0]
