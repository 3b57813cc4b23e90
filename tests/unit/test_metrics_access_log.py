import json
import tracemalloc
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from handlers import access_log
from handlers.access_log import STATUSES, AccessLog
from handlers.edge_nginx import former


class Log:
    """A log with its counter."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.registry = CollectorRegistry()
        self.counter = AccessLog(path)
        self.registry.register(self.counter)

    def write(self, *statuses: int, path: str = "/v1/tasks/gqa") -> None:
        with self.path.open("a") as file:
            file.writelines(line(status, path) for status in statuses)

    def write_bytes(self, line: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(line + b"\n")

    def unread(self) -> float | None:
        return self.registry.get_sample_value("twelve_edge_unread_lines_total")

    def count(self, status: int) -> float | None:
        return self.registry.get_sample_value("twelve_edge_requests_total", {"status": str(status)})


def line(status: int, path: str = "/v1/tasks/gqa", *, task: str = "gqa", seconds: float = 0.25) -> str:
    entry = {"path": path, "status": status, "request": 'a"status":503', "task": task, "seconds": seconds}
    return json.dumps(entry) + "\n"


@pytest.fixture
def log(tmp_path):
    return Log(tmp_path / "access.log")


def test_every_status_is_told_before_the_first_request(log):
    assert {status: log.count(status) for status in STATUSES} == dict.fromkeys(STATUSES, 0)


def test_each_line_is_counted_once(log):
    log.write(200, 200, 503)
    assert (log.count(200), log.count(503)) == (2, 1)
    log.write(200, 418)
    assert (log.count(200), log.count(418)) == (3, 1)


def test_answers_are_timed_by_task_and_what_is_no_answer_is_not(log):
    for seconds in (0.011, 0.011, 2.0):
        log.write_bytes(line(200, seconds=seconds).rstrip("\n").encode())
    log.write_bytes(line(429, task="gqa").rstrip("\n").encode())
    log.write_bytes(line(404, "/v1/tasks/any", task="any").rstrip("\n").encode())
    log.write_bytes(line(200, "/predictions/twelve", task="").rstrip("\n").encode())
    ask = log.registry.get_sample_value
    name = "twelve_edge_request_seconds"
    assert ask(f"{name}_count", {"task": "gqa"}) == 3
    assert ask(f"{name}_sum", {"task": "gqa"}) == pytest.approx(2.022)
    assert {ask(f"{name}_count", {"task": task}) for task in ("any", "")} == {None}
    [family] = [one for one in log.counter.collect() if one.name == name]
    below = [one.value for one in family.samples if one.name.endswith("_bucket") and float(one.labels["le"]) < 0.0105]
    upto = [
        one.value for one in family.samples if one.name.endswith("_bucket") and 0.0115 < float(one.labels["le"]) < 1.9
    ]
    assert (set(below), set(upto)) == ({0.0}, {2.0})


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/tasks", "/v1/tasksgqa", "/"])
def test_only_predictions_count(log, path):
    log.write(200, path=path)
    assert log.count(200) == 0


def test_a_line_counts_when_it_is_finished(log):
    whole = line(503)
    with log.path.open("a") as file:
        file.write(whole[:20])
        file.flush()
        assert log.count(503) == 0
        file.write(whole[20:])
    assert log.count(503) == 1


def test_a_log_that_was_moved_away_is_read_to_its_end_and_its_successor_too(log):
    log.write(200)
    assert log.count(200) == 1
    log.write(200)
    log.path.rename(log.path.with_suffix(".1"))
    log.write(200, 200)
    assert log.count(200) == 4


def test_what_nginx_still_writes_to_the_log_that_is_moved_away_counts(log):
    log.write(200)
    assert log.count(200) == 1
    with log.path.open("a") as still_open:
        log.path.rename(log.path.with_suffix(".1"))
        log.write(200)
        still_open.write(line(200))
        still_open.flush()
        assert log.count(200) == 3
        still_open.write(line(503))
    assert log.count(503) == 1


def test_two_moves_between_two_scrapes_lose_nothing(log):
    log.write(200)
    assert log.count(200) == 1
    for _ in range(2):
        log.write(200)
        log.path.replace(former(log.path))
    log.write(200)
    assert log.count(200) == 4


def test_what_was_written_before_the_start_is_not_new_traffic(log):
    for status in (503, 200):
        log.write(status)
        log.path.replace(former(log.path))
    log.write(200)
    started_anew = Log(log.path)
    assert (started_anew.count(200), started_anew.count(503)) == (0, 0)
    started_anew.write(200, 503)
    assert (started_anew.count(200), started_anew.count(503)) == (1, 1)
    log.path.replace(former(log.path))
    started_anew.write(200)
    assert started_anew.count(200) == 2


def test_logs_that_are_gone_are_not_kept_open(log):
    for _ in range(20):
        log.write(200)
        log.path.replace(former(log.path))
        log.count(200)
    log.count(200)
    assert len(log.counter._followed) <= 2


def test_a_log_that_was_emptied_is_read_from_its_start(log):
    log.write(200, 200)
    assert log.count(200) == 2
    log.path.write_text("")
    assert log.count(200) == 2
    log.write(200)
    assert log.count(200) == 3


def test_a_path_that_is_no_text_is_read_like_any_other(log):
    log.write_bytes(b'{"path":"/v1/tasks/\xff\xc3","status":404}')
    log.write(200)
    assert (log.count(404), log.count(200), log.unread()) == (1, 1, 0)


@pytest.mark.parametrize(
    "broken",
    [b"", b"{", b"[]", b"7", b"{}", b'{"path":"/v1/tasks/gqa","status":}', b'{"path":7,"status":200}', b"\xff\0"],
)
def test_a_line_that_is_broken_costs_itself_alone_and_is_counted(log, broken):
    log.write(200)
    log.write_bytes(broken)
    log.write(503)
    assert (log.count(200), log.count(503), log.unread()) == (1, 1, 1)


def test_a_long_log_is_read_in_blocks_of_one_size(log, monkeypatch):
    monkeypatch.setattr(access_log, "BLOCK_BYTES", 1000)
    log.write(*[200] * 10_000)
    assert log.count(200) == 10_000
    log.write(*[200] * 10_000)
    tracemalloc.start()
    assert log.count(200) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < log.path.stat().st_size / 10
