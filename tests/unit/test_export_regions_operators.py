"""The detectors' operators in ONNX, beside the same in torch."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from export import to_onnx
from twelve.engines.graphs import Graph
from twelve.regions import ops
from twelve.runtimes import Runtime

FP32_NOISE = 1e-5
"""Absolute, on features of size 1: onnxruntime sums samples in another order."""

BOXES, CLASSES = 40, 9
DYNAMIC = {"features": {2: "height", 3: "width"}, "boxes": {}, "scores": {}}
CHOSEN = ("nms_index", "nms_valid", "few_index", "few_valid", "widened_index", "widened_valid")
BY_CLASS = ("best", "class_score", "class", "wide_score", "wide_class")
READ = ("aligned", "legacy", "levels", "legacy_levels", "pooled")
OUTPUTS = CHOSEN + BY_CLASS + READ


class Everything(nn.Module):
    """Uses all operations in all their ways."""

    def forward(self, features: Tensor, boxes: Tensor, scores: Tensor) -> tuple[Tensor, ...]:
        halved = F.avg_pool2d(features, 2)
        maps, scales = [features, halved, halved * 2], [1 / 8, 1 / 16, 1 / 16]
        levels = (boxes[..., 2] - boxes[..., 0] > 30).long() * 2  # none on the level between
        return (
            *named(ops.nms(boxes, scores[:, :, 0], 0.3, 12)),
            *named(ops.nms(boxes, scores[:, :, 0], 0.0, BOXES)),  # fewer are left than are wanted
            *named(ops.nms(boxes, scores[:, :, 1], 0.3, 12, 1.0)),
            ops.best_scores(boxes, scores, 0.5, 0.1),
            *ops.best_classes(boxes, scores, 0.3, 6),
            *ops.best_classes(boxes, scores, 0.3, BOXES, 1.0),
            ops.roi_align(features, boxes, 1 / 8, 3),
            ops.roi_align(features, boxes, 1 / 8, 3, 3, False),
            ops.roi_align_levels(maps, boxes, scales, levels, 3),
            ops.roi_align_levels(maps, boxes, scales, levels, 3, 1, False),
            ops.roi_pool(features, boxes, 1 / 8, 4),
        )


def named(chosen: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Leave out which boxes the invalid rows name: it means nothing."""
    index, valid = chosen
    return index * valid, valid


def example(seed: int, height: int, width: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    reach = torch.tensor([8.0 * width, 8.0 * height])
    centers = torch.rand(BOXES, 2, generator=generator) * reach
    halves = torch.rand(BOXES, 2, generator=generator) * reach / 4 + 1
    first, last = (centers - halves).clamp(min=0), torch.minimum(centers + halves, reach)
    first[0], last[0] = torch.zeros(2), reach  # the whole picture
    first[1], last[1] = reach - 0.5, reach  # a sliver at its far corner
    scores = torch.randn(1, BOXES, CLASSES, generator=generator).mul(2).softmax(dim=2)
    scores[:, 2:5] = 0  # no boxes at all
    features = torch.randn(1, 3, height, width, generator=generator)
    return {"features": features, "boxes": torch.cat([first, last], dim=1)[None], "scores": scores}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    path = tmp_path_factory.mktemp("operators") / "everything.onnx"
    graph = Graph("everything", Everything(), tuple(DYNAMIC), OUTPUTS, example(0, 8, 12), DYNAMIC)
    to_onnx.write(graph, path)
    return to_onnx.reopen(graph, path)


@pytest.mark.parametrize("seed", range(6))
def test_onnxruntime_computes_what_the_operators_compute_on_maps_of_any_size(written: Runtime, seed: int) -> None:
    inputs = example(seed, 6 + 2 * seed, 21 - 3 * seed)
    got = written.run(**inputs)
    for name, expected in zip(OUTPUTS, Everything()(**inputs), strict=True):
        assert got[name].shape == expected.shape, name
        assert got[name].dtype == expected.dtype, name
        assert torch.allclose(got[name].double(), expected.double(), atol=FP32_NOISE), name


def test_ties_fall_to_the_first_box_and_the_first_class_in_onnxruntime_as_well(written: Runtime) -> None:
    inputs = example(7, 8, 12)
    inputs["scores"] = (inputs["scores"] * 4).floor() / 4
    got = written.run(**inputs)
    expected = dict(zip(OUTPUTS, Everything()(**inputs), strict=True))
    assert all(torch.equal(got[name], expected[name]) for name in CHOSEN + BY_CLASS)


def test_the_file_names_no_operator_of_ours(written: Runtime, tmp_path: Path) -> None:
    path = tmp_path / "everything.onnx"
    to_onnx.write(Graph("everything", Everything(), tuple(DYNAMIC), OUTPUTS, example(0, 8, 12), DYNAMIC), path)
    assert ops.NAMESPACE.encode() not in path.read_bytes()
