"""Extraction under SIGKILL equals one that was left in peace; so does one on Ray, and one that was asked to stop."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import odd_pictures
from benchmarks.extraction import digest_of, runs_in, state_of
from tests.checkout import ROOT
from tests.integration import extraction_worker
from tests.integration.extraction_worker import CUT_INPUTS
from twelve.features import FeatureStore

pytestmark = [pytest.mark.integration, pytest.mark.slow]

PICTURES, COPIES = 250, 14
KILLS_AT_A_STEP, KILLS_FROM_OUTSIDE = 6, 3
FIRST_STEPS = (2, 5, 11)
"""While the store is being made: its description, how pictures are read."""

FEW, MANY = 24, 200
"""The many are more than a cut."""

COMPLETE, REJECTS, RESUMABLE = 0, 3, 75
RAY_S = 240
"""A cluster of three processes starts in ten seconds on a busy machine of two cores."""


def write_pictures(folder: Path, count: int) -> None:
    draw = np.random.default_rng(7)
    for n in range(count):
        path = folder / f"album {n % 7}" / f"{n:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    write_pictures(folder, PICTURES)
    for n in range(COPIES):
        shutil.copy(folder / f"album {n % 7}" / f"{n:03d}.png", folder / f"album {(n * 3) % 7}" / f"copy of {n}.png")
    odd_pictures.write(folder / "odd", each=1)
    return folder


@pytest.fixture(scope="module")
def undisturbed(folder, tmp_path_factory):
    path = tmp_path_factory.mktemp("undisturbed") / "store"
    outcome = extraction_worker.build(folder, path, path.with_name("runs"))
    assert outcome.done == PICTURES + len(odd_pictures.ODD)
    assert outcome.duplicate == COPIES
    assert outcome.rejected == len(odd_pictures.BAD) + len(odd_pictures.UNREADABLE)
    return path


def worker(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "tests.integration.extraction_worker", *map(str, arguments)]


def run_until_killed_at_a_step(*arguments: object) -> bool:
    done = subprocess.run(worker(*arguments), stdout=subprocess.DEVNULL, check=False)
    return done.returncode == -signal.SIGKILL


def run_until_killed_from_outside(*arguments: object, seconds: float) -> bool:
    with subprocess.Popen(worker(*arguments), stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        time.sleep(seconds)
        process.kill()
        process.stdout.read()
    return process.returncode == -signal.SIGKILL


def pictures_in(store: Path) -> int:
    return len(FeatureStore.open(store)) if (store / "store.json").exists() else 0


def test_a_store_made_under_sigkills_has_the_bytes_of_one_left_in_peace(folder, undisturbed, tmp_path):
    store, runs = tmp_path / "store", tmp_path / "runs"
    draw = random.Random(11)
    ways = [lambda step=step: run_until_killed_at_a_step(folder, store, runs, step) for step in FIRST_STEPS]
    ways += [lambda: run_until_killed_at_a_step(folder, store, runs, draw.randint(20, 90))] * KILLS_AT_A_STEP
    ways += [
        lambda: run_until_killed_from_outside(folder, store, runs, seconds=draw.uniform(0.05, 0.3))
    ] * KILLS_FROM_OUTSIDE

    kills, wasted = 0, []
    for way in ways:
        kept, ran = pictures_in(store), runs_in(runs)
        kills += way()
        wasted.append(runs_in(runs) - ran - (pictures_in(store) - kept))
    before = runs_in(runs) - sum(wasted)
    outcome = extraction_worker.build(folder, store, runs)

    print(f"{kills} kills wasted {wasted} runs; {before} pictures were kept before the last run")
    assert kills >= len(FIRST_STEPS) + KILLS_AT_A_STEP
    assert max(wasted) <= CUT_INPUTS
    assert 0 < before < PICTURES + len(odd_pictures.ODD)
    assert digest_of(store) == digest_of(undisturbed)
    assert outcome.done + outcome.duplicate + outcome.rejected == sum(1 for _ in folder.rglob("*.*"))
    FeatureStore.open(store).verify()


def test_a_whole_store_is_left_as_it_is_without_a_run_of_the_detector(folder, undisturbed, tmp_path):
    before = state_of(undisturbed)
    extraction_worker.build(folder, undisturbed, tmp_path / "runs")
    assert runs_in(tmp_path / "runs") == 0
    assert state_of(undisturbed) == before


def features(*arguments: object, seconds: float = RAY_S) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "training", "features", *map(str, arguments)],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A folder of few pictures, with a copy, odd ones and bad ones; and what the command makes of it."""
    folder = tmp_path_factory.mktemp("few")
    write_pictures(folder / "in", FEW)
    shutil.copy(folder / "in" / "album 0" / "000.png", folder / "in" / "copy.png")
    odd_pictures.write(folder / "in" / "odd", each=1)
    done = features(folder / "in", "--out", folder / "store")
    assert done.returncode == REJECTS, done.stderr
    odd, bad = len(odd_pictures.ODD), len(odd_pictures.BAD) + len(odd_pictures.UNREADABLE)
    assert done.stdout.splitlines()[-1] == f"done={FEW + odd} duplicate=1 rejected={bad}"
    assert done.stderr.count("rejected ") == bad
    return folder


def test_ray_makes_the_same_bytes_and_leaves_no_process_behind(few, tmp_path):
    done = features(few / "in", "--out", tmp_path / "store", "--engine", "ray", "--workers", "2")
    assert done.returncode == REJECTS, done.stderr
    assert digest_of(tmp_path / "store") == digest_of(few / "store")
    assert ray_processes_below(os.getpid()) == []


def ray_processes_below(parent: int) -> list[str]:
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = status.read_text().partition("(")[2].partition(")")
        except OSError:  # it has just ended
            continue
        if rest.split()[1] == str(parent) and ("ray" in name or "gcs" in name):
            found.append(name)
    return found


def test_a_wish_to_stop_ends_with_75_and_the_same_command_goes_on(tmp_path):
    write_pictures(tmp_path / "in", MANY)
    command = [sys.executable, "-m", "training", "features", str(tmp_path / "in"), "--out", str(tmp_path / "store")]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        while not (tmp_path / "store" / "extraction.json").exists():
            time.sleep(0.01)
        process.terminate()
        said, warned = process.communicate(timeout=RAY_S)
    assert process.returncode == RESUMABLE, warned
    assert "stopping: the shard in hand will be finished" in warned
    assert said.splitlines()[-2] == "stopped before the end; the same command goes on from here"
    rest = features(tmp_path / "in", "--out", tmp_path / "store")
    assert (rest.returncode, rest.stdout.splitlines()[-1]) == (COMPLETE, f"done={MANY} duplicate=0 rejected=0")
