"""`python -m training data …`: what can be done with a folder of official files."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from training.data import census, clean, overlap, stats
from training.data.check import Inspection, inspect
from training.data.readers import READERS, none_here
from training.data.sets import DataSets
from twelve.errors import DataError

app = typer.Typer(no_args_is_help=True, help="Check, count, compare and clean a folder of official annotation files.")

WIDTH = 140
"""Characters of a table where the output is no terminal: none of ours is wider."""

DataRoot = Annotated[Path, typer.Argument(help="The data root.")]


def _writable(to: Path | None) -> Path | None:
    """Refuse a place where no file can be written before the work, not after it."""
    if to is not None and to.is_dir():
        raise typer.BadParameter(f"{to} is a folder; name a file in it")
    if to is not None and not (to.parent.is_dir() and os.access(to.parent, os.W_OK)):
        raise typer.BadParameter(f"{to.parent} is no folder that can be written to")
    return to


AsJson = Annotated[
    Path | None, typer.Option("--json", callback=_writable, help="Write the numbers to this file as well.")
]


@app.command()
def check(directory: DataRoot) -> None:
    """Read every known file; list each fault as file:row: field: message, else the number of records."""
    inspection = inspect(directory)
    for fault in (*inspection.faults, *inspection.unread):
        typer.echo(fault.message, err=True)
    for line in _summary(inspection):
        typer.echo(line)
    if inspection.faults:
        raise typer.Exit(DataError.exit_code)


@app.command(name="stats")
def show_stats(
    directory: DataRoot,
    task: Annotated[list[str] | None, typer.Option(help="Only this one; may be given again.")] = None,
    bars: Annotated[bool, typer.Option(help="Draw bars below the table.")] = True,
    cleaned: Annotated[bool, typer.Option("--cleaned", help="Without what clean.json leaves out.")] = False,
    to: AsJson = None,
) -> None:
    """Count rows, pictures, answers, lengths of texts and boxes of every data set."""
    sets = DataSets.cleaned(directory) if cleaned else DataSets(directory)
    gathered = stats.gather(sets, task or READERS)
    if not gathered:
        raise none_here(directory, task or READERS)
    console = _console()
    console.print(stats.table(gathered))
    for plot in stats.plots(gathered) if bars else ():
        console.print(plot)
    _write(to, {name: {split: one.as_json() for split, one in splits.items()} for name, splits in gathered.items()})


@app.command(name="overlap")
def show_overlap(directory: DataRoot, to: AsJson = None) -> None:
    """Say how many of each task's test pictures are in train or val of each task: the paper's Table 1."""
    found = overlap.overlaps(census.take(directory))
    _console().print(overlap.table(found))
    _write(to, overlap.as_json(found))


@app.command(name="clean")
def write_manifest(
    directory: DataRoot,
    rule: Annotated[
        str, typer.Option(help="paper: from train and val; released: from train, and from VG QA's val.")
    ] = clean.PAPER.name,
) -> None:
    """Write clean.json: which rows training leaves out, so that it sees no test picture of any task."""
    manifest = clean.write(directory, _rule(rule))
    _console().print(clean.table(manifest))
    for task in clean.unprotected(directory):
        typer.echo(f"task {task!r}: no file of it is here, so nothing keeps the pictures of its test out of training")
    typer.echo(f"{directory / clean.MANIFEST}: training reads through it from now on")


def _rule(name: str) -> clean.Rule:
    if name not in clean.RULES:
        raise typer.BadParameter(f"there is no rule {name!r}; there are {', '.join(clean.RULES)}")
    return clean.RULES[name]


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH)


def _write(to: Path | None, values: Mapping[str, Any]) -> None:
    if to is not None:
        to.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def _summary(inspection: Inspection) -> list[str]:
    lines = [f"{name:<20} {_in_words(counts)}" for name, counts in inspection.counts.items()]
    lines += [f"{name:<20} {count:,}" for name, count in inspection.beside.items()]
    faults = len(inspection.faults)
    return [*lines, f"{faults} fault{'s' if faults != 1 else ''} in {len(inspection.counts)} data sets"]


def _in_words(counts: dict[str, int]) -> str:
    return "  ".join(f"{split} {count:,}" for split, count in counts.items())
