"""`python -m export`: from a bundle to graphs and a server's directory."""

import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from export import agreement, archive, folder, gate
from export import int8 as eight_bits
from export.agreement import REFERENCE, Tallies, Verdict
from export.archive import Serving
from export.folder import KINDS, Piece, Written
from export.gate import GateClosed
from export.mar import make_archive
from export.parity import Mismatch
from export.source import graph_names, open_source
from twelve.assembly import BUILD, ENGINES, Settings
from twelve.bundle import MANIFEST
from twelve.engines.exported import DETECTOR, Exported
from twelve.engines.savings import Savings
from twelve.errors import DataError, StartupError
from twelve.regions.families import open_config
from twelve.runtimes.onnx_file import OnnxRuntime

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
    int8: Annotated[
        bool, typer.Option("--int8", help="Write the ONNX file's convolutions in 8 bits as well, if it passes.")
    ] = False,
    calibration: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of pictures like those to be seen.")
    ] = None,
    requests: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="JSON lines, each the body of a prediction: the 8 bits' test."),
    ] = None,
    force: Force = False,
) -> None:
    """Write and check the region extractor alone.

    With --int8 a bundle is asked the same requests with both files: 99 % of each group's answers must stay the same.
    """
    to, named = out or _built(source), {"onnx": onnx or int8, "torchscript": torchscript}
    if int8 and calibration is None:
        raise typer.BadParameter("--int8 reads ranges off pictures like those to be seen: name --calibration FOLDER")
    if int8 and requests is None and (source / MANIFEST).is_file():
        raise typer.BadParameter("--int8 of a bundle is judged by its answers: name --requests FILE")
    kinds = [kind for kind in named if named[kind]] or [*KINDS]
    _export(source, to, kinds, force=force, graphs=(DETECTOR,))
    if int8 and calibration is not None:
        _add_int8(source, to, calibration, requests)


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


def _add_int8(source: Path, out: Path, calibration: Path, requests: Path | None) -> None:
    """Write the detector in 8 bits; where it serves a bundle, only if the bundle's answers allow it."""
    opened = open_source(source)
    exact = Exported.open(out, bundle=opened.digest()).file(DETECTOR, "onnx")
    with tempfile.TemporaryDirectory(dir=out) as private:
        made = Path(private) / eight_bits.FILE
        with _bar("calibration", eight_bits.PICTURES) as advance:
            eight_bits.quantise(exact, made, eight_bits.pictures(calibration, open_config(source), advance))
        counts = _asked(source, exact, made, requests)
        figures = {"gate": {group: asdict(count) for group, count in counts.items()}}
        stored = folder.add_detector(opened, out, "int8", made, figures)
    typer.echo(f"{out / stored.file}: the detector in 8 bits, {stored.bytes / 1e6:.2f} MB")


def _asked(source: Path, exact: Path, made: Path, requests: Path | None) -> gate.Counts:
    """Ask a bundle with either detector, and refuse one that changes its answers; a detector alone answers nothing."""
    if requests is None:
        return {}
    counts: gate.Counts = {}
    with requests.open("rb") as lines:
        total = sum(1 for _ in lines)
    detectors = (OnnxRuntime.open(exact, threads=1), OnnxRuntime.open(made, threads=1))
    with _bar("requests", total) as advance:
        for counts in gate.compare(source, detectors, requests, Settings(engine=REFERENCE)):
            advance(f"{sum(count.items - count.same for count in counts.values())} different")
    _show_gate(counts)
    gate.pass_or_raise(counts, made.name)
    return counts


def _show_gate(counts: gate.Counts) -> None:
    table = Table("group", "requests", "same answers")
    for group, count in sorted(counts.items()):
        table.add_row(group, str(count.items), f"{count.share:.2%}")
    Console().print(table)


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
    except (DataError, GateClosed, Mismatch, StartupError) as error:
        console.print(Text.assemble((error.code, "red"), f": {error.message}"), soft_wrap=True)
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main()
