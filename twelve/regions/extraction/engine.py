"""The engine that looks at inputs: in this process, decoding ahead of the detector. `cluster` has the other one."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple, Protocol

from twelve.errors import RequestError
from twelve.features import RegionSet
from twelve.image import ImageLimits, Picture
from twelve.regions.extraction.looking import Fault, Reading, regions_of
from twelve.regions.extraction.sources import Entry, Parcel
from twelve.regions.extractor import RegionExtractor

READ_AHEAD = 8
"""Pictures decoded while the detector is busy; also the most that are in memory at once."""

DECODERS = 2
"""Threads that decode: Pillow lets go of the interpreter meanwhile."""


class Seen(NamedTuple):
    """What an engine says of an entry.

    Attributes:
        name: Of the entry.
        stamp: Likewise.
        key: The picture's digest; None where there is a fault.
        regions: What was found; None where the caller had it already, or there is a fault.
        fault: Why there are no regions.
    """

    name: str
    stamp: tuple[int, ...]
    key: str | None = None
    regions: RegionSet | None = None
    fault: Fault | None = None


class Engine(Protocol):
    """Looks at entries in their order."""

    @property
    def digest(self) -> str:
        """Identify the detector."""
        ...

    @property
    def feature_width(self) -> int:
        """Give F."""
        ...

    def look(
        self, entries: Iterable[Entry], reading: Reading, is_kept: Callable[[str], bool]
    ) -> Generator[Seen, None, None]:
        """Look at entries.

        Args:
            entries: Asked for only a little ahead of what was seen.
            reading: How pictures are read.
            is_kept: Says of a picture's digest whether its regions are had; an engine that cannot ask finds them again.

        Yields:
            One answer an entry, in their order. Closing the generator ends the work.
        """
        ...


@dataclass(frozen=True)
class LocalEngine:
    """Runs the detector in this process.

    Attributes:
        extractor: The detector.
        decoders: Threads that decode ahead of it.
    """

    extractor: RegionExtractor
    decoders: int = DECODERS

    @property
    def digest(self) -> str:
        """See `Engine.digest`."""
        return self.extractor.digest

    @property
    def feature_width(self) -> int:
        """See `Engine.feature_width`."""
        return self.extractor.feature_width

    def look(
        self, entries: Iterable[Entry], reading: Reading, is_kept: Callable[[str], bool]
    ) -> Generator[Seen, None, None]:
        """See `Engine.look`; a picture is asked about when its turn comes, and not extracted if it is kept."""
        for entry, picture in self._decoded(entries, reading):
            if isinstance(picture, Fault):
                yield Seen(*entry, fault=picture)
            elif is_kept(picture.digest):
                yield Seen(*entry, key=picture.digest)
            else:
                yield seen_as(entry, picture.digest, regions_of(picture, self.extractor))

    def _decoded(self, entries: Iterable[Entry], reading: Reading) -> Iterator[tuple["EntryId", Picture | Fault]]:
        listed = iter(entries)
        with ThreadPoolExecutor(self.decoders, thread_name_prefix="decode") as pool:

            def begin(entry: Entry) -> tuple[EntryId, Future[Picture | Fault]]:
                parcel = parcel_of(entry, reading.limits)
                return EntryId(entry.name, entry.stamp), pool.submit(_picture, parcel, reading)

            waiting = deque(begin(entry) for entry in islice(listed, READ_AHEAD))
            while waiting:
                entry, decoding = waiting.popleft()
                yield entry, decoding.result()
                waiting.extend(begin(entry) for entry in islice(listed, 1))


class EntryId(NamedTuple):
    """What is kept of an entry once its source has gone on."""

    name: str
    stamp: tuple[int, ...]


def parcel_of(entry: Entry, limits: ImageLimits) -> Parcel | Fault:
    """Take hold of an entry's bytes, or say why that cannot be."""
    try:
        return entry.parcel(limits)
    except RequestError as error:
        return Fault.of(error)


def seen_as(entry: EntryId, key: str, found: RegionSet | Fault) -> Seen:
    """Say what a detector made of an entry's picture."""
    if isinstance(found, Fault):
        return Seen(*entry, fault=found)
    return Seen(*entry, key=key, regions=found)


def _picture(parcel: Parcel | Fault, reading: Reading) -> Picture | Fault:
    return parcel if isinstance(parcel, Fault) else reading.picture(parcel)
