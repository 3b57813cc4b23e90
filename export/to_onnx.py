"""A graph as an ONNX file, made by torch.export, with the names and the varying dimensions that the graph states."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from export import winograd
from export.operators import TRANSLATIONS
from twelve.engines.graphs import Graph
from twelve.runtimes.onnx_file import OnnxRuntime

OPSET = 20
"""The first with Gelu, which onnxruntime joins with the bias before it; spelt out as in 18, it runs five operators."""

MOST_INSIDE = 1_500_000_000
"""Bytes of weights. A protobuf file holds 2 GiB at most; torch puts the weights beside it from 1.5 GiB on."""


def write(graph: Graph, path: Path) -> None:
    """Export a graph.

    Args:
        graph: Its module is put into evaluation mode.
        path: Of the file. It holds the weights, too, unless they are more than such a file can: then they lie beside
            it, in a file of its name and `.data`, which it names.
    """
    with _quiet():
        program = torch.onnx.export(
            graph.module.eval(),
            tuple(graph.example[name] for name in graph.inputs),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=tuple(dict(graph.dynamic[name]) for name in graph.inputs),
            custom_translation_table=dict(TRANSLATIONS),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        _forget_origins(program)
        winograd.rewrite(program.model)
        program.save(str(path), external_data=_weight_bytes(program) > MOST_INSIDE)


def _weight_bytes(program: torch.onnx.ONNXProgram) -> int:
    weights = program.model.graph.initializers.values()
    return sum(weight.const_value.nbytes for weight in weights if weight.const_value is not None)


def reopen(graph: Graph, path: Path) -> OnnxRuntime:
    """Open what `write` wrote, as a server does."""
    del graph  # the file knows its names
    return OnnxRuntime.open(path, threads=1)


def _forget_origins(program: torch.onnx.ONNXProgram) -> None:
    """Drop the stack traces that the exporter writes beside every node: half the file, and paths of this machine."""
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*program.model.graph.inputs, *program.model.graph.initializers.values()):
        value.metadata_props.clear()
    program.model.graph.metadata_props.clear()
    program.model.metadata_props.clear()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporter says of itself: deprecations inside torch, letters used twice, torchvision missing."""
    registration = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = registration.level
    registration.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter("ignore", FutureWarning)
            warnings.filterwarnings("ignore", message="# The axis name")  # one letter stands for one dimension
            yield
    finally:
        registration.setLevel(level)
