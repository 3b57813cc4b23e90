"""The opcodes of a pickle, looked through before any of them runs.

A pickle is a program. Who reads one names the opcodes that may stand in it (`Allowed`); `look_through` refuses all
others, and those that ask for more memory or deeper nesting than the bytes can account for. Hashing tuples in tuples in
tuples overflows Python's own stack and ends the process, so tuples are few or none; sets are in no list at all.
"""

import pickle
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

MOST_CONTAINERS = 1 << 21
"""Lists and dicts; published files have some hundred thousand. An empty one is a byte here and 64 in memory."""

MOST_TUPLES = 1 << 12
"""An array of numpy's takes 6. So many inside each other are hashed on half a megabyte of stack."""

MOST_CALLS = 1 << 12
"""An array of numpy's takes 3."""

Behind = Callable[[bytes, int], int]
"""Gives the place behind an operand, from the place where it begins."""


@dataclass(frozen=True)
class Allowed:
    """Opcodes that may stand in a pickle.

    Attributes:
        operands: Of each opcode.
        described: What they make, for a sentence that refuses another.
    """

    operands: Mapping[int, Behind]
    described: str


@dataclass(frozen=True)
class Limit:
    """How many of some opcodes a pickle may hold.

    Attributes:
        codes: The opcodes.
        most: Of all of them together.
        described: What they make.
    """

    codes: frozenset[int]
    most: int
    described: str


def look_through(content: bytes, allowed: Allowed) -> None:
    """Check every opcode before the first one runs.

    Args:
        content: The pickle.
        allowed: The opcodes that may stand in it.

    Raises:
        UnpicklingError: One is not allowed, or asks for more memory than it can account for.
        ValueError: A place of the memo is no number.
    """
    counts: Counter[int] = Counter()
    for count, (opcode, at) in enumerate(_opcodes(content, allowed), start=1):
        counts[opcode] += 1
        if opcode in _MEMO_PLACES and _MEMO_PLACES[opcode](content, at + 1) > count:
            raise pickle.UnpicklingError(f"the opcode at byte {at} keeps a value at a place that only fills memory")
    for limit in LIMITS:
        found = sum(counts[code] for code in limit.codes)
        if found > limit.most:
            raise pickle.UnpicklingError(f"expected at most {limit.most:,} {limit.described}, got {found:,}")


def _opcodes(content: bytes, allowed: Allowed) -> Iterator[tuple[int, int]]:
    """Yield each opcode and its place."""
    at = 0
    while at < len(content):
        opcode = content[at]
        behind = allowed.operands.get(opcode)
        if behind is None:
            raise pickle.UnpicklingError(_refusal(content, at, allowed))
        yield opcode, at
        at = behind(content, at + 1)
        if opcode == _STOP:
            if at < len(content):
                raise pickle.UnpicklingError(f"expected its end at byte {at}, got {len(content) - at} more")
            return
    raise pickle.UnpicklingError("it is cut short")


def _refusal(content: bytes, at: int, allowed: Allowed) -> str:
    asked = _ASKING.get(content[at])
    if asked is None:
        return (
            f"byte {at} is {content[at : at + 1]!r}, expected an opcode that makes a list, a dict, a text or a number"
        )
    name, wanted = asked
    return (
        f"at byte {at} it asks for {wanted} ({name}), expected nothing but {allowed.described}; nothing of it was run"
    )


def _nothing(content: bytes, at: int) -> int:
    return at


def _fixed(size: int) -> Behind:
    return lambda content, at: at + size


def _line(content: bytes, at: int) -> int:
    """Step behind the line, or behind the whole content where it does not end."""
    return (content.find(b"\n", at) + 1) or len(content) + 1


def _two_lines(content: bytes, at: int) -> int:
    return _line(content, _line(content, at))


def _counted(size: int) -> Behind:
    """Make what steps over a count of so many bytes and over as many bytes as it says."""
    return lambda content, at: at + size + int.from_bytes(content[at : at + size], "little")


def _number(size: int) -> Behind:
    return lambda content, at: int.from_bytes(content[at : at + size], "little")


def _written_number(content: bytes, at: int) -> int:
    return int(content[at : _line(content, at) - 1])


def _by_code(operands: Mapping[Behind, tuple[bytes, ...]]) -> dict[int, Behind]:
    return {code[0]: behind for behind, codes in operands.items() for code in codes}


def _codes(*codes: bytes) -> frozenset[int]:
    return frozenset(b"".join(codes))


_STOP: Final = pickle.STOP[0]

_MEMO_PLACES: Final[Mapping[int, Behind]] = {
    pickle.PUT[0]: _written_number,
    pickle.BINPUT[0]: _number(1),
    pickle.LONG_BINPUT[0]: _number(4),
}
"""Where these keep a value. Picklers count from 0 or 1; unpicklers make room for every place up to the one named."""

_PLAIN: Final = _by_code(
    {
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
)

_BYTES: Final = _by_code(
    {
        _counted(1): (pickle.SHORT_BINBYTES,),
        _counted(4): (pickle.BINBYTES,),
        _counted(8): (pickle.BINBYTES8, pickle.BYTEARRAY8),
    }
)

_TUPLES: Final = _by_code({_nothing: (pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3)})

_NAMES: Final = _by_code(
    {
        _nothing: (pickle.STACK_GLOBAL, pickle.REDUCE, pickle.BUILD, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX),
        _two_lines: (pickle.GLOBAL, pickle.INST),
        _fixed(1): (pickle.EXT1,),
        _fixed(2): (pickle.EXT2,),
        _fixed(4): (pickle.EXT4,),
    }
)

PLAIN: Final = Allowed(_PLAIN, "lists, dicts, texts and numbers")
"""Lists, dicts, texts and numbers: what may stand in a file that holds no array."""

NAMED: Final = Allowed(_PLAIN | _BYTES | _TUPLES | _NAMES, "lists, dicts, texts, numbers and arrays")
"""The same, bytes, tuples, and whatever asks for a name or calls one: for an unpickler that answers names itself."""

LIMITS: Final = (
    Limit(_codes(pickle.EMPTY_LIST, pickle.LIST, pickle.EMPTY_DICT, pickle.DICT), MOST_CONTAINERS, "lists and dicts"),
    Limit(frozenset(_TUPLES), MOST_TUPLES, "tuples"),
    Limit(
        _codes(pickle.REDUCE, pickle.BUILD, pickle.INST, pickle.OBJ, pickle.NEWOBJ, pickle.NEWOBJ_EX),
        MOST_CALLS,
        "calls",
    ),
)

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
