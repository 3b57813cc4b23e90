"""Resizing as the published extractors do it, to the pixel."""

import math

import numpy as np
import pytest
import torch

from twelve.image import Picture
from twelve.regions.local import prepare, resized
from twelve.regions.rcnn.config import LEAST_SIDE, RcnnConfig
from twelve.regions.resizing import Cv2Resizing, PillowResizing, TorchResizing

CV2 = Cv2Resizing(short_side=30, long_side=50, least_side=4)
TORCH = TorchResizing(short_side=30, long_side=50, least_side=4)
PILLOW = PillowResizing(short_side=30, long_side=50, least_side=4)
ROUNDING = 1e-3
"""Of 255: OpenCV and torch weigh in float32, the loop below in float64."""


def picture(height: int, width: int) -> torch.Tensor:
    drawn = np.random.default_rng(0).integers(0, 256, (3, height, width))
    return torch.tensor(drawn).float()


def by_hand(pixels: torch.Tensor, factor: float) -> np.ndarray:
    """OpenCV's INTER_LINEAR by a factor: dst pixel x reads the source at (x + 0.5) / factor - 0.5, edges repeated."""
    source = pixels.double().numpy()
    height, width = (round(side * factor) for side in source.shape[1:])

    def places(count: int, limit: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        at = np.clip((np.arange(count) + 0.5) / factor - 0.5, 0, limit - 1)
        low = np.floor(at).astype(int)
        return low, np.minimum(low + 1, limit - 1), at - low

    top, bottom, down = places(height, source.shape[1])
    left, right, across = places(width, source.shape[2])
    rows = source[:, top] * (1 - down)[None, :, None] + source[:, bottom] * down[None, :, None]
    return rows[:, :, left] * (1 - across) + rows[:, :, right] * across


@pytest.mark.parametrize(("height", "width"), [(45, 61), (17, 23), (61, 47), (30, 33)])
def test_a_picture_is_read_where_opencv_reads_it(height: int, width: int) -> None:
    pixels = picture(height, width)
    factor = 30 / min(height, width)
    found = CV2.resize(pixels)
    assert tuple(found.shape[1:]) == CV2.sides(height, width)
    assert np.abs(found.double().numpy() - by_hand(pixels, factor)).max() < ROUNDING
    assert CV2.scale(height, width) == (factor, factor)


def test_shrinking_smooths_as_pillow_does_and_not_as_opencv_does() -> None:
    pixels = picture(90, 120)
    image = Picture.of(pixels.permute(1, 2, 0).byte().numpy())
    smooth, sharp = PILLOW.resize(pixels), CV2.resize(pixels)
    pillow = pillow_resized(image, 40, 30)
    assert (smooth - pillow).abs().max() <= 1
    assert (sharp - pillow).abs().mean() > 20


@pytest.mark.parametrize(("height", "width"), [(45, 61), (90, 120), (17, 23)])
def test_torchs_resizing_smooths_nothing_and_goes_by_the_rounded_sides(height: int, width: int) -> None:
    pixels = picture(height, width)
    found = TORCH.resize(pixels)
    assert tuple(found.shape[1:]) == TORCH.sides(height, width) == PILLOW.sides(height, width)
    assert TORCH.scale(height, width) == PILLOW.scale(height, width)
    y, x = (np.clip((5 + 0.5) / factor - 0.5, 0, None) for factor in reversed(TORCH.scale(height, width)))
    (top, down), (left, across) = divmod(y, 1), divmod(x, 1)
    corners = pixels[0, int(top) : int(top) + 2, int(left) : int(left) + 2].double().numpy()
    expected = np.array([1 - down, down]) @ corners @ np.array([1 - across, across])
    assert abs(float(found[0, 5, 5]) - expected) < ROUNDING


def pillow_resized(image: Picture, width: int, height: int) -> torch.Tensor:
    from PIL import Image

    resized_image = Image.fromarray(image.rgb).resize((width, height), Image.Resampling.BILINEAR)
    return torch.tensor(np.asarray(resized_image)).permute(2, 0, 1).float()


def test_the_longer_side_has_the_last_word() -> None:
    assert CV2.sides(100, 400) == (12, 50)  # 12.5 rounds to even
    assert PILLOW.sides(100, 400) == (13, 50)  # and up
    assert CV2.scale(100, 400).x == 50 / 400


def test_a_longer_side_that_rounds_to_the_limit_is_within_it() -> None:
    """The published script compares the rounded side: 1174 * 300 / 700 is 503.14, which counts as 503."""
    resizing = Cv2Resizing(short_side=300, long_side=503, least_side=4)
    assert resizing.scale(700, 1174).x == 300 / 700
    assert resizing.scale(700, 1175).x == 503 / 1175


def test_a_sliver_is_stretched_to_the_least_side() -> None:
    config = RcnnConfig.of("x152-fpn", ["car"])
    assert resized(3, 2000, config) == (LEAST_SIDE, 1333)
    image = prepare(np.zeros((3, 2000, 3), dtype=np.uint8), config)
    assert tuple(image.shape) == (3, LEAST_SIDE, 1333)
    assert math.isclose(config.resizing.scale(3, 2000).y, LEAST_SIDE / 3)


@pytest.mark.parametrize(
    ("preset", "sides"), [("x152-fpn", (800, 1067)), ("vg-r101-c4", (600, 800)), ("r50-fpn", (800, 1067))]
)
def test_a_preset_has_its_published_sides(preset: str, sides: tuple[int, int]) -> None:
    assert resized(480, 640, RcnnConfig.of(preset, ["car"])) == sides
