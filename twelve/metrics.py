"""What is counted of the service, right across the workers of one server. Needs no torch.

    twelve_requests_total{task,code}    requests answered; code is "ok" or an error's code
    twelve_request_seconds{task}        from its entry at the proxy, or receipt by a worker, to its answer
    twelve_stage_seconds{stage}         time a batch spent in one stage of the straight line
    twelve_batch_rows                   pairs of a text and a picture that the engine was given at once
    twelve_feature_cache_total{result}  pictures of batches by where their regions were found; "missed" is nowhere
    twelve_detector_runs_total          runs of the detector

Workers are processes: where PROMETHEUS_MULTIPROC_DIR is set before `prometheus_client` is imported, each of them writes
its own files there, `collected` sums them up, and a worker that died stays counted.
"""

from collections.abc import Callable, Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

from twelve.observer import UNKNOWN_TASK, Done

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder that workers write to; prometheus_client reads it when it is imported."""

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


class ServiceMetrics:
    """Counts what the service reports; one a process. Fits `twelve.observer.Observer`."""

    def __init__(self, tasks: Iterable[str], *, registry: CollectorRegistry | None = None) -> None:
        registry = CollectorRegistry() if registry is None else registry
        self._tasks = frozenset(tasks)
        self._noted: list[tuple[Callable[[float], None], float]] = []
        self._stages: dict[str, Histogram] = {}
        self._is_answered = False
        self._requests = Counter(
            "twelve_requests", "Requests answered.", ("task", "code"), registry=registry
        )  # the client appends _total
        self._request_seconds = Histogram(
            "twelve_request_seconds",
            "Seconds from a request's entry to its answer.",
            ("task",),
            registry=registry,
            buckets=bounds(SHORTEST_S, LONGEST_S, steps_a_decade=REQUEST_STEPS_A_DECADE),
        )
        self._stage_seconds = Histogram(
            "twelve_stage_seconds",
            "Seconds a batch spent in one stage.",
            ("stage",),
            registry=registry,
            buckets=bounds(SHORTEST_STAGE_S, LONGEST_S, steps_a_decade=STAGE_STEPS_A_DECADE),
        )
        self._batch_rows = Histogram(
            "twelve_batch_rows", "Rows that the engine was given at once.", registry=registry, buckets=ROWS
        )
        self._cache_results = Counter(
            "twelve_feature_cache", "Pictures of batches, by where their regions were.", ("result",), registry=registry
        )
        self._detector_runs = Counter("twelve_detector_runs", "Runs of the detector.", registry=registry)

    def stage(self, name: str, seconds: float) -> None:
        """Note how long a batch spent in a stage; written down with the batch's first answer, as `batch` is.

        Counting in between costs several times as much: the model has driven our code out of the processor's caches.
        """
        if name not in self._stages:
            self._stages[name] = self._stage_seconds.labels(name)
        self._note(self._stages[name].observe, seconds)

    def batch(self, rows: int) -> None:
        """Note how many rows the engine was given at once."""
        self._note(self._batch_rows.observe, rows)

    def looked_up(self, result: str) -> None:
        """Note where a picture's regions were, one of `twelve.regions.cache.RESULTS`; written down as stages are."""
        self._note(self._cache_results.labels(result).inc, 1)

    def detector_ran(self) -> None:
        """Count a run of the detector, whoever asked for it."""
        self._detector_runs.inc()

    def request(self, done: Done) -> None:
        """Count an answered request and note its time, unless the server asked itself.

        What strangers send as a task never becomes a label.
        """
        self._is_answered = True
        if done.is_self_test:
            return
        for write, value in self._noted:
            write(value)
        self._noted.clear()
        known = done.task if done.task in self._tasks else UNKNOWN_TASK
        self._requests.labels(known, done.code).inc()
        self._request_seconds.labels(known).observe(done.seconds)

    def _note(self, write: Callable[[float], None], value: float) -> None:
        if self._is_answered:  # the batch before is over; what is left of it was the server's own
            self._noted.clear()
            self._is_answered = False
        self._noted.append((write, value))


def collected(directory: Path) -> CollectorRegistry:
    """Give a registry that sums up what all workers, dead ones included, wrote to a folder."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(directory))  # type: ignore[no-untyped-call]
    return registry
