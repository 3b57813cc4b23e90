"""The sprites at the sizes and in the colours in which scenes show them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.world.kinds import KINDS
from training.world.paint import paint

ASSETS = Path(__file__).parent / "assets"

VISIBLE_ALPHA = 110
"""A pixel belongs to a thing from this opacity on."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Figure:
    """How a thing is drawn, wherever it stands.

    Attributes:
        kind: A name from `kinds`.
        color: A colour word where the kind is painted, else None.
        look: Which of the kind's sprites, from 0.
        side_px: Longer side.
        flipped: Whether left and right are exchanged.
    """

    kind: str
    color: str | None
    look: int
    side_px: int
    flipped: bool


@dataclass
class SpriteCase:
    """Every sprite, ready to be asked for as a figure; what was made once is kept.

    Attributes:
        renders: The vendored sprites by name, RGBA.
    """

    renders: Mapping[str, Image.Image]
    _pictures: dict[Figure, Image.Image] = field(default_factory=dict)
    _masks: dict[Figure, Mask] = field(default_factory=dict)

    @classmethod
    def open(cls, assets: Path = ASSETS) -> "SpriteCase":
        """Read the vendored sprites by their table."""
        files: Mapping[str, str] = json.loads((assets / "sprites.json").read_text())
        return cls({name: Image.open(assets / "sprites" / file).convert("RGBA") for name, file in files.items()})

    def picture(self, figure: Figure) -> Image.Image:
        """Give the figure as RGBA; it is shared, do not draw on it."""
        if figure not in self._pictures:
            self._pictures[figure] = self._draw(figure)
        return self._pictures[figure]

    def mask(self, figure: Figure) -> Mask:
        """Give which pixels of the figure's picture belong to it, [H, W]; the colour makes no difference."""
        if figure not in self._masks:
            self._masks[figure] = np.asarray(self.picture(figure).getchannel("A")) >= VISIBLE_ALPHA
        return self._masks[figure]

    def _draw(self, figure: Figure) -> Image.Image:
        kind = KINDS[figure.kind]
        sprite = self.renders[kind.sprites[figure.look]]
        if kind.paint is not None and figure.color is not None:
            sprite = paint(sprite, kind.paint, figure.color)
        scale = figure.side_px / max(sprite.size)
        size = (max(1, round(sprite.width * scale)), max(1, round(sprite.height * scale)))
        sized = sprite.resize(size, Image.Resampling.LANCZOS)
        return sized.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if figure.flipped else sized
