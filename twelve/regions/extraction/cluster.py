"""The engine that looks at inputs on a Ray cluster: an actor pool of Ray Data, each actor with a detector of its own.

The listing goes out in legs, small parcels of paths (or of bytes, from an archive) at a time, and what was found comes
back in the order of the listing. Ray only distributes: the one process that began the work writes the store, cut by
cut, as it does without Ray, so the store has the same bytes. Who cannot ask the store cannot skip what it holds: a
picture that stands in the listing twice is detected twice, and kept once.

Uses the cluster that RAY_ADDRESS names; without it, starts one on this machine and ends it. Ray 2.60 waits for ever, in
silence, when actors reserve all processors (two of two): they are given a share that leaves one free.
"""

import importlib.util
import logging
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from safetensors.torch import load, save

from twelve.errors import ConfigInvalid
from twelve.features import RegionSet
from twelve.regions.extraction.engine import EntryId, Seen, parcel_of
from twelve.regions.extraction.looking import Fault, OpenExtractor, Reading, regions_of
from twelve.regions.extraction.sources import Entry, Parcel

if TYPE_CHECKING:  # Ray is an extra, and takes a second to import
    import pyarrow as pa

PARCELS = 8
"""Inputs of one call of an actor: pictures of the usual size come back as 6 MB."""

LEG_CALLS = 256
"""Calls an actor between two legs: each leg opens the detectors again, which must not matter."""

LEG_BYTES = 256 << 20
"""Of an archive's pictures in a leg: they are in memory here until the leg has gone out."""

ADDRESS = "RAY_ADDRESS"
STORE_BYTES = 512 << 20
"""Of a cluster of our own, for what is on its way: at most some parcels an actor."""

_ARRAYS = ("features", "boxes_px", "scores", "labels")
_SIZES = ("width", "height", "given")


@dataclass(frozen=True)
class RayEngine:
    """Runs a detector in each of some actors; see `twelve.regions.extraction.engine.Engine`.

    Attributes:
        open_extractor: Opens the detector, from a path that every machine of the cluster can read.
        digest: Of that detector.
        feature_width: F.
        workers: Actors.
    """

    open_extractor: OpenExtractor
    digest: str
    feature_width: int
    workers: int

    def __post_init__(self) -> None:
        """Refuse to begin without Ray.

        Raises:
            ConfigInvalid: It is not installed.
        """
        if importlib.util.find_spec("ray") is None:
            raise ConfigInvalid(
                "engine 'ray' needs Ray, which is missing: pip install 'twelve-in-one[ray]'; or take engine 'local'"
            )

    def look(
        self, entries: Iterable[Entry], reading: Reading, is_kept: Callable[[str], bool]
    ) -> Generator[Seen, None, None]:
        """See `Engine.look`."""
        del is_kept
        listed = iter(entries)
        leg = leg_of(listed, self.workers * LEG_CALLS * PARCELS, reading)
        if not leg:
            return
        with _cluster(self.workers) as share:
            while leg:
                yield from self._leg(leg, reading, share)
                leg = leg_of(listed, self.workers * LEG_CALLS * PARCELS, reading)

    def _leg(self, leg: "_Leg", reading: Reading, share: float) -> Iterator[Seen]:
        """Answer in the order of the listing; what could not even be sent has its fault already."""
        sent = [parcel for _, parcel in leg if isinstance(parcel, Parcel)]
        answers = self._answers(sent, reading, share)
        for entry, parcel in leg:
            yield Seen(*entry, fault=parcel) if isinstance(parcel, Fault) else seen_in(entry, next(answers))

    def _answers(self, parcels: Sequence[Parcel], reading: Reading, share: float) -> Iterator[dict[str, Any]]:
        """Send parcels to the actors, and give a row for each, in order."""
        import ray.data

        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.execution_options.preserve_order = True
        tables = [parcels_table(parcels[begin : begin + PARCELS]) for begin in range(0, len(parcels), PARCELS)]
        found = ray.data.from_arrow(tables).map_batches(
            Worker,
            fn_constructor_args=(self.open_extractor, reading),
            batch_size=PARCELS,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=self.workers),
            num_cpus=share,
        )
        tables_back: Iterable[Any] = found.iter_batches(batch_size=None, batch_format="pyarrow")
        for table in tables_back:
            yield from table.to_pylist()


_Leg = Sequence[tuple[EntryId, Parcel | Fault]]


class Worker:
    """What an actor does: opens the detector once, then turns parcels into rows."""

    def __init__(self, open_extractor: OpenExtractor, reading: Reading) -> None:
        self._extractor = open_extractor()
        self._reading = reading

    def __call__(self, parcels: "pa.Table") -> "pa.Table":
        """Look at some parcels."""
        import pyarrow as pa

        sent = (Parcel(one["path"] and os.fsdecode(one["path"]), one["data"]) for one in parcels.to_pylist())
        return pa.Table.from_pylist([self._row(parcel) for parcel in sent], schema=_answer_schema())

    def _row(self, parcel: Parcel) -> dict[str, Any]:
        picture = self._reading.picture(parcel)
        found = picture if isinstance(picture, Fault) else regions_of(picture, self._extractor)
        if isinstance(found, Fault):
            return vars(found)
        assert not isinstance(picture, Fault), "only pictures have regions"
        sizes = {name: getattr(found, name) for name in _SIZES}
        return {"key": picture.digest, **sizes, "arrays": save({name: getattr(found, name) for name in _ARRAYS})}


def seen_in(entry: EntryId, row: dict[str, Any]) -> Seen:
    """Read what an actor answered of an entry."""
    if row["key"] is None:
        return Seen(*entry, fault=Fault(row["code"], row["reason"], row["may_pass"]))
    arrays: dict[str, Any] = load(row["arrays"])
    regions = RegionSet(**arrays, **{name: row[name] for name in _SIZES})
    return Seen(*entry, key=row["key"], regions=regions)


def leg_of(listed: Iterator[Entry], count: int, reading: Reading) -> _Leg:
    """Take so many of the entries, or fewer where their bytes are many."""
    leg: list[tuple[EntryId, Parcel | Fault]] = []
    size = 0
    for entry in islice(listed, count):
        parcel = parcel_of(entry, reading.limits)
        leg.append((EntryId(entry.name, entry.stamp), parcel))
        size += len(parcel.data or b"") if isinstance(parcel, Parcel) else 0
        if size >= LEG_BYTES:
            break
    return leg


def parcels_table(parcels: Sequence[Parcel]) -> "pa.Table":
    """Write parcels as an actor takes them."""
    import pyarrow as pa

    schema = pa.schema([("path", pa.binary()), ("data", pa.binary())])  # a path need not be UTF-8
    rows = [{"path": parcel.path and os.fsencode(parcel.path), "data": parcel.data} for parcel in parcels]
    return pa.Table.from_pylist(rows, schema=schema)


def _answer_schema() -> "pa.Schema":
    import pyarrow as pa

    fault = [("code", pa.string()), ("reason", pa.string()), ("may_pass", pa.bool_())]
    return pa.schema(
        [("key", pa.string()), ("arrays", pa.binary()), *((name, pa.int64()) for name in _SIZES), *fault],
    )


@contextmanager
def _cluster(workers: int) -> Iterator[float]:
    """Join the cluster, or start one.

    Yields:
        Processors that an actor may reserve: all actors together leave at least one to Ray.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray.data  # its loggers are made here

    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if ADDRESS not in os.environ:
        options |= {
            "num_cpus": max(workers + 1, os.cpu_count() or 1),
            "include_dashboard": False,
            "object_store_memory": STORE_BYTES,
            "_node_ip_address": "127.0.0.1",
        }
    ray.init(**options)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    processors: Mapping[str, float] = ray.cluster_resources()
    try:
        yield min(1.0, processors.get("CPU", 1.0) / (workers + 1))
    finally:
        ray.shutdown()
