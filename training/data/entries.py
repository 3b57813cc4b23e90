"""One entry of an official file: its fields, checked as they are taken, and where it stands in case one is wrong."""

import re
import reprlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TypeVar

from training.data.faults import Fault
from twelve.boxes import from_xywh
from twelve.tasks.records import BoxXYXY

T = TypeVar("T")
Name = TypeVar("Name", int, str)

_FAR_PX = 1e7
"""No picture is that large; NaN and the infinities fail the comparison too."""

_LARGEST_INTEGER = 2**63 - 1
"""Ids are kept in 64 bits; a number with thousands of digits could not even be written down."""

_SHOWN = 60
"""Characters of a wrong value that a message shows."""


@dataclass(frozen=True)
class Entry:
    """A JSON object (or a pickled dict) that knows its place.

    Attributes:
        value: As parsed; whether it is an object at all is checked when a field is taken.
        file: Relative to the data root.
        row: Line, index or id of the outermost entry.
        path: Of this entry inside its row ("answers[3]"), or "".
    """

    value: object
    file: str
    row: str
    path: str = ""

    def fault(self, field: str, *, expected: str) -> Fault:
        """Make the fault of a field that is absent or has a wrong value."""
        return self.complaint(field, f"expected {expected}, got {self._shown(field)}")

    def complaint(self, field: str, reason: str) -> Fault:
        """Make a fault in one's own words."""
        return Fault(self.file, row=self.row, field=self._path_of(field), reason=reason)

    def has(self, field: str) -> bool:
        """Say whether the field is there and not null."""
        return self._fields().get(field) is not None

    def text(self, field: str) -> str:
        """Take a text that has at least one visible character."""
        text = self._text(field, "a text that is not empty")
        if not text.strip():
            raise self.fault(field, expected="a text that is not empty")
        return text

    def perhaps_empty_text(self, field: str) -> str:
        """Take a text that must be there, but may say nothing."""
        return self._text(field, "a text")

    def text_or_empty(self, field: str) -> str:
        """Take a text that may be empty, null or absent."""
        return self._text(field, "a text") if self.has(field) else ""

    def integer(self, field: str) -> int:
        """Take a whole number."""
        number = self._take(field, int, "an integer")
        if isinstance(number, bool) or abs(number) > _LARGEST_INTEGER:
            raise self.fault(field, expected="an integer of at most 64 bits")
        return number

    def natural(self, field: str) -> int:
        """Take a whole number that is not negative: an id."""
        number = self.integer(field)
        if number < 0:
            raise self.fault(field, expected="an integer that is not negative")
        return number

    def positive(self, field: str) -> int:
        """Take a whole number above 0: a size."""
        number = self.integer(field)
        if number <= 0:
            raise self.fault(field, expected="a positive integer")
        return number

    def one_of(self, field: str, choices: Collection[str]) -> str:
        """Take a text that is one of a few."""
        text = self._take(field, str, "one of " + ", ".join(sorted(choices)))
        if text not in choices:
            raise self.fault(field, expected="one of " + ", ".join(sorted(choices)))
        return text

    def matching(self, field: str, pattern: re.Pattern[str], *, expected: str) -> re.Match[str]:
        """Take a text of a given form: a file name, an id."""
        found = pattern.fullmatch(self._take(field, str, expected))
        if found is None:
            raise self.fault(field, expected=expected)
        return found

    def box(self, field: str) -> BoxXYXY:
        """Take a COCO box, [x, y, width, height], as XYXY."""
        expected = "[x, y, width, height], four finite numbers with positive width and height"
        numbers = self._take(field, list, expected)
        if len(numbers) != 4 or not all(_is_finite(number) for number in numbers) or min(numbers[2:]) <= 0:
            raise self.fault(field, expected=expected)
        return from_xywh([float(number) for number in numbers])

    def integers(self, field: str) -> list[int]:
        """Take a list of whole numbers."""
        numbers = self._take(field, list, "a list of integers")
        if not all(type(number) is int for number in numbers):
            raise self.fault(field, expected="a list of integers")
        return numbers

    def texts(self, field: str) -> list[str]:
        """Take a list of texts."""
        texts = self._take(field, list, "a list of texts")
        if not all(isinstance(text, str) for text in texts):
            raise self.fault(field, expected="a list of texts")
        return texts

    def entry(self, field: str) -> "Entry":
        """Take an object."""
        return self._inside(field, self._take(field, dict, "an object"))

    def entries(self, field: str) -> list["Entry"]:
        """Take a list of objects; each is checked when its own fields are taken."""
        return [self._inside(f"{field}[{at}]", value) for at, value in enumerate(self._take(field, list, "a list"))]

    def members(self, field: str) -> dict[str, "Entry"]:
        """Take an object whose values are objects, by key."""
        values = self._take(field, dict, "an object of objects")
        return {str(key): self._inside(f"{field}[{key}]", value) for key, value in values.items()}

    def is_list(self, field: str) -> bool:
        """Say whether the field holds a list."""
        return isinstance(self._fields().get(field), list)

    def _inside(self, path: str, value: object) -> "Entry":
        return Entry(value, self.file, self.row, self._path_of(path))

    def _path_of(self, field: str) -> str:
        return f"{self.path}.{field}" if self.path and field else self.path or field

    def _fields(self) -> Mapping[object, object]:
        if isinstance(self.value, dict):
            return self.value
        raise self.complaint("", f"expected an object, got {describe(self.value)}")

    def _take(self, field: str, kind: type[T], expected: str) -> T:
        value = self._fields().get(field)
        if not isinstance(value, kind):
            raise self.fault(field, expected=expected)
        return value

    def _text(self, field: str, expected: str) -> str:
        text = self._take(field, str, expected)
        if not _is_unicode(text):
            raise self.fault(field, expected=f"{expected} without half characters")
        return text

    def _shown(self, field: str) -> str:
        fields = self._fields()
        return describe(fields[field]) if field in fields else "nothing: the field is missing"


class Once:
    """Sees to it that what must tell rows apart comes once only; holds what it has seen."""

    def __init__(self) -> None:
        self._seen: set[int | str] = set()

    def check(self, entry: Entry, field: str, name: Name) -> Name:
        """Give the name back, if no earlier row has it.

        Raises:
            Fault: One has.
        """
        if name in self._seen:
            raise entry.complaint(field, f"{name!r} stands in an earlier row already")
        self._seen.add(name)
        return name


def _is_finite(number: object) -> bool:
    return isinstance(number, int | float) and not isinstance(number, bool) and abs(number) < _FAR_PX


def _is_unicode(text: str) -> bool:
    """Say whether a text can be written as UTF-8; an escape in JSON can spell half a character."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def describe(value: object) -> str:
    """Write the beginning of any value, for a message."""
    shown = _SHORT.repr(value)
    return shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "…"


class _Short(reprlib.Repr):
    """Writes the beginning of a value: one from a hostile file may be nested without end, or have no end itself."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxlist = self.maxdict = self.maxtuple = self.maxset = self.maxfrozenset = 8
        self.maxstring = self.maxother = 4 * _SHOWN

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if abs(x) <= 10**_SHOWN else f"a number of {x.bit_length()} bits"


_SHORT = _Short()
