"""NMS, class-wise NMS and RoIAlign against the loops they replace."""

import pytest
import torch
from torch import Tensor

from twelve.boxes import overlaps
from twelve.regions import ops

FP32_NOISE = 1e-4
"""Absolute, on features of size 1: grid_sample and the reference round in another order."""


def random_boxes(count: int, seed: int, side: float = 100.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    centers = torch.rand(count, 2, generator=generator) * side
    halves = torch.rand(count, 2, generator=generator) * side / 5 + 2
    return torch.cat([centers - halves, centers + halves], dim=1).clamp(0, side)


def greedy(boxes: Tensor, scores: Tensor, overlap: float) -> list[int]:
    """Give the textbook loop's answer."""
    kept: list[int] = []
    for index in scores.argsort(descending=True, stable=True).tolist():
        if all(overlaps(boxes[index : index + 1], boxes[other : other + 1]).item() <= overlap for other in kept):
            kept.append(index)
    return kept


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("overlap", [0.2, 0.5, 0.7])
def test_nms_keeps_what_the_greedy_loop_keeps(seed: int, overlap: float) -> None:
    boxes, scores = random_boxes(80, seed), torch.rand(80, generator=torch.Generator().manual_seed(seed))
    index, valid = ops.nms(boxes[None], scores[None], overlap, 80)
    assert index[0][valid[0]].tolist() == greedy(boxes, scores, overlap)


def test_nms_of_a_batch_is_nms_of_each_picture() -> None:
    boxes = torch.stack([random_boxes(40, seed) for seed in range(3)])
    scores = torch.rand(3, 40, generator=torch.Generator().manual_seed(0))
    together = ops.nms(boxes, scores, 0.4, 10)
    for picture in range(3):
        alone = ops.nms(boxes[picture : picture + 1], scores[picture : picture + 1], 0.4, 10)
        assert torch.equal(together[0][picture], alone[0][0])
        assert torch.equal(together[1][picture], alone[1][0])


def test_of_equal_scores_the_first_box_stays() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]]])
    index, valid = ops.nms(boxes, torch.full((1, 3), 0.5), 0.5, 3)
    assert index[0][valid[0]].tolist() == [0, 2]


def test_nms_gives_a_fixed_size_and_marks_what_is_missing() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10]] * 4])
    index, valid = ops.nms(boxes, torch.tensor([[0.1, 0.9, 0.3, 0.2]]), 0.5, 3)
    assert index.shape == (1, 3)
    assert index[0, 0] == 1
    assert valid.tolist() == [[True, False, False]]


@pytest.mark.parametrize("floor", [0.0, 0.3, 0.9, 1.0])
def test_best_scores_are_the_best_that_survive_within_a_class(floor: float) -> None:
    boxes = torch.stack([random_boxes(30, 1), random_boxes(30, 2)])
    scores = torch.rand(2, 30, 5, generator=torch.Generator().manual_seed(3))
    expected = torch.zeros(2, 30)
    for picture in range(2):
        for label in range(5):
            column = scores[picture, :, label]
            for index in greedy(boxes[picture], column, 0.3):
                if column[index] > floor:
                    expected[picture, index] = max(expected[picture, index], column[index])
    assert torch.equal(ops.best_scores(boxes, scores, 0.3, floor), expected)


def aligned(features: Tensor, box: list[float], scale: float, size: int) -> Tensor:
    """Give RoIAlign written out: every sample a bilinear reading between cell centres."""
    height, width = features.shape[1:]
    x1, y1, x2, y2 = (value * scale for value in box)
    bins = torch.zeros(features.shape[0], size, size)
    for row in range(size * 2):
        for column in range(size * 2):
            y = min(max(y1 + (y2 - y1) * (row + 0.5) / (size * 2) - 0.5, 0), height - 1)
            x = min(max(x1 + (x2 - x1) * (column + 0.5) / (size * 2) - 0.5, 0), width - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = features[:, top, left] * (1 - x + left) + features[:, top, right] * (x - left)
            lower = features[:, bottom, left] * (1 - x + left) + features[:, bottom, right] * (x - left)
            bins[:, row // 2, column // 2] += (upper * (1 - y + top) + lower * (y - top)) / 4
    return bins


def test_roi_align_reads_between_the_cells() -> None:
    features = torch.randn(2, 3, 9, 12, generator=torch.Generator().manual_seed(0))
    boxes = torch.stack([random_boxes(6, 4, side=70.0), random_boxes(6, 5, side=70.0)])
    boxes[0, 0] = torch.tensor([0.0, 0.0, 96.0, 72.0])  # the whole picture: samples beyond the outer cell centres
    read = ops.roi_align(features, boxes, 1 / 8, 4)
    for picture in range(2):
        for index in range(6):
            expected = aligned(features[picture], boxes[picture, index].tolist(), 1 / 8, 4)
            assert torch.allclose(read[picture, index], expected, atol=FP32_NOISE)


class Everything(torch.nn.Module):
    """Uses all three, as a detector does."""

    def forward(self, features: Tensor, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        index, valid = ops.nms(boxes, scores[:, :, 0], 0.5, 5)
        return index, valid, ops.best_scores(boxes, scores, 0.5, 0.1), ops.roi_align(features, boxes, 1 / 8, 3)


def example(seed: int, side: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(1, 2, side, side + 2, generator=generator)
    return features, random_boxes(20, seed)[None], torch.rand(1, 20, 3, generator=generator)


def test_a_trace_follows_the_data_and_needs_no_operator_of_ours() -> None:
    traced = torch.jit.trace(Everything(), example(0, 6), check_trace=False)
    assert ops.NAMESPACE not in str(traced.inlined_graph)
    for seed in range(4):
        inputs = example(seed, 6 + seed)
        for ours, expected in zip(traced(*inputs), Everything()(*inputs), strict=True):
            assert torch.equal(ours, expected)


def test_an_export_shows_the_three_operators_and_computes_the_same() -> None:
    program = torch.export.export(Everything(), example(0, 6))
    targets = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert {f"{ops.NAMESPACE}.{name}.default" for name in ("nms", "best_scores", "roi_align")} <= targets
    for ours, expected in zip(program.module()(*example(1, 6)), Everything()(*example(1, 6)), strict=True):
        assert torch.equal(ours, expected)
