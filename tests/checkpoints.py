"""Checkpoints as the published code writes them, with random numbers: its keys, at any size."""

import json
from pathlib import Path

import torch
from torch import Tensor

from tests.checkout import ROOT
from twelve.convert.names import published_shapes
from twelve.model.config import ModelConfig

PUBLISHED_KEYS = ROOT / "tests/data/golden/published_state_dict_keys.txt"
WORDS, DECODER = "bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"
SPREAD = 0.2

SMALL = ModelConfig(
    hidden_size=24,
    intermediate_size=40,
    max_position_embeddings=64,
    v_feature_size=16,
    v_hidden_size=32,
    v_intermediate_size=32,
    v_target_size=9,
    bi_hidden_size=48,
    vqa_labels=11,
    gqa_labels=5,
    heads="released",
)
"""The published model's layers, connections, vocabulary and task table, at small widths."""


def published_keys() -> dict[str, tuple[int, ...]]:
    """Read the keys and shapes of the released checkpoint."""
    lines = [line.split("\t") for line in PUBLISHED_KEYS.read_text().splitlines() if not line.startswith("#")]
    return {name: tuple(int(side) for side in shape.split("x")) for name, shape, _ in lines}


def make_state(config: ModelConfig = SMALL, *, seed: int = 0, spread: float = SPREAD) -> dict[str, Tensor]:
    """Draw a multi-task state dict; the decoder of words is the word table, as in the published file."""
    generator = torch.Generator().manual_seed(seed)
    shapes = published_shapes(config)
    state = {name: _draw(name, shapes[name], generator, spread) for name in published_keys() if name in shapes}
    assert state.keys() == shapes.keys()
    return state | {DECODER: state[WORDS]}


def without_tasks(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Keep what the published pre-training class has: no task table, and no head that is called anything but cls."""
    return {
        name: tensor
        for name, tensor in state.items()
        if name.startswith(("bert.", "cls.")) and "task_embeddings" not in name
    }


def save_legacy(state: object, path: Path) -> Path:
    """Write a file as PyTorch did before 1.6."""
    torch.save(state, path, _use_new_zipfile_serialization=False)
    return path


def save_zip(state: object, path: Path) -> Path:
    """Write a file as PyTorch does."""
    torch.save(state, path)
    return path


def answer_files(folder: Path, config: ModelConfig = SMALL) -> dict[str, Path]:
    """Write lists of answers of the right lengths, by head."""
    outputs = {"vqa": config.vqa_labels, "gqa": config.gqa_labels}
    paths = {head: folder / f"{head}.json" for head in outputs}
    for head, count in outputs.items():
        paths[head].write_text(json.dumps([f"{head} answer {place}" for place in range(count)]))
    return paths


def _draw(name: str, shape: tuple[int, ...], generator: torch.Generator, spread: float) -> Tensor:
    middle = 1.0 if name.endswith("weight") and len(shape) == 1 else 0.0  # of a LayerNorm
    return torch.empty(shape).normal_(middle, spread, generator=generator)
