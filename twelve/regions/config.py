"""What a detector is made of and how it selects: its `detector.json`."""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from twelve.errors import BundleMissing, ConfigInvalid
from twelve.regions.resizing import Resizing

SMALL = "small"


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
            ConfigInvalid: It is no JSON object, or has a missing or unknown entry.
        """
        if not path.is_file():
            raise BundleMissing(f"{path}: there is no such file; a detector is a folder with it and its weights")
        try:
            return cls.from_dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, ConfigInvalid) as error:
            raise ConfigInvalid(f"{path}: {error}") from error

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Read what `to_dict` gave."""
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise ConfigInvalid(f"unknown entries {', '.join(unknown)}; a detector has {', '.join(sorted(known))}")
        if "class_names" not in values:
            raise ConfigInvalid(
                "the entry class_names is missing; list the detector's classes in the order of its labels"
            )
        entries: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
        }
        return cls(**entries)

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
