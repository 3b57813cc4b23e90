"""What nginx answered, counted from its access log: `python -m handlers.access_log --log FILE`.

Workers cannot count what never reached them: refusals, and answers that nginx gives for a server that is gone. A
restart of this program counts anew from nothing, as Prometheus expects of a counter: what logs hold already was counted
by those before it, and would look like new traffic.

    twelve_edge_requests_total{status}    predictions asked for, by the status that the client got
    twelve_edge_request_seconds{task}     how long answers took, from a request's first byte to its answer's last
    twelve_edge_unread_lines_total        lines that are none of nginx's own form, as where a disk was full
"""

import json
import os
import signal
import threading
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from handlers.edge_nginx import former
from handlers.exporter import listen
from twelve.metrics import REQUEST_SECONDS, Add

PREDICTIONS = ("/v1/tasks/", "/predictions/")
"""How the paths begin that ask for a prediction; probes and the list of tasks are no requests of a client's."""

STATUSES = (200, 400, 401, 404, 405, 408, 409, 411, 413, 414, 415, 422, 429, 431, 500, 502, 503, 504, 507)
"""Told from the start, with 0: the first failure is seen as a rise, which the birth of a series is not."""

ANSWERED = 200
"""Only answers are timed: of these nginx has looked at the task, of a refusal it may hold any word."""

SECONDS = replace(REQUEST_SECONDS, name="twelve_edge_request_seconds", help="Seconds of an answer, by nginx's clock.")

BLOCK_BYTES = 1 << 20
"""Read at once, however long the log is."""

PORT = 8087
"""The next after a server's own, which may be on the same machine or in the same pod."""


class AccessLog(Collector):
    """Counts what is written from now on to a log that grows, and is moved away now and then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._followed: dict[tuple[int, int], Followed] = {}
        self._counts: Counter[int] = Counter(dict.fromkeys(STATUSES, 0))
        self._unread = 0
        self._seconds: dict[tuple[str, ...], array[float]] = {}
        self._adders: dict[str, Add] = {}
        self._one_scrape = threading.Lock()
        self._follow()
        for log in self._followed.values():
            log.skip()

    def collect(self) -> Iterator[Metric]:
        """Count what was written since the last time, and tell all."""
        family = CounterMetricFamily("twelve_edge_requests", "Predictions asked for.", labels=["status"])
        with self._one_scrape:
            for line in self._new_lines():
                self._count(line)
            for status, count in self._counts.items():
                family.add_metric([str(status)], count)
            unread = CounterMetricFamily("twelve_edge_unread_lines", "Lines of another form.", value=self._unread)
            seconds = SECONDS.told(self._seconds)
        yield family
        yield seconds
        yield unread

    def describe(self) -> Iterator[Metric]:
        """Give nothing: registration reads nothing."""
        return iter(())

    def _count(self, line: bytes) -> None:
        """Count a line. A path may hold any bytes: nginx writes those that are no UTF-8 as they came."""
        try:
            entry = json.loads(line.decode(errors="replace"))
            is_counted, status = entry["path"].startswith(PREDICTIONS), int(entry["status"])
            task, seconds = str(entry.get("task", "")), float(entry.get("seconds", 0))
        except (ValueError, KeyError, TypeError, AttributeError):
            self._unread += 1
            return
        if is_counted:
            self._counts[status] += 1
        if is_counted and status == ANSWERED and task:
            self._timed(task)(seconds)

    def _timed(self, task: str) -> Add:
        """Give what counts the seconds of an answer to a task; a path that names none is left to the workers."""
        if task not in self._adders:
            numbers = self._seconds[task,] = array("d", bytes(8 * SECONDS.numbers))
            self._adders[task] = SECONDS.adder(memoryview(numbers))
        return self._adders[task]

    def _new_lines(self) -> Iterator[bytes]:
        """Give what was written since the last time, also to logs that have been moved away or removed meanwhile."""
        named = self._follow()
        for identity, log in list(self._followed.items()):
            before = log.told
            yield from log.lines()
            if identity not in named and log.told == before:  # nginx, too, has let go of it
                self._followed.pop(identity).close()

    def _follow(self) -> set[tuple[int, int]]:
        """Open what is new of the log and of the one that was moved away, and give which two they are.

        In this order: what is moved between the two is found at its second place.
        """
        named = set()
        for path in (self._path, former(self._path)):
            with suppress(FileNotFoundError):
                file = path.open("rb")
                found = os.fstat(file.fileno())
                named.add(identity := (found.st_dev, found.st_ino))
                if identity in self._followed:
                    file.close()
                else:
                    self._followed[identity] = Followed(file)
        return named


class Followed:
    """A file that is written to, read up to where it ends now."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._unfinished = b""
        self.told = 0

    def lines(self) -> Iterator[bytes]:
        """Give the lines that are new; one that is still being written waits for its end."""
        if os.fstat(self._file.fileno()).st_size < self._file.tell():  # it was emptied
            self._file.seek(0)
            self._unfinished = b""
        while block := self._file.read(BLOCK_BYTES):
            self.told += len(block)
            *lines, self._unfinished = (self._unfinished + block).split(b"\n")
            yield from lines

    def skip(self) -> None:
        """Leave out what is there already."""
        self._file.seek(0, os.SEEK_END)

    def close(self) -> None:
        """Read it no more."""
        self._file.close()


def start(log: Path, *, host: str, port: int) -> Callable[[], None]:
    """Serve `/metrics` from a thread of this process.

    Args:
        log: The access log; it need not be there yet.
        host: Address to listen on.
        port: Likewise.

    Returns:
        What stops it.

    Raises:
        OSError: The port is taken.
    """
    registry = CollectorRegistry()
    registry.register(AccessLog(log))
    return listen(registry, host=host, port=port)


def main(
    log: Annotated[Path, typer.Option(envvar="ACCESS_LOG", help="The access log, as ops/nginx/nginx.conf has it.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="EDGE_EXPORTER_PORT", help="Port to listen on.")] = PORT,
) -> None:
    """Serve what nginx answered until a signal comes."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))  # before the thread, which inherits it
    stop = start(log, host=host, port=port)
    signal.sigwait((signal.SIGINT, signal.SIGTERM))
    stop()


if __name__ == "__main__":
    typer.run(main)
