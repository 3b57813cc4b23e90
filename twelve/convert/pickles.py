"""Pickles that others wrote, read without running anything of theirs (torch reads those of weights, as weights only).

A pickle is a program. It may ask for any name of any module and call it. These readers answer such questions
themselves: `load_plain` refuses every name; `load_fields` knows the few that numpy's arrays are written with, and gives
a stand-in for each, made here, that takes the array's parts, checks them and builds the array. Nothing of numpy itself
is handed to a pickle, nor anything else that it could call or change. The opcodes are looked through first
(`twelve.convert.opcodes`), so that none can exhaust the memory or Python's own stack.
"""

import io
import pickle
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from twelve.convert.opcodes import NAMED, look_through

BROKEN = (
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

NUMBERS = frozenset(("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1"))
"""Kinds of numbers that an array may hold, as numpy names them."""

OBJECTS = "O8"
"""The kind of an array of plain containers: `numpy.save` makes one around a dict. It is read as a list."""

BYTE_ORDERS = frozenset("<>|=")


class Refused(Exception):
    """A pickle asks for what it does not need, or cannot be read; the message ends a sentence about it."""


def load_plain(content: bytes) -> Any:
    """Read a pickle of lists, dicts, texts and numbers.

    Args:
        content: The pickle.

    Returns:
        What it holds.

    Raises:
        Refused: It asks for a name, or is broken.
    """
    return _loaded(_PlainUnpickler, content)


def load_fields(content: bytes) -> dict[Any, Any]:
    """Read a pickle of a dict of lists, dicts, texts, numbers and numpy's arrays of numbers.

    Args:
        content: The pickle, of the dict or of the array of objects that `numpy.save` puts around it.

    Returns:
        The dict; a field may be a dict of such too. Arrays are read-only; a number of numpy's is Python's.

    Raises:
        Refused: It holds no dict, asks for any other name, or is broken.
    """
    value = _loaded(_ArrayUnpickler, content)
    fields = value.items[0] if isinstance(value, _Array) and len(value.items) == 1 else value
    if not isinstance(fields, dict):
        found = "an array" if isinstance(fields, _Array) else f"a {type(fields).__name__}"
        raise Refused(f"it holds {found}, expected a dict of fields")
    return {name: _unwrapped(field) for name, field in fields.items()}


def _unwrapped(field: Any) -> Any:
    """Put arrays in their stand-ins' places: a field, or those of a dict that is one."""
    return {name: _item(one) for name, one in field.items()} if isinstance(field, dict) else _item(field)


def _item(value: Any) -> Any:
    return value.items if isinstance(value, _Array) else value


def _loaded(unpickler: type[pickle.Unpickler], content: bytes) -> Any:
    try:
        look_through(content, NAMED)
        return unpickler(io.BytesIO(content)).load()
    except BROKEN as error:
        raise Refused(str(error) or type(error).__name__) from error


class _PlainUnpickler(pickle.Unpickler):
    """Refuses every name, and with it whatever code a pickle can ask for."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, expected texts alone; nothing of it was run")


class _ArrayUnpickler(pickle.Unpickler):
    """Answers the names that arrays are written with by stand-ins, and refuses all others."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        encoder = _Encoder(len(stream.getbuffer()))
        self._stand_ins = _STAND_INS | {("_codecs", "encode"): _StandIn(encoder.encode)}

    def find_class(self, module: str, name: str) -> Any:
        stand_in = self._stand_ins.get((module.replace("numpy._core.", "numpy.core."), name))  # renamed by numpy 2
        if stand_in is None:
            raise pickle.UnpicklingError(
                f"it asks for {module}.{name}, expected numbers, texts and arrays of them; nothing of it was run"
            )
        return stand_in


class _StandIn:
    """What a pickle gets for a name: it may call it with the parts of an array, and do nothing else with it."""

    __slots__ = ("_make",)

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make

    def __call__(self, *parts: Any) -> Any:
        return self._make(*parts)

    def __setstate__(self, state: object) -> NoReturn:
        raise pickle.UnpicklingError("it changes a name that it asked for; nothing of it was run")


class _Kind:
    """Stands in for numpy's dtype: a kind of numbers, and the order of their bytes."""

    __slots__ = ("kind", "order")

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.order = "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = state[1]

    def numbers(self, content: Any, shape: Any, order: str) -> NDArray[Any]:
        """Read the bytes of numbers of this kind, as an array of a shape; order is C or F."""
        if self.kind not in NUMBERS or self.order not in BYTE_ORDERS:
            raise pickle.UnpicklingError(f"an array holds {self.order}{self.kind}, expected numbers")
        return np.frombuffer(content, self.order + self.kind).reshape(shape, order="F" if order == "F" else "C")


class _Array:
    """Stands in for an array that takes its parts later."""

    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items: NDArray[Any] | list[Any] = []

    def __setstate__(self, state: tuple[Any, Any, _Kind, bool, Any]) -> None:
        _, shape, kind, is_fortran, content = state
        is_list = kind.kind == OBJECTS and isinstance(content, list)
        self.items = content if is_list else kind.numbers(content, shape, "F" if is_fortran else "C")


def _never(*parts: object) -> NoReturn:
    raise pickle.UnpicklingError("it builds an array in another way than numpy writes one; nothing of it was run")


def _empty(*parts: object) -> _Array:
    return _Array()


def _whole(content: Any, kind: _Kind, shape: Any, order: str) -> _Array:
    array = _Array()
    array.items = kind.numbers(content, shape, order)
    return array


def _kind(kind: str, *how_to_align: object) -> _Kind:
    return _Kind(kind)


def _number(kind: _Kind, content: Any) -> Any:
    return kind.numbers(content, (), "C").item()


class _Encoder:
    """Turns texts into bytes, as pickles of protocols 0 to 2 hold them; no more of them than the pickle has."""

    def __init__(self, size: int) -> None:
        self._left = size

    def encode(self, text: str, encoding: str) -> bytes:
        """Give the bytes that a text stands for."""
        if encoding != "latin1":
            raise pickle.UnpicklingError(f"bytes are written as {encoding!r:.20}, expected 'latin1'")
        self._left -= len(text)
        if self._left < 0:
            raise pickle.UnpicklingError("it makes more bytes than it has text")
        return text.encode("latin1")


_STAND_INS = {
    ("numpy", "ndarray"): _StandIn(_never),
    ("numpy", "dtype"): _StandIn(_kind),
    ("numpy.core.multiarray", "_reconstruct"): _StandIn(_empty),
    ("numpy.core.multiarray", "scalar"): _StandIn(_number),
    ("numpy.core.numeric", "_frombuffer"): _StandIn(_whole),  # protocol 5
}
