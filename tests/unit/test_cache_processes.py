"""Workers that share a cache: one looks where many ask, and killing any of them leaves every file whole or absent."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import torch

from tests.bundles import picture
from twelve.features import shard
from twelve.image import ImageLimits, Picture
from twelve.pictures import PictureDesk
from twelve.regions.cache import RegionCache
from twelve.regions.extractor import RegionSet
from twelve.schema import EncodedImage

DETECTOR = "sha256:" + "ab" * 32
WIDTH, REGIONS = 64, 20
BOUND = 2_000_000
"""Bytes of the folder; some 300 pictures, so that writers also sweep."""

PICTURES = 1000
KILLS = 50
LONGEST_S = 0.05
ASKERS = 4
SLOW_S, FOR_EVER_S, PATIENCE_S = 0.2, 600.0, 60.0

fork = multiprocessing.get_context("fork")  # torch is there already


class SlowExtractor:
    """Takes its time, and writes down each run."""

    digest = DETECTOR
    feature_width = WIDTH

    def __init__(self, notes: Path, seconds: float) -> None:
        self.notes = notes
        self.seconds = seconds

    def extract(self, picture: Picture, given_px: torch.Tensor | None = None) -> RegionSet:
        with self.notes.open("a") as stream:
            stream.write("run\n")
        time.sleep(self.seconds)
        return regions(0)


def regions(seed: int) -> RegionSet:
    """Give the regions of a number: equal ones in each process."""
    generator = torch.Generator().manual_seed(seed)
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0]]).repeat(REGIONS, 1)
    scores = torch.rand(REGIONS, generator=generator)
    labels = torch.zeros(REGIONS, dtype=torch.int64)
    return RegionSet(torch.rand(REGIONS, WIDTH, generator=generator), boxes, scores, labels, width=8, height=8)


def ref(number: int) -> str:
    return f"sha256:{random.Random(number).getrandbits(256):064x}"


def encoded(number: int) -> bytes:
    return random.Random(number).randbytes(1000)


def opened(folder: Path, wait_s: float = FOR_EVER_S) -> RegionCache:
    return RegionCache(folder / "cache", detector=DETECTOR, feature_width=WIDTH, most_bytes=BOUND, wait_s=wait_s)


def write_for_ever(folder: Path, seed: int) -> None:
    """Keep and read pictures until somebody kills the process."""
    torch.set_num_threads(1)
    cache, draw = opened(folder), random.Random(seed)
    while True:
        number = draw.randrange(PICTURES)
        with cache.turn(ref(number)):
            if cache.regions(ref(number)) is None:
                cache.keep(ref(number), regions(number))
        cache.keep_encoded(ref(number), encoded(number))


def ask(folder: Path, images: list[bytes], seconds: float, wait_s: float = FOR_EVER_S) -> None:
    """Look at some pictures, one after the other."""
    torch.set_num_threads(1)
    extractor = SlowExtractor(folder / "runs", seconds)
    desk = PictureDesk(extractor, opened(folder, wait_s), limits=ImageLimits(), feature_width=WIDTH)
    for image in images:
        desk.open(EncodedImage(data=image), at="image").look(desk, (), at="image")


@contextmanager
def running(work: Callable[..., None], *arguments: object) -> Iterator[BaseProcess]:
    """Run a worker; leaving kills it."""
    process = fork.Process(target=work, args=arguments)
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def has_answered(process: BaseProcess) -> bool:
    process.join(PATIENCE_S)
    return process.exitcode == 0


def runs(folder: Path) -> int:
    notes = folder / "runs"
    return len(notes.read_text().splitlines()) if notes.exists() else 0


def wait_for_a_run(folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while runs(folder) == 0:
        assert time.monotonic() < deadline
        time.sleep(0.002)


def files(folder: Path) -> list[Path]:
    return list((folder / "cache").glob("*/??/*"))


def test_of_many_that_ask_first_one_looks_at_each_picture(tmp_path: Path) -> None:
    images = [picture(seed, width=16, height=16) for seed in range(3)]
    askers = [fork.Process(target=ask, args=(tmp_path, images, SLOW_S)) for _ in range(ASKERS)]
    for process in askers:
        process.start()
    assert [has_answered(process) for process in askers] == [True] * ASKERS
    assert runs(tmp_path) == len(images)


def test_workers_whose_batches_hold_the_same_pictures_in_other_orders_do_not_wait_in_a_ring(tmp_path: Path) -> None:
    images = [picture(seed, width=16, height=16) for seed in range(10)]
    with (
        running(ask, tmp_path, images, 0.01) as one,
        running(ask, tmp_path, images[::-1], 0.01) as other,
    ):
        assert has_answered(one)
        assert has_answered(other)
    assert runs(tmp_path) == len(images)


def test_when_the_one_that_looks_is_killed_another_looks(tmp_path: Path) -> None:
    with running(ask, tmp_path, [picture()], FOR_EVER_S) as first:
        wait_for_a_run(tmp_path)
        with running(ask, tmp_path, [picture()], 0.0) as second:
            time.sleep(SLOW_S)
            assert runs(tmp_path) == 1
            first.kill()
            assert has_answered(second)
    assert runs(tmp_path) == 2


def test_nobody_waits_longer_than_the_bound_for_one_that_has_stopped(tmp_path: Path) -> None:
    with running(ask, tmp_path, [picture()], FOR_EVER_S) as first:
        wait_for_a_run(tmp_path)
        assert first.pid is not None
        os.kill(first.pid, signal.SIGSTOP)
        with running(ask, tmp_path, [picture()], 0.0, SLOW_S) as second:
            assert has_answered(second)
    assert runs(tmp_path) == 2


@pytest.fixture
def survived(tmp_path: Path) -> Path:
    """Give a folder whose writers, two at a time, were killed at random moments; it kept its bound all the while."""
    draw = random.Random(0)
    for seed in range(0, KILLS, 2):
        with running(write_for_ever, tmp_path, seed), running(write_for_ever, tmp_path, seed + 1):
            time.sleep(draw.uniform(LONGEST_S / 5, LONGEST_S))
        assert sum(path.stat().st_size for path in files(tmp_path)) <= BOUND
    return tmp_path


def test_killed_writers_leave_whole_files_and_nothing_else(survived: Path) -> None:
    left = files(survived)
    assert len(left) > 100
    for path in left:
        shard.verify(path)
    own = {"lock", "tally", "part"}
    assert {path.name for path in (survived / "cache").glob("*/*") if path.is_file()} - own <= {
        path.name for path in (survived / "cache" / "locks").iterdir()
    }


def test_what_killed_writers_left_is_right_and_is_written_on(survived: Path) -> None:
    cache, known = opened(survived), 0
    for number in range(PICTURES):
        found = cache.regions(ref(number))
        if found is not None:
            known += 1
            assert torch.equal(found.regions.features, regions(number).features)
        assert cache.encoded(ref(number)) in (None, encoded(number))
    assert known > 50
    cache.keep(ref(PICTURES), regions(PICTURES))
    assert opened(survived).regions(ref(PICTURES)) is not None
