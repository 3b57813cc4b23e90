"""How many shards a store has at least, in one small file: shards are numbered, so all but the last are missed anyway.

The writer commits it after each shard and before `append` returns. A reader takes it before it lists the shards. So it
is never ahead of them, and never behind what was acknowledged. Older stores have none until they are appended to.
"""

import json
from pathlib import Path

from twelve.errors import DataError
from twelve.features.disk import commit


def read(path: Path) -> int:
    """Read a count.

    Args:
        path: Of its file.

    Returns:
        The shards; 0 where nobody counted.

    Raises:
        DataError: The file is damaged.
    """
    try:
        count = json.loads(path.read_bytes())
    except FileNotFoundError:
        return 0
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    if type(count) is not int or count < 0:
        raise _damaged(path, f"got {count!r:.60}, expected a count of shards")
    return count


def write(path: Path, shards: int) -> None:
    """Write a count, whole or not at all."""
    commit(path, f"{shards}\n".encode())


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(f"{path}: is damaged ({reason}); see that the last shard is there, then remove it")
