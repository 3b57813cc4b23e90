"""The feature store: a folder of immutable shards, one writer, any number of readers.

    store.json       format, detector digest, feature width, encoding
    shards/          one file for each `append`, numbered without a gap
    keys.json        once there are many pictures: the keys of most shards (`twelve.features.listing`)
    count            how many shards there are at least (`twelve.features.count`)
    lock             held by the writer

A shard is committed by its rename (`twelve.features.disk`): a picture is kept from the moment `append` returns, and a
reader never sees half a shard. A key is written once; what lies under it never changes. A shard is mapped when one of
its pictures is first asked for. A store holds one detector's regions, so a picture is known by its key and the
detector's digest together.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

from twelve.errors import DataError
from twelve.features import count, listing, settings, shard
from twelve.features.disk import WriterLock, commit, remove_parts
from twelve.features.encoding import ENCODINGS, HALF
from twelve.features.listing import Listed
from twelve.features.region_set import RegionSet
from twelve.features.settings import Settings
from twelve.features.shard import Shard

SETTINGS_FILE = "store.json"
SHARDS_FOLDER = "shards"
KEYS_FILE = "keys.json"
COUNT_FILE = "count"
LOCK_FILE = "lock"


@dataclass(frozen=True)
class StoreInfo:
    """What a store holds.

    Attributes:
        settings: What holds for every shard.
        pictures: How many keys.
        regions: Of all pictures together.
        shards: How many files.
        bytes: Of all shards together.
    """

    settings: Settings
    pictures: int
    regions: int
    shards: int
    bytes: int


class FeatureStore:
    """Regions by key. A key is a picture's digest or an id of a data set; the store does not care."""

    def __init__(self, path: Path, kept: Settings) -> None:
        self.path = path
        self.settings = kept
        self._encoding = ENCODINGS[kept.encoding]
        self._files: list[Path] = []  # of the shards
        self._firsts: list[int] = []  # the position of each shard's first picture
        self._positions: dict[str, int] = {}  # of each key, counted from the first ever written
        self._listed = 0  # pictures that keys.json names
        self._opened: dict[int, Shard] = {}
        self._lock: WriterLock | None = None

    @classmethod
    def create(cls, path: Path, *, feature_width: int, detector_digest: str, encoding: str = HALF) -> Self:
        """Make an empty store.

        Args:
            path: Of its folder; made where it is missing.
            feature_width: F of every region.
            detector_digest: Of the extractor whose regions will be kept.
            encoding: How features lie on disk, a name of ENCODINGS.

        Returns:
            The store.

        Raises:
            DataError: A store is there already, or there are no such features.
        """
        if (path / SETTINGS_FILE).exists():
            raise DataError(f"{path}: a feature store is here already; open it, or choose another folder")
        kept = Settings(detector_digest, feature_width, encoding)
        kept.check()
        (path / SHARDS_FOLDER).mkdir(parents=True, exist_ok=True)
        settings.write(path / SETTINGS_FILE, kept)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open a store as it stands; see `refresh` for what a writer adds later.

        Args:
            path: Of its folder.

        Returns:
            The store, for reading and for appending.

        Raises:
            DataError: There is no store, it is of another format, or a shard is missing or cut short.
        """
        store = cls(path, settings.read(path / SETTINGS_FILE))
        store.refresh()
        return store

    def refresh(self) -> None:
        """Take in what was committed since.

        Raises:
            DataError: A shard is missing or cut short.
        """
        # Both before the shards: never ahead of them.
        listed = [] if self._files else listing.read(self.path / KEYS_FILE)
        counted = max(count.read(self.path / COUNT_FILE), len(listed), len(self._files))
        paths = self._found(counted)
        for each, path in zip(listing.agreeing(listed, paths), paths, strict=False):
            self._take_in(path, each.keys)
            self._listed = len(self)
        for path in paths[len(self._files) :]:
            self._take_in(path, Shard.open(path, self.settings).keys())

    def append(self, items: Sequence[tuple[str, RegionSet]]) -> None:
        """Keep some pictures for good: they are on the disk when this returns. All or none of them.

        The first call makes this process the store's writer, until `close`.

        Args:
            items: Keys and regions; become one shard.

        Raises:
            Busy: Another process is the writer.
            DataError: A key is there already, or its regions do not fit; names the key. Nothing is kept then.
        """
        self._become_writer()
        keys = {key for key, _ in items}
        repeated = sorted(key for key in keys if key in self)
        if repeated or len(keys) < len(items):
            raise DataError(f"{self.path}: a key is written once, got {(repeated or ['one twice'])[0]!r} again")
        for key, regions in items:
            self.check(key, regions)
        if items:
            self._commit(items)

    def check(self, key: str, regions: RegionSet) -> None:
        """See that a picture's regions can be kept.

        Args:
            key: For the error.
            regions: To be kept.

        Raises:
            DataError: Their width is not the store's, a shard cannot hold them (`shard.check`), or a number is not
                finite or leaves the encoding's range.
        """
        width = self.settings.feature_width
        if regions.features.ndim != 2:
            raise DataError(f"{key}: features are no table, the store keeps rows of {width}")
        if regions.features.shape[1] != width:
            raise DataError(f"{key}: features are {regions.features.shape[1]} wide, the store keeps {width}")
        shard.check(key, regions)
        kept = self._encoding.decode(self._encoding.encode(regions.features.float()), slice(None))
        if not kept.isfinite().all() or not regions.boxes_px.isfinite().all():
            raise DataError(f"{key}: a feature or box is no finite number, or exceeds {self.settings.encoding}")

    def verify(self, on_shard: Callable[[int], None] = lambda size: None) -> None:
        """Read every byte and compare with the checksums.

        Args:
            on_shard: Told the bytes of each shard that was found whole.

        Raises:
            DataError: A shard was altered, is missing or cut short, or keys.json contradicts one; names the file.
        """
        self.refresh()
        for path, keys in zip(self._files, self._keys_by_shard(), strict=True):
            shard.verify(path)
            if Shard.open(path, self.settings).keys() != keys:
                raise DataError(f"{self.path / KEYS_FILE}: does not name the keys of {path.name}; remove it")
            on_shard(path.stat().st_size)

    def info(self) -> StoreInfo:
        """Count what the store holds."""
        return StoreInfo(
            settings=self.settings,
            pictures=len(self),
            regions=sum(self._shard(number).offsets[-1] for number in range(len(self._files))),
            shards=len(self._files),
            bytes=sum(path.stat().st_size for path in self._files),
        )

    def keys(self) -> tuple[str, ...]:
        """Give all keys in the order they were written; reading in this order reads the disk in its order."""
        return tuple(self._positions)

    def position(self, key: str) -> int | None:
        """Give a key's place among all, counted from the first ever written; None where it is not kept."""
        return self._positions.get(key)

    def close(self) -> None:
        """Let another process write. Reading goes on working."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __contains__(self, key: object) -> bool:
        return key in self._positions

    def __getitem__(self, key: str) -> RegionSet:
        position = self._positions.get(key)
        if position is None:
            raise KeyError(f"{self.path}: no regions are kept under {key!r}")
        number = bisect_right(self._firsts, position) - 1
        return self._shard(number).regions(position - self._firsts[number])

    def __len__(self) -> int:
        return len(self._positions)

    def __iter__(self) -> Iterator[str]:
        return iter(self._positions)

    def __reduce__(self) -> tuple[Callable[[Path], Self], tuple[Path]]:
        """Open it again in whichever process it is sent to; there it reads."""
        return type(self).open, (self.path,)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _found(self, counted: int) -> list[Path]:
        """Find the shards' files, so many or more, in the order of their numbers."""
        folder = self.path / SHARDS_FOLDER
        if not folder.is_dir():
            raise DataError(f"{self.path}: the folder {SHARDS_FOLDER} is missing; restore it")
        paths = sorted(folder.glob(f"*{shard.SUFFIX}"))
        for number, path in enumerate(paths):
            if shard.number_of(path) != number:
                raise DataError(f"{self.path}: shard {number} is missing, {path.name} is there; restore it")
        if len(paths) < counted:
            raise DataError(f"{self.path}: had {counted} shards, {len(paths)} are there; restore the last ones")
        return paths

    def _become_writer(self) -> None:
        if self._lock is None:
            self._lock = WriterLock.take(self.path / LOCK_FILE)
            for folder in (self.path, self.path / SHARDS_FOLDER):
                remove_parts(folder)
            self.refresh()
            if count.read(self.path / COUNT_FILE) < len(self._files):  # a kill came between a shard and its count
                count.write(self.path / COUNT_FILE, len(self._files))

    def _commit(self, items: Sequence[tuple[str, RegionSet]]) -> None:
        self._list_keys()  # first: if it fails, nothing was appended
        data = shard.pack(items, self.settings)
        path = self.path / SHARDS_FOLDER / shard.file_name(len(self._files), data)
        commit(path, data)
        self._take_in(path, tuple(key for key, _ in items))
        count.write(self.path / COUNT_FILE, len(self._files))

    def _list_keys(self) -> None:
        """Make keys.json again if it lacks many."""
        if listing.is_outgrown(self._listed, len(self)):
            shards = zip(self._files, self._keys_by_shard(), strict=True)
            kept = [Listed(path.name, path.stat().st_size, keys) for path, keys in shards]
            listing.write(self.path / KEYS_FILE, kept)
            self._listed = len(self)

    def _take_in(self, path: Path, keys: Sequence[str]) -> None:
        if len(set(keys)) < len(keys) or not self._positions.keys().isdisjoint(keys):
            raise DataError(f"{path}: a key of this shard is in the store already; move the file elsewhere")
        first = len(self)
        self._files.append(path)
        self._firsts.append(first)
        # Last, so that a thread which finds a key finds its shard.
        self._positions.update(zip(keys, range(first, first + len(keys)), strict=True))

    def _keys_by_shard(self) -> list[tuple[str, ...]]:
        keys = self.keys()
        return [keys[first:end] for first, end in pairwise([*self._firsts, len(self)])]

    def _shard(self, number: int) -> Shard:
        if number not in self._opened:
            self._opened[number] = Shard.open(self._files[number], self.settings)
        return self._opened[number]
