"""What the authors published, into a folder: file by file, each going on where an earlier run was cut short.

Nothing that was downloaded is run or unpickled here.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from twelve.bundle import sha256_of
from twelve.convert.archive import Unfit, pick
from twelve.convert.part import Part
from twelve.convert.remote import Changed, Remote
from twelve.convert.table import PublishedArchive, PublishedFile, Table
from twelve.convert.watch import Watch
from twelve.errors import FetchFailed

MARGIN = 64 << 20
"""Bytes of the disk that are left alone."""

VERSIONS = 3
"""Versions of a file that are begun, where it changes on the server again and again."""

GIGABYTE = 1e9


@dataclass(frozen=True)
class Fetched:
    """A file that is there.

    Attributes:
        path: Where.
        sha256: Of its content.
        was_there: Whether it stood there before.
    """

    path: Path
    sha256: str
    was_there: bool


class Fetcher:
    """Downloads into one folder."""

    def __init__(self, folder: Path, watch: Watch, remote: Callable[[str], Remote]) -> None:
        """Take what is needed.

        Args:
            folder: Where everything goes; made where it is missing.
            watch: Shows progress.
            remote: Gives the file at an address.
        """
        self._folder = folder
        self._watch = watch
        self._remote = remote

    def fetch(self, table: Table) -> Iterator[Fetched]:
        """Bring everything that a table lists; what stands there already is looked at and left as it is.

        Args:
            table: What to bring.

        Yields:
            Each file once it is there.

        Raises:
            FetchFailed: Something cannot be had, is not what the table says, or the disk is too small.
        """
        for file in table.file:
            yield from self._there(file, partial(self._bring_file, file))
        for archive in table.archive:
            yield from self._there(archive, partial(self._bring_archive, archive))

    def _there(self, entry: PublishedFile | PublishedArchive, bring: Callable[[], None]) -> Iterator[Fetched]:
        paths = [self._folder / name for name in entry.saved]
        is_missing = not all(path.is_file() for path in paths)
        if is_missing:
            self._folder.mkdir(parents=True, exist_ok=True)
            _bring_latest(entry.address, bring)
        for path in paths:
            if fault := entry.fault(path):
                raise FetchFailed(f"{path}: {fault}; delete it and run the same command again")
            yield Fetched(path, sha256_of(path), was_there=not is_missing)

    def _bring_file(self, file: PublishedFile) -> None:
        remote = self._remote(file.address)
        version = remote.version()
        if version.length < file.at_least:
            raise FetchFailed(
                f"{file.address}: has {version.length:,} bytes, {file.name} has at least {file.at_least:,}; "
                "this is another file"
            )
        if version.encoding:
            raise FetchFailed(
                f"{file.address}: is sent {version.encoding}-encoded though asked for as it is, so it cannot be told "
                "from what was published; try another address"
            )
        part = Part.of(self._folder / file.save, version)
        if not self._has_room(version.length - part.size):
            raise FetchFailed(
                f"{self._folder}: {file.name} needs {(version.length - part.size) / GIGABYTE:.2f} GB more and the disk "
                f"has {self._free() / GIGABYTE:.2f}; free some, or name a folder on another disk"
            )
        with part.dropped_on(Changed), self._watch(file.name, length=version.length, start=part.size) as arrived:
            for chunk in part.kept(remote.chunks(part.size, tail=part.tail())):
                arrived(len(chunk))
        _refuse_other_content(file, part)
        part.finish()

    def _bring_archive(self, archive: PublishedArchive) -> None:
        """Read an archive until all that is wanted was there; its bytes are kept for a later run if there is room."""
        remote = self._remote(archive.address)
        version = remote.version()
        part = Part.of(self._folder / archive.name, version)
        chunks = _going_on(part, remote) if self._has_room(version.length - part.size) else remote.chunks()
        with part.dropped_on(Changed, Unfit), self._watch(archive.name, length=version.length, start=0) as arrived:
            for name, content in pick(_counted(chunks, arrived), archive.members, address=archive.address):
                _refuse_short(archive, name, content)
                write_whole(self._folder / name, content)
        part.discard()

    def _has_room(self, count: int) -> bool:
        return count + MARGIN <= self._free()

    def _free(self) -> int:
        return shutil.disk_usage(self._folder).free


def _bring_latest(address: str, bring: Callable[[], None]) -> None:
    """Begin again where the server turns out to have another version than the one begun."""
    for attempt in range(1, VERSIONS + 1):
        try:
            return bring()
        except Changed:
            if attempt == VERSIONS:
                raise
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise FetchFailed(f"{address}: cannot be asked for: {error}; check the address") from error


def _going_on(part: Part, remote: Remote) -> Iterator[bytes]:
    """Give a file from its beginning: what an earlier run kept, then the rest, which is kept as well."""
    yield from part.stored()
    yield from part.kept(remote.chunks(part.size, tail=part.tail()))


def _refuse_other_content(file: PublishedFile, part: Part) -> None:
    """Compare with the table; what differs is not kept, since going on from it could never help."""
    if fault := file.fault(part.stored_at):
        part.discard()
        raise FetchFailed(f"{file.address}: {fault}; try again, or another address")


def _refuse_short(archive: PublishedArchive, name: str, content: bytes) -> None:
    if len(content) < archive.at_least:
        raise Unfit(
            f"{archive.address}: {name} has {len(content):,} bytes in it, expected at least {archive.at_least:,}; "
            "try another address"
        )


def _counted(chunks: Iterator[bytes], arrived: Callable[[int], None]) -> Iterator[bytes]:
    for chunk in chunks:
        arrived(len(chunk))
        yield chunk


def write_whole(path: Path, content: bytes) -> None:
    """Write a small file so that it is there whole or not at all."""
    fresh = path.with_name(f"{path.name}.part")
    fresh.write_bytes(content)
    fresh.replace(path)
