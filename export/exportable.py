"""What is exported: a graph, inputs to try its files on, and how their outputs are laid side by side."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from twelve.engines.graphs import Graph
from twelve.runtimes.module import ModuleRuntime

LIMIT = 1e-4
"""Of an output's largest value: what fp32 sums in another order may differ by, through all layers."""

Outputs = dict[str, Tensor]


def as_they_are(expected: Outputs, got: Outputs) -> Outputs:
    """Lay outputs side by side without moving them."""
    del expected
    return got


@dataclass(frozen=True)
class Exportable:
    """A graph that can be checked once it is written.

    Attributes:
        graph: What is written.
        trials: Inputs by name, of other shapes than the graph's example.
        matched: Stands the second outputs in the order of the first, where an order carries no meaning.
        limit: Of an output's largest value, what a file's may differ by.
    """

    graph: Graph
    trials: tuple[Mapping[str, Tensor], ...]
    matched: Callable[[Outputs, Outputs], Outputs] = as_they_are
    limit: float = LIMIT

    @cached_property
    def expected(self) -> tuple[Outputs, ...]:
        """Run the module on every trial, once for all kinds of files: a large detector takes a minute a picture."""
        module = ModuleRuntime(self.graph.module, inputs=self.graph.inputs, outputs=self.graph.outputs)
        return tuple(module.run(**inputs) for inputs in self.trials)
