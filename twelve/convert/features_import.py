"""Features that others published, into a feature store."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from twelve.convert.features_entry import Entry, Source
from twelve.convert.features_lmdb import LmdbFeatures
from twelve.convert.features_npy import NpyFeatures
from twelve.convert.features_tsv import TsvFeatures
from twelve.convert.watch import Watch
from twelve.errors import DataError
from twelve.features import FeatureStore, RegionSet
from twelve.features.encoding import HALF
from twelve.features.settings import Settings
from twelve.features.store import SETTINGS_FILE

PUBLISHED_WIDTH = 2048
"""Features of every published layout."""

SHARD = 128
"""Pictures of one shard: what a kill may cost, 50 MB at full size and 2 bytes a number."""

LAYOUTS = (LmdbFeatures, NpyFeatures, TsvFeatures)


@dataclass(frozen=True)
class Outcome:
    """What became of a source's pictures.

    Attributes:
        imported: Kept now.
        known: Kept before, or under a key that came earlier in the source.
        refused: Damaged.
    """

    imported: int
    known: int
    refused: int


def recognise(path: Path) -> Source:
    """Tell which layout features have.

    Args:
        path: Of a folder or a file.

    Returns:
        The features, not yet read; of one picture or more.

    Raises:
        DataError: There is nothing, nothing of a known layout, or no picture.
    """
    for layout in LAYOUTS:
        if source := layout.recognise(path):
            if next(source.entries(), None) is None:
                raise DataError(f"{path}: holds no picture; expected features of at least one")
            return source
    raise DataError(
        f"{path}: holds no features of a known layout; expected a folder with data.mdb, a folder of .npy files, "
        "or a .tsv"
    )


def open_target(
    path: Path, *, detector: str, feature_width: int = PUBLISHED_WIDTH, encoding: str = HALF
) -> FeatureStore:
    """Open the store that features go to, or make it.

    Args:
        path: Of its folder.
        detector: Digest, or name, of the detector that found the regions.
        feature_width: F.
        encoding: How features lie on disk, a name of `twelve.features.encoding.ENCODINGS`.

    Returns:
        The store.

    Raises:
        DataError: A store is there and keeps something else.
    """
    if not (path / SETTINGS_FILE).exists():
        return FeatureStore.create(path, feature_width=feature_width, detector_digest=detector, encoding=encoding)
    store = FeatureStore.open(path)
    kept, wanted = store.settings, Settings(detector, feature_width, encoding)
    if kept != wanted:
        raise DataError(f"{path}: keeps {_described(kept)}; got {_described(wanted)}; name another folder")
    return store


def import_features(
    source: Source, store: FeatureStore, *, watch: Watch, on_refused: Callable[[DataError], None]
) -> Outcome:
    """Put a source's pictures into a store, as far as they are not there; killed, the next call goes on.

    Args:
        source: The features.
        store: Where they go.
        watch: Shows progress.
        on_refused: Told of each damaged picture; whatever it raises ends the import, and what was kept stays.

    Returns:
        How many pictures went which way.

    Raises:
        DataError: The source as a whole cannot be read, or the store cannot be written.
    """
    run = _Run(store, on_refused)
    store.append([])  # takes the right to write before hours of reading
    with store, watch(source.path.name, length=source.bytes) as advance:
        before, wanted = len(store), run.wanted(source.entries(), advance)
        while shard := list(islice(wanted, SHARD)):
            store.append(shard)
    return Outcome(len(store) - before, run.known, run.refused)


class _Run:
    """Picks what is to be kept, and counts the rest."""

    def __init__(self, store: FeatureStore, on_refused: Callable[[DataError], None]) -> None:
        self.known = 0
        self.refused = 0
        self._store = store
        self._on_refused = on_refused
        self._picked: set[str] = set()

    def wanted(self, entries: Iterable[Entry], advance: Callable[[int], None]) -> Iterator[tuple[str, RegionSet]]:
        """Give the pictures that can be kept and are not yet."""
        for entry in entries:
            advance(entry.bytes)
            if entry.key in self._store or entry.key in self._picked:
                self.known += 1
            elif (regions := self._read(entry)) is not None:
                self._picked.add(entry.key)
                yield entry.key, regions

    def _read(self, entry: Entry) -> RegionSet | None:
        try:
            regions = entry.read()
            self._store.check(entry.key, regions)
        except DataError as error:
            self.refused += 1
            self._on_refused(error)
            return None
        return regions


def _described(settings: Settings) -> str:
    return f"features {settings.feature_width} wide of detector {settings.detector_digest} in {settings.encoding}"
