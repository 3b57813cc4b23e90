"""`python -m export`: from a bundle to graphs and a server's directory."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from export import agreement, archive, folder
from export.agreement import Tallies, Verdict
from export.archive import Serving
from export.folder import KINDS, Piece, Written
from export.mar import make_archive
from export.parity import Mismatch
from export.source import graph_names, open_source
from twelve.assembly import BUILD, ENGINES
from twelve.engines.exported import DETECTOR
from twelve.engines.savings import Savings
from twelve.errors import DataError, StartupError

app = typer.Typer(no_args_is_help=True, help="Write a bundle's graphs, check them, make what TorchServe serves.")
app.command(name="directory")(archive.main)
console = Console(stderr=True)

BundlePath = Annotated[Path, typer.Argument(help="Folder of the bundle.")]
Out = Annotated[Path | None, typer.Option(help="Folder of the graphs; build/NAME if absent.")]
Kinds = Annotated[str, typer.Option(help="Of files, separated by commas.")]
Force = Annotated[bool, typer.Option("--force", help="Write anew what is still good.")]
KeepMeeting = Annotated[
    bool,
    typer.Option(
        "--keep-first-meeting",
        help="Project each text and picture for the first co-attention once, and keep that; otherwise once a pair.",
    ),
]
BOTH = ",".join(KINDS)


@app.command(name="all")
def everything(
    bundle: BundlePath,
    out: Out = None,
    kinds: Kinds = BOTH,
    mar: Annotated[bool, typer.Option("--mar", help="Make an archive, too.")] = False,
    force: Force = False,
    keep_first_meeting: KeepMeeting = False,
) -> None:
    """Write and check every graph, and make TorchServe's model directory."""
    to, chosen = out or _built(bundle), _kinds(kinds)
    _export(bundle, to, chosen, force=force, savings=Savings(first_meeting_once=keep_first_meeting))
    serving = Serving(engine=KINDS[chosen[0]].engine)
    directory = archive.make_model_directory(bundle, to, to / "torchserve", serving)
    typer.echo(f"{directory}: a model directory")
    if mar:
        made = make_archive(directory, to)
        typer.echo(f"{made}: an archive of {made.stat().st_size / 1e6:.1f} MB")


@app.command()
def torchscript(
    bundle: BundlePath, out: Out = None, force: Force = False, keep_first_meeting: KeepMeeting = False
) -> None:
    """Write and check the graphs as TorchScript."""
    savings = Savings(first_meeting_once=keep_first_meeting)
    _export(bundle, out or _built(bundle), ("torchscript",), force=force, savings=savings)


@app.command()
def onnx(bundle: BundlePath, out: Out = None, force: Force = False, keep_first_meeting: KeepMeeting = False) -> None:
    """Write and check the graphs as ONNX."""
    savings = Savings(first_meeting_once=keep_first_meeting)
    _export(bundle, out or _built(bundle), ("onnx",), force=force, savings=savings)


@app.command()
def regions(
    source: Annotated[Path, typer.Argument(help="Folder of a bundle or of a detector, of any preset.")],
    out: Out = None,
    onnx: Annotated[bool, typer.Option("--onnx", help="Write ONNX; both kinds if neither is named.")] = False,
    torchscript: Annotated[bool, typer.Option("--torchscript", help="Write TorchScript.")] = False,
    force: Force = False,
) -> None:
    """Write and check the region extractor alone."""
    named = {"onnx": onnx, "torchscript": torchscript}
    kinds = [kind for kind in named if named[kind]] or [*KINDS]
    _export(source, out or _built(source), kinds, force=force, graphs=(DETECTOR,))


@app.command()
def parity(
    bundle: BundlePath,
    requests: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="JSON lines, each the body of a prediction.")
    ],
    out: Out = None,
    engines: Annotated[str, typer.Option(help="To compare with eager.")] = "torchscript,onnxruntime",
) -> None:
    """Ask the engines the same requests and compare their answers; exit 1 if any differs."""
    chosen = _engines(engines)
    with requests.open("rb") as lines:
        total = sum(1 for _ in lines)
    tallies: Tallies = {}
    with _bar("requests", total) as advance:
        for tallies in agreement.compare(bundle, out or _built(bundle), chosen, requests):
            advance(f"{sum(len(tally.different) for tally in tallies.values())} different")
    _show_agreement(tallies)
    if any(tally.different for tally in tallies.values()):
        raise typer.Exit(Mismatch.exit_code)


def _kinds(value: str) -> tuple[str, ...]:
    return _listed(value, KINDS)


def _engines(value: str) -> tuple[str, ...]:
    return _listed(value, ENGINES)


def _listed(value: str, known: Collection[str]) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(","))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise typer.BadParameter(f"there is no {unknown[0]!r}; choose among {', '.join(known)}")
    return names


def _export(
    source: Path,
    out: Path,
    kinds: Sequence[str],
    *,
    force: bool,
    graphs: Sequence[str] = (),
    savings: Savings | None = None,
) -> None:
    """Write what is not there; where no savings are named, the model's graphs are left as they lie there."""
    opened = open_source(source)
    opened.verify()
    chosen_savings = savings or folder.savings_of(opened, out)
    wanted: list[Piece] = [(graph, kind) for graph in graphs or graph_names(opened) for kind in kinds]
    lacking = folder.missing(opened, out, wanted, chosen_savings)
    chosen = wanted if force else lacking
    if not chosen:
        typer.echo(f"{out}: {len(wanted)} files are up to date")
        return
    written: list[Written] = []
    with _bar("export", len(chosen)) as advance:

        def show(one: Written) -> None:
            written.append(one)
            advance(one.main.file)

        folder.export(opened, out, chosen, show, chosen_savings)
    _show_files(out, written)


def _show_files(out: Path, written: Sequence[Written]) -> None:
    table = Table("file", "MB", "s", "trials", "largest error", title=str(out), title_justify="left")
    for one in written:
        figures = (f"{one.bytes / 1e6:.2f}", f"{one.seconds:.1f}", str(one.parity.trials), f"{one.parity.worst:.0e}")
        table.add_row(one.main.file, *figures)
    Console().print(table)


def _show_agreement(tallies: Tallies) -> None:
    table = Table("task", "engine", *Verdict, "score gap")
    for (task, engine), tally in sorted(tallies.items()):
        counts = (str(tally.verdicts[verdict]) for verdict in Verdict)
        table.add_row(task, engine, *counts, f"{tally.score_gap:.0e}")
    Console().print(table)
    for (task, engine), tally in sorted(tallies.items()):
        for line in tally.different:
            typer.echo(f"line {line}: {task} is answered differently by {engine}")


@contextmanager
def _bar(name: str, total: int) -> Iterator[Callable[[str], None]]:
    columns = (BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.fields[note]}"))
    with Progress(TextColumn("{task.description:<10}"), *columns, console=console) as progress:
        task = progress.add_task(name, total=total, note="")
        yield lambda note: progress.update(task, advance=1, note=note)


def _built(bundle: Path) -> Path:
    return BUILD / bundle.resolve().name


def main() -> None:
    """Run the command; an error of ours is a sentence and an exit code."""
    try:
        app()
    except (DataError, Mismatch, StartupError) as error:
        console.print(Text.assemble((error.code, "red"), f": {error.message}"), soft_wrap=True)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main()
