"""What may be asked about where things are: sides of the picture, and one thing beside another."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Final

from . import lexicon
from .ask import LEFT_RIGHT, YES_NO, Ask, Step, pairs_shown, select, yes_no
from .seen import OPPOSITE, Seen, Side


def _sides(seen: Seen, rng: Random) -> Iterator[Ask]:
    for index in range(len(seen.things)):
        kind, side, color = seen.kind(index), seen.side(index), seen.colors[index]
        if side is None:
            continue
        if seen.kinds[kind] == 1:
            yield _ask_for_side(kind, side, index)
        if color is not None and seen.of_color(color, kind) == [index]:
            yield replace(_ask_for_side(f"{color} {kind}", side, index), pairs=((kind, color),))


def _ask_for_side(name: str, side: Side, index: int) -> Ask:
    return Ask(
        "side",
        f"side|{name}",
        {"thing": name},
        side,
        LEFT_RIGHT,
        about=(index,),
        program=(select(name, (index,)), Step("choose hposition", "left|right", (0,))),
    )


def _outermost(seen: Seen, rng: Random) -> Iterator[Ask]:
    """Ask what is furthest to a side, and what colour it has."""
    everything = tuple(range(len(seen.things)))
    for side in LEFT_RIGHT:
        index = seen.extreme(side, everything)
        if index is None:
            continue
        color = seen.colors[index]
        found = (select("object", everything), Step("filter hposition", f"{side}most", (0,), (index,)))
        answers = {"outermost": ("name", seen.kind(index)), "outermost color": ("color", color)}
        for family, (attribute, answer) in answers.items():
            if answer is not None:
                yield Ask(
                    family,
                    f"{family}|{side}",
                    {"side": side},
                    answer,
                    about=(index,),
                    pairs=pairs_shown(seen, index),
                    program=(*found, Step("query", attribute, (1,))),
                )


def _relations(seen: Seen, rng: Random) -> Iterator[Ask]:
    """Ask what, or what colour, stands in a relation to a thing that has a name of its own."""
    for anchor in range(len(seen.things)):
        if seen.name(anchor) is None:
            continue
        for relation in OPPOSITE:
            found = seen.the_one(relation, anchor, range(len(seen.things)))
            if found is not None:
                yield from _asks_for_related(seen, relation, anchor=anchor, found=found)


def _asks_for_related(seen: Seen, relation: str, *, anchor: int, found: int) -> Iterator[Ask]:
    words, name = lexicon.relation_words(relation), str(seen.name(anchor))
    slots = {"relation": words, "anchor": name}
    steps = (select(name, (anchor,)), Step("relate", f"_,{words},s", (0,), (found,)))
    color = seen.colors[found]
    pairs = ((seen.kind(found), color),) if color is not None else ()
    yield Ask(
        "relation",
        f"relation|{relation} {name}",
        slots,
        seen.kind(found),
        about=(found, anchor),
        pairs=pairs,
        program=(*steps, Step("query", "name", (1,))),
    )
    if color is not None:
        yield Ask(
            "relation color",
            f"relation color|{relation} {name}",
            slots,
            color,
            about=(found, anchor),
            pairs=pairs,
            program=(*steps, Step("query", "color", (1,))),
        )


def _relation_checks(seen: Seen, rng: Random) -> Iterator[Ask]:
    for first in range(len(seen.things)):
        for second in range(len(seen.things)):
            truth = seen.relation(first, second) if first != second else None
            one, two = seen.name(first), seen.name(second)
            if truth is None or one is None or two is None:
                continue
            for relation in (truth, OPPOSITE[truth]):
                words = lexicon.relation_words(relation)
                yield Ask(
                    "verify relation",
                    f"verify relation|{relation}",
                    {"thing": one, "relation": words, "anchor": two},
                    yes_no(relation == truth),
                    YES_NO,
                    about=(first, second),
                    pairs=pairs_shown(seen, first, second),
                    program=(select(two, (second,)), Step("verify rel", f"{one},{words},s", (0,))),
                )


def _relation_choices(seen: Seen, rng: Random) -> Iterator[Ask]:
    for first in range(len(seen.things)):
        for second in range(len(seen.things)):
            truth = seen.relation(first, second) if first != second else None
            one, two = seen.name(first), seen.name(second)
            if truth not in ("left of", "right of") or one is None or two is None:
                continue
            yield Ask(
                "choose relation",
                "choose relation",
                {"thing": one, "anchor": two},
                truth.removesuffix(" of"),
                LEFT_RIGHT,
                about=(first, second),
                pairs=pairs_shown(seen, first, second),
                program=(select(two, (second,)), Step("choose rel", f"{one},to the left of|to the right of,s", (0,))),
            )


LAYOUT: Final = (
    _sides,
    _outermost,
    _relations,
    _relation_checks,
    _relation_choices,
)
