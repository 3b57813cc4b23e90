"""The one official format that is a pickle (RefCOCO's refs), read so that it can build nothing but plain containers.

A pickle is a program. Its opcodes are looked through before any of them runs: only those that make lists, dicts, texts
and numbers pass, and only in numbers and sizes that the file can account for. Tuples and sets are not among them, for
hashing deeply nested ones overflows Python's own stack.
"""

import io
import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from training.data.faults import Fault

LARGEST_FILE = 1 << 27
"""Bytes; the published files have less than half. A byte of a pickle may need 15 of memory."""

MOST_CONTAINERS = 1 << 21
"""Lists and dicts; the published files have some hundred thousand. An empty one is a byte here and 64 in memory."""

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

Behind = Callable[[bytes, int], int]
"""Gives the place behind an operand, from the place where it begins."""


def load_plain(root: Path, name: str) -> object:
    """Read a pickle of plain containers, as Python 2 wrote it (protocol 0, bytes read as Latin-1).

    Raises:
        Fault: The file is missing, broken, too large, or asks for more than plain containers.
    """
    path = root / name
    if not path.is_file():
        raise Fault(name, reason="the file is missing")
    if path.stat().st_size > LARGEST_FILE:
        raise Fault(name, reason=f"expected at most {LARGEST_FILE:,} bytes, got {path.stat().st_size:,}")
    content = path.read_bytes()
    try:
        _look_through(content)
        return _PlainUnpickler(io.BytesIO(content), encoding="latin1").load()
    except _BROKEN as error:
        raise Fault(name, reason=f"cannot be read as a plain pickle: {error}") from error


class _PlainUnpickler(pickle.Unpickler):
    """Refuses every name: what stands if an opcode that asks for one should ever be let through."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}; nothing of it was run")


def _look_through(content: bytes) -> None:
    """Check every opcode before the first one runs.

    Raises:
        UnpicklingError: One is none of the plain ones, or asks for more memory than it can account for.
    """
    containers = 0
    for count, (opcode, at) in enumerate(_opcodes(content), start=1):
        if opcode in _CONTAINERS:
            containers += 1
        elif opcode in _MEMO_PLACES and _MEMO_PLACES[opcode](content, at + 1) > count:
            raise pickle.UnpicklingError(f"the opcode at byte {at} keeps a value at a place that only fills memory")
    if containers > MOST_CONTAINERS:
        raise pickle.UnpicklingError(f"expected at most {MOST_CONTAINERS:,} lists and dicts, got {containers:,}")


def _opcodes(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield each opcode and its place."""
    at = 0
    while at < len(content):
        opcode = content[at]
        behind = _PLAIN.get(opcode)
        if behind is None:
            raise pickle.UnpicklingError(_refusal(content, at))
        yield opcode, at
        at = behind(content, at + 1)
        if opcode == _STOP:
            if at < len(content):
                raise pickle.UnpicklingError(f"expected its end at byte {at}, got {len(content) - at} more")
            return
    raise pickle.UnpicklingError("it is cut short")


def _refusal(content: bytes, at: int) -> str:
    asked = _ASKING.get(content[at])
    if asked is None:
        return (
            f"byte {at} is {content[at : at + 1]!r}, expected an opcode that makes a list, a dict, a text or a number"
        )
    name, wanted = asked
    return (
        f"at byte {at} it asks for {wanted} ({name}), expected nothing but lists, dicts, texts and numbers; "
        "nothing of it was run"
    )


def _nothing(content: bytes, at: int) -> int:
    return at


def _fixed(size: int) -> Behind:
    return lambda content, at: at + size


def _line(content: bytes, at: int) -> int:
    """Step behind the line, or behind the whole content where it does not end."""
    return (content.find(b"\n", at) + 1) or len(content) + 1


def _counted(size: int) -> Behind:
    """Make what steps over a count of so many bytes and over as many bytes as it says."""
    return lambda content, at: at + size + int.from_bytes(content[at : at + size], "little")


def _number(size: int) -> Behind:
    return lambda content, at: int.from_bytes(content[at : at + size], "little")


def _written_number(content: bytes, at: int) -> int:
    return int(content[at : _line(content, at) - 1])


_STOP: Final = pickle.STOP[0]

_CONTAINERS: Final = frozenset(b"".join((pickle.EMPTY_LIST, pickle.LIST, pickle.EMPTY_DICT, pickle.DICT)))

_MEMO_PLACES: Final[Mapping[int, Behind]] = {
    pickle.PUT[0]: _written_number,
    pickle.BINPUT[0]: _number(1),
    pickle.LONG_BINPUT[0]: _number(4),
}
"""Where these keep a value. Picklers count from 0 or 1; unpicklers make room for every place up to the one named."""

_OPERANDS: Final[Mapping[Behind, tuple[bytes, ...]]] = {
    _nothing: (
        *(pickle.STOP, pickle.MARK, pickle.POP, pickle.POP_MARK, pickle.DUP, pickle.MEMOIZE),
        *(pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE),
        *(pickle.EMPTY_LIST, pickle.LIST, pickle.APPEND, pickle.APPENDS),
        *(pickle.EMPTY_DICT, pickle.DICT, pickle.SETITEM, pickle.SETITEMS),
    ),
    _line: (pickle.INT, pickle.LONG, pickle.FLOAT, pickle.STRING, pickle.UNICODE, pickle.GET, pickle.PUT),
    _fixed(1): (pickle.PROTO, pickle.BININT1, pickle.BINGET, pickle.BINPUT),
    _fixed(2): (pickle.BININT2,),
    _fixed(4): (pickle.BININT, pickle.LONG_BINGET, pickle.LONG_BINPUT),
    _fixed(8): (pickle.BINFLOAT, pickle.FRAME),
    _counted(1): (pickle.LONG1, pickle.SHORT_BINSTRING, pickle.SHORT_BINUNICODE),
    _counted(4): (pickle.LONG4, pickle.BINSTRING, pickle.BINUNICODE),
    _counted(8): (pickle.BINUNICODE8,),
}

_PLAIN: Final[Mapping[int, Behind]] = {code[0]: behind for behind, codes in _OPERANDS.items() for code in codes}
"""Every opcode that may stand in a plain pickle, and how long what follows it is."""

_ASKING: Final[Mapping[int, tuple[str, str]]] = {
    pickle.GLOBAL[0]: ("GLOBAL", "a class or a function"),
    pickle.STACK_GLOBAL[0]: ("STACK_GLOBAL", "a class or a function"),
    pickle.REDUCE[0]: ("REDUCE", "a call"),
    pickle.BUILD[0]: ("BUILD", "an object's state"),
    pickle.INST[0]: ("INST", "an instance"),
    pickle.OBJ[0]: ("OBJ", "an instance"),
    pickle.NEWOBJ[0]: ("NEWOBJ", "an instance"),
    pickle.NEWOBJ_EX[0]: ("NEWOBJ_EX", "an instance"),
    pickle.EXT1[0]: ("EXT1", "a registered extension"),
    pickle.EXT2[0]: ("EXT2", "a registered extension"),
    pickle.EXT4[0]: ("EXT4", "a registered extension"),
    pickle.PERSID[0]: ("PERSID", "an object from elsewhere"),
    pickle.BINPERSID[0]: ("BINPERSID", "an object from elsewhere"),
    pickle.NEXT_BUFFER[0]: ("NEXT_BUFFER", "a buffer from elsewhere"),
    pickle.EMPTY_TUPLE[0]: ("EMPTY_TUPLE", "a tuple"),
    pickle.TUPLE[0]: ("TUPLE", "a tuple"),
    pickle.TUPLE1[0]: ("TUPLE1", "a tuple"),
    pickle.TUPLE2[0]: ("TUPLE2", "a tuple"),
    pickle.TUPLE3[0]: ("TUPLE3", "a tuple"),
    pickle.EMPTY_SET[0]: ("EMPTY_SET", "a set"),
    pickle.FROZENSET[0]: ("FROZENSET", "a set"),
}
"""What else an opcode may ask for, to say so."""
