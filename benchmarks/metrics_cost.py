"""What counting and logging cost: CPU of a request with the observers that a worker has, and without them.

    python -m benchmarks.metrics_cost --to benchmarks/metrics_cost.json

One service, one engine, one cache. Each batch is answered both ways, one right after the other, and which comes first
changes each time; the figure is the mean of the middle half of the differences, for whatever else the machine does is
in the rest. One request in a hundred fails, so that lines are written too. Counts go where a worker's go, into a file
that an exporter reads every five seconds; what that takes is added as if a single worker had to bear it. The pictures
are known to the cache and the model is the small one: with a larger one, or with pictures to look at, the microseconds
are the same and the share is smaller.
"""

import base64
import gc
import itertools
import json
import logging
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from prometheus_client import generate_latest

from twelve.assembly import Settings, assemble
from twelve.journal import Journal, JsonLines
from twelve.metrics import ServiceMetrics, collected
from twelve.observer import Several
from twelve.service import Service
from twelve.tally import Tally
from twelve.tasks import TASKS
from twelve.wire import JSON, Call

REPEATS = 10
"""Of every task among the calls."""

ROUNDS = {1: 40, 8: 40}
"""How often all calls are answered, both ways, by the size of a batch."""

FAILS_EVERY = 100
SCRAPES = 50
BETWEEN_SCRAPES_US = 5_000_000
"""As ops/prometheus.yml has it."""

ALLOWED = 0.02


def bodies(service: Service) -> list[Call]:
    """Give the calls of a round; their pictures are known."""
    pictures = sorted((Path(__file__).parents[1] / "docs" / "pictures").glob("*.jpg"))
    refs = [_ref(service, base64.b64encode(path.read_bytes()).decode()) for path in pictures]
    shown = [{"ref": ref} for ref in refs]
    fields = [
        {"task": task.name, **task.example(list(itertools.islice(itertools.cycle(shown), task.pictures_in_example)))}
        for task in TASKS.values()
    ] * REPEATS
    for place in range(0, len(fields), FAILS_EVERY):
        fields[place] = {**fields[place], "unheard-of": 1}
    return [
        Call(json.dumps(one).encode(), JSON, headers={"x-request-start": "t=1.0"}, request_id=f"r-{place}")
        for place, one in enumerate(fields)
    ]


def compare(services: Sequence[Service], batches: Sequence[Sequence[Call]], rounds: int) -> dict[str, float]:
    """Answer all batches both ways, as often as is said.

    Args:
        services: Without observers, and with them.
        batches: To answer.
        rounds: How often.

    Returns:
        CPU microseconds of a request without observers and what they add.
    """
    size = len(batches[0])
    taken = [[_both(services, batch, first=number % 2) for number in range(rounds)] for batch in batches]
    return {
        "cpu_us_without": round(statistics.fmean(settled([bare for bare, _ in pairs]) for pairs in taken) / size, 1),
        "cpu_us_added": round(
            statistics.fmean(settled([watched - bare for bare, watched in pairs]) for pairs in taken) / size, 1
        ),
    }


def settled(values: Sequence[float]) -> float:
    """Give the mean of the middle half."""
    quarter = len(values) // 4
    return statistics.fmean(sorted(values)[quarter : len(values) - quarter])


def scrape_us(counts: Path) -> float:
    """Give the CPU microseconds of telling all that was counted."""
    registry = collected(counts)
    return settled([_cpu_us(lambda: generate_latest(registry)) for _ in range(SCRAPES)])


def measure(bundle: Path, graphs: Path, counts: Path) -> dict[str, object]:
    """Measure everything.

    Args:
        bundle: To serve.
        graphs: Its exported graphs.
        counts: Empty folder to count in.

    Returns:
        Microseconds by size of a batch, of a scrape, and the share of the observers of one that serves all the time.
    """
    parts = assemble(bundle, Settings(graphs=graphs, threads=1))
    observer = Several([ServiceMetrics(TASKS, Tally.open(counts)), Journal()])
    services = Service(parts), Service(parts, observer=observer)
    calls = bodies(services[0])
    figures = {}
    for size, rounds in ROUNDS.items():
        batches = [calls[place : place + size] for place in range(0, len(calls), size)]
        compare(services, batches, 1)
        figures[size] = compare(services, batches, rounds)
    scrape = scrape_us(counts)
    share = {
        size: round(own["cpu_us_added"] / own["cpu_us_without"] + scrape / BETWEEN_SCRAPES_US, 4)
        for size, own in figures.items()
    }
    return {"by_batch_size": figures, "cpu_us_of_a_scrape": round(scrape), "share": share, "allowed": ALLOWED}


def _both(services: Sequence[Service], batch: Sequence[Call], *, first: int) -> tuple[float, float]:
    order = (first, 1 - first)
    took = {way: _cpu_us(lambda way=way: services[way].answer_calls(batch)) for way in order}
    return took[0], took[1]


def _cpu_us(what: Callable[[], object]) -> float:
    began = time.process_time_ns()
    what()
    return (time.process_time_ns() - began) / 1000


def _ref(service: Service, picture: str) -> str:
    fields = {"task": "gqa", "question": "What is it?", "image": picture}
    (reply,) = service.answer_calls([Call(json.dumps(fields).encode(), JSON)])
    return str(json.loads(reply.body)["images"][0])


def main(
    bundle: Annotated[Path, typer.Option(help="To serve.")] = Path("model_store/small"),
    graphs: Annotated[Path, typer.Option(help="Its exported graphs: `make export`.")] = Path("build/small"),
    to: Annotated[Path | None, typer.Option(help="Where to write the figures.")] = None,
) -> None:
    """Print, and write, what the observers cost; fails where it is more than allowed."""
    with Path(os.devnull).open("w") as nowhere, tempfile.TemporaryDirectory() as counts:
        handler = logging.StreamHandler(nowhere)
        handler.setFormatter(JsonLines())
        logging.basicConfig(level=logging.WARNING, handlers=[handler])
        gc.disable()  # it would come with whichever way is at hand
        figures = measure(bundle, graphs, Path(counts))
    text = json.dumps(figures, indent=2)
    print(text)
    if to is not None:
        to.write_text(text + "\n", encoding="utf-8")
    share: dict[str, float] = figures["share"]
    raise typer.Exit(max(share.values()) > ALLOWED)


if __name__ == "__main__":
    typer.run(main)
