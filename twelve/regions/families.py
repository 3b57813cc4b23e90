"""The families of detectors: which class reads which preset. Whoever opens a detector asks here."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from twelve.bundle import DETECTOR_CONFIG
from twelve.errors import ConfigInvalid
from twelve.regions.config import SMALL, DetectorConfig
from twelve.regions.detector import Detector
from twelve.regions.rcnn.config import PRESETS, RcnnConfig
from twelve.regions.rcnn.detector import Rcnn

AnyConfig = DetectorConfig | RcnnConfig
AnyDetector = Detector | Rcnn


class Family(NamedTuple):
    """What a preset's detectors are made of."""

    config: type[DetectorConfig] | type[RcnnConfig]
    detector: type[Detector] | type[Rcnn]


RCNN = Family(RcnnConfig, Rcnn)
FAMILIES: Mapping[str, Family] = {SMALL: Family(DetectorConfig, Detector), **dict.fromkeys(PRESETS, RCNN)}
"""By preset."""


def open_config(folder: Path) -> AnyConfig:
    """Read the `detector.json` of a folder or a bundle.

    Raises:
        BundleMissing: There is none.
        ConfigInvalid: It is no JSON object, names no known preset, or has a missing or unknown entry.
    """
    return _family(folder).config.read(folder / DETECTOR_CONFIG)


def open_detector(folder: Path) -> AnyDetector:
    """Read the detector of a folder or a bundle, for serving; see `Detector.load` and `Rcnn.load`."""
    return _family(folder).detector.load(folder)


def _family(folder: Path) -> Family:
    """Ask the file for its preset; whatever else is wrong with it, the family's own reading says."""
    path = folder / DETECTOR_CONFIG
    preset = _preset(path)
    if preset not in FAMILIES:
        raise ConfigInvalid(f"{path}: preset: got {preset!r}, want one of {', '.join(FAMILIES)}")
    return FAMILIES[preset]


def _preset(path: Path) -> str:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        return str(values.get("preset", SMALL))
    except (OSError, ValueError, AttributeError, RecursionError):
        return SMALL
