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
        ({"bins": 0}, "bins: got 0, want at least 1"),
        ({"groups": -1}, "groups: got -1, want at least 1"),
        ({"deviations": [1.0, 0, 1.0]}, "deviations: got 0, want numbers above 0"),
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


@pytest.mark.parametrize("preset", ["small", "x152-fpn"])
@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("proposals", "300", 'got "300", want a whole number'),
        ("proposals", 300.0, "got 300.0, want a whole number"),
        ("proposals", True, "got true, want a whole number"),
        ("score_floor", None, "got null, want a number"),
        ("score_floor", float("nan"), "got NaN, want a number"),
        ("anchor_sides", 32.0, "got 32.0, want a list of numbers"),
        ("anchor_sides", [32.0, "64"], r'got \[32.0, "64"\], want a list of numbers'),
        ("class_names", "car", 'got "car", want a list of texts'),
        ("class_names", [], r"got \[\], want a list of texts"),
        ("class_names", {"car": 0}, 'got {"car": 0}, want a list of texts'),
        ("class_names", [1] * 100, r"got \[1, 1, .*…, want a list of texts"),
    ],
)
def test_an_entry_of_another_type_is_refused_by_its_name(
    preset: str, name: str, value: Any, sentence: str, tmp_path: Path
) -> None:
    values = {"preset": preset, "class_names": ["car"], name: value}
    (tmp_path / "detector.json").write_text(json.dumps(values))
    with pytest.raises(ConfigInvalid, match=rf"detector\.json: {name}: {sentence}"):
        open_config(tmp_path)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("body", 3, "got 3, want a text"),
        ("ceil_pool", 0, "got 0, want true or false"),
        ("blocks", [3, 4, 6.5, 3], "want a list of whole numbers"),
    ],
)
def test_so_is_one_that_only_the_published_families_have(name: str, value: Any, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "detector.json").write_text(json.dumps({"preset": "r50-fpn", "class_names": ["car"], name: value}))
    with pytest.raises(ConfigInvalid, match=rf"detector\.json: {name}: .*{sentence}"):
        open_config(tmp_path)


@pytest.mark.parametrize("content", ["[]", "5", '"small"', "null", '{"preset": null}', "[" * 100_000])
def test_what_is_no_object_with_a_preset_is_refused_with_its_file(content: str, tmp_path: Path) -> None:
    (tmp_path / "detector.json").write_text(content)
    with pytest.raises(ConfigInvalid, match=r"detector\.json: "):
        open_detector(tmp_path)


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
