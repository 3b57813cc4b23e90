"""Adds a folder to an index in a process of its own, which kills itself on request. Run by test_index_killed.py.

    python -m tests.integration.index_worker INDEX FOLDER [STEP [OF]]

Steps are counted before and after each picture and whatever matters on disk (see STEPS; all kinds, or the one named);
at the given one the process sends itself SIGKILL.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from twelve.features import RegionSet
from twelve.image import ImageLimits, Picture
from twelve.index.build import Outcome, add
from twelve.index.catalogue import Catalogue

CUT_FILES = 20
FEATURE_WIDTH = 16
SECONDS_A_PICTURE = 0.003
"""Slow enough for a signal from outside to arrive between two pictures."""


class SlowExtractor:
    """Features, and their number, follow from the pixels."""

    digest = "sha256:slow"
    feature_width = FEATURE_WIDTH

    def extract(self, picture: Picture, given_px: torch.Tensor | None = None) -> RegionSet:
        time.sleep(SECONDS_A_PICTURE)
        count = int(picture.rgb[0, 0, 0]) % 5
        features = torch.from_numpy(picture.rgb.reshape(-1)[: count * FEATURE_WIDTH].copy()).float()
        return RegionSet(
            features=features.reshape(count, FEATURE_WIDTH) / 255,
            boxes_px=torch.tensor([[0.0, 0.0, 4.0, 4.0]]).repeat(count, 1),
            scores=torch.ones(count),
            labels=torch.arange(count),
            width=picture.width,
            height=picture.height,
        )


def build(index: Path, folder: Path) -> Outcome:
    return add(index, folder, SlowExtractor(), ImageLimits(), cut_files=CUT_FILES)


STEPS = {
    "fsync": (os, "fsync"),
    "rename": (Path, "replace"),
    "table": (Catalogue, "create"),
    "rows": (Catalogue, "merge"),
    "compaction": (Catalogue, "compact"),
    "picture": (SlowExtractor, "extract"),
}


def die_at(step: int, kinds: Iterable[str]) -> None:
    left = step

    def count() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            count()
            result = real(*args, **kwargs)
            count()
            return result

        return call

    for owner, name in (STEPS[kind] for kind in kinds):
        setattr(owner, name, counted(getattr(owner, name)))


if __name__ == "__main__":
    if len(sys.argv) > 3:
        die_at(int(sys.argv[3]), sys.argv[4:] or STEPS)
    print("ready", flush=True)
    print(build(Path(sys.argv[1]), Path(sys.argv[2])))
