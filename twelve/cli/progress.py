"""Bars on stderr for what takes minutes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn


@contextmanager
def bytes_bar(name: str, *, length: int, start: int = 0) -> Iterator[Callable[[int], None]]:
    """Show how many bytes are done, how fast, and the time left.

    Args:
        name: Of what is read.
        length: Of all of it, in bytes.
        start: Bytes that were done before.

    Yields:
        Takes each further count.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        row = bar.add_task(name, total=length, completed=start)
        yield lambda count: bar.update(row, advance=count)
