"""What is counted of the service, right across the workers of one server. Needs no torch.

    twelve_requests_total{task,code}    requests answered; code is "ok" or an error's code
    twelve_request_seconds{task}        from receipt by a worker to its answer
    twelve_stage_seconds{stage}         time a batch spent in one stage of the straight line
    twelve_feature_cache_total{result}  pictures of batches by where their regions were found; "missed" is nowhere
    twelve_detector_runs_total          runs of the detector

Workers are processes: where PROMETHEUS_MULTIPROC_DIR is set before `prometheus_client` is imported, each of them writes
its own files there, `collected` sums them up, and a worker that died stays counted.
"""

from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.multiprocess import MultiProcessCollector

DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Names the folder that workers write to; prometheus_client reads it when it is imported."""

UNKNOWN_TASK = "unknown"
"""The label of requests whose task is not one of ours. What strangers send never becomes a label."""

SHORTEST_S, LONGEST_S = 0.002, 30.0
"""Between these a request's time lies, and its quantiles are to be right within 10 %."""

REQUEST_STEPS_A_DECADE = 25
"""Neighbouring bounds differ by 10^(1/25) = 1.096."""

SHORTEST_STAGE_S = 0.0001
STAGE_STEPS_A_DECADE = 8
"""Of stages the share matters, not the tail: 10^(1/8) = 1.33."""


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
    """Counts what the service reports; one a process. Fits `twelve.service.Observer`."""

    def __init__(self, tasks: Iterable[str], *, registry: CollectorRegistry | None = None) -> None:
        registry = CollectorRegistry() if registry is None else registry
        self._tasks = frozenset(tasks)
        self._requests = Counter(
            "twelve_requests", "Requests answered.", ("task", "code"), registry=registry
        )  # the client appends _total
        self._request_seconds = Histogram(
            "twelve_request_seconds",
            "Seconds from a worker's receipt of a request to its answer.",
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
        self._cache_results = Counter(
            "twelve_feature_cache", "Pictures of batches, by where their regions were.", ("result",), registry=registry
        )
        self._detector_runs = Counter("twelve_detector_runs", "Runs of the detector.", registry=registry)

    def stage(self, name: str, seconds: float) -> None:
        """Note how long a batch spent in a stage."""
        self._stage_seconds.labels(name).observe(seconds)

    def looked_up(self, result: str) -> None:
        """Count a picture by where its regions were, one of `twelve.regions.cache.RESULTS`."""
        self._cache_results.labels(result).inc()

    def detector_ran(self) -> None:
        """Count a run of the detector."""
        self._detector_runs.inc()

    def request(self, task: str, code: str, seconds: float) -> None:
        """Count an answered request and note its time.

        Args:
            task: Its task's name, or whatever stood there.
            code: "ok", or the code of the error it was answered with.
            seconds: From receipt to answer.
        """
        known = task if task in self._tasks else UNKNOWN_TASK
        self._requests.labels(known, code).inc()
        self._request_seconds.labels(known).observe(seconds)


def collected(directory: Path) -> CollectorRegistry:
    """Give a registry that sums up what all workers, dead ones included, wrote to a folder."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(directory))  # type: ignore[no-untyped-call]
    return registry
