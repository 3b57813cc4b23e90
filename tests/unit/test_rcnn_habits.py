"""Each habit of the codes that detectors were trained by is an entry, and changes the result by a stated amount."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.rcnn import net, picture, tiny
from twelve.regions.detector import Found
from twelve.regions.rcnn.coding import clip, decode, exact_anchors, rounded_anchors
from twelve.regions.rcnn.detector import Rcnn

GIVEN = torch.tensor([[5.0, 6.0, 50.0, 40.0], [0.0, 0.0, 64.0, 64.0], [20.0, 10.0, 30.0, 60.0], [60, 30, 150, 120]])
IMAGE = picture(128, 176)


def features(before: Found, after: Found) -> float:
    """How far the given boxes' features went, of their own length."""
    return float((before.given_features - after.given_features).norm() / before.given_features.norm())


def pixels(before: Found, after: Found) -> float:
    """How far it is from a region to the nearest one of the other, in the mean."""
    apart = torch.cdist(before.boxes[: before.count], after.boxes[: after.count], p=float("inf"))
    return float(apart.min(dim=1).values.mean())


def fewer(before: Found, after: Found) -> float:
    return float(before.count - after.count)


HABITS: list[tuple[str, dict[str, Any], Callable[[Found, Found], float], float]] = [
    ("x152-fpn", {"channels": "rgb"}, features, 0.6),
    ("x152-fpn", {"means": (103.530, 116.280, 123.675)}, features, 0.03),
    ("x152-fpn", {"deviations": (57.375, 57.120, 58.395)}, features, 0.4),
    ("x152-fpn", {"stride_in_1x1": True}, features, 0.5),
    ("x152-fpn", {"norm_epsilon": 1e-5}, features, 0.2),
    ("vg-r101-c4", {"norm_epsilon": 0.0}, features, 0.3),
    ("vg-r101-c4", {"ceil_pool": False}, features, 0.2),
    ("vg-r101-c4", {"res5_stride": 2}, features, 0.2),
    ("vg-r101-c4", {"res5_dilation": 1}, features, 0.1),
    ("vg-r101-c4", {"pooling": "align"}, features, 0.3),
    ("vg-r101-c4", {"size_divisor": 32}, features, 0.003),
    ("x152-fpn", {"half_pixel": True}, features, 0.2),
    ("x152-fpn", {"samples": 1}, features, 0.2),
    ("x152-fpn", {"feature": "fc2"}, features, 0.5),
    ("x152-fpn", {"box_offset": 0.0}, pixels, 0.4),
    ("x152-fpn", {"rounded_anchors": False}, pixels, 1.2),
    ("x152-fpn", {"regions": "refined"}, pixels, 0.7),
    ("x152-fpn", {"proposal_overlap": 0.5}, pixels, 1.0),
    ("x152-fpn", {"proposals": 20}, pixels, 0.7),
    ("r50-fpn", {"least_proposal": 8.0}, pixels, 5.0),
    ("x152-fpn", {"class_overlap": 1.0}, pixels, 0.5),
    ("x152-fpn", {"region_overlap": 0.5}, pixels, 0.2),
    ("vg-r101-c4", {"score_floor": 0.99}, fewer, 4),
    ("vg-r101-c4", {"score_floor": 0.99, "fewest_regions": 0}, fewer, 12),
    ("vg-r101-c4", {"max_regions": 9}, fewer, 3),
]
"""Preset, what is changed in it, what is measured, and half of what was measured or less (counts are exact)."""


@pytest.mark.parametrize(
    ("preset", "entries", "measure", "least"), HABITS, ids=[f"{one[0]}-{'-'.join(one[1])}" for one in HABITS]
)
def test_a_habit_changes_the_result_by(
    preset: str, entries: dict[str, Any], measure: Callable[[Found, Found], float], least: float
) -> None:
    detector = net(tiny(preset))
    assert measure(detector(IMAGE, GIVEN), changed(detector, **entries)(IMAGE, GIVEN)) >= least


def changed(detector: Rcnn, **entries: Any) -> Rcnn:
    """Give the same weights other habits; anchors follow the habits."""
    other = Rcnn(replace(detector.config, **entries)).eval()
    learnt = {name: tensor for name, tensor in detector.state_dict().items() if "cell_anchors" not in name}
    other.load_state_dict(learnt, strict=False)
    return other.requires_grad_(requires_grad=False)


def test_the_weights_of_corrections_move_refined_regions() -> None:
    detector = net(tiny("x152-fpn", regions="refined"))
    after = changed(detector, correction_weights=(1.0, 1.0, 1.0, 1.0))(IMAGE, GIVEN)
    assert pixels(detector(IMAGE, GIVEN), after) >= 3


def test_the_last_pixel_decides_which_map_a_box_is_read_off() -> None:
    detector, image = net(tiny("x152-fpn")), picture(256, 256)
    given = torch.tensor([[0.0, 0.0, 223.0, 223.0], [0.0, 0.0, 30.0, 30.0]])
    first, second = ((one(image, given).given_features) for one in (detector, changed(detector, box_offset=0.0)))
    assert float((first[0] - second[0]).norm() / first[0].norm()) >= 0.2
    assert torch.equal(first[1], second[1])


def test_the_epsilon_decides_which_map_a_box_at_the_edge_is_read_off() -> None:
    detector, image = net(tiny("r50-fpn")), picture(256, 256)
    side = 224 * (1 - 5e-7)
    given = torch.tensor([[0.0, 0.0, side, side], [0.0, 0.0, 30.0, 30.0]])
    first, second = ((one(image, given).given_features) for one in (detector, changed(detector, level_epsilon=1e-6)))
    assert float((first[0] - second[0]).norm() / first[0].norm()) >= 0.2
    assert torch.equal(first[1], second[1])


def test_rounded_anchors_are_those_of_the_first_faster_r_cnn() -> None:
    """What generate_anchors of rbgirshick/py-faster-rcnn prints: three scales a ratio, ratio by ratio."""
    expected = [
        [-84, -40, 99, 55],
        [-176, -88, 191, 103],
        [-360, -184, 375, 199],
        [-56, -56, 71, 71],
        [-120, -120, 135, 135],
        [-248, -248, 263, 263],
        [-36, -80, 51, 95],
        [-80, -168, 95, 183],
        [-168, -344, 183, 359],
    ]
    assert rounded_anchors((128, 256, 512), (0.5, 1, 2), stride=16).tolist() == expected


def test_exact_anchors_lie_around_a_corner_size_by_size() -> None:
    """The example in the documentation of detectron2's DefaultAnchorGenerator.generate_cell_anchors' arithmetic."""
    found = exact_anchors((32, 64), (0.5, 1), stride=16)
    long, flat = 32 * 2**0.5, 32 / 2**0.5
    expected = [[-long / 2, -flat / 2], [-16, -16], [-long, -flat], [-32, -32]]
    assert torch.allclose(found[:, :2], torch.tensor(expected))
    assert torch.equal(found[:, 2:], -found[:, :2])


@pytest.mark.parametrize(
    ("offset", "expected"),
    [(0.0, [11.0, 19.0, 31.0, 39.0]), (1.0, [11.05, 18.95, 31.05, 38.95])],
)
def test_corrections_move_by_a_share_of_the_width(offset: float, expected: list[float]) -> None:
    """A twentieth of a width of 20 is 1; of 21, where the last pixel counts, 1.05."""
    moved = decode(
        torch.tensor([[[0.5, -0.5, 0.0, 0.0]]]),
        torch.tensor([[[10.0, 20.0, 30.0, 40.0]]]),
        weights=(10, 10, 5, 5),
        offset=offset,
    )
    assert torch.allclose(moved, torch.tensor([[expected]]), atol=1e-5)


def test_boxes_end_at_the_last_pixel_where_it_counts() -> None:
    boxes = torch.tensor([[[-5.0, -5.0, 500.0, 500.0]]])
    assert clip(boxes, height=100, width=200, offset=1.0).tolist() == [[[0, 0, 199, 99]]]
    assert clip(boxes, height=100, width=200, offset=0.0).tolist() == [[[0, 0, 200, 100]]]
