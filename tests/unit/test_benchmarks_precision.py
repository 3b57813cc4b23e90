"""The comparison in 16 bits, on a bundle that finds no regions itself."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.precision import compare
from tests.bundles import FEATURE_WIDTH, make_tiny_bundle, picture


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("precision") / "tiny", detector=False).path


def asked(image: Any, to: Path) -> Path:
    to.write_text(json.dumps({"task": "vqa-v2", "question": "Is it red?", "image": image}) + "\n", encoding="utf-8")
    return to


def test_requests_that_bring_their_regions_are_compared_without_a_detector(bundle: Path, tmp_path: Path) -> None:
    features = np.random.default_rng(0).random((2, FEATURE_WIDTH), dtype=np.float32)
    brought = {
        "features": base64.b64encode(features.tobytes()).decode(),
        "boxes": [[1, 2, 30, 40], [5, 5, 60, 70]],
        "width": 100,
        "height": 100,
    }
    tallies = compare(bundle, asked({"regions": brought}, tmp_path / "requests.jsonl"))
    assert [sum(one["vqa-v2"].verdicts.values()) for one in tallies.values()] == [1] * 4


def test_requests_with_pictures_stop_with_what_would_do_instead(bundle: Path, tmp_path: Path) -> None:
    image = base64.b64encode(picture(0)).decode()
    with pytest.raises(SystemExit, match=r'requests\.jsonl:1: image: .* no detector; send \{"regions"'):
        compare(bundle, asked(image, tmp_path / "requests.jsonl"))
