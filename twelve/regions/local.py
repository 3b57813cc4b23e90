"""A detector of ours as a region extractor, over whatever runtime runs its graph.

Shapes: H, W of the picture · h, w of the resized one · R regions · G given boxes · F feature width.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor

from twelve.boxes import clip
from twelve.bundle import DETECTOR_WEIGHTS, sha256_of
from twelve.image import RGB, Picture
from twelve.regions.detector import INPUTS, LEAST_GIVEN, OUTPUTS
from twelve.regions.extractor import UNKNOWN_LABEL, RegionSet
from twelve.regions.families import open_config, open_detector
from twelve.regions.resizing import Resizing
from twelve.runtimes import Runtime
from twelve.runtimes.module import ModuleRuntime

LEAST_SIDE_PX = 1 / 64
"""What a region that is kept though it has no width or height is widened to: the model describes no empty box, and old
detectors count a box from a pixel to the same pixel as one wide. Seen by floats in pictures of 16,384 a side too."""


class Look(Protocol):
    """What of a detector's settings an extractor asks; those of every family say it."""

    @property
    def resizing(self) -> Resizing:
        """Give how a picture becomes what the detector looks at."""
        ...

    @property
    def feature_width(self) -> int:
        """Give F."""
        ...

    @property
    def least_region_px(self) -> float:
        """Give the side, in pixels of the original picture, below which a region is left out; 0 leaves none out."""
        ...


class DetectorExtractor:
    """Resizes a picture, runs the graph, and brings its boxes back to the picture's own pixels."""

    def __init__(self, runtime: Runtime, config: Look, *, digest: str) -> None:
        self.runtime = runtime
        self.config = config
        self._digest = digest

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Take the detector of a folder or a bundle, to be run eagerly."""
        detector = open_detector(folder)
        runtime = ModuleRuntime(detector, inputs=INPUTS, outputs=OUTPUTS)
        return cls(runtime, detector.config, digest=digest_of(folder))

    @property
    def digest(self) -> str:
        """Identify weights and settings: equal digests give equal regions."""
        return self._digest

    @property
    def feature_width(self) -> int:
        """Give F."""
        return self.config.feature_width

    def extract(self, picture: Picture, given_px: Tensor | None = None) -> RegionSet:
        """Find the picture's regions and describe the given boxes; see `RegionExtractor.extract`.

        A picture in which nothing is found has one region, the whole of it, with score 0: the model needs one.
        """
        whole_px = torch.tensor([[0.0, 0.0, picture.width, picture.height]])
        asked_px = whole_px[:0] if given_px is None else _clipped(given_px.float(), picture)
        image = prepare(picture.rgb, self.config)
        scale = torch.tensor([*self.config.resizing.scale(picture.height, picture.width)] * 2)  # x, y, x, y
        described_px = torch.cat([asked_px, whole_px.expand(LEAST_GIVEN, -1)])  # [G + 2, 4]
        answer = self.runtime.run(image=image, given=described_px * scale)
        asked, whole = answer["given_features"].split([len(asked_px), LEAST_GIVEN])
        found = _found(answer, scale, picture, least_px=self.config.least_region_px)
        rows = found if len(found.boxes_px) else _undetected(whole_px, whole[:1], score=0.0)
        return _joined(rows, _undetected(asked_px, asked, score=1.0), picture)


def digest_of(folder: Path) -> str:
    """Identify the detector of a folder, whichever runtime will run it: runtimes differ by rounding only."""
    return open_config(folder).digest(sha256_of(folder / DETECTOR_WEIGHTS))


def digest_in_8_bits(folder: Path) -> str:
    """Identify the same detector in 8 bits, which finds other regions by more than rounding: no cache mixes the two."""
    return f"sha256:{hashlib.sha256(f'{digest_of(folder)} int8'.encode()).hexdigest()}"


def prepare(rgb: RGB, config: Look) -> Tensor:
    """Resize a picture to what the detector looks at.

    Args:
        rgb: [H, W, 3] uint8.
        config: Says how.

    Returns:
        [3, h, w] float32 from 0 to 255.
    """
    return config.resizing.resize(torch.tensor(rgb).permute(2, 0, 1).float())


def resized(height: int, width: int, config: Look) -> tuple[int, int]:
    """Give the height and width a picture is resized to."""
    return config.resizing.sides(height, width)


class _Rows(NamedTuple):
    boxes_px: Tensor
    features: Tensor
    scores: Tensor
    labels: Tensor


def _found(answer: Mapping[str, Tensor], scale: Tensor, picture: Picture, *, least_px: float) -> _Rows:
    """Give the real rows of what the graph found, but slivers, in pixels of the picture."""
    count = int(answer["count"])
    boxes_px = _widened(_clipped(answer["boxes"][:count] / scale, picture), picture)
    wide = (boxes_px[:, 2:] - boxes_px[:, :2] >= least_px).all(dim=1)
    features, scores, labels = (answer[name][:count][wide] for name in ("features", "scores", "labels"))
    return _Rows(boxes_px[wide], features, scores, labels)


def _widened(boxes_px: Tensor, picture: Picture) -> Tensor:
    """Give boxes that have an inside: none is thinner than `LEAST_SIDE_PX`, and all lie in the picture."""
    edges = boxes_px.new_tensor([picture.width, picture.height])
    first = torch.minimum(boxes_px[:, :2], edges - LEAST_SIDE_PX)
    return torch.cat([first, torch.maximum(boxes_px[:, 2:], first + LEAST_SIDE_PX)], dim=1)


def _undetected(boxes_px: Tensor, features: Tensor, *, score: float) -> _Rows:
    count = len(boxes_px)
    return _Rows(boxes_px, features, torch.full((count,), score), torch.full((count,), UNKNOWN_LABEL))


def _joined(found: _Rows, asked: _Rows, picture: Picture) -> RegionSet:
    boxes_px, features, scores, labels = (torch.cat(pair) for pair in zip(found, asked, strict=True))
    return RegionSet(
        features=features,
        boxes_px=boxes_px,
        scores=scores,
        labels=labels,
        width=picture.width,
        height=picture.height,
        given=len(asked.boxes_px),
    )


def _clipped(boxes_px: Tensor, picture: Picture) -> Tensor:
    return clip(boxes_px, height=picture.height, width=picture.width)
