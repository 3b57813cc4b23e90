"""A graph as a TorchScript file: traced, then frozen, so that it holds its own weights only and nothing of training."""

import warnings
from pathlib import Path

import torch
from torch.jit._trace import TracerWarning

from twelve.engines.graphs import Graph
from twelve.runtimes.torchscript import TorchScriptRuntime


def write(graph: Graph, path: Path) -> None:
    """Trace a graph and save it.

    Args:
        graph: Its module is put into evaluation mode.
        path: Of the file.
    """
    example = tuple(graph.example[name] for name in graph.inputs)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch 2.13 deprecates TorchScript; it still works
        warnings.simplefilter("ignore", TracerWarning)  # a size taken for a constant; the trials find any that varies
        traced = torch.jit.trace(graph.module.eval(), example, check_trace=False)  # parity checks more than it would
        torch.jit.freeze(traced).save(str(path))


def reopen(graph: Graph, path: Path) -> TorchScriptRuntime:
    """Open what `write` wrote, as a server does."""
    return TorchScriptRuntime.open(path, inputs=graph.inputs, outputs=graph.outputs)
