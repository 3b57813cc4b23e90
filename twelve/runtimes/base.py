"""The one protocol of all runtimes: named tensors in, named tensors out, on the CPU or on the runtime's own device."""

from typing import Protocol

from torch import Tensor


class Runtime(Protocol):
    """One graph, ready to run."""

    def run(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Run the graph.

        Args:
            **inputs: By the graph's own input names.

        Returns:
            By the graph's own output names.
        """
        ...
