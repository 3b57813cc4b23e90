"""`twelve index add | search | info | verify | prune`, to be mounted by `twelve.cli`.

Exit codes: 0 complete · 3 complete, some files rejected · 65 no index, another detector's, or damaged · 75 stopped or
busy, run the same command again. Progress goes to stderr, results to stdout.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from twelve.errors import DataError

if TYPE_CHECKING:  # torch and LanceDB are imported by the command that runs, not by `twelve --help`
    from twelve.index import build
    from twelve.index.directory import Reject
    from twelve.index.search import Retriever

REJECTS = 3
RESUMABLE = 75

IndexFolder = Annotated[Path, typer.Argument(metavar="INDEX", help="The index's folder.")]
BundleFolder = Annotated[Path, typer.Option("--bundle", help="The model's folder.")]


def commands(open_retriever: "Callable[[Path], Retriever]", default_bundle: Path) -> typer.Typer:
    """Make the commands.

    Args:
        open_retriever: Opens a bundle's detector and retrieval head.
        default_bundle: The bundle that is used where none is named.

    Returns:
        The commands, to be mounted under `index`.
    """
    app = typer.Typer(no_args_is_help=True, help="Index a folder of pictures and search it by caption.")

    @app.command()
    def add(
        index: IndexFolder,
        folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The pictures, in folders or not.")],
        bundle: BundleFolder = default_bundle,
    ) -> None:
        """Bring an index up to date with a folder; Ctrl-C keeps what is finished, the same command goes on."""
        with _explained():
            outcome = _add(index, folder, open_retriever(bundle))
        _report(outcome)

    @app.command()
    def search(
        index: IndexFolder,
        caption: Annotated[str, typer.Argument(metavar="CAPTION", help="What to look for.")],
        count: Annotated[int, typer.Option("-k", min=1, help="How many pictures to show.")] = 10,
        bundle: BundleFolder = default_bundle,
    ) -> None:
        """Show the pictures that a caption describes best: score, tab, path."""
        with _explained():
            _search(index, caption, count, open_retriever(bundle))

    @app.command()
    def info(
        index: IndexFolder,
        rejected: Annotated[bool, typer.Option("--rejected", help="List the rejected files.")] = False,
        digest: Annotated[bool, typer.Option("--digest", help="Read everything and identify it.")] = False,
    ) -> None:
        """Count what an index holds."""
        with _explained():
            _info(index, rejected=rejected, digest=digest)

    @app.command()
    def verify(index: IndexFolder) -> None:
        """Read all features back and compare them with their checksums."""
        with _explained():
            _verify(index)

    @app.command()
    def prune(index: IndexFolder) -> None:
        """Forget the files that are no longer on the disk."""
        with _explained():
            _prune(index)

    return app


def _add(index: Path, folder: Path, retriever: "Retriever") -> "build.Outcome":
    from twelve.index import build

    with _stop_signal() as should_stop, _bar("0 rejected") as (bar, row):
        rejected = 0

        def show(progress: build.Progress) -> None:
            nonlocal rejected
            rejected += progress.reject is not None
            bar.update(row, completed=progress.finished, total=progress.total, remark=f"{rejected} rejected")

        return build.add(index, folder, retriever.extractor, retriever.limits, show, should_stop=should_stop)


def _report(outcome: "build.Outcome") -> None:
    """Print what was rejected and the counts; leave with the code that says how it went."""
    _print_rejects(outcome.rejects)
    if outcome.unchanged:
        typer.echo(f"{outcome.unchanged} files were known already")
    if outcome.left:
        typer.echo(f"stopped with {outcome.left} files left; the same command goes on from here")
    typer.echo(f"done={outcome.done} duplicate={outcome.duplicate} rejected={outcome.rejected}")
    if outcome.left:
        raise typer.Exit(RESUMABLE)
    if outcome.rejected:
        raise typer.Exit(REJECTS)


def _search(index: Path, caption: str, count: int, retriever: "Retriever") -> None:
    from twelve.index.directory import Index
    from twelve.index.search import search

    opened = Index.open(index)
    opened.refuse_other_detector(retriever.extractor)
    with _bar("") as (bar, row):
        hits = search(
            opened,
            caption,
            count,
            retriever.score,
            lambda finished, total: bar.update(row, completed=finished, total=total),
        )
    for hit in hits:
        typer.echo(f"{hit.score:.6f}\t{hit.path}")


def _info(index: Path, *, rejected: bool, digest: bool) -> None:
    from twelve.index.directory import Index

    opened = Index.open(index)
    tally, store = opened.tally(), opened.features.info()
    typer.echo(f"detector  {store.settings.detector_digest}")
    typer.echo(f"features  {store.settings.feature_width} wide, {store.settings.encoding}")
    typer.echo(
        f"stored    {store.pictures} pictures, {store.regions} regions, {store.shards} shards, {store.bytes} bytes"
    )
    if digest:
        typer.echo(f"digest    {opened.digest()}")
    if rejected:
        _print_rejects(tally.rejected)
    typer.echo(f"done={len(tally.done)} duplicate={len(tally.duplicate)} rejected={len(tally.rejected)}")


def _verify(index: Path) -> None:
    from twelve.index.directory import Index

    opened = Index.open(index)
    opened.verify()
    typer.echo(f"whole: {opened.features.info().shards} shards")


def _prune(index: Path) -> None:
    from twelve.index.build import prune

    typer.echo(f"forgotten={prune(index)}")


def _print_rejects(rejects: "tuple[Reject, ...]") -> None:
    for reject in rejects:
        typer.echo(f"rejected {reject.path}: {reject.code}: {reject.reason}")


@contextmanager
def _explained() -> Iterator[None]:
    """Turn an error of files into its sentence and its exit code."""
    try:
        yield
    except DataError as error:
        typer.echo(error.message, err=True)
        raise typer.Exit(error.exit_code) from error


@contextmanager
def _stop_signal() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C or SIGTERM into a wish to stop; the second one ends the process as usual.

    Yields:
        Whether the wish was uttered.
    """
    wished: list[int] = []

    def wish(number: int, frame: FrameType | None) -> None:
        wished.append(number)
        restore()
        typer.echo("stopping: what is finished will be kept; press Ctrl-C again to quit at once", err=True)

    def restore() -> None:
        for number, handler in former.items():
            signal.signal(number, handler)

    former = {number: signal.signal(number, wish) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(wished)
    finally:
        restore()


class _Speed(ProgressColumn):
    """Pictures per second."""

    def render(self, task: Task) -> Text:
        """Give the speed as measured over the last seconds."""
        return Text(f"{task.speed or 0:.1f} pictures/s")


@contextmanager
def _bar(remark: str) -> Iterator[tuple[Progress, TaskID]]:
    """Show a bar with pictures per second and the time left.

    Args:
        remark: What stands behind it until `update(remark=…)`.

    Yields:
        The bar, and its one row.
    """
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[remark]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        yield bar, bar.add_task("", total=None, remark=remark)
