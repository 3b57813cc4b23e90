"""`python -m training world`: writes the small world below a folder."""

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training.world.assembly import Identity, assemble, is_whole
from training.world.build import PROCESSES, OnProgress
from training.world.profiles import PROFILES, Profile
from twelve.errors import DataError


def world(
    out: Annotated[Path, typer.Option(help="The data root to write; empty, or holding this very world.")],
    profile: Annotated[str, typer.Option(help=f"How large: {', '.join(PROFILES)}.")] = "default",
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    processes: Annotated[
        int, typer.Option(min=1, help="That plan and draw; changes nothing but the time.")
    ] = PROCESSES,
) -> None:
    """Write pictures, ground truth and the official files of all twelve data sets."""
    chosen = _profile(profile)
    if is_whole(out, Identity(seed, chosen.name)):
        typer.echo(f"{out} holds this world already.")
        return
    try:
        _assemble(chosen, seed, out, processes)
    except DataError as error:
        typer.echo(error.message, err=True)
        raise typer.Exit(error.exit_code) from error


def _profile(name: str) -> Profile:
    if name not in PROFILES:
        raise typer.BadParameter(f"there is no profile {name!r}; there are {', '.join(PROFILES)}")
    return PROFILES[name]


def _assemble(profile: Profile, seed: int, out: Path, processes: int) -> None:
    with _progress() as progress:

        def stage(name: str, steps: int) -> OnProgress:
            task = progress.add_task(name, total=steps)
            return lambda done: progress.advance(task, done)

        counts = assemble(profile, seed, out, stage=stage, processes=processes)
    typer.echo(f"{out}: {', '.join(f'{count:,} {split}' for split, count in counts.items())} scenes")


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description:<20}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
