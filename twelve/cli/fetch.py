"""`twelve fetch published`: the authors' own files, downloaded."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

CONNECT_S, SILENCE_S = 30.0, 60.0
"""Longest wait for a connection, and for the next bytes on one."""


def commands() -> typer.Typer:
    """Make the commands, to be mounted under `fetch`."""
    app = typer.Typer(no_args_is_help=True, help="Download what others published.")
    app.callback()(lambda: None)  # keeps `published` a command of its own while it is the only one
    app.command(no_args_is_help=True)(published)
    return app


def published(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go.")],
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", help="Fetch this entry of the table, optional or not; repeat it."),
    ] = None,
    table: Annotated[
        Path | None, typer.Option("--table", metavar="TOML", help="Read names and addresses from this file.")
    ] = None,
) -> None:
    """Download the authors' checkpoint, answer lists and detector; run it again to go on where it stopped."""
    import httpx

    from twelve.cli.progress import bytes_bar
    from twelve.convert.fetch import Fetcher
    from twelve.convert.remote import Remote
    from twelve.convert.table import PUBLISHED, Table

    known = Table.read(table or PUBLISHED)
    timeout = httpx.Timeout(SILENCE_S, connect=CONNECT_S)
    with httpx.Client(timeout=timeout, follow_redirects=True) as client:
        fetcher = Fetcher(folder, bytes_bar, lambda address: Remote(address, client))
        for file in fetcher.fetch(known.chosen(tuple(only or ()))):
            state = "was there" if file.was_there else "fetched"
            typer.echo(f"{state}  {file.path}  sha256 {file.sha256}")
    for step in known.next:
        paths = [folder / name for name in step.needs]
        if all(known.is_fit(path) for path in paths):
            typer.echo(f"next: {step.run.format(*(shlex.quote(str(path)) for path in paths))}")
