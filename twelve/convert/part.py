"""What has arrived of a file so far, in NAME.part beside its place, and in NAME.part.json the version it belongs to."""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Self

from twelve.bundle import CHUNK
from twelve.convert.remote import TAIL, Version


class Part:
    """The beginning of a file. It gets the file's own name only when it is whole."""

    def __init__(self, path: Path, version: Version) -> None:
        self.path = path
        self.version = version
        self.stored_at = path.with_name(f"{path.name}.part")
        self._about = path.with_name(f"{path.name}.part.json")

    @classmethod
    def of(cls, path: Path, version: Version) -> Self:
        """Take up what an earlier run left of this version; what it left of another one is removed.

        Args:
            path: Where the whole file is to stand.
            version: That the server has now.

        Returns:
            The part, perhaps empty.
        """
        part = cls(path, version)
        if part._belongs_to() != asdict(version) or part.size > version.length:
            part.discard()
            part._about.write_text(json.dumps(asdict(version)) + "\n", encoding="utf-8")
        return part

    @property
    def size(self) -> int:
        """Count the bytes that are there."""
        return self.stored_at.stat().st_size if self.stored_at.is_file() else 0

    def tail(self) -> bytes:
        """Give the last of them."""
        if not self.size:
            return b""
        with self.stored_at.open("rb") as stream:
            stream.seek(max(0, self.size - TAIL))
            return stream.read()

    def stored(self) -> Iterator[bytes]:
        """Read what is there."""
        if self.size:
            with self.stored_at.open("rb") as stream:
                while chunk := stream.read(CHUNK):
                    yield chunk

    def kept(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Add chunks as they come, and pass them on."""
        with self.stored_at.open("ab") as stream:
            for chunk in chunks:
                stream.write(chunk)
                yield chunk

    @contextmanager
    def dropped_on(self, *failures: type[Exception]) -> Iterator[None]:
        """Remove it where one of these failures shows that going on from it would not help."""
        try:
            yield
        except failures:
            self.discard()
            raise

    def finish(self) -> None:
        """Give the file its name; what is not on the disk yet is written first, so that a power cut leaves no gap."""
        with self.stored_at.open("rb") as stream:
            os.fsync(stream.fileno())
        self.stored_at.replace(self.path)
        self._about.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove it."""
        self.stored_at.unlink(missing_ok=True)
        self._about.unlink(missing_ok=True)

    def _belongs_to(self) -> object:
        try:
            return json.loads(self._about.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
