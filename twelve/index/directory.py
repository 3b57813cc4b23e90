"""An index on disk: its folder, and what follows from its two parts.

    index.json       format; written first, so that a folder is known as an index from the beginning
    features/        the feature store: regions by ref, the digest of a decoded picture
    catalogue/       the LanceDB table: path -> ref, or why there is none
    lock             held by the writer

Features are committed before the rows that need them, so a row's features are always there. Nothing else is stored:
which of several files with the same pixels is *the* picture and which are its duplicates follows from the rows (the
first path in sorting order). So an index depends on the files alone, not on the order in which they came, nor on kills.

A SIGKILL at any point loses nothing that was committed. A power failure spares the features, which are forced to the
disk; the catalogue is as durable as LanceDB makes it.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from twelve.errors import DataError
from twelve.features import FeatureStore, RegionSet
from twelve.features.disk import PART_SUFFIX, WriterLock, commit, remove_parts
from twelve.features.encoding import HALF
from twelve.features.store import SETTINGS_FILE
from twelve.index.catalogue import Catalogue, Row
from twelve.regions.extractor import RegionExtractor

FORMAT = {"format": "twelve-index", "version": 1}
INDEX_FILE = "index.json"
FEATURES_FOLDER = "features"
CATALOGUE_FOLDER = "catalogue"
LOCK_FILE = "lock"


@dataclass(frozen=True)
class Reject:
    """A file that is not in the index, and why.

    Attributes:
        path: Of the file.
        code: Of the error, in words that never change.
        reason: For people.
    """

    path: str
    code: str
    reason: str


@dataclass(frozen=True)
class Tally:
    """Every file in exactly one of three places.

    Attributes:
        done: Files whose picture is in the index.
        duplicate: Path of each file that shows a picture already there, with the path of that one.
        rejected: The others.
    """

    done: tuple[str, ...]
    duplicate: tuple[tuple[str, str], ...]
    rejected: tuple[Reject, ...]


@dataclass(frozen=True)
class Index:
    """An opened index.

    Attributes:
        path: Of its folder.
        features: Regions by ref.
        catalogue: Rows by path.
    """

    path: Path
    features: FeatureStore
    catalogue: Catalogue

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open an index as it stands; a writer may be at work.

        Args:
            path: Of its folder.

        Returns:
            The index.

        Raises:
            DataError: There is none, it is of another format, or damaged.
        """
        _check_format(path)
        return cls(path, FeatureStore.open(path / FEATURES_FOLDER), Catalogue.open(path / CATALOGUE_FOLDER))

    @classmethod
    def open_or_create(cls, path: Path, extractor: RegionExtractor, *, encoding: str = HALF) -> Self:
        """Open an index, making whatever is missing of it; for its writer (`writing`).

        Args:
            path: Of its folder, which exists.
            extractor: Whose regions it keeps.
            encoding: How a new index keeps features, a name of `twelve.features.encoding.ENCODINGS`.

        Returns:
            The index.

        Raises:
            DataError: It is of another format or another detector, or damaged.
        """
        remove_parts(path)
        if not (path / INDEX_FILE).exists():
            commit(path / INDEX_FILE, (json.dumps(FORMAT) + "\n").encode())
        _check_format(path)
        features = _opened_store(path / FEATURES_FOLDER, extractor, encoding)
        index = cls(path, features, Catalogue.create(path / CATALOGUE_FOLDER))
        index.refuse_other_detector(extractor)
        return index

    def refuse_other_detector(self, extractor: RegionExtractor) -> None:
        """See that regions of this extractor are like those in the index.

        Args:
            extractor: Of the bundle that wants to add or to search.

        Raises:
            DataError: Its digest or feature width is another; names both.
        """
        kept = self.features.settings
        if extractor.feature_width != kept.feature_width:
            raise DataError(
                f"{self.path}: the index keeps features {kept.feature_width} wide, this bundle's detector gives "
                f"{extractor.feature_width}; use the bundle it was built with, or build another index"
            )
        if extractor.digest != kept.detector_digest:
            raise DataError(
                f"{self.path}: the index was built with detector {kept.detector_digest}, this bundle has "
                f"{extractor.digest}; use the bundle it was built with, or build another index"
            )

    def pictures(self) -> dict[str, str]:
        """Give each picture's ref with the path it goes by, and see that features are there for all."""
        rows = self.catalogue.rows()
        self.features.refresh()  # after the rows: features are committed first
        pictures = _first_paths(rows)
        missing = next((ref for ref in pictures if ref not in self.features), None)
        if missing is not None:
            raise DataError(
                f"{self.path}: the features of {pictures[missing]} are missing ({missing}); restore "
                f"{FEATURES_FOLDER}, or build the index again"
            )
        return pictures

    def tally(self, paths: Iterable[str] | None = None) -> Tally:
        """Say what became of each file.

        Args:
            paths: Of the files that count; all by default. A duplicate may be one of any file.

        Returns:
            The files, sorted by path.
        """
        rows = self.catalogue.rows()
        first = _first_paths(rows)
        wanted = {row.path for row in rows} if paths is None else set(paths)
        counted = [row for row in rows if row.path in wanted]
        shown = [(row.path, first[row.ref]) for row in counted if row.ref is not None]
        return Tally(
            done=tuple(path for path, owner in shown if path == owner),
            duplicate=tuple((path, owner) for path, owner in shown if path != owner),
            rejected=tuple(Reject(row.path, row.code or "", row.reason or "") for row in counted if row.ref is None),
        )

    def digest(self) -> str:
        """Identify what the index holds: equal digests, equal answers to every search.

        Covers the format, the detector, every path with its fate, and all regions as they read back. Leaves out how
        they are spread over shards, times of files, and features that no path needs any more.
        """
        settings = self.features.settings
        content = hashlib.sha256()
        content.update(_line([*FORMAT.values(), settings.detector_digest, settings.feature_width, settings.encoding]))
        for row in self.catalogue.rows():
            content.update(_line([row.path, row.size, row.ref, row.code]))
        for ref in sorted(self.pictures()):
            content.update(_line([ref, *_region_digests(self.features[ref])]))
        return f"sha256:{content.hexdigest()}"

    def verify(self) -> None:
        """Read everything back and compare with the checksums.

        Raises:
            DataError: Features are missing or altered; names the file.
        """
        self.features.verify()
        self.pictures()

    def prune(self) -> int:
        """Forget files that are no longer there; for its writer. Their features stay on the disk, found no more.

        Returns:
            How many were forgotten.
        """
        gone = [row.path for row in self.catalogue.rows() if not Path(row.path).exists()]
        self.catalogue.remove(gone)
        return len(gone)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Be the only writer of an index; its folder is made where it is missing.

    Args:
        path: Of the index.

    Yields:
        Nothing.

    Raises:
        Busy: Another process writes to it.
        DataError: The folder holds something that is no index.
    """
    if path.is_dir() and not (path / INDEX_FILE).exists():
        _refuse_foreign(path)
    path.mkdir(parents=True, exist_ok=True)
    lock = WriterLock.take(path / LOCK_FILE)
    try:
        yield
    finally:
        lock.release()


def _refuse_foreign(path: Path) -> None:
    foreign = {entry.name for entry in path.iterdir()} - {LOCK_FILE, INDEX_FILE + PART_SUFFIX}
    if foreign:
        raise DataError(f"{path}: this is no index, and holds {min(foreign)!r}; give an empty or a new folder")


def _check_format(path: Path) -> None:
    try:
        found = json.loads((path / INDEX_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no index here; make one with `twelve index add`") from error
    except ValueError as error:
        raise DataError(f"{path / INDEX_FILE}: this is not the description of an index ({error})") from error
    if found != FORMAT:
        raise DataError(f"{path / INDEX_FILE}: got {found}, this library reads {FORMAT}; build the index again")


def _opened_store(path: Path, extractor: RegionExtractor, encoding: str) -> FeatureStore:
    if (path / SETTINGS_FILE).exists():
        return FeatureStore.open(path)
    return FeatureStore.create(
        path, feature_width=extractor.feature_width, detector_digest=extractor.digest, encoding=encoding
    )


def _first_paths(rows: Sequence[Row]) -> dict[str, str]:
    """Give each ref the first of its paths; the rows are sorted by path."""
    first: dict[str, str] = {}
    for row in rows:
        if row.ref is not None:
            first.setdefault(row.ref, row.path)
    return first


def _region_digests(regions: RegionSet) -> list[object]:
    tensors = (regions.features, regions.boxes_px, regions.scores, regions.labels)
    hashes = [hashlib.sha256(tensor.numpy().tobytes()).hexdigest() for tensor in tensors]
    return [*hashes, len(regions), regions.width, regions.height, regions.given]


def _line(values: Sequence[object]) -> bytes:
    return (json.dumps(values) + "\n").encode()
