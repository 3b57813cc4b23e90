"""NMS, class-wise NMS, RoIAlign and RoIPool against the loops they replace."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from twelve.regions import ops
from twelve.regions.ops import suppression

FP32_NOISE = 1e-4
"""Absolute, on features of size 1: grid_sample and the reference round in another order."""


def random_boxes(count: int, seed: int, side: float = 100.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    centers = torch.rand(count, 2, generator=generator) * side
    halves = torch.rand(count, 2, generator=generator) * side / 5 + 2
    return torch.cat([centers - halves, centers + halves], dim=1).clamp(0, side)


def plain_overlap(one: list[float], other: list[float], offset: float) -> float:
    """Give intersection over union with sides that are `offset` longer than the corners say."""
    across = min(one[2], other[2]) - max(one[0], other[0]) + offset
    down = min(one[3], other[3]) - max(one[1], other[1]) + offset
    shared = max(across, 0.0) * max(down, 0.0)
    areas = sum((box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (one, other))
    return shared / max(areas - shared, 1e-9)


def greedy(boxes: Tensor, scores: Tensor, overlap: float, offset: float = 0.0) -> list[int]:
    """Give the textbook loop's answer."""
    corners = boxes.tolist()
    kept: list[int] = []
    for index in scores.argsort(descending=True, stable=True).tolist():
        if all(plain_overlap(corners[index], corners[other], offset) <= overlap for other in kept):
            kept.append(index)
    return kept


def naive_classes(boxes: Tensor, scores: Tensor, overlap: float, offset: float = 0.0) -> tuple[Tensor, Tensor]:
    """Give each box's best surviving score and its class: one NMS a class, one box after the other."""
    corners = boxes.tolist()
    near = [[i for i, other in enumerate(corners) if plain_overlap(one, other, offset) > overlap] for one in corners]
    left = torch.zeros_like(scores)
    for label in range(scores.shape[1]):
        column = scores[:, label]
        struck: set[int] = set()
        for index in column.argsort(descending=True, stable=True).tolist():
            if index not in struck:
                left[index, label] = column[index]
                struck.update(near[index])
    return left.amax(dim=1), left.argmax(dim=1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("overlap", [0.2, 0.5, 0.7])
def test_nms_keeps_what_the_greedy_loop_keeps(seed: int, overlap: float) -> None:
    boxes, scores = random_boxes(80, seed), torch.rand(80, generator=torch.Generator().manual_seed(seed))
    index, valid = ops.nms(boxes[None], scores[None], overlap, 80)
    assert index[0][valid[0]].tolist() == greedy(boxes, scores, overlap)


@pytest.mark.parametrize("seed", [0, 3, 4])
def test_nms_with_an_offset_counts_the_last_pixel_as_part_of_the_box(seed: int) -> None:
    boxes, scores = random_boxes(80, seed).round(), torch.rand(80, generator=torch.Generator().manual_seed(seed))
    index, valid = ops.nms(boxes[None], scores[None], 0.3, 80, 1.0)
    assert index[0][valid[0]].tolist() == greedy(boxes, scores, 0.3, 1.0)
    assert index[0][valid[0]].tolist() != greedy(boxes, scores, 0.3), "the offset decides here"


@pytest.mark.parametrize("keep", [1, 20, 40, 150])
def test_nms_in_blocks_is_nms_of_all(keep: int) -> None:
    boxes = torch.stack([random_boxes(150, seed) for seed in range(3)])
    scores = torch.rand(3, 150, generator=torch.Generator().manual_seed(1))
    together = suppression._nms(boxes, scores, 0.3, keep, 0.0)
    in_blocks = suppression._nms(boxes, scores, 0.3, keep, 0.0, together=16)
    assert torch.equal(in_blocks[1], together[1])
    assert torch.equal(in_blocks[0][together[1]], together[0][together[1]])


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


def best_of_naive(scores: Tensor, labels: Tensor, most: int) -> tuple[Tensor, Tensor, float]:
    """Give what stands among the `most` best: which boxes, their classes, and the least score that does."""
    least = scores.topk(most)[0][-1].item()
    rows = ((scores >= least) & (scores > 0)).nonzero()[:, 0]
    return rows, labels[rows], least


def assert_exact_for_the_best(boxes: Tensor, scores: Tensor, most: int, offset: float = 0.0) -> None:
    best, label = ops.best_classes(boxes[None], scores[None], 0.5, most, offset)
    expected, expected_label = naive_classes(boxes, scores, 0.5, offset)
    rows, labels, least = best_of_naive(expected, expected_label, most)
    assert torch.equal(best[0, rows], expected[rows])
    assert torch.equal(label[0, rows], labels)
    rest = torch.ones(len(boxes), dtype=torch.bool)
    rest[rows] = False
    assert bool((best[0, rest] <= expected[rest]).all()), "no other box gets in by a score that is too high"
    assert bool((best[0, rest] < least).all() or least == 0)


@pytest.mark.parametrize(("sharpness", "offset"), [(1.0, 0.0), (3.0, 0.0), (3.0, 1.0), (8.0, 0.0)])
def test_best_classes_are_the_naive_loops_for_the_most_best(sharpness: float, offset: float) -> None:
    boxes = random_boxes(150, 1)
    scores = (sharpness * torch.randn(150, 60, generator=torch.Generator().manual_seed(2))).softmax(dim=1)
    assert_exact_for_the_best(boxes, scores, 20, offset)


def test_best_classes_of_equal_scores_are_of_the_first_box_and_the_first_class() -> None:
    boxes = random_boxes(120, 3)
    scores = (torch.rand(120, 30, generator=torch.Generator().manual_seed(4)) * 6).floor() / 6
    assert_exact_for_the_best(boxes, scores, 15)


def test_best_classes_are_all_exact_where_fewer_boxes_are_best_of_a_class_than_are_wanted() -> None:
    boxes = random_boxes(100, 5)
    scores = torch.rand(100, 4, generator=torch.Generator().manual_seed(6))
    best, label = ops.best_classes(boxes[None], scores[None], 0.5, 50)
    expected, expected_label = naive_classes(boxes, scores, 0.5)
    assert torch.equal(best[0], expected)
    assert torch.equal(label[0], expected_label)


def test_best_classes_find_the_last_box_that_is_wanted() -> None:
    boxes = torch.tensor([[[20.0 * left, 0, 20.0 * left + 10, 10] for left in range(5)]])
    scores = torch.diag(torch.tensor([0.3, 0.9, 0.1, 0.7, 0.5]))[None]
    best, label = ops.best_classes(boxes, scores, 0.5, 3)
    assert best[0].tolist() == pytest.approx([0, 0.9, 0, 0.7, 0.5])
    assert label[0].tolist() == [0, 1, 0, 3, 4]


def test_best_classes_give_0_where_all_is_struck_out_or_nothing_was_there() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 10, 10], [50, 50, 60, 60]]])
    scores = torch.tensor([[[0.3, 0.4], [0.2, 0.1], [0.0, 0.0]]])
    best, label = ops.best_classes(boxes, scores, 0.5, 3)
    assert best.tolist() == [[pytest.approx(0.4), 0, 0]]
    assert label.tolist() == [[1, 0, 0]]


def test_best_classes_of_a_batch_are_those_of_each_picture_however_they_are_cut() -> None:
    boxes = torch.stack([random_boxes(60, seed) for seed in range(3)])
    scores = torch.randn(3, 60, 20, generator=torch.Generator().manual_seed(7)).softmax(dim=2)
    best, label = ops.best_classes(boxes, scores, 0.4, 10)
    for picture in range(3):
        alone = ops.best_classes(boxes[picture : picture + 1], scores[picture : picture + 1], 0.4, 10)
        assert torch.equal(best[picture], alone[0][0])
        assert torch.equal(label[picture], alone[1][0])
    alive = scores > 0
    whole = suppression._strikes(boxes, scores, alive, 0.4, 0.0)
    cut = suppression._strikes(boxes, scores, alive, 0.4, 0.0, together=50)
    assert torch.equal(torch.stack(cut), torch.stack(whole))


@pytest.mark.slow
def test_best_classes_of_a_thousand_boxes_and_the_published_classes_are_the_naive_loops() -> None:
    boxes = random_boxes(1000, 8, side=800.0)
    chances = (2.5 * torch.randn(1000, 1601, generator=torch.Generator().manual_seed(9))).softmax(dim=1)
    assert_exact_for_the_best(boxes, chances[:, :-1], 100)


PLACES = {"edges": (0.0, 0.0, 96.0, 72.0), "corner": (95.5, 71.5, 96.0, 72.0), "sliver": (40.0, 3.0, 40.5, 60.0)}
"""Of a picture of 96 x 72: boxes at its edges, and thinner than a cell of 8."""


def edgy_boxes(seed: int) -> Tensor:
    inside = random_boxes(6, seed, side=70.0)
    return torch.cat([inside, torch.tensor(list(PLACES.values()))])[None]


def read_between(features: Tensor, y: float, x: float) -> Tensor:
    """Give the bilinear reading at a place counted in cells, [C]; 0 a whole cell beyond the map, as all others do."""
    height, width = features.shape[1:]
    if y < -1 or y > height or x < -1 or x > width:
        return torch.zeros(features.shape[0])
    y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = features[:, top, left] * (1 - x + left) + features[:, top, right] * (x - left)
    lower = features[:, bottom, left] * (1 - x + left) + features[:, bottom, right] * (x - left)
    return upper * (1 - y + top) + lower * (y - top)


def aligned(
    features: Tensor, box: list[float], scale: float, size: int, *, samples: int = 2, half_pixel: bool = True
) -> Tensor:
    """Give RoIAlign written out, sample by sample."""
    x1, y1, x2, y2 = (value * scale - (0.5 if half_pixel else 0) for value in box)
    least = 0.0 if half_pixel else 1.0
    across, down = max(x2 - x1, least) / (size * samples), max(y2 - y1, least) / (size * samples)
    bins = torch.zeros(features.shape[0], size, size)
    for row in range(size * samples):
        for column in range(size * samples):
            read = read_between(features, y1 + (row + 0.5) * down, x1 + (column + 0.5) * across)
            bins[:, row // samples, column // samples] += read / samples**2
    return bins


@pytest.mark.parametrize("samples", [1, 2, 3])
@pytest.mark.parametrize("half_pixel", [True, False])
def test_roi_align_is_the_mean_of_samples_between_the_cells(samples: int, half_pixel: bool) -> None:
    features = torch.randn(2, 3, 9, 12, generator=torch.Generator().manual_seed(0))
    boxes = torch.cat([edgy_boxes(4), edgy_boxes(5)])
    read = ops.roi_align(features, boxes, 1 / 8, 4, samples, half_pixel)
    for picture in range(2):
        for index, box in enumerate(boxes[picture].tolist()):
            expected = aligned(features[picture], box, 1 / 8, 4, samples=samples, half_pixel=half_pixel)
            assert torch.allclose(read[picture, index], expected, atol=FP32_NOISE), box


def test_the_two_alignments_read_other_places() -> None:
    features = torch.randn(1, 3, 9, 12, generator=torch.Generator().manual_seed(0))
    boxes = edgy_boxes(4)
    assert not torch.allclose(
        ops.roi_align(features, boxes, 1 / 8, 4), ops.roi_align(features, boxes, 1 / 8, 4, 2, False)
    )


@pytest.mark.parametrize("half_pixel", [True, False])
def test_roi_align_of_levels_is_roi_align_of_each_boxs_level(half_pixel: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, 3, 18 // 2**level, 24 // 2**level, generator=generator) for level in range(3)]
    scales = [1 / 4, 1 / 8, 1 / 16]
    boxes = torch.cat([edgy_boxes(4), edgy_boxes(5)])
    levels = torch.tensor([[0, 1, 1, 0, 0, 1, 1, 0, 1], [1, 2, 1, 0, 2, 1, 1, 0, 2]])  # none of the first on level 2
    read = ops.roi_align_levels(maps, boxes, scales, levels, 3, 2, half_pixel)
    for picture in range(2):
        for index in range(9):
            level = int(levels[picture, index])
            box = boxes[picture : picture + 1, index : index + 1]
            alone = ops.roi_align(maps[level][picture : picture + 1], box, scales[level], 3, 2, half_pixel)
            assert torch.equal(read[picture, index], alone[0, 0])


def pooled(features: Tensor, box: list[float], scale: float, size: int) -> Tensor:
    """Give RoIPool written out: the maximum over the whole cells of each bin, 0 where there is none."""
    left, top, right, bottom = (math.floor(value * scale + 0.5) for value in box)
    across, down = max(right - left + 1, 1) / size, max(bottom - top + 1, 1) / size
    bins = torch.zeros(features.shape[0], size, size)
    for row in range(size):
        for column in range(size):
            ys = slice(max(top + math.floor(row * down), 0), max(top + math.ceil((row + 1) * down), 0))
            xs = slice(max(left + math.floor(column * across), 0), max(left + math.ceil((column + 1) * across), 0))
            cells = features[:, ys, xs].flatten(1)
            bins[:, row, column] = cells.amax(dim=1) if cells.numel() else 0.0
    return bins


@pytest.mark.parametrize("size", [1, 2, 4, 7])
def test_roi_pool_is_the_largest_of_each_bin_of_whole_cells(size: int) -> None:
    features = torch.randn(2, 3, 9, 12, generator=torch.Generator().manual_seed(0)) - 3  # so that 0 is no maximum
    boxes = torch.cat([edgy_boxes(4), edgy_boxes(5)])
    read = ops.roi_pool(features, boxes, 1 / 8, size)
    for picture in range(2):
        for index, box in enumerate(boxes[picture].tolist()):
            assert torch.equal(read[picture, index], pooled(features[picture], box, 1 / 8, size)), box


def test_roi_pool_gives_0_for_bins_beyond_the_map() -> None:
    features = torch.randn(1, 3, 9, 12, generator=torch.Generator().manual_seed(0)) - 3
    read = ops.roi_pool(features, torch.tensor([[[95.0, 70.0, 96.0, 72.0]]]), 1 / 8, 2)  # rounded to the cell 12, 9
    assert not read.any()


def test_many_boxes_are_read_in_parts_that_change_nothing() -> None:
    features = torch.randn(1, 512, 9, 12, generator=torch.Generator().manual_seed(0))
    boxes = random_boxes(90, 4, side=70.0)[None]  # 512 x 28 x 28 samples a box: more than are read at once
    read, largest = ops.roi_align(features, boxes, 1 / 8, 14), ops.roi_pool(features, boxes, 1 / 8, 28)
    for first in (0, 40, 85):
        part = boxes[:, first : first + 5]
        assert torch.equal(read[:, first : first + 5], ops.roi_align(features, part, 1 / 8, 14))
        assert torch.equal(largest[:, first : first + 5], ops.roi_pool(features, part, 1 / 8, 28))


class Everything(torch.nn.Module):
    """Uses all operations, as detectors do."""

    def forward(self, features: Tensor, boxes: Tensor, scores: Tensor) -> tuple[Tensor, ...]:
        halved = torch.nn.functional.avg_pool2d(features, 2)
        levels = (boxes[..., 2] - boxes[..., 0] > 30).long()
        index, valid = ops.nms(boxes, scores[:, :, 0], 0.5, 5)
        return (
            index * valid,  # which box an invalid row names means nothing
            valid,
            ops.nms(boxes, scores[:, :, 1], 0.5, 5, 1.0)[0][:, :2],
            ops.best_scores(boxes, scores, 0.5, 0.1),
            *ops.best_classes(boxes, scores, 0.5, 4),
            *ops.best_classes(boxes, scores, 0.2, 20, 1.0),
            ops.roi_align(features, boxes, 1 / 8, 3),
            ops.roi_align(features, boxes, 1 / 8, 3, 1, False),
            ops.roi_align_levels([features, halved], boxes, [1 / 8, 1 / 16], levels, 3),
            ops.roi_pool(features, boxes, 1 / 8, 4),
        )


OPERATORS = ("nms", "best_scores", "best_classes", "roi_align", "roi_align_levels", "roi_pool")


def example(seed: int, side: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(1, 2, side, side + 2, generator=generator)
    return features, random_boxes(20, seed, side=8.0 * side)[None], torch.rand(1, 20, 6, generator=generator)


def test_a_trace_follows_the_data_and_needs_no_operator_of_ours(tmp_path: Path) -> None:
    torch.jit.freeze(torch.jit.trace(Everything().eval(), example(0, 6), check_trace=False)).save(tmp_path / "all.pt")
    traced = torch.jit.load(tmp_path / "all.pt")
    assert ops.NAMESPACE not in str(traced.inlined_graph)
    for seed in range(4):
        inputs = example(seed, 6 + seed)
        for ours, expected in zip(traced(*inputs), Everything()(*inputs), strict=True):
            assert torch.equal(ours, expected)


def test_an_export_shows_the_operators_and_computes_the_same() -> None:
    program = torch.export.export(Everything(), example(0, 6))
    targets = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert {f"{ops.NAMESPACE}.{name}.default" for name in OPERATORS} <= targets
    for ours, expected in zip(program.module()(*example(1, 6)), Everything()(*example(1, 6)), strict=True):
        assert torch.equal(ours, expected)
