"""When two engines answer alike."""

from typing import Any

import pytest

from export.agreement import Tally, Verdict, judge


def answer(*candidates: tuple[Any, float]) -> dict[str, Any]:
    return {"answer": candidates[0][0], "candidates": [{"answer": one, "score": score} for one, score in candidates]}


REFERENCE = answer(("red", 0.70005), ("blue", 0.7), ("green", 0.2))


@pytest.mark.parametrize(
    ("other", "verdict"),
    [
        (answer(("red", 0.6)), Verdict.SAME),
        (answer(("blue", 0.70003)), Verdict.TIED),
        (answer(("green", 0.9)), Verdict.DIFFERENT),
        (answer(("pink", 0.9)), Verdict.DIFFERENT),
    ],
)
def test_an_answer_differs_unless_it_was_as_good_as_best(other: dict[str, Any], verdict: Verdict) -> None:
    assert judge(REFERENCE, other) is verdict


@pytest.mark.parametrize(("side", "verdict"), [(40.01, Verdict.SAME), (41.0, Verdict.DIFFERENT)])
def test_boxes_are_the_same_to_a_fraction_of_a_pixel(side: float, verdict: Verdict) -> None:
    box = [1.0, 2.0, 30.0, 40.0]
    assert judge(answer((box, 0.9)), answer(([*box[:3], side], 0.9))) is verdict


def test_a_tally_keeps_the_lines_that_differ_and_the_largest_gap() -> None:
    tally = Tally()
    tally.add(1, REFERENCE, answer(("red", 0.70006)))
    tally.add(2, REFERENCE, answer(("green", 0.7)))
    assert tally.verdicts == {Verdict.SAME: 1, Verdict.TIED: 0, Verdict.DIFFERENT: 1}
    assert tally.different == [2]
    assert tally.score_gap == pytest.approx(1e-5)
