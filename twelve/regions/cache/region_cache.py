"""Regions and encoded pictures by ref: at hand in this worker, in a folder that workers share, in feature stores.

    regions/     one shard of the feature store's format for each picture, and for each set of boxes that was given
    pictures/    the encoded pictures, so that other boxes can be looked at
    locks/       for turns at looking

A picture's ref is the hash of its pixels, and regions lie under ref and detector, so what a file says never changes and
whoever comes second says the same. Regions are kept as float32: whoever reads them has what was found. Nothing here is
precious: what is missing or damaged is found again, and a disk that is full costs time and no answer.
"""

import contextlib
import hashlib
import logging
import struct
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import NamedTuple

from twelve.errors import DataError
from twelve.features import FeatureStore, shard
from twelve.features.encoding import SINGLE
from twelve.features.settings import Settings
from twelve.features.shard import Shard
from twelve.regions.cache.recent import Recent
from twelve.regions.cache.shelf import NoShelf, SharedShelf, Shelf
from twelve.regions.cache.turn import turn
from twelve.regions.extractor import RegionSet

MEMORY_BYTES = 256 << 20
"""What one worker keeps at hand; 100 published regions take 0.8 MB."""

DEFAULT_BYTES = 2 << 30
"""Of the folder, before the longest unused files go."""

PICTURES_SHARE = 4
"""One byte in so many is for encoded pictures, in memory and in the folder; the others are for regions."""

WAIT_S = 60.0
"""For another worker that looks at the same picture, which takes the largest detector 20 CPU-seconds; who has waited so
long looks as well."""

DETECTOR_DIGITS = 16
"""Tell detectors apart in files' names; a file states its detector's whole digest."""

LOCK_DIGITS = 3
"""Of a key in its lock's name. Two pictures share one of these 4096 locks once in a while; one then waits in vain."""

MEMORY, FOLDER, STORE, MISSED = "memory", "folder", "store", "missed"
RESULTS = (MEMORY, FOLDER, STORE, MISSED)
"""Where regions were found; the last means nowhere, so that the detector ran."""

log = logging.getLogger(__name__)

Boxes = tuple[tuple[float, float, float, float], ...]


class Known(NamedTuple):
    """Regions, and which of RESULTS gave them."""

    regions: RegionSet
    result: str


class RegionCache:
    """Regions and encoded pictures. One folder may serve many workers and detectors.

    A key is a picture's ref, under which its detected regions lie, or one of `boxes_key`, for boxes that were given.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        detector: str,
        feature_width: int,
        stores: Sequence[FeatureStore] = (),
        most_bytes: int = DEFAULT_BYTES,
        memory_bytes: int = MEMORY_BYTES,
        wait_s: float = WAIT_S,
    ) -> None:
        for_pictures = memory_bytes // PICTURES_SHARE
        self._folder = folder
        self._settings = Settings(detector, feature_width, SINGLE)
        self._stores = tuple(stores)
        self._wait_s = wait_s
        self._recent: Recent[RegionSet] = Recent(memory_bytes - for_pictures, _bytes_of)
        self._encoded: Recent[bytes] = Recent(for_pictures, len)
        self._regions, self._pictures = _shelves(folder, most_bytes)

    def regions(self, key: str) -> Known | None:
        """Give the regions of a key, or None where they are not known; they count as used.

        Feature stores come before the folder, so that a picture they hold is answered from them by every worker.
        """
        found = self._at_hand(key) or self._stored(key) or self._shelved(key)
        if found is not None:
            self._recent.put(key, found.regions)
        return found

    def keep(self, key: str, regions: RegionSet) -> None:
        """Remember regions of a key that has none.

        Args:
            key: Of a picture, or of its given boxes.
            regions: The detected ones, or the given ones alone.
        """
        self._recent.put(key, regions)
        self._regions.put(self._name(key), shard.pack([(key, regions)], self._settings))

    def encoded(self, ref: str) -> bytes | None:
        """Give a picture's file as it was sent, or None where it is not kept."""
        kept = self._encoded.get(ref)
        if kept is not None:
            return kept
        path = self._pictures.find(_digits(ref))
        return None if path is None else _read(path)

    def keep_encoded(self, ref: str, encoded: bytes) -> None:
        """Remember a picture's file; if it is kept already, it counts as used."""
        digits = _digits(ref)
        if not (self._pictures.use(digits) or self._pictures.put(digits, encoded)):
            self._encoded.put(ref, encoded)

    def use_encoded(self, ref: str) -> None:
        """Count a picture's file as used."""
        self._pictures.use(_digits(ref))

    def turn(self, key: str) -> AbstractContextManager[object]:
        """Give what to hold while looking: of the workers that want the same, one looks and the others wait.

        Look for the regions again inside. Hold one turn at a time, or two workers may wait for each other.
        """
        if self._folder is None:
            return nullcontext()
        return turn(_locks(self._folder) / _digits(key)[:LOCK_DIGITS], wait_s=self._wait_s)

    def _at_hand(self, key: str) -> Known | None:
        found = self._recent.get(key)
        if found is None:
            return None
        self._regions.use(self._name(key))
        return Known(found, MEMORY)

    def _stored(self, key: str) -> Known | None:
        for store in self._stores:
            with contextlib.suppress(KeyError):
                try:
                    return Known(store[key], STORE)
                except (DataError, OSError) as error:
                    log.warning("%s: %s is looked at again (%s)", store.path, key, error)
        return None

    def _shelved(self, key: str) -> Known | None:
        path = self._regions.find(self._name(key))
        if path is None:
            return None
        try:
            return Known(Shard.open(path, self._settings).regions(0), FOLDER)
        except DataError:  # whole, but of another version, or of a detector with the same digits
            with contextlib.suppress(OSError):
                path.unlink()
        except OSError:  # swept this very moment
            pass
        return None

    def _name(self, key: str) -> str:
        detector = hashlib.sha256(self._settings.detector_digest.encode()).hexdigest()  # whatever it is made of
        return f"{_digits(key)}.{detector[:DETECTOR_DIGITS]}"


def boxes_key(ref: str, boxes_px: Boxes) -> str:
    """Give the key of boxes that a caller gave for a picture; no ref is like it.

    Args:
        ref: Of the picture.
        boxes_px: As they were given.

    Returns:
        The key.
    """
    numbers = [side for box in boxes_px for side in box]
    content = hashlib.sha256(ref.encode() + struct.pack(f"<{len(numbers)}d", *numbers))
    return f"{content.hexdigest()}.given"


def _shelves(folder: Path | None, most_bytes: int) -> tuple[Shelf, Shelf]:
    """Give the shelves of regions and of pictures, swept."""
    if folder is None:
        return NoShelf(), NoShelf()
    for_pictures = most_bytes // PICTURES_SHARE
    regions = SharedShelf(folder / "regions", suffix=shard.SUFFIX, most_bytes=most_bytes - for_pictures)
    pictures = SharedShelf(folder / "pictures", suffix=".picture", most_bytes=for_pictures)
    with contextlib.suppress(OSError):
        _locks(folder).mkdir(parents=True, exist_ok=True)
    regions.sweep()
    pictures.sweep()
    return regions, pictures


def _locks(folder: Path) -> Path:
    return folder / "locks"


def _digits(key: str) -> str:
    return key.removeprefix("sha256:")


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _bytes_of(regions: RegionSet) -> int:
    return sum(tensor.nbytes for tensor in (regions.features, regions.boxes_px, regions.scores, regions.labels))
