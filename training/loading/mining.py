"""Tables of nearest pictures: hard negatives found once, off-line, and kept beside the features.

    stamp.json   of what the table tells: pictures, detector, how many nearest; written first
    00000.npy    [C, most] int32, rows of the nearest pictures of each of a block's, nearest first
    sums.json    sha256 by block; written last, so a table with sums is whole

A kill costs one block. No more than a block's distances are ever held: 0.5 GB with the 113,000 pictures of COCO.

Shapes: P pictures · F feature width · C pictures of a block.
"""

import hashlib
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.loading.gallery import Gallery, blocks, nearest_of
from twelve.errors import DataError
from twelve.features.disk import commit

FOLDER, STAMP, SUMS = "negatives", "stamp.json", "sums.json"


class NearTable(Mapping[str, Sequence[str]]):
    """Nearest pictures by picture, read from a table's rows."""

    def __init__(self, images: Sequence[str], rows: NDArray[np.int32]) -> None:
        self._images = images
        self._rows = rows
        self._places = {image: place for place, image in enumerate(images)}

    def __getitem__(self, image: str) -> list[str]:
        return [self._images[row] for row in self._rows[self._places[image]].tolist()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._images)

    def __len__(self) -> int:
        return len(self._images)


def mine(folder: Path, gallery: Gallery, *, most: int, on_progress: Callable[[int], None]) -> None:
    """Write a gallery's table, or go on where that was cut short.

    Args:
        folder: Of the table.
        gallery: Whose pictures to compare.
        most: Nearest pictures to keep of each.
        on_progress: Called with the number of pictures done since the last call.

    Raises:
        DataError: The folder holds a table of something else; says what to do.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, stamp(gallery, most))
    if (folder / SUMS).is_file():
        on_progress(len(gallery.images))
        return
    means = gallery.means()
    for block in range(blocks(len(means))):
        path = _block(folder, block)
        if not path.is_file():
            commit(path, _npy(nearest_of(means, block, most=most).int().numpy()))
        on_progress(len(np.load(path, mmap_mode="r")))
    sums = {path.name: _sha256(path) for path in sorted(folder.glob("*.npy"))}
    commit(folder / SUMS, (json.dumps(sums, indent=2) + "\n").encode())


def load(folder: Path, gallery: Gallery, *, most: int) -> NearTable:
    """Read a gallery's table.

    Args:
        folder: Of the table.
        gallery: Whose pictures it tells of.
        most: Nearest pictures that it keeps of each.

    Returns:
        The nearest pictures of each.

    Raises:
        DataError: There is no whole table, it tells of other pictures or another detector's, or a block was altered.
    """
    if not (folder / SUMS).is_file():
        raise DataError(f"{folder}: holds no whole table of negatives; run `python -m training negatives RECIPE`")
    _claim(folder, stamp(gallery, most))
    sums = json.loads((folder / SUMS).read_text(encoding="utf-8"))
    for name, stated in sums.items():
        _check(folder / name, stated)
    return NearTable(gallery.images, np.concatenate([np.load(folder / name) for name in sums]))


def stamp(gallery: Gallery, most: int) -> dict[str, Any]:
    """Say what a table tells of; equal stamps, equal tables.

    Args:
        gallery: Whose pictures are compared.
        most: Nearest pictures kept of each.

    Returns:
        Their number, a sha256 of names and contents, the detector's digest, and `most`.
    """
    named = json.dumps([(image, gallery.key(image)) for image in gallery.images])
    return {
        "pictures": len(gallery.images),
        "named": hashlib.sha256(named.encode()).hexdigest(),
        "detector": gallery.shelf.detector_digest,
        "most": most,
    }


def _claim(folder: Path, wanted: Mapping[str, Any]) -> None:
    """Write what the table will tell, or refuse a folder that tells of something else."""
    path = folder / STAMP
    if not path.is_file():
        commit(path, (json.dumps(wanted, indent=2) + "\n").encode())
    found = json.loads(path.read_text(encoding="utf-8"))
    changed = [name for name, value in wanted.items() if found.get(name) != value]
    if changed:
        raise DataError(
            f"{path}: the table was mined with {changed[0]} {found.get(changed[0])}, this run has "
            f"{wanted[changed[0]]}; remove {folder} and run `python -m training negatives RECIPE` again"
        )


def _check(path: Path, stated: str) -> None:
    if not path.is_file() or _sha256(path) != stated:
        raise DataError(
            f"{path}: the block is missing or not the one that was mined; remove it and {SUMS} beside it, and run "
            "`python -m training negatives RECIPE` again"
        )


def _block(folder: Path, number: int) -> Path:
    return folder / f"{number:05d}.npy"


def _npy(rows: NDArray[np.int32]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, rows)
    return stream.getvalue()


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
