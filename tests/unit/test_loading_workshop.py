import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests import errands
from tests.checkout import ROOT
from training.loading.parcel import ALIGNMENT, pack, unpack
from training.loading.workshop import WorkerLost, Workshop, open_workshop
from twelve.errors import DataError

PATIENCE_S = 30.0
"""For processes to start or end on a machine that does much else."""


@pytest.fixture(scope="module", params=[0, 1, 2])
def workshop(request: pytest.FixtureRequest) -> Iterator[Workshop]:
    with open_workshop(errands.open_do, workers=request.param, ahead=3) as workshop:
        yield workshop


def test_results_come_in_the_order_of_jobs_though_even_ones_take_longer(workshop: Workshop) -> None:
    found = list(workshop.results(range(9)))
    assert [result["job"] for result in found] == list(range(9))
    assert all(torch.equal(result["tensor"], torch.full((3,), float(job))) for job, result in enumerate(found))
    assert list(workshop.results([])) == []


def test_a_new_question_gets_no_answer_to_an_abandoned_one(workshop: Workshop) -> None:
    abandoned = workshop.results(range(100, 110))
    assert next(abandoned)["job"] == 100
    assert [result["job"] for result in workshop.results(range(3))] == [0, 1, 2]


def test_an_error_is_raised_as_it_was_in_its_jobs_place(workshop: Workshop) -> None:
    results = workshop.results([1, "data", 3])
    assert next(results)["job"] == 1
    with pytest.raises(DataError) as raised:
        next(results)
    assert str(raised.value) == "gqa/train.json: row 3: image: got 7, needs a name"
    assert raised.value.at == "row 3"
    assert "in do\n" in "".join(traceback.format_exception(raised.value))
    assert [result["job"] for result in workshop.results([5])] == [5]


@pytest.fixture
def worker(request: pytest.FixtureRequest) -> Iterator[Workshop]:
    with open_workshop(getattr(request, "param", errands.open_do), workers=1, ahead=2) as workshop:
        yield workshop


def test_a_worker_keeps_to_one_thread_and_tells_in_words_what_cannot_travel(worker: Workshop) -> None:
    assert list(worker.results(["threads"])) == [1]
    with pytest.raises(RuntimeError, match=r"^Unportable: two words\nIt was raised in a worker:"):
        list(worker.results(["unportable"]))


@pytest.mark.parametrize("worker", [errands.open_nothing], indirect=True)
def test_work_that_cannot_be_opened_says_why(worker: Workshop) -> None:
    with pytest.raises(DataError, match="holds no features"):
        list(worker.results([0]))


@pytest.mark.parametrize(("end", "words"), [("killed", "was killed by SIGKILL"), ("left", "left with 3")])
def test_a_worker_that_ends_is_noticed_with_a_sentence(worker: Workshop, end: str, words: str) -> None:
    with pytest.raises(WorkerLost, match=rf"^worker 1 of 1 \(process \d+\) {words} before its batch was made; .*ahead"):
        list(worker.results([1, end, 3, 5]))


def interrupt(started: subprocess.Popen[bytes]) -> None:
    os.killpg(started.pid, signal.SIGINT)


def kill(started: subprocess.Popen[bytes]) -> None:
    started.kill()


@pytest.mark.parametrize("end", [interrupt, kill])
def test_no_worker_outlives_the_process_that_started_it(
    end: Callable[[subprocess.Popen[bytes]], None], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "tests.errands", str(tmp_path)]
    started = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.PIPE)
    awaited(lambda: len(workers_in(tmp_path)) == 1)
    end(started)
    _, said = started.communicate(timeout=PATIENCE_S)
    awaited(lambda: not any(is_running(worker) for worker in workers_in(tmp_path)))
    assert said.count(b"Traceback") == (end is interrupt)


def workers_in(folder: Path) -> list[int]:
    return [int(path.name.partition("-")[2]) for path in folder.glob("worker-*")]


def is_running(process: int) -> bool:
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] != "Z"


def awaited(fact: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not fact():
        assert time.monotonic() < until, "it never came to be"
        time.sleep(0.05)


def test_a_parcel_gives_back_what_was_packed() -> None:
    value = {
        "text": ("a", None, 7),
        "tensors": [torch.randn(5, 3), torch.arange(4), torch.tensor(True), torch.randn(6, 4)[:, :0]],
        "column": torch.randn(4, 6)[:, 2],
        "array": np.arange(5),
    }
    found = unpack(pack(value))
    assert found["text"] == value["text"]
    assert (found["array"] == value["array"]).all()
    for one, other in zip([*found["tensors"], found["column"]], [*value["tensors"], value["column"]], strict=True):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)
        assert one.data_ptr() % ALIGNMENT == 0


def test_what_goes_through_the_pipe_is_small_however_large_the_value() -> None:
    parcel = pack([torch.zeros(100_000), "x" * 100_000])
    assert parcel.content.is_shared()
    assert len(parcel.sizes) == 2
