"""Trunk and heads in one module: what is trained, saved and exported."""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from twelve.bundle import CONFIG_FILE, PRETRAINING_FILE, WEIGHTS_FILE
from twelve.errors import BundleMissing, ConfigInvalid
from twelve.heads import HEADS
from twelve.heads.pretraining import PretrainingHeads
from twelve.hub import HubVerbs
from twelve.model.config import ModelConfig
from twelve.model.trunk import Trunk

__all__ = ["CONFIG_FILE", "PRETRAINING_FILE", "WEIGHTS_FILE", "TwelveModel"]

NAMED = 5
"""Most tensors that a refusal names."""


class TwelveModel(nn.Module, HubVerbs):
    """The multi-task model: one trunk, six heads, and the pre-training heads where they were asked for."""

    own_files = (CONFIG_FILE, WEIGHTS_FILE, PRETRAINING_FILE)

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config)
        self.heads = nn.ModuleDict({name: build(config) for name, build in HEADS.items()})
        self.pretraining: PretrainingHeads | None = None

    def add_pretraining(self) -> PretrainingHeads:
        """Build new pre-training heads; without this call a model neither has nor computes them."""
        self.pretraining = PretrainingHeads(self.config)
        return self.pretraining

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read configuration and weights; weights stored narrower are widened to float32.

        Args:
            folder: Holds `config.json` and `model.safetensors`.

        Returns:
            The model, in evaluation mode and without pre-training heads.

        Raises:
            BundleMissing: There are no weights.
            ConfigInvalid: A tensor is missing, unexpected or of another shape; names it.
        """
        with torch.device("meta"):
            model = cls(ModelConfig.load(folder / CONFIG_FILE))
        _fill(model, folder / WEIGHTS_FILE)
        return model.eval()

    def load_pretraining(self, folder: Path) -> PretrainingHeads:
        """Add the pre-training heads that were saved beside a model.

        Args:
            folder: Holds `pretraining.safetensors`.

        Returns:
            The heads, in evaluation mode.

        Raises:
            BundleMissing: The folder keeps none.
            ConfigInvalid: As for `load`.
        """
        with torch.device("meta"):
            heads = PretrainingHeads(self.config)
        _fill(heads, folder / PRETRAINING_FILE)
        self.pretraining = heads.eval()
        return self.pretraining

    def save(self, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Write configuration and weights, the weights as `dtype`; the pre-training heads go into a file of their own.

        Args:
            folder: Made where it is not there.
            dtype: Of every tensor.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.config.save(folder / CONFIG_FILE)
        _write(self.serving_state(), folder / WEIGHTS_FILE, dtype)
        if self.pretraining is not None:
            _write(self.pretraining.state_dict(), folder / PRETRAINING_FILE, dtype)

    def refuse_unsavable(self) -> None:
        """Refuse a model that is not the one its configuration describes, and weights that are no numbers.

        Raises:
            ConfigInvalid: A tensor is missing, unexpected, of another shape, or holds NaN or infinity; names it.
        """
        with torch.device("meta"):
            described = type(self)(self.config)
            if self.pretraining is not None:
                described.add_pretraining()
        tensors = self.state_dict()
        misfit = _misfit(described, tensors)
        if misfit:
            raise ConfigInvalid(
                f"this model is no longer the one its configuration describes: {misfit}; a bundle holds that one only. "
                "Set sizes in the configuration, and keep modules of your own in a file of their own, outside the model"
            )
        broken = [name for name, tensor in tensors.items() if not tensor.float().isfinite().all()]
        if broken:
            raise ConfigInvalid(
                f"NaN or infinity stands in {len(broken)} of {len(tensors)} tensors, {broken[:NAMED]} first; "
                "save the weights from before they broke"
            )

    def is_as_stored(self, folder: Path) -> bool:
        """Say whether configuration and weights are those of a folder, whatever type it stores them as."""
        stored = type(self).load(folder)
        if self.pretraining is not None:
            if not (folder / PRETRAINING_FILE).is_file():
                return False
            stored.load_pretraining(folder)
        own, kept = self.state_dict(), stored.state_dict()
        return self.config == stored.config and all(
            torch.equal(kept[name], tensor.float().cpu()) for name, tensor in own.items()
        )

    def serving_state(self) -> dict[str, torch.Tensor]:
        """Give the tensors that answer tasks, those of trunk and heads, by name."""
        parts = {"trunk": self.trunk, "heads": self.heads}
        return {f"{part}.{name}": value for part, owner in parts.items() for name, value in owner.state_dict().items()}


def _write(tensors: Mapping[str, torch.Tensor], path: Path, dtype: torch.dtype) -> None:
    save_file({name: tensor.detach().to(dtype).contiguous() for name, tensor in tensors.items()}, path)


def _fill(module: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise BundleMissing(f"{path} is not there; nobody saved such weights to this folder")
    tensors = {name: tensor.float() for name, tensor in load_file(path).items()}
    _refuse_misfits(module, tensors, path.name)
    module.load_state_dict(tensors, assign=True)


def _refuse_misfits(module: nn.Module, tensors: Mapping[str, torch.Tensor], file: str) -> None:
    misfit = _misfit(module, tensors)
    if misfit:
        raise ConfigInvalid(f"{file}: {misfit}")


def _misfit(module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> str | None:
    """Say what keeps a module from taking the tensors; None where nothing does."""
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    missing, unexpected = sorted(expected.keys() - tensors.keys()), sorted(tensors.keys() - expected.keys())
    if missing or unexpected:
        return f"missing tensors {missing[:NAMED]}, unexpected tensors {unexpected[:NAMED]}"
    for name, shape in expected.items():
        if tuple(tensors[name].shape) != shape:
            return f"{name} has shape {tuple(tensors[name].shape)}, {CONFIG_FILE} asks {shape}"
    return None
