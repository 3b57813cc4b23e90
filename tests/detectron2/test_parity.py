"""Our detectors are detectron2's: same weights, same pictures, same boxes, same features."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from tests.detectron2 import guests, parity
from twelve.regions.rcnn.detector import Rcnn

SIZES = ((320, 416), (256, 480), (427, 333), (600, 800))
PRESETS = ("r50-fpn", "r50-c4")
CASES = [(preset, size) for preset in PRESETS for size in SIZES]

LEAST_COSINE = 0.9999
MOST_SCORE_GAP = 1e-3
"""Both add in float32, in another order: 2e-4 was seen."""

SCORES_ALIKE = 1e-3


@cache
def detector_of(preset: str, guest_of: Any) -> Rcnn:
    return parity.ours(*guest_of(preset), preset, regions="proposals")


@cache
def agreement_of(preset: str, size: tuple[int, int], guest_of: Any) -> parity.Agreement:
    return parity.agreement(guest_of(preset)[1], detector_of(preset, guest_of), size)


@pytest.mark.parametrize(("preset", "size"), CASES)
def test_every_proposal_of_detectron2_is_ours(preset: str, size: tuple[int, int], guest_of: Any) -> None:
    found = agreement_of(preset, size, guest_of)
    assert found.proposals >= 200, "a picture without proposals compares nothing"
    assert found.proposals_matched == 1.0, found


@pytest.mark.parametrize(("preset", "size"), CASES)
def test_every_detection_of_detectron2_is_ours(preset: str, size: tuple[int, int], guest_of: Any) -> None:
    found = agreement_of(preset, size, guest_of)
    assert found.detections >= 50, "a picture without detections compares nothing"
    assert found.detections_matched == 1.0, found
    assert found.score_gap <= MOST_SCORE_GAP


@pytest.mark.parametrize(("preset", "size"), CASES)
def test_features_of_proposals_and_given_boxes_are_detectron2s(
    preset: str, size: tuple[int, int], guest_of: Any
) -> None:
    assert agreement_of(preset, size, guest_of).least_cosine >= LEAST_COSINE


@pytest.mark.parametrize("preset", PRESETS)
def test_regions_are_those_that_the_published_rule_chooses(preset: str, guest_of: Any) -> None:
    guest, detector = guest_of(preset)[1], detector_of(preset, guest_of)
    image = guests.picture(256, 480, seed=5)
    with torch.inference_mode():
        looked = parity.looked_by_guest(guest, image)
        expected = parity.chosen(looked, looked.proposals, detector.config)
        got = detector(image, parity.GIVEN)
    assert int(got.count) == int(expected.count) == detector.config.max_regions
    pairs = parity.matched(expected.boxes, got.boxes)
    assert pairs.share == 1.0
    assert torch.equal(got.labels[pairs.rows], expected.labels)
    assert torch.allclose(got.scores[pairs.rows], expected.scores, atol=SCORES_ALIKE)
    assert torch.cosine_similarity(got.features[pairs.rows], expected.features).min() >= LEAST_COSINE


@pytest.mark.parametrize("preset", PRESETS)
def test_folding_the_norms_loses_no_proposal(preset: str, guest_of: Any) -> None:
    detector = detector_of(preset, guest_of).folded()
    found = parity.agreement(guest_of(preset)[1], detector, SIZES[0])
    assert (found.proposals_matched, found.detections_matched) == (1.0, 1.0)
    assert found.least_cosine >= LEAST_COSINE


def test_a_wrong_weight_is_seen(guest_of: Any) -> None:
    guest: nn.Module = guest_of("r50-fpn")[1]
    detector = parity.ours(*guest_of("r50-fpn"), "r50-fpn")
    detector.backbone.fpn_lateral3.weight.mul_(1.05)
    found = parity.agreement(guest, detector, SIZES[0])
    assert found.proposals_matched < 1.0
