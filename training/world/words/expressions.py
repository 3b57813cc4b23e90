"""Referring expressions: words that mean exactly one thing of a picture.

RefCOCO's are as short as they can be and may name places; RefCOCO+'s name none; RefCOCOg's are whole phrases with
colours and relations. An expression is checked against the scene before it is given out.
"""

from collections.abc import Iterator, Sequence
from random import Random
from typing import Final

from training.world.kinds import is_novel
from training.world.scene import Scene

from . import lexicon
from .ask import LEFT_RIGHT
from .seen import OPPOSITE, Seen

SENTENCES: Final = 5
"""A thing is referred to by at most so many different expressions; RefCOCO has 2.8 on average."""


def placed_expressions(scene: Scene, rng: Random) -> dict[int, list[str]]:
    """Refer to things as RefCOCO does; by index of the thing, those that cannot be told apart left out."""
    seen = Seen(scene)
    return _drawn(seen, {i: [*_short(seen, i), *_by_side(seen, i)] for i in range(len(seen.things))}, rng)


def placeless_expressions(scene: Scene, rng: Random) -> dict[int, list[str]]:
    """Refer to things by what they look like, as RefCOCO+ does."""
    seen = Seen(scene)
    return _drawn(seen, {i: [*_short(seen, i), *_by_size(seen, i)] for i in range(len(seen.things))}, rng)


def long_expressions(scene: Scene, rng: Random) -> dict[int, list[str]]:
    """Refer to things in phrases, as RefCOCOg does."""
    seen = Seen(scene)
    return _drawn(seen, {i: list(_phrases(seen, i)) for i in range(len(seen.things))}, rng)


def _drawn(seen: Seen, expressions: dict[int, list[str]], rng: Random) -> dict[int, list[str]]:
    """Draw a few for each thing that the scene's split is about."""
    return {
        index: rng.sample(listed, min(SENTENCES, len(listed)))
        for index, listed in expressions.items()
        if listed and _concerns(seen, index)
    }


def _concerns(seen: Seen, index: int) -> bool:
    return seen.scene.split != "novel" or is_novel(seen.kind(index), seen.colors[index])


def _short(seen: Seen, index: int) -> Iterator[str]:
    """Give the shortest words, with and without their article, and the colour where it is enough."""
    kind, color, name = seen.kind(index), seen.colors[index], seen.name(index)
    if name is not None:
        yield from (name, f"the {name}", f"that {name}")
    if name == kind and color is not None:
        yield from (f"{color} {kind}", f"the {color} {kind}")
    if color is not None and seen.only_of_color(color) == index:
        yield from (f"{color} thing", f"the {color} one")


def _by_side(seen: Seen, index: int) -> Iterator[str]:
    """Say which one of its kind, or of its kind and colour, it is from left to right."""
    kind, color = seen.kind(index), seen.colors[index]
    if seen.kinds[kind] > 1:
        yield from _ordered(seen, index, kind, seen.of_kind(kind))
    if color is not None and seen.name(index) is None:
        yield from _ordered(seen, index, f"{color} {kind}", seen.of_color(color, kind))


def _ordered(seen: Seen, index: int, noun: str, among: Sequence[int]) -> Iterator[str]:
    for side in LEFT_RIGHT:
        if seen.extreme(side, among) == index:
            yield from (f"{side} {noun}", f"{side}most {noun}")
    if (side_alone := seen.alone_on_side(index, among)) is not None:
        yield from (f"{noun} on the {side_alone}", f"{noun} on {side_alone} side")


def _by_size(seen: Seen, index: int) -> Iterator[str]:
    """Say that it is the small or the large one of its kind, where the others are the opposite."""
    kind, size = seen.kind(index), seen.size(index)
    others = [seen.size(other) for other in seen.of_kind(kind) if other != index]
    if size is not None and others and all(other not in (size, None) for other in others):
        yield from (f"{size} {kind}", f"the {size} {kind}")


def _phrases(seen: Seen, index: int) -> Iterator[str]:
    """Put a thing beside others: its relation, or its side and what it looks like, single it out."""
    name, kind, color = seen.name(index), seen.kind(index), seen.colors[index]
    nouns = [kind] if color is None else [kind, f"{color} {kind}"]
    for relation in OPPOSITE:
        words = lexicon.relation_words(relation)
        for anchor in range(len(seen.things)):
            anchor_name = seen.name(anchor)
            if anchor_name is None or anchor == index:
                continue
            for noun in nouns:
                same = seen.of_kind(kind) if noun == kind else seen.of_color(str(color), kind)
                if seen.the_one(relation, anchor, same) == index:
                    yield f"the {noun} {words} the {anchor_name}"
                    yield f"{lexicon.a(noun)} that is {words} the {anchor_name}"
    if name is not None:
        where = lexicon.at(seen.scene.place)
        yield f"the {name} that is {where}"
        if (side := seen.side(index)) is not None:
            yield f"the {name} on the {side} side of the picture"
