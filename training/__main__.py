"""`python -m training`: from nothing to a bundle."""

import json
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # read once, when torch loads OpenMP: waiting threads must not spin

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from training import detector as detectors
from training import extract as extraction
from training import pipeline, requests, results
from training.config import Recipe
from training.data.command import app as data_app
from training.data.command import write_manifest
from training.evaluate import MOST_ITEMS, Unanswered, table
from training.items import TaskItems
from training.loop import Progress as Rounds
from training.metrics.figures import Report
from training.metrics.prediction import Rated
from training.world.command import world
from twelve.errors import DataError, StartupError
from twelve.image import ImageLimits
from twelve.regions.extraction.looking import Reading

app = typer.Typer(no_args_is_help=True, help="Make the small world, train the model, measure it, write a bundle.")
app.command()(world)
app.add_typer(data_app, name="data")
console = Console(stderr=True)

RECIPE_SUFFIX = ".toml"
LIMITS = ImageLimits()

RecipePath = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, help="A recipe, such as training/recipes/small.toml.")
]
Seed = Annotated[int | None, typer.Option(help="In place of the recipe's own.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the run, in place of the recipe's own.")]
Blind = Annotated[bool, typer.Option("--blind", help="Train the blind twin: features and locations zeroed.")]


@app.command()
def detector(recipe: RecipePath, seed: Seed = None, out: Out = None) -> None:
    """Train the region extractor on the world's scenes."""
    chosen = Recipe.load(recipe, seed=seed, out=out)
    pipeline.begin(chosen)
    folder = chosen.run.out / pipeline.DETECTOR
    report = detectors.train(chosen.run.data, folder, detectors.DetectorRecipe(**chosen.detector), seed=chosen.run.seed)
    typer.echo(json.dumps(report))


@app.command()
def features(
    source: Annotated[
        Path,
        typer.Argument(
            exists=True,
            help="A recipe (.toml); or pictures: a folder, a .txt with a path a line, a .jsonl whose lines have an "
            '"image", a .tar, .tar.gz, .tgz, .tar.bz2 or .tar.xz.',
        ),
    ],
    seed: Seed = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run, in place of the recipe's own; of pictures, the store's.")
    ] = None,
    detector: Annotated[
        Path, typer.Option(help="For pictures: the folder of a detector or bundle.")
    ] = extraction.DEFAULT_DETECTOR,
    engine: Annotated[str, typer.Option(help="For pictures: local, or ray for a Ray cluster.")] = "local",
    workers: Annotated[
        int | None, typer.Option(min=1, help="For pictures: threads that decode, or actors of Ray.")
    ] = None,
    exif: Annotated[bool, typer.Option(help="For pictures: turn them as their EXIF orientation says.")] = True,
    max_bytes: Annotated[int, typer.Option(help="For pictures: of a file.")] = LIMITS.max_bytes,
    max_pixels: Annotated[int, typer.Option(help="For pictures: height times width.")] = LIMITS.max_pixels,
    max_side: Annotated[int, typer.Option(help="For pictures: pixels.")] = LIMITS.max_side,
    min_side: Annotated[int, typer.Option(help="For pictures: pixels.")] = LIMITS.min_side,
) -> None:
    """Find regions: of every picture that a recipe's tasks show, or of a folder, list or archive of pictures.

    Goes on where it was cut short. Of pictures, leaves with 0 complete, 3 complete with rejects, 75 stopped; see
    docs/regions.md.
    """
    limits = ImageLimits(max_bytes=max_bytes, max_pixels=max_pixels, max_side=max_side, min_side=min_side)
    asked = extraction.Asked(
        out=out, detector=detector, engine=engine, workers=workers, reading=Reading(limits=limits, exif=exif)
    )
    if source.suffix == RECIPE_SUFFIX and source.is_file():
        recipe_features(source, seed, out)
    else:
        extraction.features(source, asked)


def recipe_features(recipe: Path, seed: int | None, out: Path | None) -> None:
    """Find the regions of every picture that a recipe's tasks show."""
    chosen = Recipe.load(recipe, seed=seed, out=out)
    with bar("regions") as (on_total, on_progress):
        pipeline.features(chosen, on_total=on_total, on_progress=on_progress)


@app.command()
def negatives(recipe: RecipePath, seed: Seed = None, out: Out = None) -> None:
    """Find the pictures that look alike, for tasks that choose among pictures; goes on where it was cut short."""
    chosen = Recipe.load(recipe, seed=seed, out=out)
    with bar("negatives") as (on_total, on_progress):
        pipeline.negatives(chosen, on_total=on_total, on_progress=on_progress)


@app.command()
def run(recipe: RecipePath, seed: Seed = None, out: Out = None, blind: Blind = False) -> None:
    """Train the model by round robin over the recipe's tasks; goes on from its last checkpoint."""
    chosen = Recipe.load(recipe, seed=seed, out=out)
    with rounds_bar(chosen.optim.rounds) as on_rounds:
        pipeline.run(chosen, blind=blind, on_progress=on_rounds)


@app.command()
def evaluate(
    recipe: RecipePath,
    seed: Seed = None,
    out: Out = None,
    most: Annotated[int, typer.Option(help="Items of one task and split.")] = MOST_ITEMS,
    gallery: Annotated[int, typer.Option(help="Pictures that retrieval is ranked on, 1000 or 5000; 0 for none.")] = 0,
    paired: Annotated[
        int, typer.Option(help="Pictures of grounding consistency; 0 for none.")
    ] = results.PICTURES_PAIRED,
) -> None:
    """Measure the model on every task, beside chance, its blind twin where there is one, and novel compositions.

    Official figures of the same answers go into metrics.json.
    """
    chosen = Recipe.load(recipe, seed=seed, out=out)
    scores: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    wanted = [("model", "test", False), ("novel", "novel", False), ("blind", "test", True)]
    for column, split, blind in wanted:
        try:
            model = pipeline.trained(chosen, blind=blind)
        except DataError as error:
            if not blind:
                raise
            console.print(f"no blind model: {error.message}", markup=False, soft_wrap=True)
            continue
        official = metrics[column] = {}
        with bar(column) as (on_total, on_progress):
            scores[column] = pipeline.score(
                chosen,
                model,
                split,
                blind=blind,
                most=most,
                on_total=on_total,
                on_progress=on_progress,
                on_rated=partial(_keep, official, chosen.run.data),
                on_unanswered=partial(_pass_over, official),
            )
    (chosen.run.out / pipeline.SCORES).write_text(json.dumps(scores, indent=2) + "\n", encoding="utf-8")
    typer.echo(table(scores))
    metrics.update(_across_tasks(chosen, gallery=gallery, paired=paired))
    (chosen.run.out / results.METRICS).write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")


def _keep(official: dict[str, Report], root: Path, source: TaskItems, rated: Sequence[Rated]) -> None:
    official[source.task.name] = results.of_task(source, rated, root)


def _pass_over(official: dict[str, Report], name: str, error: Unanswered) -> None:
    official[name] = {"accuracy": None, "reason": error.message}
    console.print(f"{error.message}; the other tasks are rated", markup=False, soft_wrap=True)


def _across_tasks(chosen: Recipe, *, gallery: int, paired: int) -> dict[str, Report]:
    """Measure what is no task's own: grounding consistency, and rankings where they are asked for."""
    model = pipeline.trained(chosen, blind=False)
    found: dict[str, Report] = {}
    if paired:
        with bar("consistency") as (on_total, on_progress):
            found["grounding consistency"] = results.grounding_or_why_not(
                chosen, model, pictures=paired, on_total=on_total, on_progress=on_progress
            )
    if gallery:
        with bar("galleries") as (on_total, on_progress):
            found["retrieval"] = results.retrieval(
                chosen, model, "test", pictures=gallery, on_total=on_total, on_progress=on_progress
            )
    return found


@app.command()
def predict(
    recipe: RecipePath,
    task: Annotated[str, typer.Option(help="Of the recipe.")],
    to: Annotated[
        Path, typer.Option(help="The file to write; what is done of it is kept beside it until it is whole.")
    ],
    split: str = "test",
    seed: Seed = None,
    out: Out = None,
) -> None:
    """Write a task's answers to a split as its challenge takes them; see docs/metrics.md."""
    chosen = Recipe.load(recipe, seed=seed, out=out)
    model = pipeline.trained(chosen, blind=False)
    with bar(task) as (on_total, on_progress):
        rows = results.predict(chosen, model, task, split, to, on_total=on_total, on_progress=on_progress)
    typer.echo(f"{to}: {rows:,} predictions")


@app.command()
def bundle(
    recipe: RecipePath,
    seed: Seed = None,
    out: Out = None,
    to: Annotated[Path | None, typer.Option(help="The bundle's folder; default is `bundle` in the run's.")] = None,
) -> None:
    """Write the trained model as a bundle, with the scores that `evaluate` measured."""
    chosen = Recipe.load(recipe, seed=seed, out=out)
    measured = chosen.run.out / pipeline.SCORES
    scores = json.loads(measured.read_text(encoding="utf-8")) if measured.is_file() else {}
    made = pipeline.bundle(chosen, to or chosen.run.out / pipeline.BUNDLE, scores=scores)
    for name, entry in made.manifest.files.items():
        typer.echo(f"{entry['sha256']}  {name}  {entry['bytes']:,}")


@app.command(name="all")
def everything(recipe: RecipePath, seed: Seed = None, out: Out = None, with_blind: bool = False) -> None:
    """Do whatever is still to be done: world, detector, features, model, scores, bundle."""
    chosen = Recipe.load(recipe, seed=seed, out=out)
    stages: list[tuple[str, Callable[[], None]]] = []
    if chosen.world is not None and not (chosen.run.data / "world.json").is_file():
        made = chosen.world
        stages.append(("world", lambda: world(out=chosen.run.data, profile=made.profile, seed=made.seed)))
    if pipeline.is_to_be_cleaned(chosen):
        stages.append(("clean split", lambda: write_manifest(chosen.run.data)))
    if not (chosen.run.out / pipeline.DETECTOR / "detector.safetensors").is_file():
        stages.append(("detector", lambda: detector(recipe, seed, out)))
    stages.append(("features", lambda: recipe_features(recipe, seed, out)))
    if chosen.loading.mined:
        stages.append(("negatives", lambda: negatives(recipe, seed, out)))
    stages.append(("model", lambda: run(recipe, seed, out)))
    if with_blind:
        stages.append(("blind model", lambda: run(recipe, seed, out, blind=True)))
    stages.append(("scores", lambda: evaluate(recipe, seed, out)))
    stages.append(("bundle", lambda: bundle(recipe, seed, out)))
    for name, stage in stages:
        since = pipeline.cpu_s()
        stage()
        console.print(f"[bold]{name}[/]: {(pipeline.cpu_s() - since) / 60:.1f} CPU-minutes")


@app.command(name="requests")
def write_requests(
    recipe: RecipePath,
    to: Annotated[Path, typer.Option(help="The JSON-lines file to write.")],
    split: str = "test",
    items: Annotated[int, typer.Option(help="Of all tasks together.")] = 500,
    seed: Seed = None,
    out: Out = None,
) -> None:
    """Write test items as contract requests, pictures in base64: what export and benchmarks ask."""
    chosen = Recipe.load(recipe, seed=seed, out=out)
    count = requests.write(chosen, split, items, to)
    typer.echo(f"{to}: {count:,} requests")


@contextmanager
def bar(name: str) -> Iterator[tuple[Callable[[int], None], Callable[[int], None]]]:
    """Show a progress bar whose total comes later."""
    with _progress() as progress:
        task = progress.add_task(name, total=None, note="")
        yield (
            lambda total: progress.update(task, total=total),
            lambda done: progress.update(task, advance=done),
        )


@contextmanager
def rounds_bar(total: int) -> Iterator[Callable[[Rounds], None]]:
    """Show a progress bar of rounds with losses and throughput."""
    with _progress() as progress:
        task = progress.add_task("rounds", total=total, note="")

        def show(rounds: Rounds) -> None:
            losses = " ".join(f"{name} {loss:.2f}" for name, loss in rounds.losses.items())
            pace = f"{rounds.items_per_s:.0f} items/s, {rounds.waiting:.0%} waiting for data"
            progress.update(task, completed=rounds.round, note=f"{pace}  {losses}")

        yield show


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
    )


def main() -> None:
    """Run the command; an error of ours is a sentence and an exit code."""
    try:
        app()
    except (DataError, StartupError) as error:
        console.print(Text.assemble((error.code, "red"), f": {error.message}"), soft_wrap=True)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main()
