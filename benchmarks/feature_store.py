"""The feature store against the published reader: how fast a random picture is read, and how many bytes it takes.

    python -m benchmarks.feature_store --work /tmp/feature_store

Writes features drawn at random in the published layout, imports them into a store of each encoding, and reads the same
pictures in the same order from all of them. Every reader gives what the published one gives, made by the same lines:
float32 features, their count, locations as shares and in pixels, the global region first. So the figures differ by how
a picture is found, read and decoded, and by nothing else. Needs 6 GB of disk, which are free again at the end.
"""

import copy
import json
import os
import pickle
import random
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Protocol

import lmdb
import numpy as np
import torch
import typer
from rich.console import Console

from twelve.convert.features_import import import_features, open_target, recognise
from twelve.errors import DataError
from twelve.features import FeatureStore
from twelve.features.encoding import ENCODINGS, SINGLE

PUBLISHED, DICTIONARY = "published", "dictionary"
ROUNDS = 5
"""Of all readers in turn; the median counts."""

SIDE = 600
BATCH = 500
"""Pictures of one transaction of the LMDB."""

SPARE = 1.3
"""Room that an LMDB takes beside its values, at most."""

LEAST_RECORD = 4096
"""Bytes that an LMDB takes for a value, at least."""

BLOCK = 2**24
"""Bytes of one read."""

console = Console(stderr=True)

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Case:
    """A collection of pictures.

    Attributes:
        name: Of the case.
        pictures: How many.
        regions: Of each; the global one comes on top when it is read.
        width: Of the features.
        reads: Pictures of a round.
        cold_reads: Pictures that are read off the disk rather than out of the page cache.
    """

    name: str
    pictures: int
    regions: int
    width: int
    reads: int
    cold_reads: int


CASES = (
    Case("113,000 keys, small records", pictures=113_000, regions=4, width=32, reads=2000, cold_reads=500),
    Case("full size", pictures=2000, regions=100, width=2048, reads=500, cold_reads=200),
)


class Answer(NamedTuple):
    """What the released reader gives for a picture."""

    features: Array
    rows: int
    locations: Array
    locations_px: Array


def answer(features: Array, boxes: Array, width: float, height: float) -> Answer:
    """Put the global region before the others and describe where each is, as the released reader does."""
    mean = np.sum(features, axis=0) / len(features)
    places = np.zeros((len(boxes), 5), dtype=np.float32)
    places[:, :4] = boxes
    places[:, 4] = (places[:, 3] - places[:, 1]) * (places[:, 2] - places[:, 0]) / (width * height)
    pixels = copy.deepcopy(places)
    places[:, [0, 2]] /= width
    places[:, [1, 3]] /= height
    return Answer(
        np.concatenate([np.expand_dims(mean, axis=0), features], axis=0),
        len(features) + 1,
        np.concatenate([np.array([[0, 0, 1, 1, 1]]), places], axis=0),
        np.concatenate([np.array([[0, 0, width, height, width * height]]), pixels], axis=0),
    )


class Reader(Protocol):
    """Gives pictures by their keys."""

    def read(self, key: str) -> Answer:
        """Give one picture."""
        ...


class PublishedReader:
    """An LMDB read as the released `ImageFeaturesH5Reader` does: the key looked for in a list, the value unpickled."""

    def __init__(self, path: Path, env: lmdb.Environment | None = None) -> None:
        self.env = env or lmdb.open(str(path), max_readers=1, readonly=True, lock=False, readahead=False, meminit=False)
        with self.env.begin(write=False) as reading:
            self._keys: list[bytes] = pickle.loads(reading.get(b"keys"))

    def find(self, key: bytes) -> int:
        """Find a key's place by comparing it with one after another."""
        return self._keys.index(key)

    def read(self, key: str) -> Answer:
        """See `Reader.read`."""
        self.find(key.encode())
        with self.env.begin(write=False) as reading:
            item = pickle.loads(reading.get(key.encode()))
        return answer(item["features"], item["boxes"], float(item["image_w"]), float(item["image_h"]))


class DictionaryReader(PublishedReader):
    """The same, with the list turned into a dictionary once."""

    def __init__(self, path: Path, env: lmdb.Environment | None = None) -> None:
        super().__init__(path, env)
        self._places = {key: place for place, key in enumerate(self._keys)}

    def find(self, key: bytes) -> int:
        """Find a key's place by its hash."""
        return self._places[key]


class StoreReader:
    """Ours."""

    def __init__(self, path: Path) -> None:
        self._store = FeatureStore.open(path)

    def read(self, key: str) -> Answer:
        """See `Reader.read`."""
        regions = self._store[key]
        return answer(regions.features.numpy(), regions.boxes_px.numpy(), float(regions.width), float(regions.height))


Opener = Callable[[], Reader]


def write_published(path: Path, case: Case, draw: np.random.Generator) -> list[str]:
    """Write a collection as the released converter does.

    Args:
        path: Of the folder that is made.
        case: What to write.
        draw: Source of the numbers.

    Returns:
        The keys.
    """
    keys = [str(key) for key in draw.permutation(10 * case.pictures)[: case.pictures]]
    record = case.regions * (case.width + 4) * 4 + LEAST_RECORD
    with lmdb.open(str(path), map_size=int(case.pictures * record * SPARE) + 2**26) as env:
        for first in range(0, len(keys), BATCH):
            with env.begin(write=True) as writing:
                for key in keys[first : first + BATCH]:
                    writing.put(key.encode(), pickle.dumps(_picture(key, case, draw)))
        with env.begin(write=True) as writing:
            writing.put(b"keys", pickle.dumps([key.encode() for key in keys]))
    return keys


def _picture(key: str, case: Case, draw: np.random.Generator) -> dict[str, Any]:
    corners = np.sort(draw.random((case.regions, 2, 2), dtype=np.float32) * SIDE, axis=1)  # [R, low and high, x and y]
    return {
        "image_id": key,
        "image_h": SIDE,
        "image_w": SIDE,
        "num_boxes": case.regions,
        "boxes": corners.reshape(case.regions, 4),
        "features": np.maximum(draw.standard_normal((case.regions, case.width), dtype=np.float32), 0),
    }


@contextmanager
def _unwatched(name: str, *, length: int | None = None, start: int = 0) -> Iterator[Callable[[int], None]]:
    yield lambda count: None


def _refuse(error: DataError) -> None:
    raise error


def import_all(published: Path, work: Path, case: Case) -> dict[str, float]:
    """Import a collection into a store of each encoding.

    Returns:
        CPU milliseconds a picture, by encoding.
    """
    took = {}
    for encoding in ENCODINGS:
        store = open_target(work / encoding, detector="drawn", feature_width=case.width, encoding=encoding)
        since = time.process_time()
        import_features(recognise(published), store, watch=_unwatched, on_refused=_refuse)
        took[encoding] = 1000 * (time.process_time() - since) / case.pictures
        console.print(f"{case.name}: imported in {encoding}")
    return took


def refuse_other_output(readers: Mapping[str, Reader], keys: Sequence[str]) -> None:
    """See that the store in full precision gives what the published reader gives.

    Raises:
        SystemExit: It does not.
    """
    for key in keys:
        answers = {name: reader.read(key) for name, reader in readers.items()}
        for part, expected in enumerate(answers[PUBLISHED]):
            if not np.array_equal(answers[SINGLE][part], expected):
                raise SystemExit(f"{key}: the store gives other numbers than the published reader")
        if any(one.features.dtype != np.float32 for one in answers.values()):
            raise SystemExit(f"{key}: a reader gives another type")


def warm(readers: Mapping[str, Reader], keys: Sequence[str], case: Case, rng: random.Random) -> dict[str, float]:
    """Read out of the page cache.

    Returns:
        CPU microseconds a picture, by reader: the median of the rounds.
    """
    took: dict[str, list[float]] = {name: [] for name in readers}
    for number in range(ROUNDS + 1):
        chosen = rng.sample(keys, case.reads)
        for name, reader in readers.items():
            since = time.process_time()
            for key in chosen:
                reader.read(key)
            if number:  # the first round maps what was never touched
                took[name].append(1e6 * (time.process_time() - since) / case.reads)
    return {name: statistics.median(times) for name, times in took.items()}


def cold(openers: Mapping[str, Opener], folders: Mapping[str, Path], keys: Sequence[str]) -> dict[str, float]:
    """Read off the disk: each reader with none of its files in the page cache.

    Returns:
        Milliseconds a picture by the clock, by reader.
    """
    took = {}
    for name, opener in openers.items():
        _leave_cache(folders[name])
        reader = opener()
        since = time.monotonic()
        for key in keys:
            reader.read(key)
        took[name] = 1000 * (time.monotonic() - since) / len(keys)
        del reader
    return took


def _leave_cache(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
                os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _fill_cache(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as stream:
                while stream.read(BLOCK):
                    pass


def opening(openers: Mapping[str, Opener]) -> dict[str, float]:
    """Open each.

    Returns:
        CPU milliseconds, by reader: the median of the rounds.
    """
    took: dict[str, list[float]] = {name: [] for name in openers}
    for _ in range(ROUNDS):
        for name, opener in openers.items():
            since = time.process_time()
            opener()
            took[name].append(1000 * (time.process_time() - since))
    return {name: statistics.median(times) for name, times in took.items()}


def measure(case: Case, work: Path, seed: int) -> dict[str, Any]:
    """Write, import and read a collection.

    Args:
        case: What to write and read.
        work: A folder for it, which does not exist yet and is removed.
        seed: Of what is drawn.

    Returns:
        The figures.
    """
    published = work / PUBLISHED
    work.mkdir(parents=True)
    try:
        keys = write_published(published, case, np.random.default_rng(seed))
        console.print(f"{case.name}: written")
        importing = import_all(published, work, case)
        folders = {PUBLISHED: published, DICTIONARY: published} | {name: work / name for name in ENCODINGS}
        kinds = {PUBLISHED: PublishedReader, DICTIONARY: DictionaryReader} | dict.fromkeys(ENCODINGS, StoreReader)
        openers: dict[str, Opener] = {name: partial(kind, folders[name]) for name, kind in kinds.items()}
        rng = random.Random(seed)
        off_the_disk = cold(openers, folders, rng.sample(keys, case.cold_reads))
        for folder in folders.values():
            _fill_cache(folder)
        opened = opening(openers)
        readers = {name: opener() for name, opener in openers.items() if name != DICTIONARY}
        first = readers[PUBLISHED]
        assert isinstance(first, PublishedReader)
        readers[DICTIONARY] = DictionaryReader(published, first.env)  # a process opens an LMDB once
        refuse_other_output(readers, rng.sample(keys, 20))
        read = warm(readers, keys, case, rng)
        sizes = {name: _size(folders[name]) / case.pictures for name in (PUBLISHED, *ENCODINGS)}
    finally:
        shutil.rmtree(work)
    return {
        "case": {"pictures": case.pictures, "rows": case.regions + 1, "width": case.width},
        "bytes_a_picture": {name: round(size) for name, size in sizes.items()},
        "import_cpu_ms_a_picture": _rounded(importing),
        "open_cpu_ms": _rounded(opened),
        "read_cpu_us": _rounded(read),
        "read_times_faster_than_published": _ratios(read, PUBLISHED),
        "read_times_faster_than_dictionary": _ratios(read, DICTIONARY),
        "read_off_the_disk_ms_by_the_clock": _rounded(off_the_disk),
        "off_the_disk_times_faster_than_dictionary": _ratios(off_the_disk, DICTIONARY),
    }


def _size(folder: Path) -> int:
    """Count the bytes that files take on the disk; an LMDB's file has holes."""
    return sum(min(path.stat().st_size, path.stat().st_blocks * 512) for path in folder.rglob("*") if path.is_file())


def _ratios(took: Mapping[str, float], other: str) -> dict[str, float]:
    return {name: round(took[other] / took[name], 2) for name in ENCODINGS}


def _rounded(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: round(figure, 2) for name, figure in figures.items()}


def main(
    work: Annotated[Path, typer.Option(help="A folder that is made and removed.")] = Path("/tmp/feature_store"),
    seed: Annotated[int, typer.Option(help="Of all that is drawn.")] = 0,
    to: Annotated[Path, typer.Option(help="The report.")] = Path("benchmarks/feature_store.json"),
) -> None:
    """Measure each case and write a report."""
    torch.set_num_threads(1)
    report = {case.name: measure(case, work / str(number), seed) for number, case in enumerate(CASES)}
    work.rmdir()
    to.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    typer.echo(json.dumps(report, indent=2))


if __name__ == "__main__":
    typer.run(main)
