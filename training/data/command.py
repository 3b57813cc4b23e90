"""`python -m training data …`: what can be done with a folder of official files."""

from pathlib import Path
from typing import Annotated

import typer

from training.data.check import Inspection, inspect
from twelve.errors import DataError

app = typer.Typer(no_args_is_help=True, help="Look at folders of official annotation files.")


@app.callback()
def _data() -> None:
    """Keep `check` a sub-command while it is the only one."""


@app.command()
def check(directory: Annotated[Path, typer.Argument(help="The data root.")]) -> None:
    """Read every known file; list each fault as file:row: field: message, else the number of records."""
    inspection = inspect(directory)
    for fault in inspection.faults:
        typer.echo(fault.message, err=True)
    for line in _summary(inspection):
        typer.echo(line)
    if inspection.faults:
        raise typer.Exit(DataError.exit_code)


def _summary(inspection: Inspection) -> list[str]:
    lines = [f"{name:<20} {_in_words(counts)}" for name, counts in inspection.counts.items()]
    faults = len(inspection.faults)
    return [*lines, f"{faults} fault{'s' if faults != 1 else ''} in {len(inspection.counts)} data sets"]


def _in_words(counts: dict[str, int]) -> str:
    return "  ".join(f"{split} {count:,}" for split, count in counts.items())
