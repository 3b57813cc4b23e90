"""The detector: outputs of fixed size, one path for every box, the same answers traced and exported."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.export import Dim

from twelve.boxes import overlaps
from twelve.errors import BundleMissing, ConfigInvalid
from twelve.regions.coding import decode, encode
from twelve.regions.config import DetectorConfig
from twelve.regions.detector import OUTPUTS, Detector, Found

SAME_PATH = 1e-5
"""Absolute: the same box pooled in a batch of another size."""

HALF_STEP = 1e-3
"""Relative spacing of float16 numbers."""

TINY = DetectorConfig(
    class_names=("car", "cat", "tree"),
    widths=(8, 8, 16),
    blocks=1,
    candidates=40,
    proposals=16,
    max_regions=6,
    feature_width=12,
)


@pytest.fixture(scope="module")
def detector() -> Detector:
    torch.manual_seed(0)
    return Detector(TINY).eval().requires_grad_(False)


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed)).float()


GIVEN = torch.tensor([[5.0, 6.0, 50.0, 40.0], [0.0, 0.0, 64.0, 64.0], [20.0, 10.0, 30.0, 60.0]])


@pytest.mark.parametrize("size", [(64, 64), (70, 121), (144, 192)])
def test_outputs_have_fixed_sizes_and_zeros_behind_the_count(detector: Detector, size: tuple[int, int]) -> None:
    found = detector(picture(*size), GIVEN)
    assert [tuple(tensor.shape) for tensor in found] == [(6, 4), (6, 12), (6,), (6,), (), (3, 12)]
    count = int(found.count)
    assert 1 <= count <= 6
    assert all((tensor[count:] == 0).all() for tensor in (found.boxes, found.features, found.scores, found.labels))
    assert tuple(Found._fields) == OUTPUTS


def test_regions_stand_best_first_and_apart(detector: Detector) -> None:
    found = detector(picture(144, 192), GIVEN)
    count = int(found.count)
    scores = found.scores[:count]
    assert torch.equal(scores, scores.sort(descending=True).values)
    assert scores.min() > TINY.score_floor
    apart = overlaps(found.boxes[:count], found.boxes[:count]) - torch.eye(count)
    assert apart.max() <= TINY.region_overlap


def test_a_given_box_has_the_features_it_has_when_detected(detector: Detector) -> None:
    image = picture(144, 192)
    found = detector(image, GIVEN)
    again = detector(image, found.boxes)
    count = int(found.count)
    assert torch.allclose(again.given_features[:count], found.features[:count], atol=SAME_PATH)


def test_a_given_box_does_not_see_its_neighbours(detector: Detector) -> None:
    image = picture(144, 192)
    turned = detector(image, GIVEN.flip(0)).given_features.flip(0)
    assert torch.allclose(turned, detector(image, GIVEN).given_features, atol=SAME_PATH)


def test_nothing_is_found_where_no_score_reaches_the_floor() -> None:
    torch.manual_seed(0)
    blind = Detector(replace(TINY, score_floor=0.99)).eval()
    assert int(blind(picture(64, 64), GIVEN).count) == 0


def test_a_trace_on_one_size_works_on_others(detector: Detector) -> None:
    traced = torch.jit.trace(detector, (picture(144, 192), GIVEN), check_trace=False)
    for size in ((64, 64), (99, 201), (144, 192)):
        image, given = picture(*size, seed=1), GIVEN[:2]
        for ours, expected in zip(traced(image, given), detector(image, given), strict=True):
            assert torch.allclose(ours, expected, atol=SAME_PATH)


def test_an_export_with_free_sides_computes_the_same(detector: Detector) -> None:
    sides = {1: Dim("height", min=64, max=256), 2: Dim("width", min=64, max=256)}
    shapes = (sides, {0: Dim("given", min=2, max=64)})
    program = torch.export.export(detector, (picture(144, 192), GIVEN), dynamic_shapes=shapes).module()
    for size in ((64, 80), (99, 201)):
        image, given = picture(*size, seed=1), GIVEN[:2]
        for ours, expected in zip(program(image, given), detector(image, given), strict=True):
            assert torch.allclose(ours, expected, atol=SAME_PATH)


def test_a_detector_is_the_same_after_saving_and_loading(detector: Detector, tmp_path: Path) -> None:
    detector.save(tmp_path)
    loaded = Detector.load(tmp_path)
    assert loaded.config == detector.config
    for name, tensor in detector.state_dict().items():
        assert torch.allclose(loaded.state_dict()[name], tensor, rtol=HALF_STEP, atol=HALF_STEP)


def test_weights_of_another_configuration_are_refused(detector: Detector, tmp_path: Path) -> None:
    detector.save(tmp_path)
    replace(TINY, feature_width=13).write(tmp_path / "detector.json")
    with pytest.raises(ConfigInvalid, match=r"does not fit detector\.json"):
        Detector.load(tmp_path)


def test_an_unknown_entry_of_the_configuration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "detector.json"
    path.write_text('{"class_names": ["car"], "depth": 3}')
    with pytest.raises(ConfigInvalid, match=r"unknown entries depth; a detector has .*anchor_sides"):
        DetectorConfig.read(path)


def test_more_regions_than_proposals_are_refused() -> None:
    with pytest.raises(ConfigInvalid, match="proposals 4, max_regions 6: each must be at least the next"):
        replace(TINY, proposals=4)


def test_a_missing_configuration_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleMissing, match=r"detector\.json: there is no such file"):
        Detector.load(tmp_path)


def test_decoding_undoes_encoding() -> None:
    boxes = torch.tensor([[[10.0, 20.0, 40.0, 30.0], [0.0, 0.0, 64.0, 48.0]]])
    anchors = torch.tensor([[[12.0, 15.0, 35.0, 38.0], [5.0, 5.0, 50.0, 40.0]]])
    assert torch.allclose(decode(encode(boxes, anchors), anchors, height=48, width=64), boxes, atol=1e-4)
