"""Trunk and heads in one module: what is trained, saved and exported."""

from pathlib import Path
from typing import Self

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from twelve.errors import ConfigInvalid
from twelve.heads import HEADS
from twelve.model.config import ModelConfig
from twelve.model.trunk import Trunk

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"


class TwelveModel(nn.Module):
    """The multi-task model: one trunk, six heads."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config)
        self.heads = nn.ModuleDict({name: build(config) for name, build in HEADS.items()})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read configuration and weights; weights stored narrower are widened to float32.

        Args:
            folder: Holds `config.json` and `model.safetensors`.

        Returns:
            The model, in evaluation mode.

        Raises:
            ConfigInvalid: A tensor is missing, unexpected or of another shape; names it.
        """
        with torch.device("meta"):
            model = cls(ModelConfig.load(folder / CONFIG_FILE))
        tensors = {name: tensor.float() for name, tensor in load_file(folder / WEIGHTS_FILE).items()}
        _refuse_misfits(model, tensors)
        model.load_state_dict(tensors, assign=True)
        return model.eval()

    def save(self, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Write configuration and weights, the weights as `dtype`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.config.save(folder / CONFIG_FILE)
        tensors = {name: tensor.detach().to(dtype).contiguous() for name, tensor in self.state_dict().items()}
        save_file(tensors, folder / WEIGHTS_FILE)


def _refuse_misfits(model: nn.Module, tensors: dict[str, torch.Tensor]) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    missing, unexpected = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing or unexpected:
        raise ConfigInvalid(f"{WEIGHTS_FILE}: missing tensors {missing[:5]}, unexpected tensors {unexpected[:5]}")
    for name, shape in expected.items():
        if tuple(tensors[name].shape) != shape:
            raise ConfigInvalid(
                f"{WEIGHTS_FILE}: {name} has shape {tuple(tensors[name].shape)}, config.json asks {shape}"
            )
