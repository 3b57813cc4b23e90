"""How long work on pictures is shown: a bar on a terminal, a line now and then in a log."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

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

from twelve.regions.extraction.run import Progress as Stand

SECONDS_A_LINE = 10.0
"""Between two lines of progress where there is no terminal."""

Show = Callable[[Stand], None]


class _Speed(ProgressColumn):
    """Pictures per second."""

    def render(self, task: Task) -> Text:
        """Give the speed as measured over the last seconds."""
        return Text(f"{task.speed or 0:.1f} pictures/s")


@contextmanager
def pictures_bar(remark: str, console: Console | None = None) -> Iterator[tuple[Progress, TaskID]]:
    """Show a bar with pictures per second and the time left.

    Args:
        remark: What stands behind it until `update(remark=…)`.
        console: Where; stderr if none is given.

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
    with Progress(*columns, console=console or Console(stderr=True)) as bar:
        yield bar, bar.add_task("", total=None, remark=remark)


@contextmanager
def shown(console: Console, clock: Callable[[], float]) -> Iterator[Show]:
    """Show an extraction: a bar on a terminal, lines elsewhere; what is rejected is a line in both.

    Args:
        console: Where.
        clock: Seconds.

    Yields:
        Takes each stand of the run.
    """
    if not console.is_terminal:
        yield Lines(console, clock)
        return
    with pictures_bar("", console) as (bar, row):

        def show(stand: Stand) -> None:
            total = None if stand.total is None else stand.total - stand.known
            bar.update(row, completed=stand.looked, total=total, remark=f"{stand.rejected} rejected")
            _say_fault(bar.console, stand)

        yield show


class Lines:
    """Progress as lines, one every SECONDS_A_LINE."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._console = console
        self._clock = clock
        self._since = self._last = clock()

    def __call__(self, stand: Stand) -> None:
        """Take in where the run stands."""
        _say_fault(self._console, stand)
        now = self._clock()
        if now - self._last >= SECONDS_A_LINE:
            self._last = now
            _say(self._console, described(stand, stand.looked / (now - self._since)))


def described(stand: Stand, speed: float) -> str:
    """Write where a run stands.

    Args:
        stand: Of the run.
        speed: Pictures a second, not 0.

    Returns:
        A line.
    """
    finished = stand.looked + stand.known
    pace = f"{speed:.1f} pictures/s, {stand.rejected:,} rejected"
    if stand.total is None:
        return f"{finished:,} looked at, {pace}"
    return f"{finished:,} of {stand.total:,}, {pace}, {_duration((stand.total - finished) / speed)} left"


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"


def _say_fault(console: Console, stand: Stand) -> None:
    if stand.fault is not None:
        name, fault = stand.fault
        _say(console, f"rejected {name}: {fault.code}: {fault.reason}")


def _say(console: Console, line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)
