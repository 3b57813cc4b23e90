"""Extracts a folder in a process of its own, which kills itself on request. Run by test_extraction_killed.py.

    python -m tests.integration.extraction_worker FOLDER STORE RUNS [STEP [OF]]

Notes each run of the detector in the file RUNS. Steps are those of `tests.integration.index_worker`.
"""

import sys
import time
from pathlib import Path

import torch

from tests.integration import index_worker
from tests.integration.index_worker import FEATURE_WIDTH, SECONDS_A_PICTURE
from twelve.features import RegionSet
from twelve.image import Picture
from twelve.regions.extraction.engine import LocalEngine
from twelve.regions.extraction.looking import Reading
from twelve.regions.extraction.run import Extracted, extract
from twelve.regions.extraction.sources import open_source

CUT_INPUTS = 16
STEPS = ("fsync", "rename", "picture")
RAN = b"."


class Noted:
    """Finds from one to three regions, and notes its runs where a kill cannot undo it."""

    digest = "sha256:noted"
    feature_width = FEATURE_WIDTH

    def __init__(self, runs: Path) -> None:
        self.runs = runs

    def extract(self, picture: Picture, given_px: torch.Tensor | None = None) -> RegionSet:
        with self.runs.open("ab") as stream:
            stream.write(RAN)
        time.sleep(SECONDS_A_PICTURE)
        count = 1 + int(picture.rgb[0, 0, 0]) % 3
        return RegionSet(
            features=torch.full((count, FEATURE_WIDTH), float(picture.rgb.mean())),
            boxes_px=torch.tensor([[0.0, 0.0, 1.0, 1.0]]).repeat(count, 1),
            scores=torch.ones(count),
            labels=torch.arange(count),
            width=picture.width,
            height=picture.height,
        )


def build(source: Path, store: Path, runs: Path) -> Extracted:
    return extract(open_source(source), store, LocalEngine(Noted(runs)), reading=Reading(), cut_inputs=CUT_INPUTS)


if __name__ == "__main__":
    if len(sys.argv) > 4:
        index_worker.STEPS["picture"] = (Noted, "extract")
        index_worker.die_at(int(sys.argv[4]), sys.argv[5:] or STEPS)
    print("ready", flush=True)
    print(build(*map(Path, sys.argv[1:4])))
