"""Regions of a data root's pictures, found once and kept: what training and evaluation read in place of pictures.

Data sets show one picture under many names (Visual7W's pictures are Visual Genome's, NLVR2's come in many pairs), so
the store goes by the hash of the file. A picture's entry holds its detected regions and, after them, every box that
some task gives as a candidate.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self

import torch

from training.data.identity import pictures_of
from training.data.sets import DataSets
from twelve.boxes import clip
from twelve.bundle import sha256_of
from twelve.errors import DataError
from twelve.features.store import FeatureStore
from twelve.image import ImageLimits
from twelve.image import read as read_picture
from twelve.regions.extractor import RegionExtractor, RegionSet

Box = tuple[float, float, float, float]

SHARD = 256
"""Pictures of one shard: what a kill may cost."""

SAME_BOX_PX = 0.01
"""Boxes pass through float32 on their way into the store."""

STORE, NAMES, DESCRIBED = "features", "pictures.json", "boxes.json"


class Regions:
    """The kept regions of a data root, by picture path."""

    def __init__(self, store: FeatureStore, keys: Mapping[str, str]) -> None:
        self._store = store
        self._keys = keys

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Open what `prepare` wrote.

        Args:
            folder: Of the run.

        Raises:
            DataError: There is none; says how to make it.
        """
        names = folder / NAMES
        if not names.is_file():
            raise DataError(f"{folder}: holds no features; run `python -m training features RECIPE` first")
        return cls(FeatureStore.open(folder / STORE), json.loads(names.read_text(encoding="utf-8")))

    def key(self, image: str) -> str:
        """Give the hash by which a picture's entry goes; two names of one picture share it.

        Raises:
            DataError: The picture was none of those prepared; says what to do.
        """
        if image not in self._keys:
            raise DataError(f"{image}: has no features; run `python -m training features RECIPE` with this recipe")
        return self._keys[image]

    @property
    def detector_digest(self) -> str:
        """Name the detector that found the regions."""
        return self._store.settings.detector_digest

    def entry(self, key: str) -> RegionSet:
        """Give the entry that goes by a hash."""
        return self._store[key]


def nothing(record: object) -> Sequence[Box]:
    """Show no box beside those that a record gives as candidates."""
    del record
    return ()


def right_box(record: object) -> Sequence[Box]:
    """Show the box that a record's expression means; records of other kinds have none."""
    box: Box | None = getattr(record, "box_px", None)
    return (box,) if box else ()


def wanted(
    sets: DataSets, tasks: Iterable[str], *, shown: Callable[[object], Sequence[Box]] = nothing
) -> dict[str, frozenset[Box]]:
    """List every picture that the tasks' records show, with all boxes given for it as candidates.

    Args:
        sets: The data sets.
        tasks: Names.
        shown: Further boxes of a record that are to be described.

    Returns:
        Boxes by picture path.
    """
    boxes: dict[str, set[Box]] = defaultdict(set)
    for name in tasks:
        for split in sets.splits(name):
            for record in sets.read(name, split):
                for image in pictures_of(record):
                    boxes[image].update((*getattr(record, "boxes_px", ()), *shown(record)))
    return {image: frozenset(found) for image, found in boxes.items()}


def given_rows(entry: RegionSet, boxes: Sequence[Sequence[float]], *, at: str) -> tuple[int, ...]:
    """Find the rows of a picture's entry that describe given boxes.

    Args:
        entry: Of the picture.
        boxes: XYXY, pixels.
        at: Path of the picture, for the error.

    Returns:
        A row for each box.

    Raises:
        DataError: A box was not given when the entry was made; says what to do.
    """
    first = len(entry) - entry.given
    return tuple(first + _given_place(entry.boxes_px[first:], entry, box, at) for box in boxes)


def _given_place(given: torch.Tensor, entry: RegionSet, box: Sequence[float], at: str) -> int:
    clipped = clip(torch.tensor([box]), height=entry.height, width=entry.width)
    distance = (given - clipped).abs().amax(dim=1)  # [G]
    if not bool((distance < SAME_BOX_PX).any()):
        raise DataError(
            f"{at}: box {list(box)} was not described when features were prepared; remove {STORE}/ from the run's "
            "folder and run `python -m training features RECIPE` again"
        )
    return int(distance.argmin())


def keys_of(root: Path, images: Iterable[str]) -> dict[str, str]:
    """Hash each picture file; names of one file on the disk are hashed once.

    Args:
        root: The data root.
        images: Paths relative to it.

    Returns:
        sha256 of the file by path, in the order of paths.

    Raises:
        DataError: A file is not there.
    """
    by_file: dict[tuple[int, int], str] = {}
    keys = {}
    for image in sorted(images):
        path = root / image
        if not path.is_file():
            raise DataError(
                f"{path}: an annotation names this picture and it is not there; see docs/data.md for the layout"
            )
        status = path.stat()
        file = (status.st_dev, status.st_ino)
        if file not in by_file:
            by_file[file] = sha256_of(path)
        keys[image] = by_file[file]
    return keys


def prepare(
    sets: DataSets,
    folder: Path,
    tasks: Iterable[str],
    extractor: RegionExtractor,
    *,
    shown: Callable[[object], Sequence[Box]] = nothing,
    on_total: Callable[[int], None],
    on_progress: Callable[[int], None],
) -> Regions:
    """Find and keep the regions of all pictures of a data root; a run that was cut short goes on where it stopped.

    Args:
        sets: The data sets.
        folder: Of the run.
        tasks: Names of the tasks whose pictures are wanted.
        extractor: Finds and describes regions.
        shown: Boxes of a record that are described beside its candidates.
        on_total: Called with the number of distinct pictures.
        on_progress: Called with the number of pictures done since the last call.

    Returns:
        The kept regions.

    Raises:
        DataError: The folder holds another detector's features or lacks boxes of a picture it holds, or a picture is
            missing.
    """
    boxes = wanted(sets, tasks, shown=shown)
    keys = keys_of(sets.root, boxes)
    jobs = _jobs(boxes, keys)
    on_total(len(jobs))
    store = _store(folder / STORE, extractor)
    _check_described(store, jobs, folder / DESCRIBED)
    missing = [key for key in jobs if key not in store]
    on_progress(len(jobs) - len(missing))
    for start in range(0, len(missing), SHARD):
        chunk = missing[start : start + SHARD]
        store.append([(key, _regions(sets.root / jobs[key][0], jobs[key][1], extractor)) for key in chunk])
        on_progress(len(chunk))
    store.close()
    described = {key: _digest(boxes) for key, (_, boxes) in jobs.items() if boxes}
    (folder / DESCRIBED).write_text(json.dumps(described, indent=0) + "\n", encoding="utf-8")
    (folder / NAMES).write_text(json.dumps(keys, indent=0) + "\n", encoding="utf-8")
    return Regions(store, keys)


def _jobs(boxes: Mapping[str, frozenset[Box]], keys: Mapping[str, str]) -> dict[str, tuple[str, tuple[Box, ...]]]:
    """Give each distinct picture one of its paths, and the boxes given under any of them."""
    paths: dict[str, str] = {}
    given: dict[str, set[Box]] = defaultdict(set)
    for image, key in keys.items():
        paths.setdefault(key, image)
        given[key].update(boxes[image])
    return {key: (path, tuple(sorted(given[key]))) for key, path in paths.items()}


def _check_described(store: FeatureStore, jobs: Mapping[str, tuple[str, tuple[Box, ...]]], digests: Path) -> None:
    """Refuse a store whose entries lack boxes that are wanted now; equal digests spare reading an entry.

    Folders of before the digests, and entries made by a run that was cut short, have none: their entries are read.
    """
    kept = json.loads(digests.read_text(encoding="utf-8")) if digests.is_file() else {}
    for key, (image, boxes) in jobs.items():
        if boxes and key in store and kept.get(key) != _digest(boxes):
            given_rows(store[key], boxes, at=image)


def _digest(boxes: Sequence[Box]) -> str:
    return hashlib.sha256(json.dumps(boxes).encode()).hexdigest()


def _store(path: Path, extractor: RegionExtractor) -> FeatureStore:
    if not path.exists():
        path.with_name(DESCRIBED).unlink(missing_ok=True)  # it tells of a store that is gone
        return FeatureStore.create(path, feature_width=extractor.feature_width, detector_digest=extractor.digest)
    store = FeatureStore.open(path)
    if store.settings.detector_digest != extractor.digest:
        raise DataError(f"{path}: holds another detector's features; remove it, or name another folder")
    return store


def _regions(path: Path, boxes: Sequence[Box], extractor: RegionExtractor) -> RegionSet:
    picture = read_picture(path, limits=ImageLimits())
    return extractor.extract(picture, torch.tensor(boxes) if boxes else None)
