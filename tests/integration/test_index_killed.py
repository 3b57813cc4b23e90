"""An index built with SIGKILLs equals one that was left in peace, and can be read all the time."""

import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.integration import index_worker
from twelve.errors import DataError
from twelve.index.directory import Index
from twelve.index.search import search

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PICTURES = 270
COPIES = 15
BROKEN = 15
MIN_KILLS = 12
FIRST_STEPS = (1, 2, 4, 7, 12, 13)
"""While the index is being made: its description, the store's, the catalogue's table."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    draw = np.random.default_rng(7)
    for n in range(PICTURES):
        path = folder / f"album {n % 7}" / f"{n:03d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(path)
    for n in range(COPIES):
        shutil.copy(folder / f"album {n % 7}" / f"{n:03d}.png", folder / f"album {(n * 3) % 7}" / f"copy of {n}.png")
    for n in range(BROKEN):
        whole = (folder / "album 0" / "000.png").read_bytes()
        (folder / f"album {n % 7}" / f"broken {n}.jpg").write_bytes(whole[: n * 20])
    return folder


@pytest.fixture(scope="module")
def undisturbed(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed") / "index"
    index_worker.build(path, folder)
    return Index.open(path)


def run_until_killed_at_a_step(index_dir: Path, folder: Path, *step: object) -> int:
    command = [*worker(index_dir, folder), *map(str, step)]
    return subprocess.run(command, stdout=subprocess.DEVNULL, check=False).returncode


def run_until_killed_from_outside(index_dir: Path, folder: Path, seconds: float) -> int:
    with subprocess.Popen(worker(index_dir, folder), stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        time.sleep(seconds)
        process.kill()
        process.stdout.read()
    return process.returncode


def worker(index_dir: Path, folder: Path) -> list[str]:
    return [sys.executable, "-m", "tests.integration.index_worker", str(index_dir), str(folder)]


class Reader(threading.Thread):
    """Searches without a pause while others write; keeps what it counted."""

    def __init__(self, index_dir: Path) -> None:
        super().__init__(daemon=True)
        self.index_dir = index_dir
        self.counted: list[int] = []
        self.failures: list[Exception] = []
        self.enough = threading.Event()

    def run(self) -> None:
        while not self.enough.wait(0.02):
            try:
                hits = search(Index.open(self.index_dir), "any", 10_000, lambda caption, sets: [0.0 for _ in sets])
                self.counted.append(len(hits))
            except DataError as error:
                if self.counted:  # before the index is made there is nothing to open
                    self.failures.append(error)
            except Exception as error:
                self.failures.append(error)


def content_of_shards(index: Index) -> list[str]:
    return sorted(path.name for path in (index.path / "features" / "shards").iterdir())


def test_an_index_built_with_sigkills_equals_one_left_in_peace(folder, undisturbed, tmp_path):
    index_dir = tmp_path / "index"
    draw = random.Random(11)
    reader = Reader(index_dir)
    reader.start()

    kills = 0
    for step in FIRST_STEPS:
        kills += run_until_killed_at_a_step(index_dir, folder, step) == -signal.SIGKILL
    for _ in range(6):
        kills += run_until_killed_at_a_step(index_dir, folder, draw.randint(40, 120)) == -signal.SIGKILL
        kills += run_until_killed_from_outside(index_dir, folder, draw.uniform(0.2, 0.8)) == -signal.SIGKILL
    kills += run_until_killed_at_a_step(index_dir, folder, 1, "compaction") == -signal.SIGKILL
    outcome = index_worker.build(index_dir, folder)
    reader.enough.set()
    reader.join()

    index = Index.open(index_dir)
    index.verify()
    print(f"{kills} kills; {outcome.unchanged} files were known at the end; {len(reader.counted)} searches meanwhile")
    assert kills >= MIN_KILLS
    assert outcome.unchanged > 0
    assert (outcome.done, outcome.duplicate, outcome.rejected) == (PICTURES, COPIES, BROKEN)
    assert index.digest() == undisturbed.digest()
    assert content_of_shards(index) == content_of_shards(undisturbed)
    assert index.tally() == undisturbed.tally()
    assert reader.failures == []
    assert reader.counted == sorted(reader.counted)
