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

SLOW_S = 0.02


class Unportable(Exception):
    """An error that does not pickle."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def number(job: int) -> Any:
    """Give a number and a tensor of it, slower where it is even."""
    time.sleep(SLOW_S * (job % 2 == 0))
    return {"job": job, "tensor": torch.full((3,), float(job))}


def do(job: Any) -> Any:
    """Do what the job says."""
    match job:
        case int():
            return number(job)
        case "threads":
            return torch.get_num_threads()
        case "data":
            raise DataError("gqa/train.json: row 3: image: got 7, needs a name", at="row 3")
        case "unportable":
            raise Unportable("two", "words")
        case "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "left":
            os._exit(3)
        case Path():
            (job / f"worker-{os.getpid()}").touch()
            time.sleep(60)


def open_do() -> Callable[[Any], Any]:
    """Open work that does what it is told."""
    return do


def open_nothing() -> Callable[[Any], Any]:
    """Fail to open."""
    raise DataError("runs/none: holds no features; run `python -m training features RECIPE` first")


def main() -> None:
    """Keep a worker busy: what the tests interrupt and kill."""
    with open_workshop(open_do, workers=1, ahead=1) as workshop:
        list(workshop.results([Path(sys.argv[1])]))


if __name__ == "__main__":
    main()
