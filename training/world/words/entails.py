"""Which answers follow from which: who says that the car is red has said that there is a car."""

from collections.abc import Callable, Mapping
from typing import Final

from .ask import Ask


def entails(one: Ask, other: Ask) -> bool:
    """Say whether the answer to one question about a picture settles another question about the same picture."""
    settle = _SETTLED.get(one.family)
    return settle is not None and other.subject in settle(one.subject.partition("|")[2], one.answer)


_SETTLED: Final[Mapping[str, Callable[[str, str], tuple[str, ...]]]] = {
    "color": lambda noun, color: (f"exist|{noun}", f"verify color|{color} {noun}", f"colored|{color} {noun}"),
    "kind": lambda color, kind: (f"exist|{kind}", f"colored|{color} {kind}"),
    "group": lambda group, kind: (f"exist|{kind}", f"exist|{group}"),
    "who": lambda group, kind: (f"exist|{kind}", f"exist|{group}"),
    "relation": lambda _, kind: (f"exist|{kind}",),
    "place": lambda _, place: (f"verify place|{place}",),
}
"""By family: from what was asked about and the answer, the subjects that are settled."""
