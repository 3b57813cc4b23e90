"""Tiny bundles with random weights: every part is real, nothing is larger than it must be."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from twelve.bundle import VOCABULARY, Bundle, seal
from twelve.heads.model import TwelveModel
from twelve.model.config import ModelConfig
from twelve.regions.config import DetectorConfig
from twelve.regions.detector import Detector
from twelve.tasks import TASKS

REAL_VOCABULARY = Path(__file__).parents[1] / "twelve/convert/vocab.txt"  # wherever the tests run
ANSWERS = {"vqa": ["yes", "no", "red", "blue", "car", "dog", "2"], "gqa": ["yes", "no", "red", "left", "dog"]}
FEATURE_WIDTH = 8


def make_tiny_bundle(path: Path, *, seed: int = 0, detector: bool = True) -> Bundle:
    """Write a bundle that knows all twelve tasks and nothing else."""
    torch.manual_seed(seed)
    config = ModelConfig.tiny(
        vqa_labels=len(ANSWERS["vqa"]), gqa_labels=len(ANSWERS["gqa"]), feature_width=FEATURE_WIDTH
    )
    model = TwelveModel(config)
    with torch.no_grad():  # far enough from zero for answers to differ
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    model.save(path, dtype=torch.float16)
    if detector:
        tiny_detector().save(path)
    shutil.copy(REAL_VOCABULARY, path / VOCABULARY)
    (path / "answers").mkdir(exist_ok=True)
    for head, answers in ANSWERS.items():
        (path / "answers" / f"{head}.json").write_text(json.dumps(answers))
    return seal(path, name="tiny", version="0", tasks={task.name: task.token for task in TASKS.values()})


def tiny_detector() -> Detector:
    """Build a detector that finds something everywhere."""
    config = DetectorConfig(
        class_names=("car", "dog"),
        widths=(4, 4, 8),
        blocks=1,
        candidates=24,
        proposals=8,
        score_floor=0.0,
        max_regions=6,
        feature_width=FEATURE_WIDTH,
        short_side=64,
        long_side=128,
    )
    return Detector(config).eval()


def picture(seed: int = 0, *, width: int = 320, height: int = 240, form: str = "PNG") -> bytes:
    """Draw noise with blocks of colour, as an encoded file."""
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(blocks).resize((width, height), Image.Resampling.NEAREST)
    stream = io.BytesIO()
    image.save(stream, form)
    return stream.getvalue()
