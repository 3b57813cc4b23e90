"""The settings of a Faster R-CNN: written, read, refused; and which family reads which."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.bundles import tiny_detector
from tests.rcnn import NAMES, net, tiny
from twelve.errors import BundleMissing, ConfigInvalid
from twelve.regions.config import DetectorConfig
from twelve.regions.detector import Detector
from twelve.regions.families import FAMILIES, open_config, open_detector
from twelve.regions.local import DetectorExtractor
from twelve.regions.rcnn.config import PRESETS, RcnnConfig
from twelve.regions.rcnn.detector import Rcnn

MILLIONS = 1e6
GENOME_CLASSES = [f"thing {number}" for number in range(1600)]


@pytest.mark.parametrize("preset", PRESETS)
def test_a_configuration_is_the_same_after_writing_and_reading(preset: str, tmp_path: Path) -> None:
    config = RcnnConfig.of(preset, NAMES)
    config.write(tmp_path / "detector.json")
    assert open_config(tmp_path) == config
    assert next(iter(json.loads((tmp_path / "detector.json").read_text()))) == "preset"


def test_a_file_may_leave_out_what_its_preset_says(tmp_path: Path) -> None:
    (tmp_path / "detector.json").write_text('{"preset": "r50-c4", "class_names": ["car"], "proposals": 500}')
    assert open_config(tmp_path) == replace(RcnnConfig.of("r50-c4", ["car"]), proposals=500)


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"depth": 3}, "unknown entries depth; a detector has .*anchor_sides"),
        ({"preset": "x153"}, "preset: got 'x153', want one of small, x152-fpn"),
        ({"class_names": None}, "class_names"),
        ({"channels": "grb"}, "channels: got 'grb', want bgr or rgb"),
        ({"feature": "res5"}, "feature of body 'fpn': got 'res5', want fc1 or fc2"),
        ({"pooling": "max"}, "pooling of body 'fpn': got 'max', want align"),
        ({"samples": 0}, "samples: got 0, want at least 1"),
        ({"max_regions": 2000}, "each must be at least the next"),
        ({"fewest_regions": 101}, "each must be at least the next"),
        ({"anchor_sides": [32.0, 64.0]}, "anchor_sides: got 2 numbers, want 5: one for each map of the pyramid"),
        ({"means": [0.0]}, "means: got 1 numbers, want 3: one a channel"),
        ({"blocks": [3, 4]}, "blocks: got 2 numbers, want 4: res2 to res5"),
    ],
)
def test_what_makes_no_detector_is_refused(entries: dict[str, Any], sentence: str, tmp_path: Path) -> None:
    values = {"preset": "x152-fpn", "class_names": ["car"], **entries}
    kept = {name: value for name, value in values.items() if value is not None}
    (tmp_path / "detector.json").write_text(json.dumps(kept))
    with pytest.raises(ConfigInvalid, match=sentence):
        open_config(tmp_path)


def test_a_folder_without_a_detector_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleMissing, match=r"detector\.json: there is no such file"):
        open_detector(tmp_path)


@pytest.mark.parametrize("content", ["[]", "{", "\xff"])
def test_a_broken_file_is_refused_with_its_name(content: str, tmp_path: Path) -> None:
    (tmp_path / "detector.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigInvalid, match=r"detector\.json"):
        open_config(tmp_path)


def test_each_family_opens_its_own(tmp_path: Path) -> None:
    tiny_detector().save(tmp_path / "small")
    net(tiny("r50-fpn")).save(tmp_path / "rcnn")
    assert isinstance(open_config(tmp_path / "small"), DetectorConfig)
    assert isinstance(open_detector(tmp_path / "small"), Detector)
    assert isinstance(open_detector(tmp_path / "rcnn"), Rcnn)
    assert DetectorExtractor.load(tmp_path / "rcnn").feature_width == tiny("r50-fpn").feature_width
    assert set(FAMILIES) == {"small", *PRESETS}


@pytest.mark.parametrize(("preset", "millions"), [("x152-fpn", 205.8), ("vg-r101-c4", 63.5)])
def test_a_preset_has_the_published_number_of_parameters(preset: str, millions: float) -> None:
    with torch.device("meta"):
        detector = Rcnn(RcnnConfig.of(preset, GENOME_CLASSES))
    count = sum(parameter.numel() for parameter in detector.parameters())
    assert round(count / MILLIONS, 1) == millions
    assert detector.config.feature_width == 2048
