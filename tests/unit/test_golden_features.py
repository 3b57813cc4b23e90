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
SETS = sorted(
    path.name[len("golden_") : -len("_io.safetensors")] for path in GOLDEN.glob("golden_features*_io.safetensors")
)
MISC = sorted(path.name for path in GOLDEN.glob("golden_misc*.json"))
KEYS = b"keys"  # under which the published store lists its pictures
SUMMED_OTHERWISE = 1e-6  # of a value: numpy adds the rows one by one, torch in blocks; 4 units in the last place here


@cache
def published(one: str) -> dict[str, Tensor]:
    return load_file(GOLDEN / f"golden_{one}_io.safetensors")


@cache
def store(one: str) -> dict[str, dict[str, Any]]:
    """Read a set's whole published store; its values are pickles, and this repository's own."""
    path = str(GOLDEN / one / "features.lmdb")
    with lmdb.open(path, readonly=True, lock=False) as database, database.begin() as reading:
        return {key.decode(): pickle.loads(value) for key, value in reading.cursor() if key != KEYS}


def from_npy(one: str, image: str) -> RegionSet:
    entry = np.load(GOLDEN / one / "npy" / f"{image}.npy", allow_pickle=True).item()
    return regions(entry["features"], entry["bbox"], width=entry["image_width"], height=entry["image_height"])


def from_store(one: str, image: str) -> RegionSet:
    entry = store(one)[image]
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


def seen(one: str, image: str) -> tuple[RegionSet, Visual]:
    found = from_store(one, image)
    return found, visual(found)


CASES = [(one, image) for one in SETS for image in sorted({name.rpartition("/")[0] for name in published(one)})]


def test_the_golden_sets_are_there() -> None:
    assert "features" in SETS
    assert "golden_misc.json" in MISC
    assert len(CASES) >= 4


@pytest.mark.parametrize("one", SETS)
def test_a_store_holds_every_picture_and_reads_like_its_own_files(one: str) -> None:
    images = {image for name, image in CASES if name == one}
    assert set(store(one)) == {path.stem for path in (GOLDEN / one / "npy").glob("*.npy")} == images
    for image in images:
        own, stored = from_npy(one, image), from_store(one, image)
        assert torch.equal(own.features, stored.features)
        assert torch.equal(own.boxes_px, stored.boxes_px)
        assert (own.width, own.height) == (stored.width, stored.height)


@pytest.mark.parametrize(("one", "image"), CASES)
def test_every_location_is_exactly_the_published_one(one: str, image: str) -> None:
    _, found = seen(one, image)
    assert torch.equal(found.locations.double(), published(one)[f"{image}/spatials"])


@pytest.mark.parametrize(("one", "image"), CASES)
def test_every_region_is_exactly_the_published_one_and_the_global_region_their_mean(one: str, image: str) -> None:
    _, found = seen(one, image)
    rows = published(one)[f"{image}/features"]
    assert len(found) == int(published(one)[f"{image}/num_boxes"]) == len(rows)
    assert torch.equal(found.features[GLOBAL_REGION + 1 :], rows[GLOBAL_REGION + 1 :])
    torch.testing.assert_close(found.features[GLOBAL_REGION], rows[GLOBAL_REGION], rtol=SUMMED_OTHERWISE, atol=0)


@pytest.mark.parametrize(("one", "image"), CASES)
def test_every_box_is_exactly_the_published_one_in_pixels(one: str, image: str) -> None:
    given, found = seen(one, image)
    pixels = published(one)[f"{image}/spatials_pixels"].float()
    assert torch.equal(given.boxes_px, pixels[1:, :4])
    assert torch.equal(found.locations[1:, 4], pixels[1:, 4])
    assert pixels[GLOBAL_REGION].tolist() == [0, 0, given.width, given.height, given.width * given.height]


@pytest.mark.parametrize("file", MISC)
def test_overlaps_are_exactly_the_published_ones_of_boxes_that_include_their_last_pixel(file: str) -> None:
    table = json.loads((GOLDEN / file).read_text(encoding="utf-8"))["iou"]
    last_pixel = torch.tensor([0.0, 0.0, 1.0, 1.0])
    anchors, truths = torch.tensor(table["anchors"]) + last_pixel, torch.tensor(table["gt"]) + last_pixel
    assert torch.equal(overlaps(anchors, truths), torch.tensor(table["overlaps"]))
