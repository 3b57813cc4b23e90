"""`twelve index add | search | info | verify | prune`, to be mounted by `twelve.cli`.

Exit codes: 0 complete · 3 complete, some files rejected · 65 no index, another detector's, or damaged · 75 stopped or
busy, run the same command again. Progress goes to stderr, results to stdout.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twelve.errors import DataError
from twelve.regions.extraction.stopping import wish_to_stop

if TYPE_CHECKING:  # torch and LanceDB are imported by the command that runs, not by `twelve --help`
    from twelve.index import build
    from twelve.index.directory import Reject
    from twelve.index.search import Retriever

REJECTS = 3
RESUMABLE = 75
STOPPING = "stopping: what is finished will be kept; press Ctrl-C again to quit at once"

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
    from twelve.regions.extraction.showing import pictures_bar

    with wish_to_stop(STOPPING) as should_stop, pictures_bar("0 rejected") as (bar, row):
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
    from twelve.regions.extraction.showing import pictures_bar

    opened = Index.open(index)
    opened.refuse_other_detector(retriever.extractor)
    with pictures_bar("") as (bar, row):
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
