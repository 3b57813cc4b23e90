"""A published detector's tensors, saved by torch, as safetensors, or as a pickle of numpy's arrays.

What a file is, is told by its first bytes. Nothing in it is run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor

from twelve.convert import checkpoint
from twelve.convert.pickles import Refused, load_fields
from twelve.errors import WeightsInvalid

PICKLE = b"\x80"
TORCH_LEGACY = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"
"""The number that torch began its files with before 1.6, as a pickle writes it."""

BEGINNING = 64
"""Bytes within which that number stands."""

MODEL = "model"
"""Where trainers keep the weights, beside what they resume from."""

WEIGHTS_FILE, SETTINGS_FILE = "pytorch_model.bin", "config.yaml"
"""Of a folder, as transformers' `research_projects/lxmert` reads it."""

MOST_SETTINGS = 1 << 20
"""Bytes of a file of settings; the published one has some thousands."""

WIDTH = np.dtype(np.float32)


@dataclass(frozen=True)
class DetectorSource:
    """What a file holds.

    Attributes:
        path: Of the weights.
        form: "zip", "legacy", "safetensors" or "pickle".
        tensors: By key, in the file's order, without "module.".
        passed_over: What stands beside the model.
        settings: What the folder says beside the weights, by dotted names in lower case.
    """

    path: Path
    form: str
    tensors: dict[str, Tensor]
    passed_over: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def read(path: Path) -> DetectorSource:
    """Read a detector that others published.

    Args:
        path: Of the file, or of a folder with `pytorch_model.bin` and `config.yaml`.

    Returns:
        Its tensors.

    Raises:
        WeightsInvalid: Something is not there, is broken, or holds anything but tensors by key.
    """
    weights = path / WEIGHTS_FILE if path.is_dir() else path
    form, held = _held(weights)
    if not isinstance(held, dict):
        raise WeightsInvalid(f"{weights}: holds a {type(held).__name__}, expected a dict of tensors by name")
    is_wrapped = isinstance(held.get(MODEL), dict)
    state = held[MODEL] if is_wrapped else held
    beside = tuple(str(name) for name in held if name != MODEL) if is_wrapped else ()
    settings = _settings(path / SETTINGS_FILE) if path.is_dir() else {}
    return DetectorSource(weights, form, checkpoint.todays_names(weights, _tensors(weights, state)), beside, settings)


def _held(path: Path) -> tuple[str, object]:
    with _opened(path) as stream:
        beginning = stream.read(BEGINNING)
    is_plain_pickle = beginning.startswith(PICKLE) and TORCH_LEGACY not in beginning
    return ("pickle", _unpickled(path)) if is_plain_pickle else checkpoint.load(path)


def _opened(path: Path) -> Any:
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise WeightsInvalid(f"{path}: there is no such file; check the path") from error


def _unpickled(path: Path) -> dict[Any, Any]:
    try:
        return load_fields(path.read_bytes())
    except Refused as error:
        raise WeightsInvalid(f"{path}: cannot be read: {error}") from error


def _tensors(path: Path, state: dict[Any, Any]) -> dict[str, Tensor]:
    """Take each value out of a state as a tensor; an array is freed when its copy is made."""
    return {_name(path, name): _tensor(path, name, state.pop(name)) for name in list(state)}


def _name(path: Path, name: object) -> str:
    if not isinstance(name, str):
        raise WeightsInvalid(f"{path}: has an entry under {name!r}, expected names")
    return name


def _tensor(path: Path, name: str, value: object) -> Tensor:
    make = next((make for kind, make in MAKERS.items() if isinstance(value, kind)), None)
    if make is None:
        raise WeightsInvalid(f"{path}: {name} is a {type(value).__name__}, expected a tensor")
    tensor = make(value)
    if tensor.is_meta:
        raise WeightsInvalid(f"{path}: {name} has a shape and no numbers; save it from a model that was loaded whole")
    if tensor.layout != torch.strided:
        raise WeightsInvalid(f"{path}: {name} is sparse, expected dense numbers")
    return tensor


def _of_array(array: np.ndarray[Any, Any]) -> Tensor:
    """Copy an array in this machine's byte order."""
    kind = array.dtype.newbyteorder("=") if array.dtype.kind != "f" else WIDTH
    return torch.from_numpy(np.array(array, dtype=kind, order="C"))


MAKERS: Mapping[type, Callable[[Any], Tensor]] = {Tensor: lambda tensor: tensor.detach(), np.ndarray: _of_array}
"""Make a tensor of what a state may hold."""


def _settings(path: Path) -> dict[str, Any]:
    try:
        with _opened(path) as stream:
            text = stream.read(MOST_SETTINGS + 1)
        held = yaml.safe_load(text) if len(text) <= MOST_SETTINGS else None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise WeightsInvalid(f"{path}: is no YAML: {str(error).splitlines()[0]}; download it again") from error
    if not isinstance(held, dict):
        raise WeightsInvalid(f"{path}: expected a mapping of settings of at most {MOST_SETTINGS:,} bytes")
    return dict(_dotted(held))


def _dotted(settings: Mapping[Any, Any]) -> list[tuple[str, Any]]:
    """List settings and those within them, to one depth: the published file has no more."""
    inner = {name: value for name, value in settings.items() if isinstance(value, dict)}
    flat = [(str(name).lower(), value) for name, value in settings.items() if name not in inner]
    return flat + [(f"{name}.{key}".lower(), one) for name, value in inner.items() for key, one in value.items()]
