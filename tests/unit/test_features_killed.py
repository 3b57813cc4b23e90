"""A feature store under several processes: writers that are killed, readers beside a writer."""

import itertools
import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from twelve.features import FeatureStore, RegionSet, listing

WIDTH = 256
KILLS = 50
LONGEST_S = 0.05
"""From a writer's first append to its kill: half a dozen appends."""

STEPS = 80
"""Calls that reach the disk, counted before and after each: those of four appends."""

READERS = 3
APPENDS = 60
PICTURES = 4
"""Of one append."""

PATIENCE_S = 60

fork = multiprocessing.get_context("fork")  # torch is there already: fifty writers start in the time of one


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    """An empty store, which lists its keys often."""
    monkeypatch.setattr(listing, "FEW", 20)
    return FeatureStore.create(tmp_path / "store", feature_width=WIDTH, detector_digest="d", encoding="float32")


def regions(number: int) -> RegionSet:
    count = 1 + number % 20
    return RegionSet(
        features=torch.full((count, WIDTH), float(number)),
        boxes_px=torch.full((count, 4), float(number)),
        scores=torch.ones(count),
        labels=torch.arange(count),
        width=1 + number,
        height=count,
    )


def append(store: FeatureStore, first: int) -> None:
    store.append([(str(number), regions(number)) for number in range(first, first + PICTURES)])


def assert_whole(store: FeatureStore, since: int = 0) -> None:
    """See that a store holds the pictures from 0 without a gap, and those from a number on as they were kept."""
    assert store.keys() == tuple(map(str, range(len(store))))
    for number in range(since, len(store)):
        got, kept = store[str(number)], regions(number)
        assert torch.equal(got.features, kept.features)
        assert torch.equal(got.boxes_px, kept.boxes_px)
        assert (got.width, got.height) == (1 + number, len(kept))


def append_until_killed(path: Path, acknowledge: int, steps: int | None = None) -> None:
    """Append for ever, or until the process kills itself at one of the steps that reach the disk."""
    torch.set_num_threads(1)
    store = FeatureStore.open(path)
    if steps is not None:
        countdown = itertools.count(steps - 1, -1)
        for owner, name in ((os, "open"), (os, "fsync"), (os, "replace"), (Path, "replace")):
            setattr(owner, name, fatal(getattr(owner, name), countdown))
    for first in itertools.count(len(store), PICTURES):
        append(store, first)
        os.write(acknowledge, f"{first + PICTURES}\n".encode())


def fatal(call: Callable[..., Any], countdown: Iterator[int]) -> Callable[..., Any]:
    """Make a function that kills its process where the countdown ends: before the call, or right after it."""

    def step() -> None:
        if next(countdown) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def called(*args: Any, **kwargs: Any) -> Any:
        step()
        result = call(*args, **kwargs)
        step()
        return result

    return called


def acknowledged(path: Path, *, delay_s: float | None = None, steps: int | None = None) -> int:
    """Let a writer append until it is killed; give how many pictures it said were kept, those before it included.

    Args:
        path: Of the store.
        delay_s: From its first append to its kill; None = it kills itself.
        steps: After which it kills itself.
    """
    receive, send = os.pipe()
    before = len(FeatureStore.open(path))
    writer = fork.Process(target=append_until_killed, args=(path, send, steps))
    writer.start()
    os.close(send)
    with os.fdopen(receive) as said:
        numbers = [said.readline()]
        if delay_s is not None:
            time.sleep(delay_s)
            os.kill(writer.pid, signal.SIGKILL)
        numbers += said
    writer.join()
    assert writer.exitcode == -signal.SIGKILL
    return max([before, *(int(number) for number in numbers if number.endswith("\n"))])


def test_a_kill_at_any_step_loses_no_picture_that_was_acknowledged_and_leaves_nothing_behind(store: FeatureStore):
    for steps in range(1, STEPS + 1):
        promised = acknowledged(store.path, steps=steps)

        found = FeatureStore.open(store.path)

        assert len(found) >= promised
        assert_whole(found)
    found.verify()
    with found:
        append(found, len(found))
    assert not list(store.path.rglob("*.part"))


def test_a_kill_at_any_of_fifty_moments_loses_no_picture_that_was_acknowledged(store: FeatureStore):
    draw = random.Random(0)
    checked = 0
    for _ in range(KILLS):
        promised = acknowledged(store.path, delay_s=draw.uniform(0, LONGEST_S))

        found = FeatureStore.open(store.path)

        assert len(found) >= promised > checked
        assert len(found) % PICTURES == 0  # an append is kept whole or not at all
        assert_whole(found, since=checked)
        checked = len(found)
    found.verify()
    assert_whole(found)
    assert (store.path / "keys.json").exists()


def read_until(path: Path, pictures: int) -> None:
    torch.set_num_threads(1)
    old, seen, deadline = FeatureStore.open(path), 0, time.monotonic() + PATIENCE_S
    while seen < pictures:
        assert time.monotonic() < deadline, f"saw {seen} of {pictures} pictures"
        old.refresh()
        fresh = FeatureStore.open(path)
        assert len(fresh) >= len(old) >= seen
        assert_whole(old, since=seen)
        assert_whole(fresh, since=seen)
        seen = len(old)


def test_readers_beside_a_writer_see_whole_pictures_and_ever_more_of_them(store: FeatureStore):
    readers = [fork.Process(target=read_until, args=(store.path, APPENDS * PICTURES)) for _ in range(READERS)]
    for reader in readers:
        reader.start()

    for first in range(0, APPENDS * PICTURES, PICTURES):
        append(store, first)
    for reader in readers:
        reader.join()

    assert [reader.exitcode for reader in readers] == [0] * READERS
