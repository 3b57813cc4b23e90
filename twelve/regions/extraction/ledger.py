"""The ledger: what became of every input, in files of JSON lines beside the shards. One a cut, whole or not there.

    {"name": "/data/a.jpg", "stamp": [15513, 1763700000000000000], "outcome": "done", "key": "sha256:…"}
    {"name": "/data/b.jpg", "stamp": [0, 1763700000000000000], "outcome": "rejected", "code": "…", "reason": "…"}

A shard is committed before the lines that tell of it, so a kill in between costs decoding and no detection. Of several
lines for one name and stamp the last holds. A lost file costs the same: its inputs are looked at again.
"""

import hashlib
import json
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np

from twelve.errors import DataError
from twelve.features.disk import commit, remove_parts

SUFFIX = ".jsonl"
HALF = 8
"""Bytes of each half of a fingerprint."""


class Outcome(StrEnum):
    """What becomes of an input: exactly one of these."""

    DONE = "done"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"


@dataclass(frozen=True)
class Record:
    """A line.

    Attributes:
        name: Of the input.
        stamp: Of its content.
        outcome: What became of it.
        key: Under which its picture's regions are kept; None for a rejected one.
        code: Of the fault that rejected it.
        reason: For people.
        may_pass: The fault may pass: every run looks at the input again, after the others.
    """

    name: str
    stamp: tuple[int, ...]
    outcome: Outcome
    key: str | None = None
    code: str | None = None
    reason: str | None = None
    may_pass: bool = False

    def line(self) -> str:
        """Write it; what it does not say is left out."""
        values = {name: value for name, value in vars(self).items() if value not in (None, False)}
        return json.dumps(values, ensure_ascii=False) + "\n"

    @classmethod
    def read(cls, line: str) -> "Record":
        """Read what `line` wrote."""
        values: dict[str, Any] = json.loads(line)
        return cls(**{**values, "stamp": tuple(values["stamp"]), "outcome": Outcome(values["outcome"])})


class Ledger:
    """The lines of a store, in the order they were written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def records(self) -> Iterator[Record]:
        """Read all lines.

        Yields:
            One record a line.

        Raises:
            DataError: A file is damaged; names it.
        """
        for path in self._files():
            try:
                with path.open(encoding="utf-8") as lines:
                    yield from map(Record.read, lines)
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(
                    f"{path}: is damaged ({error}); remove it, its pictures will be looked at again"
                ) from error

    def commit(self, records: Sequence[Record]) -> None:
        """Keep some records for good, all or none of them.

        Args:
            records: Become one file; none is written for none.
        """
        if not records:
            return
        files = self._files()
        number = int(files[-1].stem) + 1 if files else 0
        text = "".join(record.line() for record in records)
        commit(self.folder / f"{number:08d}{SUFFIX}", text.encode())

    def clear_parts(self) -> None:
        """Make the folder, and remove what killed writers left. The caller is the only writer."""
        self.folder.mkdir(exist_ok=True)
        remove_parts(self.folder)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob(f"*{SUFFIX}"))


REJECTED, TO_RETRY = -1, -2
"""In place of a position: the input has no regions; it has none yet."""


class Known:
    """The last word on every input, by name and stamp: 24 bytes each, whatever their names. Fixed once it is made."""

    def __init__(self, ledger: Ledger, position: Callable[[str], int | None], *, retry_all: bool) -> None:
        """Read a ledger.

        Args:
            ledger: To be read.
            position: Gives the place of a key in the store; a line whose key is not there says nothing.
            retry_all: Look at all rejected inputs again, because other pictures are allowed now.
        """
        high, low, places = array("Q"), array("Q"), array("q")
        self._faults: dict[bytes, tuple[str | None, str | None]] = {}
        for record in ledger.records():
            place = _place(record, position, retry_all=retry_all)
            if place is None:
                continue
            mark = fingerprint(record.name, record.stamp)
            if place == TO_RETRY:
                self._faults[mark] = (record.code, record.reason)
            for half, bits in zip((high, low), _halves(mark), strict=True):
                half.append(bits)
            places.append(place)
        order = np.argsort(np.frombuffer(high, np.uint64), kind="stable") if high else np.empty(0, np.int64)
        self._high, self._low, self._places = (
            np.array(column, kind)[order] for column, kind in ((high, np.uint64), (low, np.uint64), (places, np.int64))
        )

    def __len__(self) -> int:
        return len(self._places)

    def find(self, name: str, stamp: tuple[int, ...]) -> int | None:
        """Give the place of an input's picture in the store, REJECTED or TO_RETRY; None for an unknown input."""
        high, low = _halves(fingerprint(name, stamp))
        end = int(np.searchsorted(self._high, np.uint64(high), side="right"))
        for row in range(end - 1, -1, -1):  # the last word first; equal halves of two inputs are rarer than disks fail
            if int(self._high[row]) != high:
                return None
            if int(self._low[row]) == low:
                return int(self._places[row])
        return None

    @property
    def has_faults(self) -> bool:
        """Tell whether any input is to be tried again."""
        return bool(self._faults)

    def says(self, record: Record) -> bool:
        """Tell whether a record repeats what the ledger says of an input that was tried again."""
        kept = self._faults.get(fingerprint(record.name, record.stamp))
        return kept is not None and kept == (record.code, record.reason)


def fingerprint(name: str, stamp: tuple[int, ...]) -> bytes:
    """Give 16 bytes that stand for an input."""
    return hashlib.blake2b(json.dumps([name, *stamp]).encode(), digest_size=2 * HALF).digest()


def _halves(mark: bytes) -> tuple[int, int]:
    return int.from_bytes(mark[:HALF]), int.from_bytes(mark[HALF:])


def _place(record: Record, position: Callable[[str], int | None], *, retry_all: bool) -> int | None:
    if record.key is not None:
        return position(record.key)
    return TO_RETRY if record.may_pass or retry_all else REJECTED
