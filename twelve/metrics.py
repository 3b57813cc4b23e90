"""What is counted of the service, right across the workers of one server. Needs no torch.

    twelve_requests_total{task,code}    requests answered; code is "ok" or an error's code
    twelve_request_seconds{task}        from its entry at the proxy, or receipt by a worker, to its answer
    twelve_stage_seconds{stage}         time a batch spent in one stage of the straight line
    twelve_batch_rows                   pairs of a text and a picture that the engine was given at once
    twelve_feature_cache_total{result}  pictures of batches by where their regions were found; "missed" is nowhere
    twelve_detector_runs_total          runs of the detector

Workers are processes: each counts in a file of its own, `collected` sums them up, and a worker that died stays counted.
Counting is on every request's way, right after the model has driven everything else out of the processor's caches, so
it does as little as can be done: adds to doubles in memory (see `twelve.tally`). What Prometheus reads is written when
it asks, by another process.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from twelve.observer import UNKNOWN_TASK, Done
from twelve.tally import Tally, summed

DIRECTORY_VARIABLE = "TWELVE_METRICS"
"""Names the folder that workers count in."""

SHORTEST_S, LONGEST_S = 0.002, 30.0
"""Between these a request's time lies, and its quantiles are to be right within 5 %."""

REQUEST_STEPS_A_DECADE = 50
"""Neighbouring bounds differ by 10^(1/50) = 1.047, which is the most that a quantile can be wrong by. 2 seconds, the
objective, are a bound."""

SHORTEST_STAGE_S = 0.0001
STAGE_STEPS_A_DECADE = 8
"""Of stages the share matters, not the tail: 10^(1/8) = 1.33."""

ROWS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)
"""Eight requests of a batch with 32 pictures each are 256 rows."""


def bounds(shortest_s: float, longest_s: float, *, steps_a_decade: int) -> tuple[float, ...]:
    """Give bounds of buckets at a constant ratio, from the shortest time to at least the longest.

    Args:
        shortest_s: The first bound.
        longest_s: Is covered.
        steps_a_decade: Bounds per factor of ten.

    Returns:
        Seconds, rising, four significant digits each.
    """
    found = [shortest_s]
    while found[-1] < longest_s:
        found.append(float(f"{shortest_s * 10 ** (len(found) / steps_a_decade):.4g}"))
    return tuple(found)


Labels = tuple[str, ...]
Add = Callable[[float], None]


class Family(Protocol):
    """What is counted under one name, a series for each combination of labels."""

    @property
    def name(self) -> str:
        """Give its name."""
        ...

    @property
    def numbers(self) -> int:
        """Count the numbers of a series."""
        ...

    def adder(self, numbers: "memoryview[float]") -> Add:
        """Give what counts a value in a series."""
        ...

    def told(self, series: Mapping[Labels, Sequence[float]]) -> Metric:
        """Write all series for Prometheus."""
        ...


@dataclass(frozen=True)
class Count:
    """A sum.

    Attributes:
        name: Without the `_total` that Prometheus sees.
        help: What it is.
        labels: Names.
    """

    name: str
    help: str
    labels: Labels = ()
    numbers: int = 1

    def adder(self, numbers: "memoryview[float]") -> Add:
        """Give what adds a value."""

        def add(value: float) -> None:
            numbers[0] += value

        return add

    def told(self, series: Mapping[Labels, Sequence[float]]) -> Metric:
        """Write the sums."""
        family = CounterMetricFamily(self.name, self.help, labels=self.labels)
        for labels, (total,) in series.items():
            family.add_metric(labels, total)
        return family


@dataclass(frozen=True)
class Spread:
    """A histogram: the sum of all values, then how many lie up to each bound and above the one before, then the rest.

    Attributes:
        name: As Prometheus sees it.
        help: What it is.
        bounds: Rising.
        labels: Names.
    """

    name: str
    help: str
    bounds: tuple[float, ...]
    labels: Labels = ()

    @property
    def numbers(self) -> int:
        """Count the numbers of a series."""
        return 1 + len(self.bounds) + 1

    def adder(self, numbers: "memoryview[float]") -> Add:
        """Give what counts a value between its bounds."""
        bounds = self.bounds

        def add(value: float) -> None:
            numbers[0] += value
            numbers[1 + bisect_left(bounds, value)] += 1

        return add

    def told(self, series: Mapping[Labels, Sequence[float]]) -> Metric:
        """Write the histograms; Prometheus wants how many lie up to each bound."""
        family = HistogramMetricFamily(self.name, self.help, labels=self.labels)
        names = [floatToGoString(bound) for bound in (*self.bounds, float("inf"))]  # type: ignore[no-untyped-call]
        for labels, (total, *counts) in series.items():
            family.add_metric(labels, list(zip(names, accumulate(counts), strict=True)), total)
        return family


REQUESTS = Count("twelve_requests", "Requests answered.", ("task", "code"))
REQUEST_SECONDS = Spread(
    "twelve_request_seconds",
    "Seconds from a request's entry to its answer.",
    bounds(SHORTEST_S, LONGEST_S, steps_a_decade=REQUEST_STEPS_A_DECADE),
    ("task",),
)
STAGE_SECONDS = Spread(
    "twelve_stage_seconds",
    "Seconds a batch spent in one stage.",
    bounds(SHORTEST_STAGE_S, LONGEST_S, steps_a_decade=STAGE_STEPS_A_DECADE),
    ("stage",),
)
BATCH_ROWS = Spread("twelve_batch_rows", "Rows that the engine was given at once.", tuple(map(float, ROWS)))
CACHE_RESULTS = Count("twelve_feature_cache", "Pictures of batches, by where their regions were.", ("result",))
DETECTOR_RUNS = Count("twelve_detector_runs", "Runs of the detector.")
FAMILIES: tuple[Family, ...] = (
    REQUESTS,
    REQUEST_SECONDS,
    STAGE_SECONDS,
    BATCH_ROWS,
    CACHE_RESULTS,
    DETECTOR_RUNS,
)


class Series:
    """The series of one family that a process counts, each begun when it is first wanted."""

    def __init__(self, family: Family, tally: Tally) -> None:
        self._family = family
        self._tally = tally
        self._adders: dict[Labels, Add] = {}

    def of(self, *labels: str) -> Add:
        """Give what counts a value under these labels."""
        add = self._adders.get(labels)
        if add is None:
            numbers = self._tally.series((self._family.name, *labels), self._family.numbers)
            add = self._adders[labels] = self._family.adder(numbers)
        return add


class ServiceMetrics:
    """Counts what the service reports; one a process. Fits `twelve.observer.Observer`."""

    def __init__(self, tasks: Iterable[str], tally: Tally) -> None:
        self._tasks = frozenset(tasks)
        self._noted: list[tuple[Add, float]] = []
        self._is_answered = False
        self._requests = Series(REQUESTS, tally)
        self._request_seconds = Series(REQUEST_SECONDS, tally)
        self._stage_seconds = Series(STAGE_SECONDS, tally)
        self._batch_rows = Series(BATCH_ROWS, tally).of()
        self._cache_results = Series(CACHE_RESULTS, tally)
        self._detector_runs = Series(DETECTOR_RUNS, tally).of()

    def stage(self, name: str, seconds: float) -> None:
        """Note how long a batch spent in a stage; written down with the batch's first answer, as `batch` is.

        Who asked is known only then: the server's questions to itself leave nothing behind.
        """
        self._note(self._stage_seconds.of(name), seconds)

    def batch(self, rows: int) -> None:
        """Note how many rows the engine was given at once."""
        self._note(self._batch_rows, rows)

    def looked_up(self, result: str) -> None:
        """Note where a picture's regions were, one of `twelve.regions.cache.RESULTS`; written down as stages are."""
        self._note(self._cache_results.of(result), 1)

    def detector_ran(self) -> None:
        """Count a run of the detector, whoever asked for it."""
        self._detector_runs(1)

    def request(self, done: Done) -> None:
        """Count an answered request and note its time, unless the server asked itself.

        What strangers send as a task never becomes a label.
        """
        self._is_answered = True
        if done.is_self_test:
            return
        for add, value in self._noted:
            add(value)
        self._noted.clear()
        known = done.task if done.task in self._tasks else UNKNOWN_TASK
        self._requests.of(known, done.code)(1)
        self._request_seconds.of(known)(done.seconds)

    def _note(self, add: Add, value: float) -> None:
        if self._is_answered:  # the batch before is over; what is left of it was the server's own
            self._noted.clear()
            self._is_answered = False
        self._noted.append((add, value))


class Counted(Collector):
    """Tells what the workers of a server counted, summed up at each scrape."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def collect(self) -> Iterator[Metric]:
        """Give every family."""
        totals = summed(self._directory)
        for family in FAMILIES:
            yield family.told({name[1:]: numbers for name, numbers in totals.items() if name[0] == family.name})

    def describe(self) -> Iterator[Metric]:
        """Give nothing: registration reads no file."""
        return iter(())


def collected(directory: Path) -> CollectorRegistry:
    """Give a registry that sums up what all workers, dead ones included, wrote to a folder."""
    registry = CollectorRegistry()
    registry.register(Counted(directory))
    return registry
