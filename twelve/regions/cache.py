"""What is known of pictures seen before: their regions and their encoded bytes, shared by workers through a folder.

A picture's ref is the hash of its pixels, so what a file here says never changes: workers write whole files and rename
them into place, and whoever comes second says the same. Nothing here is precious: what is missing or damaged is found
again, and a disk that is full costs time and no answer.
"""

import contextlib
import logging
import os
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from twelve.regions.extractor import RegionSet

Value = TypeVar("Value")

MEMORY_BYTES = 256 << 20
"""Of region sets that one worker keeps at hand (100 published regions take 0.8 MB), and as much again of pictures."""

DEFAULT_BYTES = 2 << 30
"""Of the folder, before the longest unused files go."""

SWEEPS_PER_FILLING = 16
"""How often a worker looks at the folder's size while it writes as much as the folder may hold."""

PART = ".part"
"""Ending of a file that is still being written."""

ABANDONED_S = 3600.0
"""Age at which such a file's writer is taken to have died."""

DIGEST_DIGITS = 16
"""Of a detector's digest in a file's name."""

log = logging.getLogger(__name__)


class Recent(Generic[Value]):
    """Values by ref, within a number of bytes; the longest unused go first."""

    def __init__(self, most_bytes: int, bytes_of: Callable[[Value], int]) -> None:
        self._most_bytes = most_bytes
        self._bytes_of = bytes_of
        self._values: OrderedDict[str, Value] = OrderedDict()
        self._bytes = 0

    def get(self, ref: str) -> Value | None:
        """Give a value and count it as used, or None where it is not kept."""
        if ref not in self._values:
            return None
        self._values.move_to_end(ref)
        return self._values[ref]

    def put(self, ref: str, value: Value) -> None:
        """Keep a value in place of what was known under this ref."""
        self._bytes -= self._bytes_of(self._values.pop(ref)) if ref in self._values else 0
        self._values[ref] = value
        self._bytes += self._bytes_of(value)
        while self._bytes > self._most_bytes:
            _, oldest = self._values.popitem(last=False)
            self._bytes -= self._bytes_of(oldest)


class RegionCache:
    """Regions and encoded pictures by ref. One folder may serve many workers and detectors."""

    def __init__(
        self,
        folder: Path | None,
        *,
        detector: str,
        most_bytes: int = DEFAULT_BYTES,
        memory_bytes: int = MEMORY_BYTES,
    ) -> None:
        self._folder = folder
        self._detector = detector.removeprefix("sha256:")[:DIGEST_DIGITS]
        self._most_bytes = most_bytes
        self._recent: Recent[RegionSet] = Recent(memory_bytes, _bytes_of)
        self._encoded: Recent[bytes] = Recent(memory_bytes, len)
        self._unswept_bytes = 0
        self.sweep()

    def regions(self, ref: str) -> RegionSet | None:
        """Give a picture's detected regions, or None where they are not known; its files count as used."""
        found = self._recent.get(ref) or self._stored_regions(ref)
        if found is None:
            return None
        if self._folder is not None:
            _touch(self._picture_file(self._folder, ref))
            _touch(self._regions_file(self._folder, ref))
        self._recent.put(ref, found)
        return found

    def encoded(self, ref: str) -> bytes | None:
        """Give a picture's file as it was sent, or None where it is not kept."""
        kept = self._encoded.get(ref)
        if kept is None and self._folder is not None:
            kept = _read(self._picture_file(self._folder, ref))
        return kept or None  # an empty file is a damaged one

    def keep(self, ref: str, encoded: bytes, regions: RegionSet) -> None:
        """Remember a picture; what is kept already counts as used, and is written again where it is damaged.

        Args:
            ref: Of the picture.
            encoded: Its file.
            regions: Its detected regions, no given ones among them.
        """
        self._recent.put(ref, regions)
        if self._folder is None:
            self._encoded.put(ref, encoded)
            return
        try:
            self._write(self._picture_file(self._folder, ref), encoded)
            self._write(self._regions_file(self._folder, ref), _pack(regions))
        except OSError as error:
            log.warning(
                "%s: a picture could not be kept (%s); this worker alone will know its ref", self._folder, error
            )
            self._encoded.put(ref, encoded)
            self.sweep()
        if self._unswept_bytes * SWEEPS_PER_FILLING >= self._most_bytes:
            self.sweep()

    def sweep(self) -> None:
        """Remove the files that were not used for longest, until the folder fits its bound."""
        if self._folder is None:
            return
        self._unswept_bytes = 0
        files = sorted(_files(self._folder))
        size = sum(bytes_of for _, bytes_of, _ in files)
        for _, bytes_of, path in files:
            if size <= self._most_bytes:
                return
            with contextlib.suppress(OSError):  # another worker sweeps too, or the disk lets nobody write
                path.unlink(missing_ok=True)
                size -= bytes_of

    def _stored_regions(self, ref: str) -> RegionSet | None:
        if self._folder is None:
            return None
        path = self._regions_file(self._folder, ref)
        content = _read(path)
        if content is None:
            return None
        found = _unpack(content)
        if found is None:
            with contextlib.suppress(OSError):
                path.unlink()
        return found

    def _picture_file(self, folder: Path, ref: str) -> Path:
        return _place(folder, ref, "picture")

    def _regions_file(self, folder: Path, ref: str) -> Path:
        return _place(folder, ref, f"{self._detector}.regions")

    def _write(self, path: Path, content: bytes) -> None:
        if _size(path) == len(content):
            _touch(path)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, suffix=PART)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
            Path(part).replace(path)
        except OSError:
            Path(part).unlink(missing_ok=True)
            raise
        self._unswept_bytes += len(content)


def _place(folder: Path, ref: str, kind: str) -> Path:
    digits = ref.removeprefix("sha256:")
    return folder / digits[:2] / f"{digits}.{kind}"


def _read(path: Path) -> bytes | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    _touch(path)
    return content


def _touch(path: Path) -> None:
    """Note a file's use, for `sweep`; another worker may have swept it meanwhile, or own it."""
    with contextlib.suppress(OSError):
        os.utime(path)


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def _files(folder: Path) -> list[tuple[float, int, Path]]:
    """List (last use, bytes, path) of each file; what vanishes meanwhile or is being written is left out."""
    found = []
    youngest_part = time.time() - ABANDONED_S
    for path in folder.glob("*/*"):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            if path.suffix != PART or status.st_mtime < youngest_part:
                found.append((status.st_mtime, status.st_size, path))
    return found


def _bytes_of(regions: RegionSet) -> int:
    return sum(tensor.nbytes for tensor in (regions.features, regions.boxes_px, regions.scores, regions.labels))


def _pack(regions: RegionSet) -> bytes:
    return save(
        {
            "features": regions.features.contiguous(),
            "boxes": regions.boxes_px.contiguous(),
            "scores": regions.scores.contiguous(),
            "labels": regions.labels.contiguous(),
            "size": torch.tensor([regions.width, regions.height]),
        }
    )


def _unpack(content: bytes) -> RegionSet | None:
    """Read a stored region set; None where the file is damaged, for then the picture is simply looked at again."""
    try:
        tensors = load(content)
        width, height = tensors["size"].tolist()
        return RegionSet(
            tensors["features"], tensors["boxes"], tensors["scores"], tensors["labels"], width=width, height=height
        )
    except (SafetensorError, KeyError, ValueError):
        return None
