"""The proof of overload judges what it says it judges."""

from typing import Any

import pytest

from benchmarks.crowd import Question
from benchmarks.overload import LOST, Outcome, Phase, broken_bounds, recovered_after_s, status_of, summary
from benchmarks.wires import Reply

SECONDS = 10


def phase(name: str, *outcomes: Outcome) -> Phase:
    return Phase(name, list(outcomes), float(SECONDS))


def answers(per_s: int, seconds: float = 0.01) -> list[Outcome]:
    return [Outcome(place / per_s, seconds, 200) for place in range(per_s * SECONDS)]


def refusals(per_s: int, seconds: float = 0.01, *, retry_after: bool = True) -> list[Outcome]:
    return [Outcome(place / per_s, seconds, 429, retry_after) for place in range(per_s * SECONDS)]


def done(over: list[Outcome], after: list[Outcome] | None = None) -> dict[str, Any]:
    peak, normal = phase("peak", *answers(10)), phase("normal", *answers(5))
    return summary(peak, normal, phase("overload", *over), phase("after", *(after or answers(5))), peak)


def test_a_run_that_answers_as_many_and_refuses_the_rest_breaks_no_bound() -> None:
    assert broken_bounds(done([*answers(10), *refusals(90)])) == []


@pytest.mark.parametrize(
    ("over", "word"),
    [
        ([*answers(8), *refusals(92)], "goodput"),
        ([*answers(10, seconds=11), *refusals(90)], "goodput"),
        ([*answers(10), *refusals(50)], "offered"),
        (answers(100), "refusals: none"),
        ([*answers(10), *refusals(90, seconds=0.2)], "refusals: p99"),
        ([*answers(10), *refusals(90, retry_after=False)], "Retry-After"),
        ([*answers(10), *refusals(90), Outcome(1.0, 0.1, 503)], "neither"),
        ([*answers(10), *refusals(90), Outcome(1.0, 0.1, LOST)], "neither"),
    ],
)
def test_each_fault_of_an_overloaded_server_breaks_its_bound(over: list[Outcome], word: str) -> None:
    assert any(word in sentence for sentence in broken_bounds(done(over)))


def test_recovery_is_the_second_from_which_on_all_is_as_before() -> None:
    normal, slow = phase("normal", *answers(5)), [Outcome(1.5, 0.5, 200)] * 9
    assert recovered_after_s(normal, phase("after", *answers(5))) == 0
    assert recovered_after_s(normal, phase("after", *answers(5), *slow)) == 2
    assert recovered_after_s(normal, phase("after", *answers(5), Outcome(6.5, 0.01, 429))) == 7
    assert recovered_after_s(normal, phase("after", *answers(5, seconds=1.0))) is None


def test_a_server_that_stays_slow_breaks_the_bound_of_recovery() -> None:
    late = done([*answers(10), *refusals(90)], [*answers(5), Outcome(6.5, 0.01, 429)])
    assert broken_bounds(late) == ["normal again after 7 s, at most 5"]


def test_an_answer_about_another_picture_is_lost() -> None:
    question = Question(b"{}", {"images": ["sha256:1"]})
    assert status_of(question, Reply(200, {}, b'{"images": ["sha256:1"]}')) == 200
    assert status_of(question, Reply(200, {}, b'{"images": ["sha256:2"]}')) == LOST
    assert status_of(question, Reply(429, {}, b"{}")) == 429
