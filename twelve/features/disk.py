"""Files that are whole or not there, and one writer at a time.

Any process may be killed between two instructions. What `commit` has returned from survives that, and a power failure
as well; what it has not returned from is either there, whole, or a `.part` file that the next writer removes.
"""

import fcntl
import os
from pathlib import Path
from typing import ClassVar, Self

from twelve.errors import DataError

PART_SUFFIX = ".part"


class Busy(DataError):
    """Another process writes here. Exit code 75, as sysexits' EX_TEMPFAIL: try again later."""

    code = "busy"
    exit_code: ClassVar[int] = 75


def commit(path: Path, data: bytes) -> None:
    """Write a file beside its place, force it to the disk, move it into its place."""
    part = path.with_name(path.name + PART_SUFFIX)
    with part.open("wb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)
    _sync_folder(path.parent)


def remove_parts(folder: Path) -> None:
    """Remove what killed writers left. The caller is the only writer."""
    for part in folder.glob(f"*{PART_SUFFIX}"):
        part.unlink()


def _sync_folder(folder: Path) -> None:
    """Force a folder's list of names to the disk: a rename is not durable before."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class WriterLock:
    """The right to write to a folder. Ends with the process, however that ends; the file itself stays."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> Self:
        """Take the lock, or say who cannot have it.

        Args:
            path: Of the lock file; made where it is missing.

        Returns:
            The lock, held until `release`.

        Raises:
            Busy: Another writer holds it.
            OSError: The file cannot be made, or locked where it lies.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(descriptor)
            raise Busy(f"{path.parent}: another process is writing here; wait until it has ended") from error
        except OSError:
            os.close(descriptor)
            raise
        return cls(descriptor)

    def release(self) -> None:
        """Let the next writer in."""
        os.close(self._descriptor)
