"""Faster R-CNN over residual nets: fixed sizes, one path for every box, the same folded, traced and reloaded."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.export import Dim

from tests.rcnn import NAMES, net, picture, tiny
from twelve.boxes import overlaps
from twelve.errors import BundleMissing, ConfigInvalid
from twelve.regions.detector import OUTPUTS, Found
from twelve.regions.families import open_detector
from twelve.regions.rcnn.config import PRESETS
from twelve.regions.rcnn.detector import Rcnn

ROUNDING = 1e-4
"""Relative to the largest number: float32 sums in another order, through a dozen layers."""

HALF_STEP = 1e-3
"""Relative spacing of float16 numbers."""

BODIES = ("x152-fpn", "vg-r101-c4", "r50-fpn", "r50-c4")
GIVEN = torch.tensor([[5.0, 6.0, 50.0, 40.0], [0.0, 0.0, 64.0, 64.0], [20.0, 10.0, 30.0, 60.0]])


@pytest.fixture(scope="module", params=BODIES)
def detector(request: pytest.FixtureRequest) -> Rcnn:
    return net(tiny(request.param))


def assert_same(found: Found, expected: Found) -> None:
    for name, ours, theirs in zip(OUTPUTS, found, expected, strict=True):
        tolerance = ROUNDING * float(theirs.abs().max())
        assert torch.allclose(ours, theirs, rtol=0, atol=tolerance), name


@pytest.mark.parametrize("size", [(96, 96), (101, 143), (200, 128)])
def test_outputs_have_fixed_sizes_and_zeros_behind_the_count(detector: Rcnn, size: tuple[int, int]) -> None:
    config, found = detector.config, detector(picture(*size), GIVEN)
    most, width = config.max_regions, config.feature_width
    assert [tuple(tensor.shape) for tensor in found] == [(most, 4), (most, width), (most,), (most,), (), (3, width)]
    count = int(found.count)
    assert config.fewest_regions <= count <= most
    assert all((tensor[count:] == 0).all() for tensor in (found.boxes, found.features, found.scores, found.labels))
    assert all(torch.isfinite(tensor).all() for tensor in found)
    assert found.features.min() >= 0, "each feature comes from behind a ReLU"


def test_regions_stand_best_first_inside_the_picture(detector: Rcnn) -> None:
    found = detector(picture(128, 176), GIVEN)
    boxes, scores = found.boxes[: found.count], found.scores[: found.count]
    assert torch.equal(scores, scores.sort(descending=True).values)
    assert boxes.min() >= 0
    assert (boxes <= torch.tensor([176, 128, 176, 128]) - detector.config.box_offset).all()
    assert found.labels.min() >= 0
    assert found.labels.max() < len(NAMES)


def test_a_given_box_has_the_features_it_has_when_detected(detector: Rcnn) -> None:
    image = picture(128, 176)
    found = detector(image, GIVEN)
    again = detector(image, found.boxes)
    count = int(found.count)
    assert torch.allclose(again.given_features[:count], found.features[:count], atol=ROUNDING, rtol=ROUNDING)


def test_giving_boxes_changes_nothing_in_what_is_detected(detector: Rcnn) -> None:
    image = picture(128, 176)
    assert_same(
        detector(image, GIVEN[:2])._replace(given_features=GIVEN), detector(image, GIVEN)._replace(given_features=GIVEN)
    )


def test_a_picture_with_fewer_anchors_than_candidates_has_regions() -> None:
    greedy = net(replace(tiny("r50-fpn"), candidates=5000, proposals=5000, max_regions=4000, fewest_regions=4000))
    found = greedy(picture(96, 96), GIVEN)
    anchors = sum(3 * side**2 for side in (24, 12, 6, 3, 2))
    assert 1 <= int(found.count) < anchors < 4000
    boxes = found.boxes[: found.count]
    assert (boxes[:, 2:] > boxes[:, :2]).all(), "what only fills up is no region"


@pytest.mark.parametrize(("overlap", "full"), [(0.7, True), (0.2, False)])
def test_regions_are_those_of_the_published_loop_over_classes(overlap: float, *, full: bool) -> None:
    """The loop of vilbert-multi-task's script/extract_features.py, over our own net's proposals: all full, and not."""
    sizes = {"candidates": 300, "proposals": 300, "fewest_regions": 40, "max_regions": 40}
    detector = net(tiny("x152-fpn", proposal_overlap=overlap, **sizes))
    image = picture(128, 176)
    levels = detector.backbone(detector.normalised(image))
    proposed = detector.proposal_generator(levels, height=128, width=176)
    described = detector.roi_heads(levels, proposed.boxes)
    scores = detector.roi_heads.box_predictor.cls_score(described.seen)[0].softmax(dim=-1)
    boxes = proposed.boxes[0][proposed.valid[0]]
    assert (len(boxes) == 300) == full
    best = torch.zeros(len(boxes))
    for label in range(len(NAMES)):  # background is the last column
        own = scores[: len(boxes), label]
        kept = greedy(boxes, own, overlap=0.5)
        best[kept] = torch.where(own[kept] > best[kept], own[kept], best[kept])
    expected, index = best.sort(descending=True, stable=True)
    found = detector(image, GIVEN)
    assert torch.allclose(found.scores, expected[:40], atol=ROUNDING)
    assert torch.allclose(found.boxes, boxes[index[:40]], atol=ROUNDING)
    assert torch.allclose(found.features, described.features[0, index[:40]], atol=ROUNDING)


def greedy(boxes: Tensor, scores: Tensor, *, overlap: float) -> list[int]:
    """NMS as a loop, with widths that count the last pixel."""
    points = boxes + torch.tensor([0.0, 0.0, 1.0, 1.0])
    near = overlaps(points, points) > overlap
    kept: list[int] = []
    for index in scores.argsort(descending=True, stable=True).tolist():
        if not near[index, kept].any():
            kept.append(index)
    return kept


def test_folding_the_norms_changes_nothing_but_rounding(detector: Rcnn) -> None:
    image = picture(128, 176)
    folded = detector.folded()
    assert not any("running_var" in name for name in folded.state_dict())
    assert_same(folded(image, GIVEN), detector(image, GIVEN))


def test_a_trace_on_one_size_works_on_others(detector: Rcnn) -> None:
    traced = torch.jit.trace(detector, (picture(128, 176), GIVEN), check_trace=False)
    for size in ((96, 96), (99, 201)):
        assert_same(Found(*traced(picture(*size, seed=1), GIVEN[:2])), detector(picture(*size, seed=1), GIVEN[:2]))


@pytest.mark.parametrize("preset", ["x152-fpn", "vg-r101-c4"])
def test_an_export_with_free_sides_computes_the_same(preset: str) -> None:
    detector = net(tiny(preset))
    sides = {at: Dim(name, min=detector.config.least_side, max=256) for at, name in ((1, "height"), (2, "width"))}
    shapes = (sides, {0: Dim("given", min=2, max=64)})
    program = torch.export.export(detector, (picture(128, 176), GIVEN), dynamic_shapes=shapes).module()
    for size in ((96, 96), (99, 201)):
        assert_same(program(picture(*size, seed=1), GIVEN[:2]), detector(picture(*size, seed=1), GIVEN[:2]))


def test_a_detector_is_the_same_after_saving_and_restoring(detector: Rcnn, tmp_path: Path) -> None:
    detector.save(tmp_path)
    restored = Rcnn.restore(tmp_path)
    assert restored.config == detector.config
    assert restored.state_dict().keys() == detector.state_dict().keys()
    assert all(torch.equal(tensor, restored.state_dict()[name]) for name, tensor in detector.state_dict().items())
    assert_same(open_detector(tmp_path)(picture(128, 176), GIVEN), detector(picture(128, 176), GIVEN))


def test_weights_may_be_stored_in_half_the_bytes(tmp_path: Path) -> None:
    detector = net(tiny("r50-fpn"))
    detector.save(tmp_path, dtype=torch.float16)
    for name, tensor in Rcnn.restore(tmp_path).state_dict().items():
        assert tensor.dtype == torch.float32
        assert torch.allclose(tensor, detector.state_dict()[name], rtol=HALF_STEP, atol=HALF_STEP)


def test_anchors_of_the_file_win_over_those_of_the_settings(tmp_path: Path) -> None:
    detector = net(tiny("r50-fpn"))
    detector.proposal_generator.anchor_generator.cell_anchors.of(0).fill_(7.0)
    detector.save(tmp_path)
    assert (Rcnn.load(tmp_path).proposal_generator.anchor_generator.cell_anchors.of(0) == 7).all()


def test_weights_of_another_configuration_are_refused(tmp_path: Path) -> None:
    net(tiny("r50-fpn")).save(tmp_path)
    tiny("r50-fpn", head_width=13).write(tmp_path / "detector.json")
    with pytest.raises(ConfigInvalid, match=r"does not fit detector\.json"):
        Rcnn.load(tmp_path)


def test_weights_that_lack_a_tensor_are_refused_by_its_name(tmp_path: Path) -> None:
    net(tiny("r50-fpn")).save(tmp_path)
    path = tmp_path / "detector.safetensors"
    tensors = load_file(path)
    del tensors["backbone.bottom_up.res3.0.conv2.norm.running_var"]
    save_file(tensors, path)
    with pytest.raises(ConfigInvalid, match=r"Missing key.*res3\.0\.conv2\.norm\.running_var"):
        Rcnn.load(tmp_path)


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    net(tiny("r50-fpn")).save(tmp_path)
    path = tmp_path / "detector.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ConfigInvalid, match=r"detector\.safetensors: is damaged: .*; fetch or import it again"):
        Rcnn.load(tmp_path)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    tiny("r50-fpn").write(tmp_path / "detector.json")
    with pytest.raises(BundleMissing, match=r"detector\.safetensors: there is no such file"):
        Rcnn.load(tmp_path)


@pytest.mark.parametrize("preset", PRESETS)
def test_weights_bear_the_names_of_detectron2(preset: str) -> None:
    with torch.device("meta"):
        names = set(Rcnn(tiny(preset)).state_dict())
    body = "backbone.bottom_up." if preset.endswith("fpn") else "backbone."
    own = {
        "fpn": {"backbone.fpn_lateral5.bias", "backbone.fpn_output2.weight", "roi_heads.box_head.fc2.weight"},
        "c4": {"roi_heads.res5.0.shortcut.norm.running_mean"},
    }
    shared = {
        f"{body}stem.conv1.weight",
        f"{body}stem.conv1.norm.bias",
        f"{body}res4.0.conv3.norm.running_var",
        "proposal_generator.rpn_head.anchor_deltas.bias",
        "proposal_generator.anchor_generator.cell_anchors.0",
        "roi_heads.box_predictor.cls_score.weight",
        "roi_heads.box_predictor.bbox_pred.bias",
    }
    assert shared | own[preset.rpartition("-")[2]] <= names
