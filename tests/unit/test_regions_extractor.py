"""Pictures in, regions out: boxes in the picture's own pixels."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from twelve.boxes import locations
from twelve.image import Picture
from twelve.regions.config import DetectorConfig
from twelve.regions.detector import INPUTS, OUTPUTS, Detector
from twelve.regions.extractor import UNKNOWN_LABEL, RegionSet
from twelve.regions.local import LEAST_SIDE_PX, DetectorExtractor, prepare, resized
from twelve.regions.rcnn.config import PRESETS, RcnnConfig
from twelve.runtimes.module import ModuleRuntime

TINY = DetectorConfig(
    class_names=("car", "cat", "tree"),
    widths=(8, 8, 16),
    blocks=1,
    candidates=40,
    proposals=16,
    max_regions=6,
    feature_width=12,
)
SIZES = [(144, 192), (480, 640), (1, 1), (1, 900), (2000, 3), (37, 61)]


def extractor_of(config: DetectorConfig) -> DetectorExtractor:
    torch.manual_seed(0)
    runtime = ModuleRuntime(Detector(config), inputs=INPUTS, outputs=OUTPUTS)
    return DetectorExtractor(runtime, config, digest="sha256:test")


@pytest.fixture(scope="module")
def extractor() -> DetectorExtractor:
    return extractor_of(TINY)


def picture(height: int, width: int, seed: int = 0) -> Picture:
    return Picture.of(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def assert_equal(regions: RegionSet, others: RegionSet) -> None:
    for name in ("features", "boxes_px", "scores", "labels"):
        assert torch.equal(getattr(regions, name), getattr(others, name)), name


@pytest.mark.parametrize("size", SIZES)
def test_every_picture_has_regions_inside_it(extractor: DetectorExtractor, size: tuple[int, int]) -> None:
    regions = extractor.extract(picture(*size))
    assert len(regions) >= 1
    assert (regions.height, regions.width, regions.given) == (*size, 0)
    assert regions.features.shape == (len(regions), extractor.feature_width)
    assert torch.isfinite(regions.features).all()
    assert locations(regions.boxes_px, height=size[0], width=size[1]).shape == (len(regions), 5)
    assert regions.boxes_px.min() >= 0
    assert (regions.boxes_px[:, 2] <= size[1]).all()
    assert (regions.boxes_px[:, 3] <= size[0]).all()


def test_given_boxes_come_last_in_their_order_and_inside_the_picture(extractor: DetectorExtractor) -> None:
    given = torch.tensor([[10.0, 10.0, 60.0, 50.0], [-5.0, 20.0, 30.0, 500.0], [0.0, 0.0, 20.0, 20.0]])
    regions = extractor.extract(picture(90, 120), given)
    assert regions.given == 3
    assert torch.equal(regions.boxes_px[-3:], torch.tensor([[10.0, 10, 60, 50], [0, 20, 30, 90], [0, 0, 20, 20]]))
    assert regions.scores[-3:].tolist() == [1.0] * 3
    assert regions.labels[-3:].tolist() == [UNKNOWN_LABEL] * 3


def test_giving_boxes_changes_nothing_in_what_is_detected(extractor: DetectorExtractor) -> None:
    shown = picture(90, 120)
    alone = extractor.extract(shown)
    regions = extractor.extract(shown, torch.tensor([[10.0, 10.0, 60.0, 50.0]]))
    assert torch.equal(regions.boxes_px[:-1], alone.boxes_px)
    assert torch.allclose(regions.features[:-1], alone.features, atol=1e-5)


def test_a_picture_has_the_same_regions_each_time(extractor: DetectorExtractor) -> None:
    first = extractor.extract(picture(90, 120))
    extractor.extract(picture(50, 200, seed=1))
    assert_equal(extractor.extract(picture(90, 120)), first)


def test_a_picture_in_which_nothing_is_found_is_one_region() -> None:
    regions = extractor_of(replace(TINY, score_floor=0.99)).extract(picture(90, 120))
    assert regions.boxes_px.tolist() == [[0, 0, 120, 90]]
    assert regions.scores.tolist() == [0]
    assert regions.labels.tolist() == [UNKNOWN_LABEL]


SLIVERS = [[3.0, 4.0, 3.0, 30.0], [10.0, 4.0, 10.2, 30.0], [118.0, 70.0, 300.0, 70.0], [120.0, 90.0, 120.0, 90.0]]
"""No width; little; no height and beyond the picture; none of both in its last corner."""


class Fixed:
    """A runtime that finds slivers and one box in whatever it is shown."""

    def run(self, **inputs: Tensor) -> dict[str, Tensor]:
        boxes = torch.tensor([*SLIVERS, [10.0, 10.0, 60.0, 50.0]])
        count = len(boxes)
        return {
            "boxes": boxes,
            "features": torch.ones(count, 4),
            "scores": torch.linspace(1, 0, count),
            "labels": torch.zeros(count, dtype=torch.long),
            "count": torch.tensor(count),
            "given_features": torch.ones(len(inputs["given"]), 4),
        }


def slivers_by(config: Any) -> RegionSet:
    unscaled = replace(config, short_side=90, long_side=120, least_side=1)
    return DetectorExtractor(Fixed(), unscaled, digest="sha256:test").extract(picture(90, 120))


def test_the_small_detector_gives_no_slivers() -> None:
    assert slivers_by(TINY).boxes_px.tolist() == [[10.0, 10.0, 60.0, 50.0]]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_published_detector_keeps_all_its_rows_and_none_is_empty(preset: str) -> None:
    regions = slivers_by(RcnnConfig.of(preset, ["car"]))
    assert len(regions) == len(SLIVERS) + 1
    assert locations(regions.boxes_px, height=90, width=120).shape == (len(regions), 5)
    assert regions.boxes_px[1].tolist() == torch.tensor(SLIVERS[1]).tolist()
    thin = torch.tensor([[3.0, 4, 3 + LEAST_SIDE_PX, 30], [118.0, 70, 120, 70 + LEAST_SIDE_PX]])
    assert torch.equal(regions.boxes_px[[0, 2]], thin)
    assert torch.equal(regions.boxes_px[4], torch.tensor([10.0, 10.0, 60.0, 50.0]))


@pytest.mark.parametrize("size", SIZES)
def test_resizing_keeps_to_the_sides_of_the_configuration(size: tuple[int, int]) -> None:
    sides = resized(*size, TINY)
    assert TINY.least_side <= min(sides) <= TINY.short_side
    assert max(sides) <= TINY.long_side
    assert tuple(prepare(picture(*size).rgb, TINY).shape) == (3, *sides)


def test_a_picture_of_the_right_size_is_looked_at_as_it_is() -> None:
    shown = picture(144, 192)
    assert torch.equal(prepare(shown.rgb, TINY), torch.tensor(shown.rgb).permute(2, 0, 1).float())


def test_the_digest_tells_weights_and_settings_apart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    Detector(TINY).save(tmp_path / "one")
    Detector(TINY).save(tmp_path / "other")
    one, other = (DetectorExtractor.load(tmp_path / name).digest for name in ("one", "other"))
    replace(TINY, score_floor=0.06).write(tmp_path / "one" / "detector.json")
    assert len({one, other, DetectorExtractor.load(tmp_path / "one").digest}) == 3
