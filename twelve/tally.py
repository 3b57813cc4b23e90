"""Numbers that a process counts and that outlive it, for next to nothing: doubles in a file that is mapped into memory.

What is added there is the system's from that moment on, whatever ends the process. A file is the number of its bytes in
use (int64), then series one after the other: lengths of the name and of the numbers (two int32), the name as JSON and
padded to eight bytes, the numbers. One process writes it, in one thread; others read whenever they like, for a number
is written in one piece.
"""

import json
import mmap
import os
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

SIZE = 1 << 20
"""Of a file; what is not used takes no room on the disk. Twelve tasks use a twentieth."""

SUFFIX = ".tally"

_USED = struct.Struct("q")
_LENGTHS = struct.Struct("ii")
_NUMBER_BYTES = 8

Name = tuple[str, ...]


class Tally:
    """The numbers of one process."""

    def __init__(self, memory: mmap.mmap) -> None:
        self._memory = memory
        self._used = _USED.size
        _USED.pack_into(memory, 0, self._used)

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Begin a file of its own, beside those of other processes, dead ones included.

        Args:
            folder: Where `summed` looks.

        Raises:
            OSError: It cannot be written.
        """
        descriptor, _ = tempfile.mkstemp(suffix=SUFFIX, dir=folder)
        try:
            os.ftruncate(descriptor, SIZE)
            return cls(mmap.mmap(descriptor, SIZE))
        finally:
            os.close(descriptor)

    @classmethod
    def unheard(cls) -> Self:
        """Count in the memory of this process, where nobody reads."""
        return cls(mmap.mmap(-1, SIZE))

    def series(self, name: Name, count: int) -> "memoryview[float]":
        """Begin a series.

        Args:
            name: Tells it from others; the sum is over equal names.
            count: Of its numbers.

        Returns:
            The numbers, zeros yet: add to them.

        Raises:
            ValueError: The file is full. Names are ours, never a stranger's, so there are few.
        """
        written = json.dumps(name).encode()
        written += b" " * (-len(written) % _NUMBER_BYTES)
        begin = self._used + _LENGTHS.size + len(written)
        end = begin + count * _NUMBER_BYTES
        if end > SIZE:
            raise ValueError(f"a tally holds {SIZE} bytes, and the series {name} would end at {end}; name fewer")
        _LENGTHS.pack_into(self._memory, self._used, len(written), count)
        self._memory[self._used + _LENGTHS.size : begin] = written
        self._used = end
        _USED.pack_into(self._memory, 0, end)  # last, so that only whole series are read
        return memoryview(self._memory)[begin:end].cast("d")


def summed(folder: Path) -> Mapping[Name, Sequence[float]]:
    """Add up what all processes counted, dead ones included.

    Args:
        folder: Where they write.

    Returns:
        The sums by name of the series.
    """
    totals: dict[Name, Sequence[float]] = {}
    for file in sorted(folder.glob(f"*{SUFFIX}")):
        for name, numbers in _read(file):
            before = totals.get(name, (0.0,) * len(numbers))
            totals[name] = [one + other for one, other in zip(before, numbers, strict=True)]
    return totals


def _read(file: Path) -> Iterator[tuple[Name, Sequence[float]]]:
    with file.open("rb") as opened:
        head = opened.read(_USED.size)
        (used,) = _USED.unpack(head or bytes(_USED.size))  # a file that was made this moment is empty
        data = head + opened.read(max(0, used - _USED.size))
    place = _USED.size
    while place < used:
        length, count = _LENGTHS.unpack_from(data, place)
        begin = place + _LENGTHS.size
        yield tuple(json.loads(data[begin : begin + length])), struct.unpack_from(f"{count}d", data, begin + length)
        place = begin + length + count * _NUMBER_BYTES
