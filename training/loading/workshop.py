"""Jobs to results, in order: in this process, or in worker processes that work ahead.

A worker is started afresh (spawn): a fork would copy locks that the trainer's threads hold. It costs two CPU-seconds of
imports, once a run; a fork server would save the second worker's and leave a process of its own. Job i goes to worker
i modulo their number, and its result is awaited there, so results come in the order of jobs whatever any worker does.
A worker ends when its pipe closes, however the trainer ends.
"""

import os
import pickle
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context, parent_process, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from threading import Thread
from types import TracebackType
from typing import Any, ClassVar, Protocol, Self

import torch

from training.loading.parcel import pack, unpack
from twelve.errors import DataError

Work = Callable[[Any], Any]
"""Makes a result of a job."""

OpenWork = Callable[[], Work]
"""Opens whatever a process needs to work; pickled on its way to a worker."""

GRACE_S = 5.0
"""How long a worker may take to notice that its pipe closed."""


class WorkerLost(DataError):
    """A worker process ended without being asked to. Exit code 71, as sysexits' EX_OSERR."""

    code = "worker-lost"
    exit_code: ClassVar[int] = 71


class Workshop(Protocol):
    """Where jobs become results."""

    def results(self, jobs: Iterable[Any]) -> Iterator[Any]:
        """Yield each job's result, in the order of jobs; what a job raises is raised in its place."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class InProcess:
    """Does each job when its result is asked for."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def results(self, jobs: Iterable[Any]) -> Iterator[Any]:
        """Yield each job's result."""
        return map(self._work, jobs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        del kind, error, trace


@dataclass(frozen=True)
class Failed:
    """What a job raised in a worker."""

    error: Exception


class Worker:
    """A process and the pipe to it.

    Attributes:
        owed: Results that it was asked for and that were not received.
    """

    def __init__(self, process: SpawnProcess, connection: Connection, name: str) -> None:
        self._process = process
        self._connection = connection
        self._name = name
        self.owed = 0

    @classmethod
    def start(cls, open_work: OpenWork, name: str) -> Self:
        """Start a process that opens its work and waits for jobs."""
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=serve, args=(theirs, open_work), name=name, daemon=True)
        process.start()
        theirs.close()
        return cls(process, ours, name)

    def ask(self, job: Any) -> None:
        """Send a job.

        Raises:
            WorkerLost: The process ended.
        """
        try:
            self._connection.send(job)
        except OSError as error:
            raise self._lost() from error
        self.owed += 1

    def receive(self) -> Any:
        """Wait for the next result.

        Raises:
            WorkerLost: The process ended.
        """
        try:
            received = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._lost() from error
        self.owed -= 1
        return received

    def hang_up(self) -> None:
        """Close the pipe, at which the process ends by itself."""
        self._connection.close()

    def end(self, *, by: float) -> None:
        """Wait for the process to end; end it where it has not by then.

        Args:
            by: On the monotonic clock.
        """
        self._process.join(max(0.0, by - time.monotonic()))
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _lost(self) -> WorkerLost:
        self._process.join(GRACE_S)
        return WorkerLost(
            f"{self._name} (process {self._process.pid}) {_ending(self._process.exitcode)} before its batch was made; "
            "is the memory full, or /dev/shm? Lower `workers` or `ahead` under [loading]; the run goes on from its "
            "last checkpoint"
        )


class Processes:
    """Has workers do the jobs, each some jobs ahead of what is asked for."""

    def __init__(self, workers: list[Worker], *, ahead: int) -> None:
        self._workers = workers
        self._ahead = ahead

    @classmethod
    def start(cls, open_work: OpenWork, *, count: int, ahead: int) -> Self:
        """Start workers.

        Args:
            open_work: Called once in each.
            count: How many.
            ahead: Jobs that each may have in hand.

        Returns:
            The workshop; its workers may still be opening their work.
        """
        with _interrupts_held():
            workers = [Worker.start(open_work, f"worker {number} of {count}") for number in range(1, count + 1)]
        return cls(workers, ahead=ahead)

    def results(self, jobs: Iterable[Any]) -> Iterator[Any]:
        """Yield each job's result, in the order of jobs.

        Raises:
            WorkerLost: A worker ended without being asked to.
        """
        self._discard()
        remaining = iter(jobs)
        asked = 0
        for job in islice(remaining, len(self._workers) * self._ahead):
            self._workers[asked % len(self._workers)].ask(job)
            asked += 1
        done = 0
        while done < asked:
            worker = self._workers[done % len(self._workers)]
            received = worker.receive()
            done += 1
            for job in islice(remaining, 1):
                worker.ask(job)
                asked += 1
            yield _opened(received)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.hang_up()
        by = time.monotonic() + GRACE_S
        for worker in self._workers:
            worker.end(by=by)

    def _discard(self) -> None:
        """Receive what was asked for by someone who did not wait for it."""
        for worker in self._workers:
            while worker.owed:
                worker.receive()


def open_workshop(open_work: OpenWork, *, workers: int, ahead: int) -> Workshop:
    """Open a workshop.

    Args:
        open_work: Called once in each process that works.
        workers: How many processes; 0 works in this one.
        ahead: Jobs that each worker may have in hand.

    Returns:
        The workshop, to be entered: leaving it ends its workers.
    """
    return Processes.start(open_work, count=workers, ahead=ahead) if workers else InProcess(open_work())


def serve(connection: Connection, open_work: OpenWork) -> None:
    """Do jobs until the pipe closes; a worker's whole life."""
    torch.set_num_threads(1)
    Thread(target=_end_with_trainer, daemon=True).start()
    with suppress(EOFError, ConnectionError):
        try:
            work = open_work()
        except Exception as error:
            work = _raising(error)
        while True:
            connection.send(_outcome(work, connection.recv()))
    os._exit(0)  # Python takes a second to tidy torch away, and the end of the process does it as well


def _end_with_trainer() -> None:
    """End this process when the one that started it has ended, however busy it is."""
    trainer = parent_process()
    assert trainer is not None, "a worker is started by another process"
    wait([trainer.sentinel])
    os._exit(1)


def _raising(error: Exception) -> Work:
    def work(job: Any) -> Any:
        raise error

    return work


def _outcome(work: Work, job: Any) -> Any:
    try:
        return pack(work(job))
    except Exception as error:
        return Failed(_portable(error))


def _portable(error: Exception) -> Exception:
    """Give an error that survives a pipe: itself where it can, with where it was raised as a note."""
    where = traceback.format_exc()
    try:
        found: Exception = pickle.loads(pickle.dumps(error))
    except Exception:
        found = RuntimeError(f"{type(error).__name__}: {error}")
    found.add_note(f"It was raised in a worker:\n{where}")
    return found


def _opened(received: Any) -> Any:
    if isinstance(received, Failed):
        raise received.error
    return unpack(received)


def _ending(exit_code: int | None) -> str:
    if exit_code is None:
        return "closed its pipe"
    return f"left with {exit_code}" if exit_code >= 0 else f"was killed by {signal.Signals(-exit_code).name}"


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back; processes started meanwhile do not get it, so only the trainer answers it."""
    resource_tracker.ensure_running()  # starting it later would let Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
