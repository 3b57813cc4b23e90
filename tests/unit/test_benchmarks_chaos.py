"""The proof under fire judges what it says it judges: each kind of bad reply breaks a bound."""

import json
from typing import Any

import pytest

from benchmarks.chaos import GRACE_S, Ask, Tally, broken_bounds, summary
from benchmarks.crowd import Came, Question, judged
from benchmarks.wires import Reply

ANSWER = {
    "task": "vqa-v2",
    "answer": "red",
    "candidates": [{"answer": "red", "score": 0.9}, {"answer": "blue", "score": 0.1}],
    "images": ["sha256:1"],
}
QUESTION = Question(b"{}", ANSWER)
ASK = Ask("chaos-0", QUESTION, 1000, "key")
LINE = {"request": "chaos-0", "upstream_status": "200"}


def said(**changes: Any) -> bytes:
    return json.dumps({**ANSWER, **changes}).encode()


def reply(body: bytes = said(), status: int = 200, name: str = "chaos-0") -> Reply:
    return Reply(status, {"x-request-id": name}, body)


def done(tally: Tally, *, lines: int = 1) -> dict[str, Any]:
    tally.seconds.append(0.1)
    return {**summary([ASK], tally, [LINE] * lines), "workers_killed": 1}


@pytest.mark.parametrize(
    ("status", "body", "came"),
    [
        (200, said(), Came.RIGHT),
        (200, said(candidates=ANSWER["candidates"][::-1]), Came.RIGHT),
        (200, said(answer="blue"), Came.WRONG),
        (200, said(candidates=[{"answer": "red", "score": 0.8}, {"answer": "blue", "score": 0.1}]), Came.WRONG),
        (200, said(candidates=[{"answer": "red", "score": 0.9}]), Came.WRONG),
        (200, said(images=["sha256:2"]), Came.CROSSED),
        (200, said(task="gqa"), Came.CROSSED),
        (504, b'{"error": {"code": "deadline"}}', Came.TYPED),
        (500, b'{"code": 500, "message": "Worker died."}', Came.UNTYPED),
        (502, b"<html>Bad Gateway</html>", Came.UNTYPED),
    ],
)
def test_a_reply_is_what_its_body_and_status_make_it(status: int, body: bytes, came: Came) -> None:
    assert judged(QUESTION, status, body)[0] is came


def test_a_right_answer_in_time_breaks_no_bound() -> None:
    tally = Tally()
    tally.reply(ASK, reply(), 0.1)
    assert broken_bounds(done(tally)) == []


@pytest.mark.parametrize(
    ("bad", "seconds"),
    [
        (reply(said(answer="blue")), 0.1),
        (reply(said(images=["sha256:2"])), 0.1),
        (reply(b"Worker died.", 500), 0.1),
        (reply(name="chaos-1"), 0.1),
        (reply(), 1 + 2 * GRACE_S),
    ],
    ids=["wrong", "crossed", "untyped", "misnamed", "late"],
)
def test_one_bad_reply_breaks_a_bound(bad: Reply, seconds: float) -> None:
    tally = Tally()
    tally.reply(ASK, bad, seconds)
    assert broken_bounds(done(tally))


@pytest.mark.parametrize("came", [Came.HUNG, Came.BROKEN])
def test_a_request_without_a_reply_breaks_a_bound(came: Came) -> None:
    tally = Tally()
    tally.note(came, "")
    assert any(came.value in sentence for sentence in broken_bounds(done(tally)))


@pytest.mark.parametrize("lines", [0, 2])
def test_a_request_has_one_line_in_the_log(lines: int) -> None:
    tally = Tally()
    tally.reply(ASK, reply(), 0.1)
    assert broken_bounds(done(tally, lines=lines))


def test_typed_errors_alone_are_not_enough() -> None:
    tally = Tally()
    tally.reply(ASK, reply(b'{"error": {"code": "deadline"}}', 504), 0.1)
    assert broken_bounds(done(tally)) == ["right: 0.0%, must be 95%"]


def test_a_request_that_never_ended_breaks_a_bound() -> None:
    assert "of 1 requests 0 ended, must be all" in broken_bounds(done(Tally()))
