import re
import socket
import subprocess
import sys
import urllib.request
from itertools import pairwise

import pytest

from handlers.exporter import empty, start
from twelve.metrics import LONGEST_S, REQUEST_STEPS_A_DECADE, SHORTEST_S, ServiceMetrics, bounds, collected
from twelve.observer import Done
from twelve.tally import Tally

FINEST_RATIO = 1.05  # of neighbouring bounds; a quantile is then wrong by at most 5 %
OBJECTIVE_S = 2.0  # what the alerts call slow; they ask for this very bound

ONE_WORKER = """
import os, pathlib, signal, sys
from twelve.metrics import ServiceMetrics
from twelve.observer import Done
from twelve.tally import Tally
metrics = ServiceMetrics(["nlvr2"], Tally.open(pathlib.Path(sys.argv[2])))
metrics.stage("fuse", 0.01)
metrics.batch(3)
metrics.request(Done("nlvr2", "ok", "", {}, 0.0, 0.05))
if sys.argv[1] == "is killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


def done(task: str, code: str) -> Done:
    return Done(task, code, "", {}, 0.0, 0.2)


def counting(folder, tasks):
    """Give what counts, and what tells of it."""
    return ServiceMetrics(tasks, Tally.open(folder)), collected(folder)


@pytest.fixture
def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run_worker(directory, fate):
    directory.mkdir(exist_ok=True)
    subprocess.run([sys.executable, "-c", ONE_WORKER, fate, str(directory)], check=False)


def test_request_bounds_lie_close_enough_for_quantiles_within_five_percent():
    found = bounds(SHORTEST_S, LONGEST_S, steps_a_decade=REQUEST_STEPS_A_DECADE)
    assert found[0] == SHORTEST_S
    assert found[-1] >= LONGEST_S
    assert max(upper / lower for lower, upper in pairwise(found)) <= FINEST_RATIO
    assert OBJECTIVE_S in found


def test_a_request_is_counted_by_task_and_code(tmp_path):
    metrics, registry = counting(tmp_path, ["nlvr2"])
    metrics.request(done("nlvr2", "invalid-field"))
    assert registry.get_sample_value("twelve_requests_total", {"task": "nlvr2", "code": "invalid-field"}) == 1
    assert registry.get_sample_value("twelve_request_seconds_count", {"task": "nlvr2"}) == 1


def test_a_batchs_stages_are_counted_once_with_its_first_answer(tmp_path):
    metrics, registry = counting(tmp_path, ["nlvr2"])
    metrics.stage("fuse", 0.1)
    for _ in range(2):
        metrics.request(done("nlvr2", "ok"))
    assert registry.get_sample_value("twelve_stage_seconds_count", {"stage": "fuse"}) == 1


SELF_TEST = Done("nlvr2", "ok", "", {"x-self-test": "1"}, 0.0, 0.2)


def test_a_server_that_asks_itself_is_not_counted_nor_are_its_stages(tmp_path):
    metrics, registry = counting(tmp_path, ["nlvr2"])
    metrics.stage("fuse", 0.1)
    metrics.request(SELF_TEST)
    metrics.stage("decode", 0.1)
    metrics.request(done("nlvr2", "ok"))
    assert registry.get_sample_value("twelve_requests_total", {"task": "nlvr2", "code": "ok"}) == 1
    assert registry.get_sample_value("twelve_stage_seconds_count", {"stage": "fuse"}) in (0, None)
    assert registry.get_sample_value("twelve_stage_seconds_count", {"stage": "decode"}) == 1


@pytest.mark.parametrize("batch", [(SELF_TEST, done("nlvr2", "ok")), (done("nlvr2", "ok"), SELF_TEST)])
def test_a_batch_in_which_others_ask_too_is_counted_with_its_stages(tmp_path, batch):
    metrics, registry = counting(tmp_path, ["nlvr2"])
    metrics.stage("fuse", 0.1)
    for one in batch:
        metrics.request(one)
    assert registry.get_sample_value("twelve_requests_total", {"task": "nlvr2", "code": "ok"}) == 1
    assert registry.get_sample_value("twelve_stage_seconds_count", {"stage": "fuse"}) == 1


def test_pictures_are_counted_by_where_their_regions_were_and_runs_of_the_detector_as_such(tmp_path):
    metrics, registry = counting(tmp_path, [])
    for result in ("missed", "memory", "memory"):
        metrics.looked_up(result)
    metrics.detector_ran()
    metrics.request(done("nlvr2", "ok"))
    assert registry.get_sample_value("twelve_feature_cache_total", {"result": "memory"}) == 2
    assert registry.get_sample_value("twelve_feature_cache_total", {"result": "missed"}) == 1
    assert registry.get_sample_value("twelve_detector_runs_total") == 1


def test_what_strangers_send_as_a_task_never_becomes_a_label(tmp_path):
    metrics, registry = counting(tmp_path, ["nlvr2"])
    for name in ("", "nlvr3", 'x",code="y'):
        metrics.request(done(name, "unknown-task"))
    assert registry.get_sample_value("twelve_requests_total", {"task": "unknown", "code": "unknown-task"}) == 3
    samples = [sample for family in registry.collect() for sample in family.samples]
    assert {sample.labels["task"] for sample in samples if "task" in sample.labels} == {"unknown"}


@pytest.mark.parametrize("fate", ["lives", "is killed"])
def test_workers_are_summed_up_whatever_becomes_of_them(tmp_path, fate):
    for _ in range(2):
        run_worker(tmp_path, fate)
    registry = collected(tmp_path)
    assert registry.get_sample_value("twelve_requests_total", {"task": "nlvr2", "code": "ok"}) == 2
    assert registry.get_sample_value("twelve_request_seconds_count", {"task": "nlvr2"}) == 2
    assert registry.get_sample_value("twelve_stage_seconds_count", {"stage": "fuse"}) == 2
    assert registry.get_sample_value("twelve_batch_rows_bucket", {"le": "3.0"}) == 2
    assert registry.get_sample_value("twelve_batch_rows_bucket", {"le": "2.0"}) == 0


def test_the_exporter_answers_on_its_own_port(tmp_path, free_port):
    empty(tmp_path / "metrics")
    run_worker(tmp_path / "metrics", "lives")
    stop = start(tmp_path / "metrics", host="127.0.0.1", port=free_port)
    try:
        text = urllib.request.urlopen(f"http://127.0.0.1:{free_port}/metrics", timeout=5).read().decode()
    finally:
        stop()
    assert re.search(r'^twelve_requests_total\{code="ok",task="nlvr2"\} 1\.0$', text, re.MULTILINE)


def test_a_server_starts_counting_from_nothing(tmp_path):
    run_worker(tmp_path / "metrics", "lives")
    empty(tmp_path / "metrics")
    assert list((tmp_path / "metrics").iterdir()) == []
