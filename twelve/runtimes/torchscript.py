"""A TorchScript file as a runtime. The file is code: it is opened only by the hash that its export wrote down."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from twelve.runtimes.devices import CPU, Device, place
from twelve.runtimes.module import named


class TorchScriptRuntime:
    """Runs a TorchScript file."""

    def __init__(
        self, module: torch.jit.ScriptModule, *, inputs: Sequence[str], outputs: Sequence[str], device: Device = CPU
    ) -> None:
        self.module = module
        self._device = device.torch
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)

    @classmethod
    def open(
        cls, path: Path, *, inputs: Sequence[str], outputs: Sequence[str], device: Device = CPU
    ) -> "TorchScriptRuntime":
        """Load a file whose hash the caller has checked.

        Raises:
            ConfigInvalid: torch does not have the device.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch 2.13 deprecates TorchScript; it still works
            module = torch.jit.load(str(path), map_location="cpu")
        place(module, device)
        return cls(module.eval(), inputs=inputs, outputs=outputs, device=device)

    def run(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Run the file's graph; see `Runtime.run`."""
        with torch.inference_mode():
            answer = self.module(*(inputs[name].to(self._device) for name in self.inputs))
        return named(answer, self.outputs, device=inputs[self.inputs[0]].device)
