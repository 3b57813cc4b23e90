"""What Prometheus scrapes is what happened, with two workers and after one was killed."""

import threading
import time
from collections import Counter

import pytest

from tests.integration.harness import LiveServer, example
from twelve.service import STAGES
from twelve.tasks import TASKS

pytestmark = pytest.mark.integration

CLIENTS, LOAD_S = 3, 1.0


def counts(server: LiveServer) -> dict[tuple[str, ...], float]:
    wanted = ("twelve_requests_total", "twelve_request_seconds_count", "twelve_stage_seconds_count")
    return {key: value for key, value in server.metrics().items() if key[0] in wanted}


def ask_each_task_once(server: LiveServer) -> dict[tuple[str, ...], float]:
    """Give what one request of each task, one after the other, adds to the counts."""
    before = counts(server)
    for name in TASKS:
        assert server.ask_json(example(name))[0] == 200
    after = counts(server)
    return {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)}


EACH_TASK_ONCE = {
    **{("twelve_requests_total", "ok", name): 1 for name in TASKS},
    **{("twelve_request_seconds_count", name): 1 for name in TASKS},
    **{("twelve_stage_seconds_count", stage): len(TASKS) for stage in STAGES},
}


def test_each_task_and_each_stage_is_counted(server):
    assert ask_each_task_once(server) == EACH_TASK_ONCE


def test_a_killed_worker_stays_counted_and_its_successor_counts_on(server):
    ask_each_task_once(server)
    before = counts(server)
    server.kill_worker(server.workers()[0])
    after = counts(server)
    assert {key for key in before if after.get(key, 0) < before[key]} == set()
    assert ask_each_task_once(server) == EACH_TASK_ONCE


def test_under_load_a_killed_workers_requests_are_counted_as_their_clients_count_them(server):
    before, came, ended = counts(server), Counter(), threading.Event()

    def keep_asking() -> None:
        while not ended.is_set():
            came[server.ask_json(example("gqa"))[0]] += 1

    clients = [threading.Thread(target=keep_asking) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    time.sleep(LOAD_S)
    server.kill_worker(server.workers()[0])
    time.sleep(LOAD_S)
    ended.set()
    for client in clients:
        client.join()
    after = counts(server)
    told, timed = (
        after[key] - before.get(key, 0)
        for key in (("twelve_requests_total", "ok", "gqa"), ("twelve_request_seconds_count", "gqa"))
    )
    lost = came.total() - came[200]  # were with the worker when it was killed; it may have counted them just before
    assert came[200] > 0
    assert came[200] <= told <= came[200] + lost
    assert came[200] <= timed <= told


def test_an_error_is_counted_by_its_code(server):
    before = counts(server)
    server.ask_json(example("nlvr2", ["AAAA", "AAAA"]))
    server.ask_json({"task": "none of ours"})
    after = counts(server)
    for key in (("unreadable-image", "nlvr2"), ("unknown-task", "unknown")):
        name = ("twelve_requests_total", *key)
        assert after[name] == before.get(name, 0) + 1


def test_the_exporter_tells_what_only_the_server_knows(server):
    told = server.metrics()
    assert told[("twelve_server_up",)] == 1
    assert told[("twelve_workers_ready",)] == told[("twelve_workers_wanted",)] == 2
    assert told[("twelve_queue_depth",)] < told[("twelve_queue_capacity",)]
    assert [key for key in told if key[0] == "twelve_model_info"] != []


def test_torchserve_has_its_own_figures(server):
    text = server.client.get(f"http://127.0.0.1:{server.ports['METRICS_PORT']}/metrics").text
    assert "ts_inference_requests_total" in text
    assert "Requests4XX" in text
