"""Where graphs run: the CPU, or one of the CUDA devices. What was asked for is what is used, or nothing starts."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Self

import torch
from torch import nn

from twelve.errors import ConfigInvalid

PROVIDERS: Mapping[str, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
"""onnxruntime's name of each kind of device, by torch's."""


@dataclass(frozen=True)
class Device:
    """A device.

    Attributes:
        kind: "cpu" or "cuda".
        index: Which of them; None = the first, or the only one.
    """

    kind: str = "cpu"
    index: int | None = None

    @classmethod
    def of(cls, name: str) -> Self:
        """Read a device's name: "cpu", "cuda", "cuda:1".

        Raises:
            ConfigInvalid: There is no such kind.
        """
        kind, colon, index = str(name).partition(":")
        if kind not in PROVIDERS or index.isdecimal() != bool(colon):
            raise ConfigInvalid(f"device: there is no {name!r}; choose cpu, cuda or cuda:1 and so on")
        return cls(kind, int(index) if index else None)

    @property
    def torch(self) -> torch.device:
        """Give torch's."""
        return torch.device(self.kind) if self.index is None else torch.device(self.kind, self.index)

    @property
    def provider(self) -> tuple[str, dict[str, Any]]:
        """Give onnxruntime's provider and its options."""
        return PROVIDERS[self.kind], {} if self.index is None else {"device_id": self.index}


CPU = Device()


def place(module: nn.Module, device: Device) -> None:
    """Move a module to a device, and see that it is there.

    Raises:
        ConfigInvalid: torch does not have the device, or has left a weight elsewhere.
    """
    try:
        module.to(device.torch)
    except (AssertionError, RuntimeError) as error:
        raise ConfigInvalid(f"device: torch cannot use {device.torch}: {_first_line(error)}") from error
    check_placed(module, device)


def check_placed(module: nn.Module, device: Device) -> None:
    """See that all weights of a module are on a device.

    Raises:
        ConfigInvalid: One is not.
    """
    for name, tensor in chain(module.named_parameters(), module.named_buffers()):
        if tensor.device.type != device.kind:
            raise ConfigInvalid(f"device: asked for {device.torch}, but '{name}' lies on {tensor.device}")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
