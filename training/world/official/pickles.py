"""Pickles of plain containers in protocol 0, as Python 2 wrote the official refs files.

They are written opcode by opcode: nothing is memoised, so that the bytes do not depend on which equal strings happen to
be one object, and nothing but lists, dicts, strings and whole numbers can get in.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from .files import Json


def write_pickle(path: Path, content: Json) -> None:
    """Write lists, dicts, strings and whole numbers as a pickle; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"{_opcodes(content)}.", encoding="ascii")


def _opcodes(value: Json) -> str:
    return _WRITERS[type(value)](value)


def _list(value: list[Json]) -> str:
    return "(l" + "".join(f"{_opcodes(item)}a" for item in value)


def _dict(value: dict[str, Json]) -> str:
    return "(d" + "".join(f"{_opcodes(key)}{_opcodes(item)}s" for key, item in value.items())


def _string(value: str) -> str:
    return f"V{''.join(map(_escaped, value))}\n"


def _escaped(character: str) -> str:
    """Escape what Python's raw-unicode-escape could not tell from the end of a line, an escape, or ASCII."""
    plain = character.isascii() and character.isprintable() and character != "\\"
    return character if plain else f"\\U{ord(character):08x}"


def _integer(value: int) -> str:
    return f"I{value}\n"


_WRITERS: Final[Mapping[type, Callable[[Json], str]]] = {list: _list, dict: _dict, str: _string, int: _integer}
