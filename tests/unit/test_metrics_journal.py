"""A worker's log: one line of JSON for what failed or was slow, which names the request."""

import json
import logging

import pytest

from twelve.journal import SLOW_S, Journal, JsonLines, trace_of
from twelve.observer import Done

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def written(caplog):
    """Give what the log holds, a mapping a line."""
    lines = JsonLines()
    return lambda: [json.loads(lines.format(record)) for record in caplog.records]


def done(code: str = "ok", seconds: float = 0.01, **headers: str) -> Done:
    return Done("nlvr2", code, "r-1", headers, 100.0, 100.0 + seconds)


def test_what_went_well_leaves_no_line(written):
    Journal().request(done(seconds=SLOW_S - 0.001))
    assert written() == []


@pytest.mark.parametrize(("code", "seconds", "said"), [("engine-failed", 0.25, "failed"), ("ok", SLOW_S + 0.5, "slow")])
def test_what_failed_or_was_slow_is_named(written, code, seconds, said):
    Journal().request(done(code, seconds))
    (line,) = written()
    del line["at"]
    named = {"request": "r-1", "task": "nlvr2", "code": code, "seconds": seconds}
    assert line == {"level": "warning", "message": said, **named}


def test_a_line_names_the_trace(written):
    Journal().request(done("engine-failed", traceparent=TRACEPARENT))
    assert written()[0]["trace"] == "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize("header", ["", "00", "nonsense", "a-<b>-c-d", TRACEPARENT[1:], f"{TRACEPARENT}x"])
def test_a_trace_that_is_none_is_left_out(written, header):
    Journal().request(done("engine-failed", traceparent=header))
    assert "trace" not in written()[0]


def test_whatever_is_logged_during_a_batch_names_its_requests():
    lines, record = JsonLines(), logging.makeLogRecord({"msg": "a batch of %d failed", "args": (2,)})
    with lines.during(["a", "b"]):
        assert json.loads(lines.format(record))["requests"] == ["a", "b"]
    assert json.loads(lines.format(record))["requests"] == []


def test_whatever_is_logged_during_a_batch_names_its_traces():
    lines, record = JsonLines(), logging.makeLogRecord({"msg": "a batch failed"})
    traces = [trace_of({}), trace_of({"traceparent": TRACEPARENT})]
    with lines.during(["a", "b"], traces):
        assert json.loads(lines.format(record))["traces"] == ["4bf92f3577b34da6a3ce929d0e0e4736"]
    assert "traces" not in json.loads(lines.format(record))


def test_a_line_is_one_line_of_ascii_whatever_an_error_says():
    try:
        raise ValueError("naïve\r\n[METRICS]")
    except ValueError as error:
        told = (ValueError, error, error.__traceback__)
    line = JsonLines().format(logging.makeLogRecord({"msg": "a stage failed\n", "exc_info": told}))
    assert line.isascii()
    assert line.isprintable()
    assert "naïve" in json.loads(line)["exception"]
