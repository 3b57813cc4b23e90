"""Work that the tests of workers have them do; a worker process imports it by name."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from training.loading.workshop import open_workshop
from twelve.errors import DataError


class Unportable(Exception):
    """An error that does not pickle."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def echo(job: Any) -> Any:
    """Give the job and a tensor of it."""
    return {"job": job, "tensor": torch.full((3,), float(job))}


def open_echo() -> Callable[[Any], Any]:
    """Open work that gives its job back."""
    return echo


def slow_when_even(job: int) -> int:
    """Take longer over even jobs."""
    time.sleep(0.02 * (job % 2 == 0))
    return job


def open_slow_when_even() -> Callable[[Any], Any]:
    """Open work that is done out of order."""
    return slow_when_even


def fail(job: Any) -> Any:
    """Fail in the way the job names."""
    match job:
        case "data":
            raise DataError("gqa/train.json: row 3: image: got 7, needs a name", at="row 3")
        case "unportable":
            raise Unportable("two", "words")
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "left":
            os._exit(3)
    return job


def open_fail() -> Callable[[Any], Any]:
    """Open work that fails as it is told."""
    return fail


def open_nothing() -> Callable[[Any], Any]:
    """Fail to open."""
    raise DataError("runs/none: holds no features; run `python -m training features RECIPE` first")


def threads(job: Any) -> int:
    """Count torch's threads."""
    del job
    return torch.get_num_threads()


def open_threads() -> Callable[[Any], Any]:
    """Open work that counts threads."""
    return threads


def tell_and_wait(folder: Path) -> None:
    """Name this process in the folder, then be busy."""
    (folder / f"worker-{os.getpid()}").touch()
    time.sleep(60)


def open_tell_and_wait() -> Callable[[Any], Any]:
    """Open work that takes a minute."""
    return tell_and_wait


def main() -> None:
    """Have two workers be busy: what the tests interrupt and kill."""
    folder = Path(sys.argv[1])
    with open_workshop(open_tell_and_wait, workers=2, ahead=1) as workshop:
        list(workshop.results([folder, folder]))


if __name__ == "__main__":
    main()
