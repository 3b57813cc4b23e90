"""GuessWhat?! games: one player has a thing in mind, the other asks until only one thing is left.

The questioner takes questions that split what is left well; the oracle answers truthfully, "N/A" where a question does
not apply (the colour of a banana, the side of a thing in the middle).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

from training.world.kinds import KINDS, is_novel
from training.world.scene import Scene

from . import lexicon
from .quota import quotas
from .seen import Seen

Answer = Literal["Yes", "No", "N/A"]

FEWEST_TURNS: Final = 3
MOST_TURNS: Final = 5
FEWEST_THINGS: Final = 3

FAILURE_RATE: Final = 0.05
"""So many games end with a wrong guess, a question too early."""

INAPPLICABLE_RATE: Final = 0.05
"""So seldom a question is asked that does not apply to the target."""

BEST_CONSIDERED: Final = 3
"""The questioner takes one of so many questions that split best."""

_NOUNS_OF_GROUPS: Final = {
    "person": "a person",
    "animal": "an animal",
    "vehicle": "a vehicle",
    "food": "food",
    "furniture": "a piece of furniture",
    "clothing": "something to wear",
    "electronic": "an electronic device",
    "container": "a container",
}


@dataclass(frozen=True)
class Turn:
    """A question and the oracle's answer."""

    question: str
    answer: Answer


@dataclass(frozen=True)
class Game:
    """One game.

    Attributes:
        scene: The picture's.
        target: Index of the thing that is meant.
        turns: What was asked and answered.
        is_success: Whether the turns single the target out, and it was guessed.
    """

    scene: Scene
    target: int
    turns: tuple[Turn, ...]
    is_success: bool


@dataclass(frozen=True)
class _Query:
    """A question with the oracle's answer for every thing."""

    text: str
    answers: tuple[Answer, ...]


def games(scenes: Sequence[Scene], *, amount: int, rng: Random) -> list[Game]:
    """Play so many games, every thing of a picture being the target equally often."""
    fit = [scene for scene in scenes if len(scene.things) >= FEWEST_THINGS]
    played: list[Game] = []
    for scene, quota in zip(fit, quotas(amount, len(fit)), strict=True):
        seen = Seen(scene)
        for target in _targets(seen, quota, rng):
            game = _play(seen, target, rng)
            played += [game] if game is not None else []
    return played


def _targets(seen: Seen, quota: int, rng: Random) -> list[int]:
    """Draw targets, each thing that the scene's split is about equally often."""
    things = [
        index
        for index in range(len(seen.things))
        if seen.scene.split != "novel" or is_novel(seen.kind(index), seen.colors[index])
    ]
    rng.shuffle(things)
    return [things[turn % len(things)] for turn in range(quota)] if things else []


def _play(seen: Seen, target: int, rng: Random) -> Game | None:
    """Play until one thing is left; None where no question could do that in time."""
    queries = list(_queries(seen, rng))
    left = list(range(len(seen.things)))
    turns: list[Turn] = []
    while len(turns) < MOST_TURNS and (len(left) > 1 or len(turns) < FEWEST_TURNS):
        query = _next(queries, left, target, rng)
        if query is None:
            return None
        queries.remove(query)
        turns.append(Turn(query.text, query.answers[target]))
        left = [index for index in left if query.answers[index] == query.answers[target]]
    if len(left) > 1:
        return None
    return _ended(seen, target, turns, rng)


def _ended(seen: Seen, target: int, turns: Sequence[Turn], rng: Random) -> Game:
    if rng.random() < FAILURE_RATE:
        return Game(seen.scene, target, tuple(turns[:-1]), is_success=False)
    return Game(seen.scene, target, tuple(turns), is_success=True)


def _next(queries: Sequence[_Query], left: Sequence[int], target: int, rng: Random) -> _Query | None:
    """Take a question that splits what is left well; one that confirms where only one thing is left."""
    if len(left) == 1:
        confirming = [query for query in queries if query.answers[target] == "Yes"]
        return rng.choice(confirming) if confirming else None
    useful = [query for query in queries if len({query.answers[index] for index in left}) > 1]
    if rng.random() > INAPPLICABLE_RATE:
        useful = [query for query in useful if query.answers[target] != "N/A"] or useful
    rng.shuffle(useful)
    useful.sort(key=lambda query: _largest_part(query, left))
    return rng.choice(useful[:BEST_CONSIDERED]) if useful else None


def _largest_part(query: _Query, left: Sequence[int]) -> int:
    answers = [query.answers[index] for index in left]
    return max(answers.count(answer) for answer in set(answers))


def _queries(seen: Seen, rng: Random) -> Iterator[_Query]:
    """Give every question whose answers differ between the things of the scene."""
    indices = range(len(seen.things))
    for kind in seen.kinds:
        yield _worded(("Is it {}?",), lexicon.a(kind), [_says(seen.kind(i) == kind) for i in indices], rng)
    for group in dict.fromkeys(KINDS[thing.kind].supercategory for thing in seen.things):
        if group in _NOUNS_OF_GROUPS:
            belongs = [_says(KINDS[seen.kind(i)].supercategory == group) for i in indices]
            yield _worded(("Is it {}?",), _NOUNS_OF_GROUPS[group], belongs, rng)
    for color in dict.fromkeys(color for color in seen.colors if color is not None):
        yield _worded(("Is it {}?", "Is its color {}?"), color, [_matches(seen.colors[i], color) for i in indices], rng)
    for side in ("left", "right"):
        words = ("Is it on the {}?", "Is it in the {} half?")
        yield _worded(words, side, [_matches(seen.side(i), side) for i in indices], rng)
    for level, word in (("top", "upper"), ("bottom", "lower")):
        yield _worded(("Is it in the {} half?",), word, [_matches(seen.level(i), level) for i in indices], rng)
    for size in ("small", "large"):
        yield _worded(("Is it {}?",), size, [_matches(seen.size(i), size) for i in indices], rng)


def _worded(templates: Sequence[str], word: str, answers: Sequence[Answer], rng: Random) -> _Query:
    return _Query(rng.choice(templates).format(word), tuple(answers))


def _says(truth: bool) -> Answer:
    return "Yes" if truth else "No"


def _matches(shown: str | None, asked: str) -> Answer:
    return "N/A" if shown is None else _says(shown == asked)
