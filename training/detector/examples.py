"""The scenes of a world as tensors: pictures decoded once, ground truth padded to one width.

Shapes: N pictures · G most things of a picture · H, W resized pixels.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from training.world.build import pool_picture
from training.world.kinds import COLORS, KINDS, PLACES
from training.world.scene import Scene, Split, Thing
from training.world.scenes import FILE_NAME, read_scenes
from twelve.errors import DataError
from twelve.image import ImageLimits, read
from twelve.regions.config import DetectorConfig
from twelve.regions.local import prepare

KIND_NAMES = tuple(KINDS)
SIZES = ("small", "large")
LIGHTS = ("day", "night")
UNSAID = -1
"""The number of an attribute that a thing does not have, or that nobody may ask for; padding bears it too."""


@dataclass(frozen=True)
class Examples:
    """Pictures with their ground truth, or a batch of them.

    Attributes:
        pixels: [N, 3, H, W] uint8.
        boxes: [N, G, 4] in resized pixels; zeros where a picture has fewer things.
        kinds: [N, G] int64, an index into KIND_NAMES; UNSAID marks padding.
        colors: [N, G], an index into COLORS; UNSAID by night, and for what is not painted.
        sizes: [N, G], an index into SIZES; UNSAID in the dead zone between them.
        places: [N], an index into PLACES.
        lights: [N], an index into LIGHTS.
    """

    pixels: Tensor
    boxes: Tensor
    kinds: Tensor
    colors: Tensor
    sizes: Tensor
    places: Tensor
    lights: Tensor

    def __len__(self) -> int:
        """Count the pictures."""
        return len(self.pixels)

    def pick(self, index: Tensor) -> Self:
        """Take the pictures of these numbers, in this order."""
        return type(self)(**{entry.name: getattr(self, entry.name)[index] for entry in fields(self)})

    def mirrored(self, chosen: Tensor) -> Self:
        """Mirror the chosen pictures, [N] bool, left to right."""
        pixels = torch.where(chosen[:, None, None, None], self.pixels.flip(-1), self.pixels)
        x1, y1, x2, y2 = self.boxes.unbind(dim=-1)
        width = self.pixels.shape[-1]
        turned = torch.stack([width - x2, y1, width - x1, y2], dim=-1) * (self.kinds != UNSAID)[..., None]
        boxes = torch.where(chosen[:, None, None], turned, self.boxes)
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return type(self)(**{**values, "pixels": pixels, "boxes": boxes})


def load_examples(root: Path, split: Split, config: DetectorConfig) -> Examples:
    """Decode a split's pictures and lay out their ground truth.

    Args:
        root: The data root, with `scenes.jsonl`.
        split: Which scenes.
        config: Says what pictures are resized to.

    Returns:
        The examples, in the order of the scenes.

    Raises:
        DataError: There are no such scenes, or their pictures are of more than one size.
    """
    scenes = [scene for scene in read_scenes(root / FILE_NAME) if scene.split == split]
    if not scenes:
        raise DataError(f"{root / FILE_NAME}: holds no scene of the split {split!r}; make a larger world")
    if len({(scene.width, scene.height) for scene in scenes}) > 1:
        raise DataError(f"{root / FILE_NAME}: holds pictures of several sizes; a batch needs one")
    pixels = torch.stack([_pixels(pool_picture(root, scene.id), config) for scene in scenes])
    return Examples(
        pixels=pixels,
        boxes=_boxes(scenes, pixels),
        kinds=_padded(scenes, [[KIND_NAMES.index(thing.kind) for thing in scene.things] for scene in scenes]),
        colors=_padded(scenes, [[_color(thing, scene) for thing in scene.things] for scene in scenes]),
        sizes=_padded(scenes, [[_number(thing.size, SIZES) for thing in scene.things] for scene in scenes]),
        places=torch.tensor([PLACES.index(scene.place) for scene in scenes]),
        lights=torch.tensor([LIGHTS.index(scene.light) for scene in scenes]),
    )


def _pixels(path: Path, config: DetectorConfig) -> Tensor:
    return prepare(read(path, limits=ImageLimits()).rgb, config).to(torch.uint8)


def _boxes(scenes: Sequence[Scene], pixels: Tensor) -> Tensor:
    x, y = pixels.shape[3] / scenes[0].width, pixels.shape[2] / scenes[0].height
    boxes = torch.zeros(len(scenes), _most_things(scenes), 4)
    for row, scene in zip(boxes, scenes, strict=True):
        row[: len(scene.things)] = torch.tensor([thing.box_px for thing in scene.things], dtype=torch.float32)
    return boxes * torch.tensor([x, y, x, y])


def _padded(scenes: Sequence[Scene], numbers: Iterable[Sequence[int]]) -> Tensor:
    table = torch.full((len(scenes), _most_things(scenes)), UNSAID)
    for row, values in zip(table, numbers, strict=True):
        row[: len(values)] = torch.tensor(values)
    return table


def _most_things(scenes: Sequence[Scene]) -> int:
    return max(len(scene.things) for scene in scenes)


def _color(thing: Thing, scene: Scene) -> int:
    """Give the number of a thing's colour where it can be seen."""
    return UNSAID if scene.light == "night" else _number(thing.color, COLORS)


def _number(name: str | None, names: Sequence[str]) -> int:
    return UNSAID if name is None else names.index(name)
