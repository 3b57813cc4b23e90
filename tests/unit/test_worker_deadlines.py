"""A request's time limit: read from its header, kept by each stage, and nobody else's business."""

import json
import time
from dataclasses import replace
from typing import Any

import pytest

from tests.answers import assert_same_answer
from tests.bundles import make_tiny_bundle
from tests.integration.harness import example
from twelve.assembly import Settings
from twelve.batch import Batch, Row, Span
from twelve.deadlines import Deadline, deadline_of
from twelve.engines.engine import Engine
from twelve.errors import DeadlineExceeded, Malformed
from twelve.service import Service
from twelve.wire import JSON, Call

LIMIT_MS = 60_000


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    bundle = make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny").path
    return Service.open(bundle, Settings(engine="eager", deadline_ms=LIMIT_MS))


def call(task: str, **headers: str) -> Call:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Call(body=example(task), content_type=JSON, headers=named, request_id="r")


def error(reply: Any) -> dict[str, Any]:
    return json.loads(reply.body)["error"]


class Slow:
    """An engine one of whose stages lets a request's time pass."""

    def __init__(self, engine: Engine, stage: str, passing: "Passing") -> None:
        self._engine, self._stage, self._passing = engine, stage, passing

    def __getattr__(self, name: str) -> Any:
        if name == self._stage:
            self._passing.now_s += 10.0
        return getattr(self._engine, name)


class Passing:
    """A clock that is moved on by hand."""

    def __init__(self) -> None:
        self.now_s = time.monotonic()

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize(("sent", "allowed"), [("1", 1), ("5000", 5000), ("999999999", LIMIT_MS)])
def test_a_header_limits_a_request_up_to_the_servers_own_limit(sent: str, allowed: int) -> None:
    assert deadline_of({"x-request-timeout-ms": sent}, 0.0, otherwise_ms=LIMIT_MS) == Deadline(0.0, allowed)


def test_a_request_without_a_limit_has_the_servers_or_none() -> None:
    assert deadline_of({}, 0.0, otherwise_ms=LIMIT_MS).allowed_ms == LIMIT_MS
    Deadline(0.0, None).check("the end of days")
    assert deadline_of({"x-request-timeout-ms": "7"}, 0.0, otherwise_ms=None).allowed_ms == 7


@pytest.mark.parametrize("sent", ["", "0", "-1", "1.5", "1e3", "soon", "٣", "1" * 10])
def test_what_is_no_number_of_milliseconds_is_refused(sent: str) -> None:
    with pytest.raises(Malformed, match="must be a whole number of milliseconds"):
        deadline_of({"x-request-timeout-ms": sent}, 0.0, otherwise_ms=LIMIT_MS)


def test_a_deadline_that_has_passed_says_before_what() -> None:
    with pytest.raises(DeadlineExceeded, match="time, 5 ms, passed before its text was read; allow more"):
        Deadline(time.monotonic() - 1, 5).check("its text was read")


def test_a_request_that_waited_too_long_at_the_proxy_is_not_even_opened(service: Service) -> None:
    late = call("vqa-v2", x_request_timeout_ms="500", x_request_start=f"t={time.time() - 2:.3f}")
    reply = service.answer_calls([late])[0]
    assert (reply.status, error(reply)["code"]) == (504, "deadline")
    assert "before its pictures were opened" in error(reply)["message"]


def test_a_broken_limit_is_its_own_requests_error(service: Service) -> None:
    replies = service.answer_calls([call("vqa-v2", x_request_timeout_ms="soon"), call("gqa")])
    assert [reply.status for reply in replies] == [400, 200]


@pytest.mark.parametrize("stage", ["builder", "text", "regions"])
def test_time_that_passes_in_a_stage_costs_only_whose_limit_it_was(
    service: Service, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    calls = [call("nlvr2"), call("gqa", x_request_timeout_ms="5000"), call("refcoco"), call("vqa-v2")]
    alone = [json.loads(service.answer_calls([one])[0].body) for one in calls]
    clock = Passing()
    monkeypatch.setattr("twelve.deadlines.time.monotonic", clock)
    monkeypatch.setattr(service, "engine", Slow(service.engine, stage, clock))
    replies = service.answer_calls([replace(one, received_s=clock.now_s) for one in calls])
    assert [reply.status for reply in replies] == [200, 504, 200, 200]
    assert "before its texts met its pictures" in error(replies[1])["message"]
    for one, beside in zip(alone[:1] + alone[2:], replies[:1] + replies[2:], strict=True):
        assert_same_answer(one, json.loads(beside.body))


def test_a_narrowed_batch_has_the_rows_of_its_requests_one_after_the_other() -> None:
    rows = [Row(0, 0), Row(0, 1), Row(1, 0), Row(2, 2), Row(2, 1)]
    batch = Batch([], [], rows, [Span(0, 2), Span(2, 3), Span(3, 5)])
    narrowed = batch.narrowed([batch.spans[0], batch.spans[2]])
    assert narrowed.rows == [*rows[:2], *rows[3:]]
    assert narrowed.spans == [Span(0, 2), Span(2, 4)]
