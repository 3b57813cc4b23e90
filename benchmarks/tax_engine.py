"""Engines for measuring what a server adds: one that costs nothing, and one that notes its own CPU.

A worker gets one of them by a handler that replaces `assemble`; see `benchmarks.server_tax`.

Shapes: R regions · G given boxes · F feature width.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from twelve import assembly
from twelve.assembly import Parts, Settings, cache_of
from twelve.heads.model import CONFIG_FILE
from twelve.image import Picture
from twelve.model.config import ModelConfig
from twelve.pictures import PictureDesk
from twelve.regions.extractor import UNKNOWN_LABEL, RegionSet
from twelve.runtimes.base import Runtime

REGIONS = 100
NOTE = "model-cpu-ns"
"""File in the worker's cache folder: CPU nanoseconds of all runs so far."""

Shapes = tuple[tuple[str, torch.Size], ...]


@dataclass
class Recalling:
    """Runs a graph once for inputs of each shape, and gives the same again from then on."""

    inside: Runtime
    known: dict[Shapes, dict[str, Tensor]] = field(default_factory=dict)

    def run(self, **inputs: Tensor) -> dict[str, Tensor]:
        """See `Runtime.run`."""
        shapes = tuple((name, tensor.shape) for name, tensor in inputs.items())
        if shapes not in self.known:
            self.known[shapes] = self.inside.run(**inputs)
        return dict(self.known[shapes])


@dataclass(frozen=True)
class Noting:
    """Runs a graph and adds the CPU of this thread to a file's number; with one thread a worker, that is all of it."""

    inside: Runtime
    note: Path

    def run(self, **inputs: Tensor) -> dict[str, Tensor]:
        """See `Runtime.run`."""
        began_ns = time.thread_time_ns()
        answer = self.inside.run(**inputs)
        used_ns = time.thread_time_ns() - began_ns
        self.note.write_text(str(noted_ns(self.note) + used_ns), encoding="ascii")
        return answer


@dataclass(frozen=True)
class Drawing:
    """In place of a detector: regions drawn by lot, for each picture its own."""

    feature_width: int
    digest: str = "drawn by lot"

    def extract(self, picture: Picture, given_px: Tensor | None = None) -> RegionSet:
        """See `RegionExtractor.extract`."""
        height, width = picture.rgb.shape[:2]
        lot = np.random.default_rng(int(picture.digest[-8:], 16))
        corners = lot.uniform(0, 0.5, (REGIONS, 2)) * (width, height)
        sides = lot.uniform(0.1, 0.5, (REGIONS, 2)) * (width, height)
        found_px = torch.tensor(np.concatenate([corners, corners + sides], axis=1), dtype=torch.float32)
        boxes_px = found_px if given_px is None else torch.cat([found_px, given_px])  # [R + G, 4]
        count = len(boxes_px)
        features = torch.tensor(np.abs(lot.standard_normal((count, self.feature_width))), dtype=torch.float32)
        labels = torch.full((count,), UNKNOWN_LABEL)
        return RegionSet(
            features, boxes_px, torch.ones(count), labels, width=width, height=height, given=count - REGIONS
        )


def effortless(path: Path, settings: Settings) -> Parts:
    """Assemble a bundle whose model costs nothing once it was asked; see `twelve.assembly.assemble`."""
    return _wrapped(assembly.assemble(path, settings), Recalling)


def noting(path: Path, settings: Settings) -> Parts:
    """Assemble a bundle without a detector; its pictures' regions are drawn, its model's CPU is noted."""
    assert settings.cache is not None, "the note lies in the cache's folder"
    settings.cache.mkdir(parents=True, exist_ok=True)
    note = settings.cache / NOTE
    parts = _wrapped(assembly.assemble(path, settings), lambda runtime: Noting(runtime, note))
    config = ModelConfig.load(path / CONFIG_FILE)
    extractor = Drawing(config.v_feature_size)
    cache = cache_of(extractor, config, settings)
    desk = PictureDesk(extractor, cache, limits=settings.limits, feature_width=config.v_feature_size)
    return replace(parts, extractor=extractor, desk=desk)


def noted_ns(note: Path) -> int:
    """Read how much CPU was noted."""
    return int(note.read_text(encoding="ascii")) if note.exists() else 0


def _wrapped(parts: Parts, wrap: Callable[[Runtime], Runtime]) -> Parts:
    engine = parts.engine
    engine._runtimes = {name: wrap(runtime) for name, runtime in engine._runtimes.items()}
    return parts
