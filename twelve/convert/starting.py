"""A new model begun from a bundle's weights: from what was pre-trained, from BERT, or from a model of other tasks."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from twelve.errors import WeightsInvalid
from twelve.heads.model import PRETRAINING_FILE, WEIGHTS_FILE, TwelveModel


@dataclass(frozen=True)
class Started:
    """Which parameters of a new model were given values, and which keep those they were drawn with."""

    taken: tuple[str, ...]
    new: tuple[str, ...]


def start(model: TwelveModel, folder: Path) -> Started:
    """Fill a new model with whatever a bundle holds of it; the pre-training heads only where the model has them.

    Args:
        model: Takes the values up.
        folder: The bundle's.

    Returns:
        What was taken and what is new.

    Raises:
        WeightsInvalid: The bundle holds a tensor that the model has no place for, or of another shape; names it.
    """
    places = model.state_dict()
    found = dict(_tensors(model, folder))
    for name, tensor in found.items():
        if name not in places:
            raise WeightsInvalid(f"{folder}: holds {name}, the model to begin has no such parameter; see its config")
        if tensor.shape != places[name].shape:
            raise WeightsInvalid(
                f"{folder}: {name} has shape {list(tensor.shape)}, in the model to begin {list(places[name].shape)}"
            )
    with torch.no_grad():
        for name, tensor in found.items():
            places[name].copy_(tensor)
    return Started(tuple(found), tuple(name for name in places if name not in found))


def _tensors(model: TwelveModel, folder: Path) -> Iterator[tuple[str, Tensor]]:
    yield from load_file(folder / WEIGHTS_FILE).items()
    if model.pretraining is not None and (folder / PRETRAINING_FILE).is_file():
        for name, tensor in load_file(folder / PRETRAINING_FILE).items():
            yield f"pretraining.{name}", tensor
