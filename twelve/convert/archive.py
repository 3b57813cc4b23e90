"""Entries out of a tar archive that is read as it comes, and no further than the last of them.

Nothing is unpacked: an entry that is wanted is read as bytes and written under a name that the caller chose. Links,
folders, and names that lead elsewhere are passed over.
"""

import io
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from twelve.errors import FetchFailed

MOST_BYTES = 64 << 20
"""Of an entry; a list of answers has less than a thousandth of that."""


class Unfit(FetchFailed):
    """The archive is none, or not the one that was expected; reading it again would not help."""


def pick(chunks: Iterator[bytes], members: Mapping[str, str], *, address: str) -> Iterator[tuple[str, bytes]]:
    """Take entries out of an archive.

    Args:
        chunks: Of the archive, compressed or not.
        members: What to call an entry, by the end of its path.
        address: Where the archive lies, for errors.

    Yields:
        (name, content) of each, in the archive's order.

    Raises:
        Unfit: It is no archive, it ends too early, or a wanted entry is missing, too large or no file.
    """
    wanted = {PurePosixPath(end).parts: name for end, name in members.items()}
    try:
        with tarfile.open(fileobj=io.BufferedReader(_Stream(chunks)), mode="r|*") as archive:
            while wanted and (entry := archive.next()) is not None:
                archive.members = []  # type: ignore[attr-defined]  # else it remembers hundreds of thousands
                end = _end(entry.name, wanted)
                if end is not None:
                    yield wanted.pop(end), _content(archive, entry, address)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise Unfit(f"{address}: cannot be read as a tar archive: {error}; try another address") from error
    if wanted:
        missing = ", ".join("/".join(end) for end in wanted)
        raise Unfit(f"{address}: was read to its end and has no {missing}; name its members in --table")


def _end(path: str, ends: Mapping[tuple[str, ...], str]) -> tuple[str, ...] | None:
    """Find which of the ends a path has."""
    parts = PurePosixPath(path).parts
    return next((end for end in ends if parts[-len(end) :] == end), None)


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo, address: str) -> bytes:
    if not entry.isreg():
        raise Unfit(f"{address}: {entry.name} is a link or a folder, expected a file")
    if entry.size > MOST_BYTES:
        raise Unfit(f"{address}: {entry.name} has {entry.size:,} bytes, expected at most {MOST_BYTES:,}")
    stream = archive.extractfile(entry)
    assert stream is not None, "a regular file has a content"
    return stream.read()


class _Stream(io.RawIOBase):
    """Chunks as a file that can only be read onwards."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        count = min(len(buffer), len(self._rest))
        buffer[:count], self._rest = self._rest[:count], self._rest[count:]
        return count
