"""The meaning of a question, its true answer and its program, before any wording.

An `Ask` belongs to a *family* ("color"): its questions are worded by the same templates. Its *subject* is what is asked
whatever the picture ("color|car"): with it one can balance answers, and find the same question on an edited twin.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .seen import Seen, Side

YES_NO: Final = ("yes", "no")
LEFT_RIGHT: Final[tuple[Side, Side]] = ("left", "right")


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


def select(noun: str, things: tuple[int, ...]) -> Step:
    """Begin a program with the things that a noun means."""
    return Step("select", noun, things=things)


def yes_no(truth: bool) -> str:
    """Put a truth as an answer."""
    return "yes" if truth else "no"


def pairs_shown(seen: Seen, *indices: int) -> tuple[tuple[str, str], ...]:
    """Give kind and colour of those things that show one."""
    return tuple((seen.kind(i), color) for i in indices if (color := seen.colors[i]) is not None)
