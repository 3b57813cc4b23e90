"""Bars on stderr for what takes minutes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)


@contextmanager
def bytes_bar(name: str, *, length: int | None = None, start: int = 0) -> Iterator[Callable[[int], None]]:
    """Show how far a piece of work is, how fast it goes, and the time left.

    Args:
        name: Of the work.
        length: Bytes of all of it; None where nobody can tell how far it is: then the time that has passed is shown.
        start: Bytes that were done before.

    Yields:
        Takes each further count of bytes.
    """
    with Progress(*_columns(length), console=Console(stderr=True)) as bar:
        row = bar.add_task(name, total=length, completed=start)
        yield lambda count: bar.update(row, advance=count)
        bar.update(row, total=length or 1, completed=length or 1)


def _columns(length: int | None) -> tuple[ProgressColumn, ...]:
    beginning = (TextColumn("{task.description}"), BarColumn())
    if length is None:
        return (*beginning, TimeElapsedColumn())
    return (*beginning, DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
