"""What making batches costs: how long training waits for them, and how much of them is padding.

    python -m benchmarks.loader --run runs/small --data runs/world

Trains the default recipe's model for some rounds on the small world, with 0, 1 and 2 workers and once with batches cut
by length, from features that `make train-small` left; nothing is written but the figures. The machine trains on its
CPU: a faster device waits more, so read the shares beside the CPU-seconds.
"""

import dataclasses
import json
import resource
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from training import pipeline
from training.config import Loading, Recipe
from training.items import TaskItems
from training.loading.loader import Filled, Job, Loader
from training.loading.workshop import InProcess, open_workshop
from training.loop import Progress, train
from training.schedule import round_robin

RECIPE = Path("training/recipes/small.toml")
GROUP = 16
CONFIGURATIONS: Mapping[str, Loading] = {
    "no worker": Loading(workers=0),
    "1 worker": Loading(workers=1),
    "2 workers": Loading(workers=2),
    f"no worker, {GROUP} batches cut by length": Loading(workers=0, group=GROUP),
}
GROUPS = (1, 4, GROUP, 64)
PADDED_ROUNDS = 64
"""A multiple of every group, so that all show the same items."""

LINKED = (pipeline.DETECTOR, pipeline.ANSWERS, "features", "pictures.json")
console = Console(stderr=True)


@dataclass(frozen=True)
class Cost:
    """What some rounds cost once the first ones are done, in which workers start and caches fill.

    Attributes:
        waiting: Share of the time that the model waited for batches.
        trainer_cpu_s_a_round: Of the process that trains.
        workers_cpu_s: Of all workers from start to end, imports and all.
        losses: After the last round.
    """

    waiting: float
    trainer_cpu_s_a_round: float
    workers_cpu_s: float
    losses: Mapping[str, float]


class Clock:
    """Notes when each report of a run came."""

    def __init__(self) -> None:
        self.seen: list[tuple[Progress, float, float]] = []

    def note(self, progress: Progress) -> None:
        """Note a report, with wall and CPU time."""
        self.seen.append((progress, time.monotonic(), time.process_time()))


def main(
    run: Annotated[Path, typer.Option(help="Folder of a run whose features are prepared.")] = Path("runs/small"),
    data: Annotated[Path, typer.Option(help="Its small world.")] = Path("runs/world"),
    rounds: Annotated[int, typer.Option(help="Counted of each configuration, after half as many uncounted.")] = 20,
    to: Annotated[Path, typer.Option(help="The JSON file to write.")] = Path("benchmarks/loader.json"),
) -> None:
    """Measure, and write the figures."""
    with _linked(run, data) as recipe:
        reader = pipeline.RunItems.open(recipe)
        model = pipeline.new_model(recipe, reader.answers)
        most_tokens = model.config.max_position_embeddings
        sources = {name: reader.lessons(name, most_tokens=most_tokens) for name in recipe.tasks}
        start_cpu_s = _start_cpu_s(recipe, most_tokens)
        padding = {str(group): _padding(sources, recipe, most_tokens, group) for group in GROUPS}
        costs = {
            name: _cost(sources, dataclasses.replace(recipe, loading=loading), rounds)
            for name, loading in CONFIGURATIONS.items()
        }
    _check_losses(costs)
    figures = {
        "rounds": rounds,
        "threads": recipe.run.threads,
        "start_of_a_worker_cpu_s": start_cpu_s,
        "cost": {name: _plain(cost) for name, cost in costs.items()},
        "padding_by_batches_cut_together": padding,
    }
    to.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    typer.echo(json.dumps(figures, indent=2))


@contextmanager
def _linked(run: Path, data: Path) -> Iterator[Recipe]:
    """Give the recipe in a folder of its own that shows the run's features."""
    with tempfile.TemporaryDirectory() as name:
        for entry in LINKED:
            (Path(name) / entry).symlink_to((run / entry).resolve())
        recipe = Recipe.load(RECIPE, out=Path(name))
        yield dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, data=data.resolve()))


def _cost(sources: Mapping[str, TaskItems], recipe: Recipe, rounds: int) -> Cost:
    """Train for some rounds and a half more, and count the former."""
    pipeline.begin(recipe)
    half = max(1, rounds // 2)
    recipe = dataclasses.replace(
        recipe,
        optim=dataclasses.replace(recipe.optim, rounds=half + rounds),
        keep=dataclasses.replace(recipe.keep, checkpoint_every=half + rounds + 1, log_every=1),
    )
    clock, children = Clock(), _children_cpu_s()
    model = pipeline.new_model(recipe, pipeline.vocabularies(recipe))
    opened = partial(pipeline.batch_maker, recipe, blind=False, most_tokens=model.config.max_position_embeddings)
    with (
        tempfile.TemporaryDirectory() as out,
        open_workshop(opened, workers=recipe.loading.workers, ahead=recipe.loading.ahead) as workshop,
    ):
        train(
            model,
            sources,
            recipe,
            Path(out),
            read_through=pipeline.data_sets(recipe).read_through,
            workshop=workshop,
            on_progress=clock.note,
        )
    console.print(f"{recipe.loading}: done")
    return _counted(clock, half, _children_cpu_s() - children)


def _start_cpu_s(recipe: Recipe, most_tokens: int) -> float:
    """Start a worker, wait until it has opened what it needs, and end it."""
    before = _children_cpu_s()
    opened = partial(pipeline.batch_maker, recipe, blind=False, most_tokens=most_tokens)
    with open_workshop(opened, workers=1, ahead=1) as workshop, suppress(KeyError):
        list(workshop.results([Job("no such task", ())]))
    return round(_children_cpu_s() - before, 2)


def _counted(clock: Clock, half: int, workers_cpu_s: float) -> Cost:
    """Count what came after the first half of a run's rounds.

    Args:
        clock: Of the run, a report a round.
        half: Rounds that do not count.
        workers_cpu_s: Of the whole run.
    """
    _, begun_s, begun_cpu_s = clock.seen[half - 1]
    last, ended_s, ended_cpu_s = clock.seen[-1]
    waited_s = sum(
        progress.waiting * (ended - begun) for (_, begun, _), (progress, ended, _) in pairwise(clock.seen[half - 1 :])
    )
    rounds = len(clock.seen) - half
    return Cost(
        waiting=waited_s / (ended_s - begun_s),
        trainer_cpu_s_a_round=(ended_cpu_s - begun_cpu_s) / rounds,
        workers_cpu_s=workers_cpu_s,
        losses=last.losses,
    )


def _padding(sources: Mapping[str, TaskItems], recipe: Recipe, most_tokens: int, group: int) -> dict[str, Any]:
    """Give the shares of padding, over all tasks and in each."""
    batches = {name: share.batch for name, share in recipe.tasks.items()}
    maker = pipeline.batch_maker(recipe, blind=False, most_tokens=most_tokens)
    filled = dict.fromkeys(sources, Filled())
    with InProcess(maker) as workshop:
        loader = Loader.open(sources, batches, workshop, group=group)
        for (_, name), batch in loader.batches(round_robin(list(sources), range(PADDED_ROUNDS))):
            filled[name] += Filled.of(batch.rows)
    tasks = {name: _shares(each) for name, each in filled.items()}
    return {"all": _shares(sum(filled.values(), Filled())), "tasks": tasks}


def _shares(filled: Filled) -> dict[str, float]:
    return {name: round(share, 3) for name, share in filled.padding().items()}


def _check_losses(costs: Mapping[str, Cost]) -> None:
    """See that no number of workers changed what was trained.

    Raises:
        SystemExit: One did.
    """
    losses = [costs[name].losses for name in CONFIGURATIONS if CONFIGURATIONS[name].group == 1]
    if any(each != losses[0] for each in losses):
        raise SystemExit("the losses differ between numbers of workers; they must not")


def _plain(cost: Cost) -> dict[str, Any]:
    numbers = {name: round(value, 3) for name, value in vars(cost).items() if name != "losses"}
    return {**numbers, "losses": dict(cost.losses)}


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    typer.run(main)
