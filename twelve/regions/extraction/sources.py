"""Where pictures come from: a folder, a list of paths, or an archive. A further kind is a further entry of KINDS.

A source lists entries, always in the same order, and holds no more of them than it must. An entry is known by its name
and its stamp: equal ones are the same bytes, so nothing is read to tell that a picture was had before.
"""

import json
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from twelve.errors import DataError, UnreadableImage
from twelve.image import ImageLimits, refuse_bytes
from twelve.regions.extraction.listing import printable, promises_picture, status, walk

LIST_FIELD = "image"
"""The field of a JSON line that names a picture's file."""

INSIDE = "!/"
"""Between an archive's path and the name of what lies in it."""

SHOWN = 60
"""Characters of an impossible path that a sentence shows."""

_BROKEN_ARCHIVE = (tarfile.TarError, EOFError, zlib.error, OSError)


class Parcel(NamedTuple):
    """A picture's bytes, or the path they can be read from: what is handed to another thread or machine."""

    path: str | None = None
    data: bytes | None = None


class Entry(Protocol):
    """One input."""

    @property
    def name(self) -> str:
        """Name it for people, and for good."""
        ...

    @property
    def stamp(self) -> tuple[int, ...]:
        """Tell its present content from an earlier one, without reading it."""
        ...

    def parcel(self, limits: ImageLimits) -> Parcel:
        """Take hold of its bytes; possible only until its source is asked for the next entry.

        Args:
            limits: What is too large is not read.

        Raises:
            RequestError: It holds none, or too many.
        """
        ...


class Source(Protocol):
    """What lists entries."""

    def count(self) -> int | None:
        """Count the entries; None where that would take as long as reading them."""
        ...

    def __iter__(self) -> Iterator[Entry]: ...


@dataclass(frozen=True)
class FileEntry:
    """A file on the disk."""

    path: str

    @property
    def name(self) -> str:
        """Give its absolute path."""
        return printable(self.path)

    @property
    def stamp(self) -> tuple[int, ...]:
        """Give its size and the time it was last written to."""
        return status(self.path)

    def parcel(self, limits: ImageLimits) -> Parcel:
        """Give its path: whoever decodes reads it."""
        del limits
        return Parcel(path=self.path)


@dataclass(frozen=True)
class Folder:
    """All pictures of a folder and of the folders below it."""

    path: Path

    @staticmethod
    def recognises(path: Path) -> bool:
        """Tell whether a path is one of this kind."""
        return path.is_dir()

    def count(self) -> int:
        """Count the pictures, by their names alone."""
        return sum(1 for _ in walk(str(self.path.resolve())))

    def __iter__(self) -> Iterator[Entry]:
        return (FileEntry(path) for path in walk(str(self.path.resolve())))


@dataclass(frozen=True)
class TextList:
    """A text file with a path a line, relative to the file's own folder or absolute; whatever their suffixes."""

    path: Path

    @staticmethod
    def recognises(path: Path) -> bool:
        """Tell whether a path is one of this kind."""
        return path.suffix == ".txt" and path.is_file()

    def count(self) -> int:
        """Count the lines that name a picture."""
        return sum(1 for _ in self._lines())

    def __iter__(self) -> Iterator[Entry]:
        folder = self.path.resolve().parent
        for number, line in self._lines():
            yield FileEntry(os.path.normpath(os.path.join(folder, self._possible(self.named(line, number), number))))

    def named(self, line: str, number: int) -> str:
        """Read the path off a line."""
        del number
        return line

    def _possible(self, named: str, number: int) -> str:
        """Refuse what no file can be called: no call of the system would take it."""
        try:
            is_possible = b"\0" not in os.fsencode(named)
        except UnicodeEncodeError:  # JSON can write half of a character
            is_possible = False
        if not is_possible:
            raise DataError(f"{self.path}: line {number} names {ascii(named)[:SHOWN]}, which no file can be called")
        return named

    def _lines(self) -> Iterator[tuple[int, str]]:
        with self.path.open(encoding="utf-8-sig", errors="surrogateescape") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, line.rstrip("\r\n")


@dataclass(frozen=True)
class RecordList(TextList):
    """A file with a JSON object a line, whose LIST_FIELD names a picture; otherwise as TextList."""

    @staticmethod
    def recognises(path: Path) -> bool:
        """Tell whether a path is one of this kind."""
        return path.suffix == ".jsonl" and path.is_file()

    def named(self, line: str, number: int) -> str:
        """Read the path off a line.

        Raises:
            DataError: The line names none.
        """
        try:
            named = json.loads(line)[LIST_FIELD]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._nameless(number) from error
        if not isinstance(named, str) or not named:
            raise self._nameless(number)
        return named

    def _nameless(self, number: int) -> DataError:
        return DataError(f'{self.path}: line {number} names no picture; write {{"{LIST_FIELD}": "path/of/it.jpg"}}')


@dataclass(frozen=True)
class Member:
    """A file in an archive, while the archive is read past it."""

    archive: tarfile.TarFile
    info: tarfile.TarInfo
    name: str

    @property
    def stamp(self) -> tuple[int, ...]:
        """Give its size, the time stated for it, and its place: an archive may hold two of one name."""
        return self.info.size, int(self.info.mtime), self.info.offset_data

    def parcel(self, limits: ImageLimits) -> Parcel:
        """Read its bytes."""
        refuse_bytes(self.info.size, limits)
        stream = self.archive.extractfile(self.info) if self.info.isreg() else None
        if stream is None:
            raise UnreadableImage("this is no regular file, but a link inside the archive; pack the file itself")
        with stream, _explained(self.name):
            return Parcel(data=stream.read())


@dataclass(frozen=True)
class Archive:
    """The pictures of a tar, compressed or not, read from its beginning to its end."""

    path: Path

    @staticmethod
    def recognises(path: Path) -> bool:
        """Tell whether a path is one of this kind."""
        return path.name.endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")) and path.is_file()

    def count(self) -> int | None:
        """Count the pictures by the headers alone; of a compressed archive nobody knows before its end."""
        if self.path.suffix != ".tar":
            return None
        with _explained(str(self.path)), tarfile.open(self.path, "r:", errors="surrogateescape") as archive:
            return sum(1 for _ in self._members(archive))

    def __iter__(self) -> Iterator[Entry]:
        with _explained(str(self.path)), tarfile.open(self.path, "r|*", errors="surrogateescape") as archive:
            yield from self._members(archive)

    def _members(self, archive: tarfile.TarFile) -> Iterator[Entry]:
        beginning = printable(str(self.path.resolve())) + INSIDE
        while (info := archive.next()) is not None:
            archive.members = []  # type: ignore[attr-defined]  # it keeps a kilobyte for each member it has passed
            if promises_picture(info.name) and not info.isdir():
                yield Member(archive, info, beginning + printable(info.name))


@contextmanager
def _explained(archive: str) -> Iterator[None]:
    """Tell of an archive that is cut short or damaged."""
    try:
        yield
    except _BROKEN_ARCHIVE as error:
        raise DataError(
            f"{archive}: the archive cannot be read to its end ({error}); give the whole one, what was kept stays"
        ) from error


KINDS = (Folder, Archive, TextList, RecordList)


def open_source(path: Path) -> Source:
    """Find out what kind of source a path is.

    Args:
        path: Of a folder, an archive or a list.

    Returns:
        The source.

    Raises:
        DataError: It is none.
    """
    for kind in KINDS:
        if kind.recognises(path):
            return kind(path)
    raise DataError(
        f"{path}: got no source of pictures; give a folder, a .txt with a path a line, a .jsonl with an "
        f'"{LIST_FIELD}" a line, or a .tar, .tar.gz, .tgz, .tar.bz2 or .tar.xz'
    )
