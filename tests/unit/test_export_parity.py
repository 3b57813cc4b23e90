"""What makes an exported file unfit, and what it is tried on."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from export.exportable import LIMIT, Exportable
from export.parity import Mismatch, difference, measure
from export.to_regions import detector_exportable, matched, tied_out
from export.trials import model_exportables
from tests.bundles import tiny_detector
from twelve.engines.graphs import Graph
from twelve.heads.model import TwelveModel
from twelve.model.config import ModelConfig
from twelve.regions.detector import LEAST_GIVEN
from twelve.runtimes.module import ModuleRuntime


def double_of(trial: Tensor) -> Exportable:
    graph = Graph("double", Factor(2.0), ("x",), ("y",), {"x": torch.ones(2)}, {"x": {0: "n"}})
    return Exportable(graph, ({"x": trial},))


class Factor(nn.Module):
    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, x: Tensor) -> Tensor:
        return x * self.by


def runtime(by: float) -> ModuleRuntime:
    return ModuleRuntime(Factor(by), inputs=("x",), outputs=("y",))


def test_a_file_that_computes_almost_the_same_passes_with_its_figures() -> None:
    parity = measure(double_of(torch.tensor([1.0, -3.0])), runtime(2.0 + LIMIT), name="double.onnx")
    assert parity.trials == 1
    assert parity.worst == pytest.approx(LIMIT / 2, rel=0.01)


def test_a_deep_net_may_be_given_a_wider_limit() -> None:
    deep = replace(double_of(torch.tensor([1.0, -3.0])), limit=1e-3)
    assert measure(deep, runtime(2.001), name="double.onnx").worst > LIMIT
    with pytest.raises(Mismatch, match="at most 1e-03 is served"):
        measure(deep, runtime(2.01), name="double.onnx")


@pytest.mark.parametrize("by", [2.001, float("nan"), float("inf")])
def test_a_file_that_computes_something_else_is_refused(by: float) -> None:
    with pytest.raises(Mismatch, match=r"double\.onnx: output 'y' differs .* on x \(2,\); at most 1e-04 is served"):
        measure(double_of(torch.tensor([1.0, -3.0])), runtime(by), name="double.onnx")


@pytest.mark.parametrize(
    "other", [torch.tensor([1, 3]), torch.tensor([1]), torch.tensor([1.0, 2.0])], ids=["number", "shape", "type"]
)
def test_whole_numbers_shapes_and_types_must_be_equal(other: Tensor) -> None:
    assert difference(torch.tensor([1, 2]), torch.tensor([1, 2])) == 0
    assert difference(torch.tensor([1, 2]), other) == float("inf")


def found(order: list[int]) -> dict[str, Tensor]:
    boxes = torch.tensor([[0.0, 0, 9, 9], [5, 5, 20, 20], [30, 30, 40, 44]])[order]
    padded = torch.cat([boxes, torch.zeros(1, 4)])
    return {
        "boxes": padded,
        "features": padded * 3,
        "scores": padded[:, 3],
        "labels": padded[:, 0].long(),
        "count": torch.tensor(3),
    }


def test_regions_found_in_another_order_are_laid_side_by_side() -> None:
    expected = found([0, 1, 2])
    laid = matched(expected, found([2, 0, 1]))
    assert all(torch.equal(laid[name], expected[name]) for name in expected)


def test_another_count_of_regions_is_left_as_it_is() -> None:
    fewer = {**found([2, 0, 1]), "count": torch.tensor(2)}
    assert matched(found([0, 1, 2]), fewer) is fewer


def full(rows: list[int], scores: list[float]) -> dict[str, Tensor]:
    places = torch.tensor([[0.0, 0, 9, 9], [5, 5, 20, 20], [30, 30, 40, 44], [60, 60, 80, 88]])
    boxes = places[rows]
    return {
        "boxes": boxes,
        "features": boxes * 3,
        "scores": torch.tensor(scores),
        "labels": torch.tensor(rows),
        "count": torch.tensor(len(rows)),
    }


def test_a_region_that_a_tie_left_out_of_a_full_answer_is_excused() -> None:
    expected, got = full([0, 1, 2], [0.9, 0.8, 0.7]), full([1, 0, 3], [0.9, 0.8, 0.70002])
    assert tied_out(expected, got).tolist() == [False, False, True]
    assert torch.equal(matched(expected, got)["labels"], expected["labels"])


def test_a_region_that_is_lost_without_a_tie_is_not_excused() -> None:
    expected, got = full([0, 1, 2], [0.9, 0.8, 0.7]), full([0, 3, 2], [0.9, 0.8, 0.7])
    assert not bool(tied_out(expected, got).any())
    assert matched(expected, got) is got


def test_an_answer_that_is_not_full_has_no_last_place_to_tie_for() -> None:
    other = found([0, 1, 2])
    other["boxes"] = other["boxes"].clone()
    other["boxes"][0] += 90
    assert not bool(tied_out(found([0, 1, 2]), other).any())


def test_the_detector_is_tried_on_pictures_of_other_sizes_with_things_in_them() -> None:
    torch.manual_seed(0)
    exportable = detector_exportable(tiny_detector())
    sizes = {tuple(trial["image"].shape) for trial in exportable.trials}
    assert len(sizes) >= 4
    assert tuple(exportable.graph.example["image"].shape) not in sizes
    assert {len(trial["given"]) for trial in exportable.trials} == set(range(LEAST_GIVEN, 8))
    assert all(int(exportable.graph.module(**trial).count) > 0 for trial in exportable.trials)


def test_the_model_is_tried_on_one_row_on_padding_and_on_the_longest_text() -> None:
    config = ModelConfig.tiny()
    text, regions, fuse, *heads = model_exportables(TwelveModel(config).eval())
    assert 1 in {len(trial["token_ids"]) for trial in text.trials}
    assert config.max_position_embeddings in {trial["token_ids"].shape[1] for trial in text.trials}
    assert all(trial["text_mask"].shape[1] == trial["token_ids"].shape[1] + 1 for trial in text.trials)
    assert any(not bool(trial["region_mask"].all()) for trial in fuse.trials)
    assert all(bool(trial["text_mask"].any(dim=1).all()) for trial in fuse.trials)
    for exportable in (text, regions, fuse, *heads):
        traced = {name: tensor.shape for name, tensor in exportable.graph.example.items()}
        assert all({name: tensor.shape for name, tensor in trial.items()} != traced for trial in exportable.trials)


def test_a_model_without_task_tokens_has_as_many_tokens_as_pieces() -> None:
    config = replace(ModelConfig.tiny(), task_specific_tokens=False)
    text = model_exportables(TwelveModel(config).eval())[0]
    assert all(trial["text_mask"].shape == trial["token_ids"].shape for trial in text.trials)
