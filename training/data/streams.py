"""JSON files of any size, one value at a time: memory follows the largest value, not the file.

Visual Genome's question file has 1.4 million questions and GQA's a million, each with its program; parsed whole they
would take gigabytes.
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import NamedTuple, TextIO

from training.data.entries import Entry, describe
from training.data.faults import Fault, OnFault
from training.data.files import only_file, unreadable

CHUNK = 1 << 18
"""Characters read at a time."""

LARGEST_VALUE = 1 << 26
"""Characters one value may have; without a bound, a missing quote would read the rest of the file into memory."""

_LONGEST_TOKEN = 16
"""A syntax error nearer than this to the window's end may be a token cut in two ("-Infinity", an escape)."""

_NUMBER_TAIL = 2
"""A number that stops so near the window's end ("12", "1.", "1e+") may go on behind it."""

_WHITESPACE = " \t\n\r"
_DECODER = json.JSONDecoder()

_ENCODING = "utf-8-sig"

_HEAD = 4
"""Bytes that tell a file's encoding."""

_GZIP_MARK = b"\x1f\x8b"

_ESCAPED_FROM = 0xDC00
_ESCAPED_BYTE = re.compile("[\udc80-\udcff]")
"""What Python's "surrogateescape" makes of a byte that cannot be decoded; UTF-8 itself never gives these."""


class Element(NamedTuple):
    """One value at the second level of a file.

    Attributes:
        key: Of the outer object; "" where the file is a list.
        position: In the list; None where the outer object's value is no list, or an empty one.
        value: As parsed.
    """

    key: str
    position: int | None
    value: object


@contextmanager
def open_text(root: Path, name: str) -> Iterator[TextIO]:
    """Open a UTF-8 file under the root, unpacking it where its name ends in .gz.

    Raises:
        Fault: There is no such file; or, on leaving too, it cannot be read, unpacked or decoded.
    """
    try:
        with _binary(root, name) as content:
            _check_encoding(content.peek(_HEAD)[:_HEAD], name)
            yield TextIOWrapper(content, encoding=_ENCODING)
    except UnicodeDecodeError as error:
        raise _undecodable(root, name) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Fault(name, reason=f"cannot be unpacked, the archive is damaged: {error}") from error
    except OSError as error:
        raise unreadable(name, error) from error


def no_row(name: str) -> Fault:
    """Make the fault of a file that is there and says nothing."""
    return Fault(name, reason="expected at least one row, got none")


def stream(root: Path, name: str) -> Iterator[Element]:
    """Yield what a list holds, or an object's values and what those that are lists hold, in the file's order.

    Raises:
        Fault: The file is missing, unreadable or no JSON; names the line.
    """
    with open_text(root, name) as file:
        window = _Window(file, name)
        yield from _list(window, "") if window.next_is("[") else _object(window)
        window.end()


def entries(root: Path, name: str, key: str = "") -> Iterator[Entry]:
    """Yield the entries of the file's list, or of the list under a key of its object.

    Raises:
        Fault: The file cannot be read, or holds no such list, or an empty one.
    """
    found, is_empty = False, True
    for element in stream(root, name):
        if element.key == key:
            found = True
            if element.position is not None:
                is_empty = False
                yield Entry(element.value, name, f"{key}[{element.position}]")
    if key and not found:
        raise Fault(name, field=key, reason="expected a list, got nothing: the field is missing")
    if is_empty:
        raise Fault(name, field=key, reason=no_row(name).reason)


def json_lines(root: Path, name: str, on_fault: OnFault) -> Iterator[Entry]:
    """Yield the entries of a file with one JSON object a line; empty lines are passed over.

    Raises:
        Fault: The file cannot be read, or has no line that is not empty.
    """
    is_empty = True
    with open_text(root, name) as file:
        for number, line in enumerate(_lines(file, name), start=1):
            if line.strip():
                is_empty = False
                yield from _parsed(line, name, number, on_fault)
    if is_empty:
        raise no_row(name)


def _binary(root: Path, name: str) -> BufferedReader | gzip.GzipFile:
    path = only_file(root, name)
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _check_encoding(head: bytes, name: str) -> None:
    """Refuse what is no UTF-8 by its first bytes; text in UTF-16 without a mark would pass for UTF-8 full of zeros."""
    if head.startswith(_GZIP_MARK):
        raise Fault(name, reason="expected UTF-8 text, got a gzip archive, whose name would have to end in .gz")
    encoding = json.detect_encoding(head).upper()
    if not encoding.startswith("UTF-8") and any(head):
        raise Fault(name, reason=f"expected UTF-8 text, got {encoding[: len('UTF-16')]}")


def _undecodable(root: Path, name: str) -> Fault:
    """Look for the line of the first byte that is not UTF-8; where decoding stopped says only which part was read."""
    line = 1
    with _binary(root, name) as content:
        text = TextIOWrapper(content, encoding=_ENCODING, errors="surrogateescape")
        while part := text.read(CHUNK):
            wrong = _ESCAPED_BYTE.search(part)
            if wrong:
                line += part.count("\n", 0, wrong.start())
                byte = ord(wrong[0]) - _ESCAPED_FROM
                return Fault(name, row=str(line), reason=f"cannot be read as UTF-8 text: got the byte 0x{byte:02x}")
            line += part.count("\n")
    return Fault(name, reason="cannot be read as UTF-8 text")


def _lines(file: TextIO, name: str) -> Iterator[str]:
    """Read lines, but none without end: a file of another kind may have no line break at all."""
    number = 1
    while line := file.readline(LARGEST_VALUE + 1):
        if len(line) > LARGEST_VALUE:
            raise Fault(name, row=str(number), reason=f"the line is longer than {LARGEST_VALUE} characters")
        yield line
        number += 1


def _parsed(line: str, name: str, number: int, on_fault: OnFault) -> Iterator[Entry]:
    try:
        value = json.loads(line, object_pairs_hook=_distinct)
    except (RecursionError, ValueError) as error:
        on_fault(Fault(name, row=str(number), reason=f"expected one JSON object a line, got: {error}"))
        return
    yield Entry(value, name, str(number))


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Make an object, which must not say one thing twice."""
    made = dict(pairs)
    if len(made) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in made if names.count(name) > 1)
        raise ValueError(f"the name {describe(twice)} twice in one object")
    return made


def _list(window: "_Window", key: str) -> Iterator[Element]:
    window.take("[")
    if window.next_is("]"):
        window.take("]")
        if key:
            yield Element(key, None, [])
        return
    index = 0
    while True:
        yield Element(key, index, window.value())
        if not window.another("]"):
            return
        index += 1


def _object(window: "_Window") -> Iterator[Element]:
    window.take("{")
    if window.next_is("}"):
        window.take("}")
        return
    while True:
        key = window.value()
        if not isinstance(key, str):
            raise window.broken(f"expected a quoted name, got {key!r:.40}")
        window.take(":")
        if window.next_is("["):
            yield from _list(window, key)
        else:
            yield Element(key, None, window.value())
        if not window.another("}"):
            return


class _Window:
    """The part of a file that is being parsed."""

    def __init__(self, file: TextIO, name: str) -> None:
        self._file = file
        self._name = name
        self._text = ""
        self._at = 0
        self._whole = False
        self._lines_before = 0

    @property
    def line(self) -> int:
        """Give the number of the line the window has come to."""
        return 1 + self._lines_before + self._text.count("\n", 0, self._at)

    def broken(self, reason: str) -> Fault:
        """Make the fault of a place where the file is no JSON."""
        return Fault(self._name, row=str(self.line), reason=f"the file is not valid JSON: {reason}")

    def next_is(self, mark: str) -> bool:
        """Say whether the next visible character is this one."""
        return self._peek() == mark

    def take(self, mark: str) -> None:
        """Step over a character that must come next."""
        found = self._peek()
        if found != mark:
            raise self.broken(f"expected {mark!r}, got {found!r}" if found else f"it ends where {mark!r} is expected")
        self._at += 1

    def another(self, close: str) -> bool:
        """Step over a comma or the closing bracket; say whether another value follows."""
        if self.next_is(close):
            self.take(close)
            return False
        self.take(",")
        return True

    def end(self) -> None:
        """Check that nothing follows."""
        found = self._peek()
        if found:
            raise self.broken(f"expected the end of the file, got {found!r}")

    def value(self) -> object:
        """Parse the next value, reading on until it is complete."""
        self._peek()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                self._read_on_or_raise(error)
                continue
            except (RecursionError, ValueError) as error:
                raise self.broken(str(error)) from error
            if end + _NUMBER_TAIL < len(self._text) or self._whole:
                self._at = end
                return value
            self._read()

    def _read_on_or_raise(self, error: json.JSONDecodeError) -> None:
        is_cut = error.msg.startswith("Unterminated") or error.pos > len(self._text) - _LONGEST_TOKEN
        if self._whole or not is_cut:
            self._at = error.pos
            raise self.broken(error.msg) from error
        if len(self._text) - self._at > LARGEST_VALUE:
            raise self.broken(f"one value is longer than {LARGEST_VALUE} characters") from error
        self._read()

    def _peek(self) -> str:
        while True:
            while self._at < len(self._text) and self._text[self._at] in _WHITESPACE:
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if self._whole:
                return ""
            self._read()

    def _read(self) -> None:
        """Drop what is parsed and read at least as much as is left, so that a long value is tried a few times only."""
        self._lines_before += self._text.count("\n", 0, self._at)
        rest = self._text[self._at :]
        more = self._file.read(max(CHUNK, len(rest)))
        self._whole = not more
        self._text = rest + more
        self._at = 0
