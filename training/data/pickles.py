"""The one official format that is a pickle (RefCOCO's refs), read so that it can build nothing but plain containers.

A pickle is a program. Its opcodes are looked through before any of them runs: only those that make lists, dicts, texts
and numbers pass, and only in numbers and sizes that the file can account for. Tuples and sets are not among them, for
hashing deeply nested ones overflows Python's own stack.
"""

import io
import pickle
from pathlib import Path
from typing import Any

from training.data.faults import Fault
from training.data.files import only_file, unreadable
from twelve.convert.opcodes import PLAIN, look_through

LARGEST_FILE = 1 << 27
"""Bytes; the published files have less than half. A byte of a pickle may need 15 of memory."""

_BROKEN = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What the standard unpickler raises on bytes that are no pickle."""


def load_plain(root: Path, name: str) -> object:
    """Read a pickle of plain containers, as Python 2 wrote it (protocol 0, bytes read as Latin-1).

    Raises:
        Fault: The file is missing, broken, too large, or asks for more than plain containers.
    """
    content = _content(root, name)
    try:
        look_through(content, PLAIN)
        return _PlainUnpickler(io.BytesIO(content), encoding="latin1").load()
    except _BROKEN as error:
        raise Fault(name, reason=f"cannot be read as a plain pickle: {error}") from error


def _content(root: Path, name: str) -> bytes:
    path = only_file(root, name)
    if path.stat().st_size > LARGEST_FILE:
        raise Fault(name, reason=f"expected at most {LARGEST_FILE:,} bytes, got {path.stat().st_size:,}")
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(name, error) from error


class _PlainUnpickler(pickle.Unpickler):
    """Refuses every name: what stands if an opcode that asks for one should ever be let through."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}; nothing of it was run")
