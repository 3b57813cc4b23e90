"""Drawing a sketch as a picture.

By night a thing is drawn from its unpainted sprite, dark and without hues: its colour is nowhere in the picture.

Shapes: H, W of a picture or a sprite.
"""

import io
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from training.world.places import draw_place
from training.world.sketch import Placement, Sketch
from training.world.sprites import SpriteCase

Floats = NDArray[np.float32]

JPEG_QUALITY: Final = 88

_NIGHT_AIR: Final[Floats] = np.array([34, 42, 74], dtype=np.float32)
_NIGHT_AIR_LIT: Final[Floats] = np.array([84, 88, 108], dtype=np.float32)
"""RGB of a black and, added to it, of a white pixel of the place by night."""
_SILHOUETTE: Final[Floats] = np.array([7, 8, 15], dtype=np.float32)
_SILHOUETTE_LIT: Final[Floats] = np.array([30, 32, 42], dtype=np.float32)
"""Likewise of a thing: darker than any place."""

_SHADOW_COLOR: Final = (30, 30, 40)
_SHADOW_OPACITY: Final = 70
_SHADOW_HEIGHT_PX: Final = 14
_SHADOW_MARGIN_PX: Final = 4
_SHADOW_BLUR_PX: Final = 2


def jpeg(sketch: Sketch, case: SpriteCase) -> bytes:
    """Draw a sketch and give it as the bytes of a JPEG file."""
    stream = io.BytesIO()
    draw(sketch, case).save(stream, "JPEG", quality=JPEG_QUALITY)
    return stream.getvalue()


def draw(sketch: Sketch, case: SpriteCase) -> Image.Image:
    """Draw a sketch as RGB."""
    return _DRAW_BY_LIGHT[sketch.scene.light](sketch, case)


def _by_day(sketch: Sketch, case: SpriteCase) -> Image.Image:
    picture = _place(sketch)
    for placement in sketch.placements:
        sprite = case.picture(placement.figure)
        _drop_shadow(picture, placement, sprite.width)
        picture.paste(sprite, (placement.left, placement.bottom - sprite.height), sprite)
    return picture


def _by_night(sketch: Sketch, case: SpriteCase) -> Image.Image:
    picture = _dimmed(_place(sketch), _NIGHT_AIR, _NIGHT_AIR_LIT)
    for placement in sketch.placements:
        sprite = case.picture(replace(placement.figure, color=None))
        silhouette = _dimmed(sprite, _SILHOUETTE, _SILHOUETTE_LIT)
        corner = (placement.left, placement.bottom - sprite.height)
        picture.paste(silhouette, corner, sprite.getchannel("A"))
    return picture


_DRAW_BY_LIGHT: Final = {"day": _by_day, "night": _by_night}


def _place(sketch: Sketch) -> Image.Image:
    scene = sketch.scene
    return draw_place(scene.place, sketch.backdrop, width=scene.width, height=scene.height)


def _drop_shadow(picture: Image.Image, placement: Placement, width: int) -> None:
    if placement.airborne:
        return
    size = (width + 2 * _SHADOW_MARGIN_PX, _SHADOW_HEIGHT_PX)
    mask = Image.new("L", size, 0)
    ImageDraw.Draw(mask).ellipse((2, 3, size[0] - 3, size[1] - 4), fill=_SHADOW_OPACITY)
    mask = mask.filter(ImageFilter.GaussianBlur(_SHADOW_BLUR_PX))
    corner = (placement.left - _SHADOW_MARGIN_PX, placement.bottom - _SHADOW_HEIGHT_PX // 2 - 2)
    picture.paste(_SHADOW_COLOR, (*corner, corner[0] + size[0], corner[1] + size[1]), mask)


def _dimmed(picture: Image.Image, dark: Floats, lit: Floats) -> Image.Image:
    """Give a picture's brightness in shades between two dark colours, RGB."""
    brightness = np.asarray(picture.convert("L")).astype(np.float32)[..., None] / 255  # [H, W, 1]
    return Image.fromarray((dark + brightness * lit).round().astype(np.uint8), "RGB")
