"""A torch module as a runtime: eager mode, the reference of all others."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from twelve.runtimes.devices import CPU


class ModuleRuntime:
    """Runs a module without gradients."""

    def __init__(self, module: nn.Module, *, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        self.module = module.eval()
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)

    def run(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Run the module; see `Runtime.run`."""
        device = next((weight.device for weight in self.module.parameters()), CPU.torch)
        with torch.inference_mode():
            answer = self.module(*(inputs[name].to(device) for name in self.inputs))
        return named(answer, self.outputs, device=inputs[self.inputs[0]].device)


def named(answer: Tensor | Sequence[Tensor], names: Sequence[str], *, device: torch.device) -> dict[str, Tensor]:
    """Name a graph's outputs, one tensor or several, and bring them to where its inputs came from."""
    tensors = [answer] if isinstance(answer, Tensor) else list(answer)
    return {name: tensor.to(device) for name, tensor in zip(names, tensors, strict=True)}
