"""What may be asked about a picture as a whole: what it holds and how many, where and when it was taken."""

from collections.abc import Iterator
from random import Random
from typing import Final

from . import lexicon
from .ask import YES_NO, Ask, Step, select, yes_no
from .seen import Seen

COUNTS: Final = ("0", "1", "2", "3", "4")
COLORED_COUNTS: Final = ("0", "1", "2")

ABSENT_COUNTED: Final = 3
"""So many kinds that are not in the picture are offered for counting."""


def _existences(seen: Seen, rng: Random) -> Iterator[Ask]:
    present = [(kind, seen.of_kind(kind)) for kind in seen.kinds]
    present += [(group, seen.of_group(group)) for group in seen.groups]
    absent = [noun for noun in (*lexicon.KIND_NAMES, *lexicon.GROUPS) if not seen.kinds[noun] + seen.groups[noun]]
    for noun, things in [*present, *((noun, []) for noun in absent)]:
        yield Ask(
            "exist",
            f"exist|{noun}",
            {"a_thing": lexicon.a(noun), "things": lexicon.plural(noun)},
            yes_no(bool(things)),
            YES_NO,
            about=tuple(things),
            program=(select(noun, tuple(things)), Step("exist", "?", (0,))),
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
            yes_no(bool(things)),
            YES_NO,
            about=things,
            pairs=((kind, color),),
            program=(
                select(kind, tuple(seen.of_kind(kind))),
                Step("filter color", color, (0,), things),
                Step("exist", "?", (1,)),
            ),
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
        selects = (select(one, found[0]), Step("exist", "?", (0,)), select(two, found[1]), Step("exist", "?", (2,)))
        for family, joint in (("both", "and"), ("either", "or")):
            yield Ask(
                family,
                family,
                {"a_thing": lexicon.a(one), "another": lexicon.a(two)},
                yes_no(truths[family]),
                YES_NO,
                about=found[0] + found[1],
                program=(*selects, Step(joint, "", (1, 3))),
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
            program=(select(noun, things), Step("count", "", (0,))),
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
                    select(kind, tuple(seen.of_kind(kind))),
                    Step("filter color", color, (0,), things),
                    Step("count", "", (1,)),
                ),
            )


def _places(seen: Seen, rng: Random) -> Iterator[Ask]:
    truth = seen.scene.place
    yield Ask(
        "place",
        "place",
        {},
        truth,
        lexicon.PLACES,
        program=(select("scene", ()), Step("query", "place", (0,))),
    )
    for place in lexicon.PLACES:
        yield Ask(
            "verify place",
            f"verify place|{place}",
            {"at": lexicon.at(place), "place": lexicon.place_noun(place)},
            yes_no(place == truth),
            YES_NO,
            program=(select("scene", ()), Step("verify place", place, (0,))),
        )


def _lights(seen: Seen, rng: Random) -> Iterator[Ask]:
    yield Ask(
        "light",
        "light",
        {},
        seen.scene.light,
        ("day", "night"),
        program=(select("scene", ()), Step("query", "light", (0,))),
    )


CONTENTS: Final = (
    _existences,
    _colored_existences,
    _logics,
    _counts,
    _colored_counts,
    _places,
    _lights,
)
