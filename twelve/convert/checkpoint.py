"""Checkpoints read as plain tensors: torch's zip format, the legacy one of the published files, and safetensors.

Nothing in a file is run: torch's restricted unpickler makes tensors and containers, and refuses whatever else is asked.
"""

import pickle
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from twelve.errors import WeightsInvalid

ZIP = b"PK\x03\x04"
SAFE_HEADER = slice(8, 9)
"""Where the header of safetensors begins, after its length; it is a JSON object."""

PARALLEL = "module."
"""What `DataParallel` puts before each name."""

OLD_LEAVES: Mapping[str, str] = {"gamma": "weight", "beta": "bias"}
"""What LayerNorm's parameters were called before PyTorch had a LayerNorm."""

TRAINING_STATE = "model_state_dict"
"""Where the published trainer keeps the weights in a file to resume from."""

ASKED_FOR = re.compile(r"GLOBAL (\S+)")


@dataclass(frozen=True)
class Checkpoint:
    """What a file holds.

    Attributes:
        form: "zip", "legacy" or "safetensors".
        tensors: By name, in the file's order, without "module." and under today's names of LayerNorm.
    """

    form: str
    tensors: dict[str, Tensor]


def read(path: Path) -> Checkpoint:
    """Read a state dict.

    Args:
        path: Of the file. A legacy one is read whole; the others are mapped, and stay on the disk until touched.

    Returns:
        Its tensors.

    Raises:
        WeightsInvalid: There is no such file, it is broken, or it holds anything but floating-point tensors by name.
    """
    form, state = load(path)
    if not isinstance(state, dict):
        raise WeightsInvalid(f"{path}: holds a {type(state).__name__}, expected a dict of tensors by name")
    if TRAINING_STATE in state:
        raise WeightsInvalid(
            f"{path}: is a file to resume a training from; save its {TRAINING_STATE!r} on its own and import that"
        )
    for name, value in state.items():
        _refuse_no_weights(path, name, value)
    return Checkpoint(form, todays_names(path, state))


def load(path: Path) -> tuple[str, object]:
    """Read whatever torch or safetensors wrote: tensors, numbers, texts, and containers of them.

    Args:
        path: Of the file. A legacy one is read whole; the others are mapped, and stay on the disk until touched.

    Returns:
        The form of the file, and what it holds.

    Raises:
        WeightsInvalid: There is no such file, it is broken, or asks for anything else.
    """
    form = _form(path)
    return form, READERS[form](path)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Read a file of safetensors.

    Raises:
        WeightsInvalid: It is broken.
    """
    try:
        return load_file(path)
    except SafetensorError as error:
        raise WeightsInvalid(f"{path}: cannot be read: {error}; copy or download it again") from error


def _form(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            beginning = stream.read(SAFE_HEADER.stop)
    except FileNotFoundError as error:
        raise WeightsInvalid(f"{path}: there is no such file; check the path") from error
    if not beginning:
        raise WeightsInvalid(f"{path}: cannot be read: it is empty; copy or download it again")
    if beginning.startswith(ZIP):
        return "zip"
    return "safetensors" if beginning[SAFE_HEADER] == b"{" else "legacy"


def _load(path: Path, *, mmap: bool) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        asked = ASKED_FOR.search(str(error))
        reason = f"it asks for {asked[1]}, expected nothing but tensors" if asked else "it is no file that torch wrote"
        raise WeightsInvalid(f"{path}: cannot be read: {reason}; nothing of it was run") from error
    except OSError:
        raise
    except RuntimeError as error:
        raise WeightsInvalid(f"{path}: cannot be read: {_first_line(error)}; copy or download it again") from error
    except Exception as error:  # torch raises whatever its readers do: EOFError, KeyError, AssertionError
        raise WeightsInvalid(
            f"{path}: cannot be read: it is no file that torch wrote, or not all of one; copy or download it again"
        ) from error


def _first_line(error: RuntimeError) -> str:
    """Give the first line of what a library says; torch adds advice that does not fit here."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".;, ")


def _refuse_no_weights(path: Path, name: object, value: object) -> None:
    if not isinstance(name, str):
        raise WeightsInvalid(f"{path}: has an entry under {name!r}, expected names")
    if not isinstance(value, Tensor):
        raise WeightsInvalid(f"{path}: {name} is a {type(value).__name__}, expected a tensor")
    if value.is_meta:
        raise WeightsInvalid(f"{path}: {name} has a shape and no numbers; save it from a model that was loaded whole")
    if not value.is_floating_point() or value.layout != torch.strided:
        raise WeightsInvalid(f"{path}: {name} is a tensor of {value.dtype}, expected dense floating-point numbers")


def todays_names(path: Path, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give tensors the names that they would be saved under today, by one process.

    Raises:
        WeightsInvalid: Two of them are one parameter then.
    """
    origins: dict[str, str] = {}
    for name in state:
        today = _today(name)
        if today in origins:
            raise WeightsInvalid(f"{path}: has both {origins[today]} and {name}, which are one parameter")
        origins[today] = name
    return {today: state[name] for today, name in origins.items()}


def _today(name: str) -> str:
    owner, dot, leaf = name.removeprefix(PARALLEL).rpartition(".")
    return f"{owner}{dot}{OLD_LEAVES.get(leaf, leaf)}"


READERS: Mapping[str, Callable[[Path], object]] = {
    "zip": partial(_load, mmap=True),
    "legacy": partial(_load, mmap=False),
    "safetensors": read_safetensors,
}
"""By form."""
