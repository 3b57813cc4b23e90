"""What a detector is made of and how it selects: its `detector.json`."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self, get_type_hints

from twelve.errors import BundleMissing, ConfigInvalid
from twelve.regions.resizing import Resizing

SMALL = "small"

SHOWN = 60
"""Characters of a wrong value that a sentence shows."""

LEAST_REGION_PX = 0.5
"""A thinner region, in pixels of the original picture, holds nothing that the small detector could describe."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """A `detector.json`: reading, writing, identity. Each family of detectors adds its own entries."""

    preset: str
    class_names: tuple[str, ...]

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a `detector.json`.

        Args:
            path: Of the file.

        Returns:
            The configuration.

        Raises:
            BundleMissing: There is no such file.
            ConfigInvalid: It is no JSON object, or has a missing or unknown entry, or one of another type.
        """
        if not path.is_file():
            raise BundleMissing(f"{path}: there is no such file; a detector is a folder with it and its weights")
        try:
            return cls.from_dict(_object(path))
        except (ValueError, RecursionError, ConfigInvalid) as error:
            raise ConfigInvalid(f"{path}: {error}") from error

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave.

        Raises:
            ConfigInvalid: An entry is missing or unknown or of another type, or makes no detector.
        """
        types = get_type_hints(cls)
        unknown = sorted(set(values) - set(types))
        if unknown:
            raise ConfigInvalid(f"unknown entries {', '.join(unknown)}; a detector has {', '.join(sorted(types))}")
        if "class_names" not in values:
            raise ConfigInvalid(
                "the entry class_names is missing; list the detector's classes in the order of its labels"
            )
        cls.refuse_other_types(values)
        entries: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**entries)

    @classmethod
    def refuse_other_types(cls, values: Mapping[str, Any]) -> None:
        """Hold entries that are known against what they may be.

        Raises:
            ConfigInvalid: One is of another type.
        """
        for name, kind in get_type_hints(cls).items():
            if name in values:
                KINDS[kind].refuse_other(name, values[name])

    def to_dict(self) -> dict[str, Any]:
        """Give all entries as JSON values."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(self).items()
        }

    def write(self, path: Path) -> None:
        """Write a `detector.json`."""
        path.write_text(json.dumps(self.to_dict(), indent=2) + "\n", encoding="utf-8")

    def digest(self, weights_sha256: str) -> str:
        """Identify weights and settings together: equal digests give equal regions."""
        content = json.dumps(self.to_dict(), sort_keys=True) + weights_sha256
        return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"


def _object(path: Path) -> dict[str, Any]:
    values = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ConfigInvalid(f"holds {_shown(values)}, want an object with a detector's entries")
    return values


class Kind(NamedTuple):
    """What an entry may be."""

    called: str
    fits: Callable[[Any], bool]

    def refuse_other(self, name: str, value: Any) -> None:
        """Refuse a value that is of another kind."""
        if not self.fits(value):
            raise ConfigInvalid(f"{name}: got {_shown(value)}, want {self.called}")


def _shown(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return _is_whole(value) or (isinstance(value, float) and math.isfinite(value))


def _list_of(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list | tuple) and len(value) > 0 and all(map(fits, value))


KINDS: Mapping[Any, Kind] = {
    str: Kind("a text", _is_text),
    bool: Kind("true or false", _is_truth),
    int: Kind("a whole number", _is_whole),
    float: Kind("a number", _is_number),
    tuple[str, ...]: Kind("a list of texts", _list_of(_is_text)),
    tuple[int, ...]: Kind("a list of whole numbers", _list_of(_is_whole)),
    tuple[float, ...]: Kind("a list of numbers", _list_of(_is_number)),
}
"""By the type of a setting."""


@dataclass(frozen=True, kw_only=True)
class DetectorConfig(Settings):
    """Sizes, anchors and thresholds. Lengths are pixels of the resized picture.

    Attributes:
        preset: The architecture; only "small" so far.
        class_names: In the order of the labels, background left out.
        widths: Channels after each halving of the picture; three halvings make cells of 8 pixels.
        blocks: Residual blocks on the last map.
        anchor_sides: Square roots of the anchors' areas.
        anchor_ratios: Heights over widths of the anchors.
        candidates: Anchors, best first, that enter the proposals' NMS.
        proposals: Boxes that leave it.
        proposal_overlap: Its threshold.
        class_overlap: Threshold of the NMS within a class.
        region_overlap: Threshold among the regions, whatever their classes; at 1 all stay, as in the published one.
        score_floor: A region's best class score lies above it.
        max_regions: K, at most.
        bins: Side of a pooled box.
        feature_width: F.
        short_side: What a picture's shorter side is resized to,
        long_side: unless its longer side would exceed this.
        least_side: No side becomes smaller, though it distorts very long pictures.
    """

    preset: str = SMALL
    widths: tuple[int, ...] = (32, 64, 128)
    blocks: int = 2
    anchor_sides: tuple[float, ...] = (24.0, 40.0, 66.0)
    anchor_ratios: tuple[float, ...] = (0.55, 1.0, 1.8)
    candidates: int = 192
    proposals: int = 48
    proposal_overlap: float = 0.7
    class_overlap: float = 0.5
    region_overlap: float = 0.6
    score_floor: float = 0.05
    max_regions: int = 20
    bins: int = 5
    feature_width: int = 256
    short_side: int = 144
    long_side: int = 256
    least_side: int = 64

    def __post_init__(self) -> None:
        """Refuse selections that cannot shrink from step to step."""
        if not self.candidates >= self.proposals >= self.max_regions >= 1:
            raise ConfigInvalid(
                f"candidates {self.candidates}, proposals {self.proposals}, max_regions {self.max_regions}: "
                "each must be at least the next, and the last at least 1"
            )

    @classmethod
    def small(cls, class_names: Sequence[str]) -> Self:
        """Give the preset of the small world."""
        return cls(class_names=tuple(class_names))

    @property
    def resizing(self) -> Resizing:
        """Give how a picture becomes what the detector looks at."""
        return Resizing(short_side=self.short_side, long_side=self.long_side, least_side=self.least_side)

    @property
    def rounding(self) -> float:
        """Give what engines may differ by, of an output's largest value."""
        return 1e-4

    @property
    def least_region_px(self) -> float:
        """Give the side, in pixels of the original picture, below which a region is left out."""
        return LEAST_REGION_PX
