"""What is known of pictures seen before: their regions and their encoded bytes, shared by workers through a folder.

A picture's ref is the hash of its pixels, so a file here never changes: workers write whole files and rename them into
place, and whoever comes second writes the same bytes. Nothing here is precious: what is missing is found again.
"""

import contextlib
import os
import tempfile
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save

from twelve.regions.extractor import RegionSet

IN_MEMORY = 256
"""Region sets that one worker keeps at hand; 100 published regions take 0.8 MB, so 0.2 GB."""

DEFAULT_BYTES = 2 << 30
"""Of the folder, before the longest unused files go."""

SWEEP_EVERY = 64
"""Pictures kept between two looks at the folder's size."""


class RegionCache:
    """Regions and encoded pictures by ref. One folder may serve many workers and detectors."""

    def __init__(self, folder: Path | None, *, detector: str, most_bytes: int = DEFAULT_BYTES) -> None:
        self._folder = folder
        self._detector = detector[:16]
        self._most_bytes = most_bytes
        self._recent: OrderedDict[str, RegionSet] = OrderedDict()
        self._encoded: OrderedDict[str, bytes] = OrderedDict()
        self._kept = 0

    def regions(self, ref: str) -> RegionSet | None:
        """Give a picture's detected regions, or None where they are not known."""
        if ref not in self._recent:
            stored = self._read(self._path(ref, f"{self._detector}.regions"))
            found = _unpack(stored) if stored else None
            if found is None:
                return None
            self._remember(self._recent, ref, found)
        self._recent.move_to_end(ref)
        return self._recent[ref]

    def encoded(self, ref: str) -> bytes | None:
        """Give a picture's file as it was sent, or None where it is not kept."""
        return self._encoded.get(ref) or self._read(self._path(ref, "picture"))

    def keep(self, ref: str, encoded: bytes, regions: RegionSet) -> None:
        """Remember a picture.

        Args:
            ref: Of the picture.
            encoded: Its file.
            regions: Its detected regions, no given ones among them.
        """
        self._remember(self._recent, ref, regions)
        if self._folder is None:
            self._remember(self._encoded, ref, encoded)
            return
        self._write(self._path(ref, "picture"), encoded)
        self._write(self._path(ref, f"{self._detector}.regions"), _pack(regions))
        self._kept += 1
        if self._kept % SWEEP_EVERY == 0:
            self.sweep()

    def sweep(self) -> None:
        """Remove the files that were not used for longest, until the folder fits its bound."""
        if self._folder is None:
            return
        files = sorted(_files(self._folder))
        size = sum(bytes_of for _, bytes_of, _ in files)
        for _, bytes_of, path in files:
            if size <= self._most_bytes:
                return
            with contextlib.suppress(FileNotFoundError):  # another worker sweeps too
                path.unlink()
            size -= bytes_of

    def _remember(
        self, memory: "OrderedDict[str, RegionSet] | OrderedDict[str, bytes]", ref: str, value: object
    ) -> None:
        memory[ref] = value  # type: ignore[assignment]
        memory.move_to_end(ref)
        while len(memory) > IN_MEMORY:
            memory.popitem(last=False)

    def _path(self, ref: str, kind: str) -> Path | None:
        digits = ref.removeprefix("sha256:")
        return self._folder / digits[:2] / f"{digits}.{kind}" if self._folder else None

    def _read(self, path: Path | None) -> bytes | None:
        if path is None:
            return None
        try:
            content = path.read_bytes()
            os.utime(path)  # its last use, for `sweep`
        except FileNotFoundError:
            return None
        return content

    def _write(self, path: Path | None, content: bytes) -> None:
        if path is None or path.exists():
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".part")
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
        Path(name).replace(path)


def _files(folder: Path) -> list[tuple[float, int, Path]]:
    """List (last use, bytes, path) of each file; files that vanish meanwhile are left out."""
    found = []
    for path in folder.glob("*/*"):
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            found.append((status.st_mtime, status.st_size, path))
    return found


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
