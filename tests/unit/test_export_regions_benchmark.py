"""What the detectors' benchmark says of two engines' answers, and what its report keeps."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from benchmarks import regions
from tests.bundles import tiny_detector


def answer(order: list[int], *, moved_px: float = 0.0) -> dict[str, Tensor]:
    boxes = torch.tensor([[0.0, 0, 9, 9], [5, 5, 20, 20], [30, 30, 40, 44]])[order]
    boxes[0] += moved_px
    features = torch.eye(3)[order]
    labels, scores = torch.tensor([4, 5, 6])[order], torch.tensor([0.9, 0.8, 0.7])[order]
    found = {"boxes": boxes, "features": features, "scores": scores, "labels": labels}
    return {**found, "count": torch.tensor(3), "given_features": torch.ones(2, 3)}


def test_another_order_is_full_agreement() -> None:
    agreed = regions.agreement(answer([0, 1, 2]), answer([2, 0, 1]))
    assert (agreed["boxes_matched"], agreed["labels_equal"], agreed["least_cosine"]) == (1, 1, pytest.approx(1))


def test_a_box_that_moved_is_not_matched() -> None:
    agreed = regions.agreement(answer([0, 1, 2]), answer([0, 1, 2], moved_px=0.6))
    assert agreed["boxes_matched"] == pytest.approx(2 / 3, abs=1e-3)
    assert agreed["labels_equal"] == 1


def test_a_box_that_moved_less_is_matched_and_its_way_told() -> None:
    agreed = regions.agreement(answer([0, 1, 2]), answer([2, 0, 1], moved_px=0.4))
    assert agreed["boxes_matched"] == 1
    assert agreed["largest_px"] == pytest.approx(0.4, abs=1e-3)


def test_one_box_that_is_missing_costs_itself_only() -> None:
    fewer = answer([2, 1, 0]) | {"count": torch.tensor(2)}
    agreed = regions.agreement(answer([0, 1, 2]), fewer)
    assert (agreed["regions"], agreed["regions_got"]) == (3, 2)
    assert agreed["boxes_matched"] == pytest.approx(2 / 3, abs=1e-3)


def test_where_no_box_has_its_like_none_of_them_agrees() -> None:
    elsewhere = answer([0, 1, 2])
    elsewhere["boxes"] = elsewhere["boxes"] + 50
    agreed = regions.agreement(answer([0, 1, 2]), elsewhere)
    assert (agreed["boxes_matched"], agreed["labels_equal"], agreed["largest_px"]) == (0, None, None)


def test_an_engine_that_finds_nothing_agrees_on_nothing() -> None:
    agreed = regions.agreement(answer([0, 1, 2]), answer([0, 1, 2]) | {"count": torch.tensor(0)})
    assert (agreed["regions_got"], agreed["boxes_matched"], agreed["labels_equal"]) == (0, 0, None)


def test_one_box_is_the_like_of_one_alone() -> None:
    twice = answer([0, 0, 2])
    assert regions.agreement(twice, answer([0, 1, 2]))["boxes_matched"] == pytest.approx(2 / 3, abs=1e-3)


def test_the_report_keeps_other_presets_and_every_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "SIZES", ((64, 96), (96, 64)))
    monkeypatch.setattr(regions, "TIMED", ((96, 64),))
    tiny_detector().save(tmp_path / "detector")
    report = tmp_path / "report.json"
    report.write_text('{"presets": {"x152-fpn": {"threads": 1}}}')
    app = regions.typer.Typer()
    app.command()(regions.main)
    given = ["tiny", "--to", str(report), "--work", str(tmp_path / "work"), "--rounds", "3"]
    done = CliRunner().invoke(app, [*given, "--folder", str(tmp_path / "detector")])
    assert done.exit_code == 0, done.output
    presets = json.loads(report.read_text())["presets"]
    assert presets["x152-fpn"] == {"threads": 1}
    engines = presets["tiny"]["engines"]
    assert set(engines) == {"eager", "torchscript", "onnxruntime", "int8"}
    assert engines["onnxruntime"]["agreement"]["64x96"]["boxes_matched"] == 1
    assert set(engines["int8"]["rounds"]) == {"96x64"}
    of_rounds = engines["int8"]["rounds"]["96x64"]
    assert len(of_rounds) == 3
    assert engines["int8"]["cpu_s"]["96x64"] == sorted(of_rounds)[1]
