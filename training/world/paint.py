"""Painting a sprite: the pixels near one hue take on a colour, and keep their shading.

Shapes: H, W of the sprite · the last axis of an HSV array holds hue, saturation and value in [0, 1].
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.world.kinds import Paint

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Tint:
    """What a colour word looks like.

    Attributes:
        hue: In [0, 1).
        saturation: Of a typical pixel of the painted part; 0 for white, gray and black.
        value: Of a bright pixel of the painted part.
        floor: Value of the darkest pixels: white stays white in the shade.
    """

    hue: float
    saturation: float
    value: float
    floor: float = 0.0


TINTS: Final[Mapping[str, Tint]] = {
    "red": Tint(0.0, 0.88, 0.92),
    "orange": Tint(0.075, 0.92, 1.0),
    "yellow": Tint(0.145, 0.85, 1.0),
    "green": Tint(0.36, 0.75, 0.72),
    "blue": Tint(0.60, 0.80, 0.95),
    "purple": Tint(0.77, 0.68, 0.76),
    "pink": Tint(0.93, 0.42, 1.0),
    "brown": Tint(0.06, 0.64, 0.47),
    "gray": Tint(0.0, 0.0, 0.60),
    "white": Tint(0.0, 0.0, 1.0, floor=0.55),
    "black": Tint(0.0, 0.0, 0.24),
}

_SOLID: Final = 128
_EDGE: Final = 0.04
"""Hues fade from painted to unpainted over this distance."""
_GRAYISH: Final = 0.15
_VIVID: Final = 0.25
"""Pixels below the first saturation stay as they are, those above the second are painted in full."""
_BRIGHT_PERCENTILE: Final = 70


def paint(sprite: Image.Image, part: Paint, color: str) -> Image.Image:
    """Give the sprite in another colour.

    Args:
        sprite: RGBA.
        part: Which hues are painted.
        color: A colour word.

    Returns:
        RGBA of the same size and outline.
    """
    rgba = np.asarray(sprite)
    hsv = np.asarray(sprite.convert("RGB").convert("HSV")).astype(np.float32) / np.float32(255)
    cover = _cover(hsv, part)
    chosen = hsv[(cover > 0.5) & (rgba[..., 3] >= _SOLID)]  # [pixels, 3]
    painted = _tinted(hsv, chosen, TINTS[color])
    mixed = rgba[..., :3] * (1 - cover[..., None]) + painted * cover[..., None]
    return Image.fromarray(np.dstack([mixed.round().astype(np.uint8), rgba[..., 3]]), "RGBA")


def _cover(hsv: Floats, part: Paint) -> Floats:
    """Give how much of each pixel is paint, [H, W] in [0, 1]."""
    distance = np.abs((hsv[..., 0] - part.hue + 0.5) % 1 - 0.5)
    near = np.clip((part.reach - distance) / _EDGE, 0, 1)
    vivid = np.clip((hsv[..., 1] - _GRAYISH) / (_VIVID - _GRAYISH), 0, 1)
    return (near * vivid).astype(np.float32)


def _tinted(hsv: Floats, chosen: Floats, tint: Tint) -> Floats:
    """Give every pixel in the tint, shaded as before relative to the chosen ones, [H, W, 3] RGB."""
    usual_saturation = max(float(np.median(chosen[:, 1])), 0.05)
    bright = max(float(np.percentile(chosen[:, 2], _BRIGHT_PERCENTILE)), 0.05)
    shade = hsv[..., 2] / bright
    saturation = tint.saturation * np.clip(hsv[..., 1] / usual_saturation, 0.5, 1.25)
    value = tint.floor + (tint.value - tint.floor) * shade
    tinted = np.stack([np.full_like(shade, tint.hue), saturation.clip(0, 1), value.clip(0, 1)], axis=-1)
    rgb = Image.fromarray((tinted * 255).astype(np.uint8), "HSV").convert("RGB")
    return np.asarray(rgb).astype(np.float32)
