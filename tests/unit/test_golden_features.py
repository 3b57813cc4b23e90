"""Regions and overlaps against what the published reader gives (tests/data/golden/PROVENANCE.md)."""

import json
import pickle
from functools import cache
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from twelve.batch import Visual, visual
from twelve.boxes import GLOBAL_REGION, overlaps
from twelve.features.region_set import UNKNOWN_LABEL, RegionSet

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
FEATURES = GOLDEN / "features"
IMAGES = sorted(path.stem for path in (FEATURES / "npy").glob("*.npy"))
KEYS = b"keys"  # under which the published store lists its pictures
SUMMED_OTHERWISE = 1e-6  # of a value: numpy adds the rows one by one, torch in blocks; 4 units in the last place here


@cache
def published() -> dict[str, Tensor]:
    return load_file(GOLDEN / "golden_features_io.safetensors")


@cache
def store() -> dict[str, dict[str, Any]]:
    """Read the whole published store; its values are pickles, and this repository's own."""
    with lmdb.open(str(FEATURES / "features.lmdb"), readonly=True, lock=False) as database, database.begin() as reading:
        return {key.decode(): pickle.loads(value) for key, value in reading.cursor() if key != KEYS}


def from_npy(image: str) -> RegionSet:
    entry = np.load(FEATURES / "npy" / f"{image}.npy", allow_pickle=True).item()
    return regions(entry["features"], entry["bbox"], width=entry["image_width"], height=entry["image_height"])


def from_store(image: str) -> RegionSet:
    entry = store()[image]
    return regions(entry["features"], entry["boxes"], width=entry["image_w"], height=entry["image_h"])


def regions(features: np.ndarray, boxes: np.ndarray, *, width: int, height: int) -> RegionSet:
    rows = len(features)
    return RegionSet(
        torch.from_numpy(features),
        torch.from_numpy(boxes),
        scores=torch.ones(rows),
        labels=torch.full((rows,), UNKNOWN_LABEL),
        width=int(width),
        height=int(height),
    )


def seen(image: str) -> tuple[RegionSet, Visual]:
    found = from_store(image)
    return found, visual(found)


def test_the_store_holds_every_picture_and_reads_like_its_own_file() -> None:
    assert len(IMAGES) >= 4
    assert set(store()) == set(IMAGES)
    for image in IMAGES:
        one, other = from_npy(image), from_store(image)
        assert torch.equal(one.features, other.features)
        assert torch.equal(one.boxes_px, other.boxes_px)
        assert (one.width, one.height) == (other.width, other.height)


@pytest.mark.parametrize("image", IMAGES)
def test_every_location_is_exactly_the_published_one(image: str) -> None:
    _, found = seen(image)
    assert torch.equal(found.locations.double(), published()[f"{image}/spatials"])


@pytest.mark.parametrize("image", IMAGES)
def test_every_region_is_exactly_the_published_one_and_the_global_region_their_mean(image: str) -> None:
    _, found = seen(image)
    rows = published()[f"{image}/features"]
    assert len(found) == int(published()[f"{image}/num_boxes"]) == len(rows)
    assert torch.equal(found.features[GLOBAL_REGION + 1 :], rows[GLOBAL_REGION + 1 :])
    torch.testing.assert_close(found.features[GLOBAL_REGION], rows[GLOBAL_REGION], rtol=SUMMED_OTHERWISE, atol=0)


@pytest.mark.parametrize("image", IMAGES)
def test_every_box_is_exactly_the_published_one_in_pixels(image: str) -> None:
    one, found = seen(image)
    pixels = published()[f"{image}/spatials_pixels"].float()
    assert torch.equal(one.boxes_px, pixels[1:, :4])
    assert torch.equal(found.locations[1:, 4], pixels[1:, 4])
    assert pixels[GLOBAL_REGION].tolist() == [0, 0, one.width, one.height, one.width * one.height]


def test_overlaps_are_exactly_the_published_ones_of_boxes_that_include_their_last_pixel() -> None:
    table = json.loads((GOLDEN / "golden_misc.json").read_text(encoding="utf-8"))["iou"]
    last_pixel = torch.tensor([0.0, 0.0, 1.0, 1.0])
    anchors, truths = torch.tensor(table["anchors"]) + last_pixel, torch.tensor(table["gt"]) + last_pixel
    assert torch.equal(overlaps(anchors, truths), torch.tensor(table["overlaps"]))
