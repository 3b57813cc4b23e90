"""What may be asked about what things look like: their colours, kinds and sizes."""

from collections.abc import Iterator
from random import Random
from typing import Final

from . import lexicon
from .ask import LEFT_RIGHT, YES_NO, Ask, Step, pairs_shown, select, yes_no
from .seen import Seen

SIZES: Final = ("small", "large")

OTHERS_OFFERED: Final = 3
"""So many wrong colours are offered beside the right one."""

_FAMILY_OF_GROUP: Final = {"person": "who"}
"""People are asked for by another word."""


def _colors(seen: Seen, rng: Random) -> Iterator[Ask]:
    for index, color in enumerate(seen.colors):
        if color is None:
            continue
        for noun in seen.nouns(index):
            yield Ask(
                "color",
                f"color|{noun}",
                {"thing": noun},
                color,
                about=(index,),
                pairs=((seen.kind(index), color),),
                program=(select(noun, (index,)), Step("query", "color", (0,))),
            )


def _colors_by_side(seen: Seen, rng: Random) -> Iterator[Ask]:
    for index, color in enumerate(seen.colors):
        kind = seen.kind(index)
        side = seen.alone_on_side(index, seen.of_kind(kind))
        if color is None or side is None:
            continue
        yield Ask(
            "color",
            f"color|{kind} {side}",
            {"thing": f"{kind} on the {side}"},
            color,
            about=(index,),
            pairs=((kind, color),),
            program=(
                select(kind, tuple(seen.of_kind(kind))),
                Step("filter hposition", side, (0,), (index,)),
                Step("query", "color", (1,)),
            ),
        )


def _colors_by_order(seen: Seen, rng: Random) -> Iterator[Ask]:
    for kind, count in seen.kinds.items():
        for side in LEFT_RIGHT:
            index = seen.extreme(side, seen.of_kind(kind)) if count > 1 else None
            color = seen.colors[index] if index is not None else None
            if index is None or color is None:
                continue
            yield Ask(
                "color",
                f"color|{side}most {kind}",
                {"thing": f"{side}most {kind}"},
                color,
                about=(index,),
                pairs=((kind, color),),
                program=(
                    select(kind, tuple(seen.of_kind(kind))),
                    Step("filter hposition", f"{side}most", (0,), (index,)),
                    Step("query", "color", (1,)),
                ),
            )


def _kinds_by_color(seen: Seen, rng: Random) -> Iterator[Ask]:
    for color in dict.fromkeys(seen.colors):
        index = seen.only_of_color(color) if color is not None else None
        if color is None or index is None:
            continue
        yield Ask(
            "kind",
            f"kind|{color}",
            {"color": color, "a_color": lexicon.a(color)},
            seen.kind(index),
            about=(index,),
            pairs=((seen.kind(index), color),),
            program=(
                select("object", tuple(range(len(seen.things)))),
                Step("filter color", color, (0,), (index,)),
                Step("query", "name", (1,)),
            ),
        )


def _kinds_by_group(seen: Seen, rng: Random) -> Iterator[Ask]:
    for group, count in seen.groups.items():
        if count != 1:
            continue
        index = seen.of_group(group)[0]
        yield Ask(
            _FAMILY_OF_GROUP.get(group, "group"),
            f"group|{group}",
            {"group": group},
            seen.kind(index),
            about=(index,),
            program=(select(group, (index,)), Step("query", "name", (0,))),
        )


def _color_checks(seen: Seen, rng: Random) -> Iterator[Ask]:
    for index, seen_color in enumerate(seen.colors):
        kind = seen.kind(index)
        if seen_color is None or seen.kinds[kind] > 1:
            continue
        for color in lexicon.COLORS:
            yield Ask(
                "verify color",
                f"verify color|{color} {kind}",
                {"thing": kind, "color": color},
                yes_no(color == seen_color),
                YES_NO,
                about=(index,),
                pairs=((kind, color),),
                program=(select(kind, (index,)), Step("verify color", color, (0,))),
            )


def _color_choices(seen: Seen, rng: Random) -> Iterator[Ask]:
    for index, color in enumerate(seen.colors):
        kind = seen.kind(index)
        if color is None or seen.kinds[kind] > 1:
            continue
        for other in rng.sample([c for c in lexicon.COLORS if c != color], OTHERS_OFFERED):
            first, second = rng.sample((color, other), 2)
            options = tuple(sorted((first, second)))
            yield Ask(
                "choose color",
                f"choose color|{kind}|{'|'.join(options)}",
                {"thing": kind, "first": first, "second": second},
                color,
                options,
                about=(index,),
                pairs=((kind, color),),
                program=(select(kind, (index,)), Step("choose color", f"{first}|{second}", (0,))),
            )


def _same_colors(seen: Seen, rng: Random) -> Iterator[Ask]:
    painted = [i for i, color in enumerate(seen.colors) if color is not None and seen.kinds[seen.kind(i)] == 1]
    for position, first in enumerate(painted):
        for second in painted[position + 1 :]:
            one, two = seen.kind(first), seen.kind(second)
            yield Ask(
                "same color",
                "same color",
                {"thing": one, "anchor": two},
                yes_no(seen.colors[first] == seen.colors[second]),
                YES_NO,
                about=(first, second),
                pairs=pairs_shown(seen, first, second),
                program=(select(one, (first,)), select(two, (second,)), Step("same color", "", (0, 1))),
            )


def _sizes(seen: Seen, rng: Random) -> Iterator[Ask]:
    for index in range(len(seen.things)):
        kind, size = seen.kind(index), seen.size(index)
        if size is None or seen.kinds[kind] > 1:
            continue
        yield Ask(
            "size",
            f"size|{kind}",
            {"thing": kind},
            size,
            SIZES,
            about=(index,),
            program=(select(kind, (index,)), Step("choose size", "small|large", (0,))),
        )


LOOKS: Final = (
    _colors,
    _colors_by_side,
    _colors_by_order,
    _kinds_by_color,
    _kinds_by_group,
    _color_checks,
    _color_choices,
    _same_colors,
    _sizes,
)
