"""A second list of the keys of a store's first shards, in one file, so that a large store opens without opening each.

It says nothing that the shards do not say, and where it names other files than are there it is not used. The writer
makes it again whenever it lacks an eighth of the pictures: writing it costs little, and little is read without it.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from twelve.errors import DataError
from twelve.features.disk import commit

FEW = 1024
"""Pictures that are not worth a list."""

SHARE = 8
"""A list may lack one picture in so many."""


class Listed(NamedTuple):
    """What the list says of one shard: its file's name and size, and its keys in the order they were written."""

    name: str
    bytes: int
    keys: tuple[str, ...]


def is_outgrown(listed: int, pictures: int) -> bool:
    """Tell whether a list of so many pictures is worth making again for so many."""
    return pictures - listed > max(FEW, listed // SHARE)


def read(path: Path) -> list[Listed]:
    """Read a list.

    Args:
        path: Of its file.

    Returns:
        The shards in the order of their numbers; none where there is no list.

    Raises:
        DataError: The file is damaged.
    """
    try:
        return [Listed(name, size, tuple(keys)) for name, size, keys in json.loads(path.read_bytes())]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: is damaged ({error}); remove it, the shards hold all that it says") from error


def write(path: Path, listed: Sequence[Listed]) -> None:
    """Write a list, whole or not at all."""
    commit(path, json.dumps(listed).encode())


def agreeing(listed: Sequence[Listed], paths: Sequence[Path]) -> list[Listed]:
    """Give the list if its shards are the first of those that are there, and nothing if they are not.

    Args:
        listed: The list.
        paths: Of the shards, in the order of their numbers.

    Returns:
        The list, or an empty one.

    Raises:
        DataError: A shard has another size than the list says.
    """
    if [each.name for each in listed] != [path.name for path in paths[: len(listed)]]:
        return []
    for each, path in zip(listed, paths, strict=False):
        if path.stat().st_size != each.bytes:
            raise DataError(
                f"{path}: the shard is damaged or cut short "
                f"(it has {path.stat().st_size:,} bytes, had {each.bytes:,}); restore it"
            )
    return list(listed)
