"""Files by key within a number of bytes, in a folder that processes share. The longest unused go first.

    <two digits>/<key>-<sha256 of the content><suffix>
    part       the file that is being written
    tally      bytes of all files, or a little more
    lock       held by whoever writes or removes

A file is whole or not there, for it is renamed into its place, and a damaged one is found out by its name. Nothing is
forced to the disk: what a power failure takes is made again. The tally is raised before a file is written, so that a
killed writer leaves it too high and never too low; whoever sweeps counts anew. One writer at a time means that a killed
one leaves one part, which the next overwrites.
"""

import contextlib
import errno
import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Protocol

from twelve.errors import DataError
from twelve.features import shard
from twelve.regions.cache.turn import turn

PART_FILE, TALLY_FILE, LOCK_FILE = "part", "tally", "lock"
TALLY_DIGITS = 20

DIGITS = 2
"""Of a key in its folder's name: 256 folders."""

FREED_SHARE = 8
"""A sweep frees one byte in so many, so that a write pays for listing as many files on average, however many there are.
No file may be larger than that share."""

WRITE_WAIT_S = 2.0
"""For another's write or sweep; then this file is not kept."""

REST_S = 10.0
"""After a failed write, a full disk's for one, until the next is tried."""

log = logging.getLogger(__name__)


class Shelf(Protocol):
    """Keeps files; may lose any of them at any time."""

    def find(self, key: str) -> Path | None:
        """Give a file, compared with its checksum, and count it as used; None where there is none."""
        ...

    def use(self, key: str) -> bool:
        """Count a file as used; False where there is none."""
        ...

    def put(self, key: str, content: bytes) -> bool:
        """Keep a file; False where that failed, which the log has."""
        ...


class NoShelf:
    """Keeps nothing."""

    def find(self, key: str) -> Path | None:
        """See `Shelf.find`."""
        del key
        return None

    def use(self, key: str) -> bool:
        """See `Shelf.use`."""
        del key
        return False

    def put(self, key: str, content: bytes) -> bool:
        """See `Shelf.put`."""
        del key, content
        return False


class _File(NamedTuple):
    used_s: float
    size: int
    path: Path


class SharedShelf:
    """A folder of such files. Keys hold digits, letters and points."""

    def __init__(
        self, folder: Path, *, suffix: str, most_bytes: int, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._suffix = suffix
        self._most_bytes = most_bytes
        self._clock_s = clock_s
        self._rests_until_s = clock_s()

    def find(self, key: str) -> Path | None:
        """See `Shelf.find`. A damaged file is removed."""
        for path in self._named(key):
            try:
                shard.verify(path)
            except DataError as error:
                log.warning("%s; removed, it will be made again", error.message)
                with contextlib.suppress(OSError):
                    path.unlink()
            except OSError:
                continue  # swept meanwhile, or not ours to read
            else:
                _touch(path)
                return path
        return None

    def use(self, key: str) -> bool:
        """See `Shelf.use`."""
        return any(_touch(path) for path in self._named(key))

    def put(self, key: str, content: bytes) -> bool:
        """See `Shelf.put`."""
        if self._clock_s() < self._rests_until_s or len(content) * FREED_SHARE > self._most_bytes:
            return False
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with turn(self._folder / LOCK_FILE, wait_s=WRITE_WAIT_S) as mine:
                if not mine:
                    raise OSError(errno.EAGAIN, "the lock cannot be had")
                self._write(self._folder / key[:DIGITS] / _name(key, content, self._suffix), content)
        except OSError as error:
            log.warning("%s: a file could not be kept (%s); nothing is for %g s", self._folder, error, REST_S)
            self._rests_until_s = self._clock_s() + REST_S
            return False
        return True

    def sweep(self) -> None:
        """Count what is there, and remove what was not used for longest until it fits the bound."""
        with turn(self._folder / LOCK_FILE, wait_s=WRITE_WAIT_S) as mine:
            if mine:
                with contextlib.suppress(OSError):
                    self._note(self._swept(self._most_bytes))

    def _write(self, path: Path, content: bytes) -> None:
        self._make_room(len(content))
        path.parent.mkdir(exist_ok=True)
        part = self._folder / PART_FILE
        try:
            part.write_bytes(content)
            part.replace(path)
        except OSError:
            part.unlink(missing_ok=True)
            raise

    def _make_room(self, size: int) -> None:
        total = self._noted()
        if total is None or total + size > self._most_bytes:
            total = self._swept(self._most_bytes - self._most_bytes // FREED_SHARE - size)
        self._note(total + size)

    def _noted(self) -> int | None:
        try:
            return int((self._folder / TALLY_FILE).read_bytes())
        except (OSError, ValueError):  # its first writer may have been killed before the first digit
            return None

    def _note(self, total: int) -> None:
        """Write over the digits that are there: some file systems force a file to the disk that was emptied first."""
        descriptor = os.open(self._folder / TALLY_FILE, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, b"%0*d" % (TALLY_DIGITS, total))
        finally:
            os.close(descriptor)

    def _swept(self, most_bytes: int) -> int:
        """Remove the longest unused files until so many bytes are left, and count these."""
        files = sorted(self._files())
        total = sum(file.size for file in files)
        for file in files:
            if total <= most_bytes:
                break
            with contextlib.suppress(OSError):  # the disk may let nobody write
                file.path.unlink(missing_ok=True)
                total -= file.size
        return total

    def _files(self) -> Iterator[_File]:
        for folder in self._folder.iterdir():
            if len(folder.name) == DIGITS:
                for entry in os.scandir(folder):
                    with contextlib.suppress(FileNotFoundError):
                        status = entry.stat()
                        yield _File(status.st_mtime, status.st_size, Path(entry.path))

    def _named(self, key: str) -> list[Path]:
        try:
            with os.scandir(self._folder / key[:DIGITS]) as entries:
                return [Path(entry.path) for entry in entries if entry.name.startswith(f"{key}-")]
        except OSError:
            return []


def _name(key: str, content: bytes, suffix: str) -> str:
    return f"{key}-{hashlib.sha256(content).hexdigest()}{suffix}"


def _touch(path: Path) -> bool:
    """Note a file's use, for `sweep`; False where it is gone. It may belong to somebody else, who notes it then."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True
