"""What may be asked about a scene: the meaning of a question, its true answer and its program, before any wording.

An `Ask` belongs to a *family* ("color"): its questions are worded by the same templates. Its *subject* is what is asked
whatever the picture ("color|car"): with it one can balance answers, and find the same question on an edited twin.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from . import lexicon
from .seen import OPPOSITE, Seen, Side

YES_NO: Final = ("yes", "no")
COUNTS: Final = ("0", "1", "2", "3", "4")
COLORED_COUNTS: Final = ("0", "1", "2")
LEFT_RIGHT: Final[tuple[Side, Side]] = ("left", "right")
SIZES: Final = ("small", "large")

ABSENT_COUNTED: Final = 3
"""So many kinds that are not in the picture are offered for counting."""

OTHERS_OFFERED: Final = 3
"""So many wrong colours are offered beside the right one."""

_FAMILY_OF_GROUP: Final = {"person": "who"}
"""People are asked for by another word."""


@dataclass(frozen=True)
class Step:
    """One step of a GQA program.

    Attributes:
        operation: As GQA calls it ("select", "filter color", "query").
        argument: What it is applied to ("car", "_,to the left of,s").
        after: The steps whose results it takes.
        things: The things it yields; None where it yields no things.
    """

    operation: str
    argument: str
    after: tuple[int, ...] = ()
    things: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Ask:
    """A question without words.

    Attributes:
        family: Names the templates it is worded by.
        subject: What is asked, apart from the picture.
        slots: What fills the templates.
        answer: The truth.
        options: The answers that such a question can have, () where they are too many to list.
        about: The things that the words mean.
        pairs: The kind-colour pairs that question or answer name, there or not.
        program: How GQA would compute the answer.
    """

    family: str
    subject: str
    slots: Mapping[str, str]
    answer: str
    options: tuple[str, ...] = ()
    about: tuple[int, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    program: tuple[Step, ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        """Tell this question from every other about the same picture."""
        return (self.subject, *self.slots.values())


def asks(seen: Seen, rng: Random) -> dict[str, list[Ask]]:
    """List everything that may be asked about a scene, by family."""
    listed: dict[str, list[Ask]] = {}
    for family in _FAMILIES:
        for ask in family(seen, rng):
            listed.setdefault(ask.family, []).append(ask)
    return listed


def _select(noun: str, things: tuple[int, ...]) -> Step:
    return Step("select", noun, things=things)


def _yes(truth: bool) -> str:
    return "yes" if truth else "no"


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
                program=(_select(noun, (index,)), Step("query", "color", (0,))),
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
                _select(kind, tuple(seen.of_kind(kind))),
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
                    _select(kind, tuple(seen.of_kind(kind))),
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
                _select("object", tuple(range(len(seen.things)))),
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
            program=(_select(group, (index,)), Step("query", "name", (0,))),
        )


def _existences(seen: Seen, rng: Random) -> Iterator[Ask]:
    present = [(kind, seen.of_kind(kind)) for kind in seen.kinds]
    present += [(group, seen.of_group(group)) for group in seen.groups]
    absent = [noun for noun in (*lexicon.KIND_NAMES, *lexicon.GROUPS) if not seen.kinds[noun] + seen.groups[noun]]
    for noun, things in [*present, *((noun, []) for noun in absent)]:
        yield Ask(
            "exist",
            f"exist|{noun}",
            {"a_thing": lexicon.a(noun), "things": lexicon.plural(noun)},
            _yes(bool(things)),
            YES_NO,
            about=tuple(things),
            program=(_select(noun, tuple(things)), Step("exist", "?", (0,))),
        )


def _colored_existences(seen: Seen, rng: Random) -> Iterator[Ask]:
    """Ask for a kind in a colour; where there is none, kind or colour are in the picture, but not together."""
    if seen.is_night:
        return
    painted = [kind for kind in seen.kinds if lexicon.is_paintable(kind)]
    others = [kind for kind in lexicon.KIND_NAMES if lexicon.is_paintable(kind) and kind not in seen.kinds]
    shown = [color for color in dict.fromkeys(seen.colors) if color is not None]
    pairs = [(kind, color) for kind in painted for color in lexicon.COLORS]
    pairs += [(rng.choice(others), color) for color in shown if others]
    for kind, color in pairs:
        things = tuple(seen.of_color(color, kind))
        yield Ask(
            "colored",
            f"colored|{color} {kind}",
            {"a_thing": lexicon.a(f"{color} {kind}"), "things": f"{color} {lexicon.plural(kind)}"},
            _yes(bool(things)),
            YES_NO,
            about=things,
            pairs=((kind, color),),
            program=(
                _select(kind, tuple(seen.of_kind(kind))),
                Step("filter color", color, (0,), things),
                Step("exist", "?", (1,)),
            ),
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
                _yes(color == seen_color),
                YES_NO,
                about=(index,),
                pairs=((kind, color),),
                program=(_select(kind, (index,)), Step("verify color", color, (0,))),
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
                program=(_select(kind, (index,)), Step("choose color", f"{first}|{second}", (0,))),
            )


def _places(seen: Seen, rng: Random) -> Iterator[Ask]:
    truth = seen.scene.place
    yield Ask(
        "place",
        "place",
        {},
        truth,
        lexicon.PLACES,
        program=(_select("scene", ()), Step("query", "place", (0,))),
    )
    for place in lexicon.PLACES:
        yield Ask(
            "verify place",
            f"verify place|{place}",
            {"at": lexicon.at(place), "place": lexicon.place_noun(place)},
            _yes(place == truth),
            YES_NO,
            program=(_select("scene", ()), Step("verify place", place, (0,))),
        )


def _lights(seen: Seen, rng: Random) -> Iterator[Ask]:
    yield Ask(
        "light",
        "light",
        {},
        seen.scene.light,
        ("day", "night"),
        program=(_select("scene", ()), Step("query", "light", (0,))),
    )


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
        program=(_select(name, (index,)), Step("choose hposition", "left|right", (0,))),
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
            program=(_select(kind, (index,)), Step("choose size", "small|large", (0,))),
        )


def _counts(seen: Seen, rng: Random) -> Iterator[Ask]:
    nouns = [*seen.kinds, *seen.groups]
    absent = [noun for noun in (*lexicon.KIND_NAMES, *lexicon.GROUPS) if noun not in nouns]
    for noun in nouns + rng.sample(absent, min(ABSENT_COUNTED, len(absent))):
        count = str(seen.kinds[noun] + seen.groups[noun])
        if count not in COUNTS:
            continue
        things = tuple(seen.of_kind(noun) + seen.of_group(noun))
        yield Ask(
            "count",
            f"count|{noun}",
            {"things": lexicon.plural(noun)},
            count,
            COUNTS,
            about=things,
            program=(_select(noun, things), Step("count", "", (0,))),
        )


def _colored_counts(seen: Seen, rng: Random) -> Iterator[Ask]:
    """Count the things of a kind in a colour, where the kind is in the picture."""
    for kind in seen.kinds if not seen.is_night else ():
        for color in lexicon.COLORS if lexicon.is_paintable(kind) else ():
            things = tuple(seen.of_color(color, kind))
            if str(len(things)) not in COLORED_COUNTS:
                continue
            yield Ask(
                "count colored",
                f"count colored|{color} {kind}",
                {"things": f"{color} {lexicon.plural(kind)}"},
                str(len(things)),
                COLORED_COUNTS,
                about=things,
                pairs=((kind, color),),
                program=(
                    _select(kind, tuple(seen.of_kind(kind))),
                    Step("filter color", color, (0,), things),
                    Step("count", "", (1,)),
                ),
            )


def _outermost(seen: Seen, rng: Random) -> Iterator[Ask]:
    """Ask what is furthest to a side, and what colour it has."""
    everything = tuple(range(len(seen.things)))
    for side in LEFT_RIGHT:
        index = seen.extreme(side, everything)
        if index is None:
            continue
        color = seen.colors[index]
        found = (_select("object", everything), Step("filter hposition", f"{side}most", (0,), (index,)))
        answers = {"outermost": ("name", seen.kind(index)), "outermost color": ("color", color)}
        for family, (attribute, answer) in answers.items():
            if answer is not None:
                yield Ask(
                    family,
                    f"{family}|{side}",
                    {"side": side},
                    answer,
                    about=(index,),
                    pairs=_pairs(seen, index),
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
    steps = (_select(name, (anchor,)), Step("relate", f"_,{words},s", (0,), (found,)))
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
                    _yes(relation == truth),
                    YES_NO,
                    about=(first, second),
                    pairs=_pairs(seen, first, second),
                    program=(_select(two, (second,)), Step("verify rel", f"{one},{words},s", (0,))),
                )


def _pairs(seen: Seen, *indices: int) -> tuple[tuple[str, str], ...]:
    return tuple((seen.kind(i), color) for i in indices if (color := seen.colors[i]) is not None)


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
                pairs=_pairs(seen, first, second),
                program=(_select(two, (second,)), Step("choose rel", f"{one},to the left of|to the right of,s", (0,))),
            )


def _logics(seen: Seen, rng: Random) -> Iterator[Ask]:
    """Ask for two kinds at once, together or either of them: both, one or none in the picture."""
    here = list(seen.kinds)
    absent = rng.sample([kind for kind in lexicon.KIND_NAMES if kind not in seen.kinds], 4)
    couples = [(here[0], here[-1])] if len(here) > 1 else []
    couples += [(rng.choice(here), absent[0]), (absent[1], rng.choice(here)), (absent[2], absent[3])]
    for one, two in couples:
        found = [tuple(seen.of_kind(kind)) for kind in (one, two)]
        truths = {"both": all(found), "either": any(found)}
        selects = (_select(one, found[0]), Step("exist", "?", (0,)), _select(two, found[1]), Step("exist", "?", (2,)))
        for family, joint in (("both", "and"), ("either", "or")):
            yield Ask(
                family,
                family,
                {"a_thing": lexicon.a(one), "another": lexicon.a(two)},
                _yes(truths[family]),
                YES_NO,
                about=found[0] + found[1],
                program=(*selects, Step(joint, "", (1, 3))),
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
                _yes(seen.colors[first] == seen.colors[second]),
                YES_NO,
                about=(first, second),
                pairs=_pairs(seen, first, second),
                program=(_select(one, (first,)), _select(two, (second,)), Step("same color", "", (0, 1))),
            )


_FAMILIES: Final = (
    _colors,
    _colors_by_side,
    _colors_by_order,
    _kinds_by_color,
    _kinds_by_group,
    _existences,
    _colored_existences,
    _color_checks,
    _color_choices,
    _places,
    _lights,
    _sides,
    _sizes,
    _counts,
    _colored_counts,
    _outermost,
    _relations,
    _relation_checks,
    _relation_choices,
    _logics,
    _same_colors,
)
