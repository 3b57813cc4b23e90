"""What counting and logging cost: CPU of a request with the observers that a worker has, and without them.

    PROMETHEUS_MULTIPROC_DIR=$(mktemp -d) python -m benchmarks.metrics_cost --to benchmarks/metrics_cost.json

One service, one engine, one cache; the two ways take turns, ABBA, and one request in a hundred fails, so that lines are
written too. Counts go where a worker's go, into files that an exporter reads. The pictures are known to the cache and
the model is the small one: with a larger one, or with pictures to look at, the share is smaller.
"""

import base64
import gc
import itertools
import json
import logging
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from twelve.assembly import Settings, assemble
from twelve.journal import Journal, JsonLines
from twelve.metrics import DIRECTORY_VARIABLE, ServiceMetrics
from twelve.observer import Several
from twelve.service import Service
from twelve.tasks import TASKS
from twelve.wire import JSON, Call

ROUNDS = 15
"""Of both ways, each twice."""

REPEATS = 10
"""Of every task, in a round."""

FAILS_EVERY = 100
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


def cpu_us(service: Service, calls: Sequence[Call]) -> float:
    """Give the CPU of a request, one after the other; the collector of garbage waits outside."""
    gc.collect()
    gc.disable()
    began = time.process_time_ns()
    for call in calls:
        service.answer_calls([call])
    taken = time.process_time_ns() - began
    gc.enable()
    return taken / 1000 / len(calls)


def compare(bundle: Path, graphs: Path) -> dict[str, float | int]:
    """Measure both ways in turn.

    Args:
        bundle: To serve.
        graphs: Its exported graphs.

    Returns:
        CPU microseconds of a request, and the share of the observers: the median of the rounds' own.
    """
    parts = assemble(bundle, Settings(graphs=graphs, threads=1))
    bare, watched = Service(parts), Service(parts, observer=Several([ServiceMetrics(TASKS), Journal()]))
    calls = bodies(bare)
    for service in (bare, watched):
        cpu_us(service, calls)
    rounds = []
    for _ in range(ROUNDS):
        a, b, c, d = (cpu_us(service, calls) for service in (bare, watched, watched, bare))
        rounds.append(((a + d) / 2, (b + c) / 2))
    added = statistics.median(with_them - without for without, with_them in rounds)
    return {
        "requests": 4 * ROUNDS * len(calls),
        "cpu_us_without": round(statistics.median(without for without, _ in rounds), 1),
        "cpu_us_added": round(added, 1),
        "share": round(statistics.median(with_them / without - 1 for without, with_them in rounds), 4),
        "allowed": ALLOWED,
    }


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
    if DIRECTORY_VARIABLE not in os.environ:
        raise typer.BadParameter(f"set {DIRECTORY_VARIABLE} to an empty folder: a worker's counts go into files")
    with Path(os.devnull).open("w") as nowhere:
        handler = logging.StreamHandler(nowhere)
        handler.setFormatter(JsonLines())
        logging.basicConfig(level=logging.WARNING, handlers=[handler])
        figures = compare(bundle, graphs)
    text = json.dumps(figures, indent=2)
    print(text)
    if to is not None:
        to.write_text(text + "\n", encoding="utf-8")
    raise typer.Exit(figures["share"] > ALLOWED)


if __name__ == "__main__":
    typer.run(main)
