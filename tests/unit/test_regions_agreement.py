"""What the benchmark of agreement calls a near-tie, and what a fault."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
import typer
from torch import Tensor
from typer.testing import CliRunner

from benchmarks import regions_agreement as agreement

CORNERS = torch.tensor([[0.0, 0, 9, 9], [5, 5, 20, 20], [30, 30, 40, 44], [50, 2, 70, 30]])


def answer(regions: Sequence[int], *, turned: int | None = None) -> dict[str, Tensor]:
    order = list(regions)
    features, labels = torch.eye(4)[order], torch.arange(4)[order]
    found = {"boxes": CORNERS[order], "features": features, "labels": labels, "count": torch.tensor(len(order))}
    return found if turned is None else found | {"labels": torch.where(labels == turned, 9, labels)}


class Unasked:
    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        raise AssertionError("eager was asked again")


def test_regions_in_another_order_are_equal_and_eager_is_not_asked_again():
    assert agreement.judged(answer([0, 1, 2]), answer([2, 0, 1]), Unasked()) == agreement.EQUAL


def test_a_region_that_eager_loses_as_well_is_a_near_tie():
    assert agreement.judged(answer([0, 1, 2]), answer([0, 1]), [answer([0, 1, 2]), answer([1, 0])]) == agreement.TIED


def test_a_region_in_the_place_of_another_is_a_near_tie_where_eager_has_both():
    again = [answer([0, 1, 3]), answer([0, 1, 2])]
    assert agreement.judged(answer([0, 1, 2]), answer([0, 1, 3]), again) == agreement.TIED


def test_two_near_ties_may_turn_in_answers_of_their_own():
    again = [answer([1, 2, 3]), answer([0, 2, 3])]
    assert agreement.judged(answer([0, 1, 2]), answer([2, 3]), again) == agreement.TIED


@pytest.mark.parametrize(
    ("got", "again"),
    [
        pytest.param(answer([0, 1]), [answer([0, 1, 2])] * 3, id="a region that eager never loses"),
        pytest.param(answer([0, 1, 2, 3]), [answer([0, 1, 2])] * 3, id="a region that eager never has"),
        pytest.param(answer([0, 1, 3]), [answer([0, 1])] * 3, id="one lost as eager loses it, for one it never has"),
        pytest.param(answer([0, 1, 2], turned=1), [answer([0, 1, 2])] * 3, id="another label"),
        pytest.param(answer([0, 1, 2, 2]), [], id="a region twice"),
        pytest.param(answer([]), [answer([0, 1, 2])], id="nothing"),
    ],
)
def test_anything_else_is_wrong(got, again):
    assert agreement.judged(answer([0, 1, 2]), got, again) == agreement.WRONG


def test_a_label_that_turns_for_eager_as_well_is_a_near_tie():
    again = [answer([0, 1, 2], turned=1)]
    assert agreement.judged(answer([0, 1, 2]), answer([0, 1, 2], turned=1), again) == agreement.TIED


def test_a_feature_that_points_elsewhere_is_wrong_whatever_eagers_do():
    got = answer([0, 1, 2])
    got["features"] = got["features"] + 0.02
    assert agreement.judged(answer([0, 1, 2]), got, [got]) == agreement.WRONG


def test_eagers_features_may_move_where_its_picture_does():
    moved = answer([0, 1])
    moved["features"] = moved["features"] + 0.02
    assert agreement.judged(answer([0, 1, 2]), answer([0, 1]), [moved]) == agreement.TIED


def test_two_empty_answers_are_equal():
    assert agreement.judged(answer([]), answer([]), Unasked()) == agreement.EQUAL


def test_a_moved_picture_is_asked_about_once_however_many_look():
    asked: list[Tensor] = []

    def ask(image: Tensor) -> dict[str, Tensor]:
        asked.append(image)
        return answer([0])

    image = torch.full((3, 4, 4), 100.0)
    again = agreement.Moved(image, ask, torch.Generator().manual_seed(0))
    assert len(list(again)) == len(list(again)) == len(asked) == agreement.ASKED_AGAIN
    furthest = max(float((other - image).abs().max()) for other in asked)
    assert 0 < furthest <= agreement.MOVED * 1.01  # a float32 near 100 is 8e-6 from the next
    assert len({float(other.sum()) for other in asked}) > 1


@pytest.fixture
def asked_about_three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Run the benchmark on a detector that finds three regions, against an engine that finds what it is told to."""

    def run(found: Sequence[int], *, lighter: Sequence[int] = (0, 1, 3)) -> tuple[int, dict]:
        eager, engine = _Finds([0, 1, 2], lighter=lighter), _Finds(found, lighter=found)
        monkeypatch.setattr(agreement, "picture", lambda height, width: torch.zeros(3, 4, 4))
        monkeypatch.setattr(agreement, "open_detector", lambda folder: None)
        monkeypatch.setattr(agreement, "detector_graph", lambda detector, draws: _Graph())
        monkeypatch.setattr(agreement, "ModuleRuntime", lambda module, **names: eager)
        monkeypatch.setattr(agreement, "opened", lambda graph, work: {"engine": engine})
        report = tmp_path / "agreement.json"
        ran = CliRunner().invoke(_app(), ["any", "--pictures", "3", "--to", str(report)])
        return ran.exit_code, json.loads(report.read_text())["presets"]["any"]["engines"]

    return run


def test_the_benchmark_fails_for_a_wrong_picture_and_counts_its_regions(asked_about_three):
    code, engines = asked_about_three([0, 1])
    assert code == 1
    assert engines["engine"]["pictures"] == {"equal": 0, "tied": 0, "wrong": 3}
    assert (engines["engine"]["regions"], engines["engine"]["regions_unlike"]) == (9, 3)


def test_the_benchmark_passes_where_all_agree_and_its_rule_calls_another_picture_wrong(asked_about_three):
    code, engines = asked_about_three([2, 1, 0])
    assert code == 0
    assert engines["engine"]["pictures"] == {"equal": 3, "tied": 0, "wrong": 0}
    assert engines[agreement.CONTROL]["pictures"] == {"equal": 0, "tied": 0, "wrong": 1}


def test_the_benchmark_fails_where_its_rule_takes_another_picture_for_the_same(asked_about_three):
    assert asked_about_three([0, 1, 2], lighter=[0, 1, 2])[0] == 1


class _Graph:
    module, inputs, outputs = None, (), ()


class _Finds:
    """Finds regions, others where a picture is a grey step lighter."""

    def __init__(self, found: Sequence[int], *, lighter: Sequence[int]) -> None:
        self._found, self._lighter = answer(found), answer(lighter)

    def run(self, *, image: Tensor, given: Tensor) -> dict[str, Tensor]:
        return self._lighter if image.mean() > agreement.LIGHTER / 2 else self._found


def _app() -> typer.Typer:
    app = typer.Typer()
    app.command()(agreement.main)
    return app
