"""BERT's weights from a Hugging Face folder, for the text stream. Its keys are the published model's own."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from twelve.bundle import VOCABULARY, json_object
from twelve.convert.accounts import Expected
from twelve.convert.checkpoint import Checkpoint, read, read_safetensors, todays_names
from twelve.convert.names import published_shapes
from twelve.errors import ConfigInvalid, WeightsInvalid
from twelve.model.config import ModelConfig

CONFIG = "config.json"
SAFE, PICKLED = "model.safetensors", "pytorch_model.bin"
TRUNK = "bert."

STREAM = re.compile(r"bert\.embeddings\.(?!task_)\w+\.\w+|bert\.encoder\.layer\..+")
"""Keys of the text stream."""

HIDDEN_WORDS, DECODER = "cls.predictions.", "cls.predictions.decoder.weight"
"""Keys of the head of hidden words, which not every BERT is saved with, and among them the copy of the word table."""

ELSEWHERE = re.compile(
    r"bert\.pooler\..+|bert\.embeddings\.position_ids|cls\.seq_relationship\..+|cls\.predictions\.decoder\.bias"
)
"""Keys of a BERT that this model has no place for: its pooler is another, and it judges no next sentence."""

SIZES = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
    "hidden_act",
    "max_position_embeddings",
    "type_vocab_size",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "layer_norm_eps",
)
"""Entries of BERT's configuration that the text stream takes over."""


class Bert(NamedTuple):
    """What a folder gives.

    Attributes:
        checkpoint: Its tensors, by published key.
        expected: What they must be.
        passed_over: Keys that this model has no place for.
        weights: The file they come from.
        vocabulary: Its word pieces.
    """

    checkpoint: Checkpoint
    expected: Expected
    passed_over: tuple[str, ...]
    weights: Path
    vocabulary: Path


def read_bert(folder: Path, base: ModelConfig) -> Bert:
    """Read a BERT as `transformers` saves one.

    Args:
        folder: Holds config.json, vocab.txt, and model.safetensors or pytorch_model.bin.
        base: Gives the visual stream and what else BERT says nothing of.

    Returns:
        What the text stream takes, and what it leaves.

    Raises:
        BundleMissing: There is no config.json.
        ConfigInvalid: It is no BERT's, or its sizes do not fit.
        WeightsInvalid: The weights are missing or broken.
    """
    config = _config(json_object(folder / CONFIG), folder / CONFIG, base)
    weights = next((path for path in (folder / SAFE, folder / PICKLED) if path.is_file()), None)
    if weights is None:
        raise WeightsInvalid(f"{folder}: has neither {SAFE} nor {PICKLED}; save the model into one file")
    found = READERS[weights.name](weights)
    tensors = _prefixed(found.tensors)
    taken = {name: one for name, one in tensors.items() if not ELSEWHERE.fullmatch(name)}
    passed_over = tuple(name for name in tensors if name not in taken)
    expected = Expected(
        "BERT", config, _shapes(config, taken), otherwise="the folder holds task heads, which no BERT has"
    )
    return Bert(Checkpoint(found.form, taken), expected, passed_over, weights, folder / VOCABULARY)


def _prefixed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give the keys of a bare BERT the names that they have within a model with heads."""
    is_bare = not any(name.startswith(TRUNK) for name in tensors)
    return {TRUNK + name: one for name, one in tensors.items()} if is_bare else dict(tensors)


def _config(values: Mapping[str, object], path: Path, base: ModelConfig) -> ModelConfig:
    """Take BERT's sizes over; co-attention stands before its last layers, as many as the published model pairs."""
    if values.get("model_type") != "bert":
        raise ConfigInvalid(f"{path}: model_type is {values.get('model_type')!r}, expected 'bert'")
    missing = [name for name in SIZES if name not in values]
    if missing:
        raise ConfigInvalid(f"{path}: lacks {missing}; copy it again")
    layers, pairs = values["num_hidden_layers"], len(base.t_biattention_id)
    if not isinstance(layers, int) or layers < pairs:
        raise ConfigInvalid(f"{path}: num_hidden_layers is {layers!r}, co-attention needs at least {pairs}")
    sizes = {name: values[name] for name in SIZES}
    ids = tuple(range(layers - pairs, layers))
    return dataclasses.replace(base, task_specific_tokens=False, t_biattention_id=ids, **sizes)  # type: ignore[arg-type]


def _shapes(config: ModelConfig, tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """List what a BERT must hold: the text stream, and the whole head of hidden words where there is a part of it."""
    with_words = any(name.startswith(HIDDEN_WORDS) for name in tensors)
    return {
        name: shape
        for name, shape in published_shapes(config).items()
        if STREAM.fullmatch(name)
        or (with_words and name.startswith(HIDDEN_WORDS) and (name != DECODER or name in tensors))
    }


def _read_safetensors(path: Path) -> Checkpoint:
    return Checkpoint("safetensors", todays_names(path, read_safetensors(path)))


READERS = {SAFE: _read_safetensors, PICKLED: read}
