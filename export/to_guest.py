"""A detectron2 network as a graph to export: its TorchScript and its ONNX file.

What a guest proposes depends on the picture in number, too, and `torch.export` refuses such code. So both files come of
a trace, ONNX by the older exporter of torch. The files ask for the operators that detectron2 itself asks for: where the
TorchScript file is opened, those of torchvision must be registered; the ONNX file needs nothing.

Shapes: P boxes · C classes · M pairs of box and class.
"""

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.jit._trace import TracerWarning
from torch.onnx import symbolic_helper
from torch.onnx.utils import register_custom_op_symbolic, unregister_custom_op_symbolic

from export import to_torchscript
from twelve.engines.exported import DETECTOR
from twelve.engines.graphs import Graph
from twelve.regions.detector import INPUTS, LEAST_GIVEN, OUTPUTS
from twelve.regions.guest import GuestGraph
from twelve.regions.ops.suppression import BELOW
from twelve.regions.ops.ways import NAMESPACE

OPSET = 17
"""From 16 on RoiAlign knows half pixels; the older exporter ends soon after."""

TRACED_PX = (320, 416)
GIVEN_SIDE = 64.0

COUNTING = ("predict_probs", "predict_boxes")
"""Methods of a predictor that split by how many boxes were proposed."""

BOXES, SCORES = 1, 2
"""Which dimension counts the boxes and which the classes, in [1, P, C]."""


def guest_graph(module: GuestGraph) -> Graph:
    """Give a guest's graph, with a picture to trace it on.

    Args:
        module: Of a `Detectron2Extractor`.

    Returns:
        What `write_torchscript` and `write_onnx` take.
    """
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, *TRACED_PX), generator=generator).float()
    corners = torch.rand(LEAST_GIVEN, 2, generator=generator) * (min(TRACED_PX) - GIVEN_SIDE)
    example = {"image": image, "given": torch.cat([corners, corners + GIVEN_SIDE], dim=1)}
    found = {name: {0: "regions"} for name in ("boxes", "features", "scores", "labels")}
    dynamic = {"image": {1: "height", 2: "width"}, "given": {0: "given"}, **found, "given_features": {0: "given"}}
    return Graph(DETECTOR, module, INPUTS, OUTPUTS, example, dynamic)


def write_torchscript(graph: Graph, path: Path) -> None:
    """Write a guest as a TorchScript file."""
    with _counting_as_traced(graph.module):
        to_torchscript.write(graph, path)


def write_onnx(graph: Graph, path: Path) -> None:
    """Write a guest as an ONNX file."""
    with _counting_as_traced(graph.module):
        write_traced(graph, path)


def write_traced(graph: Graph, path: Path) -> None:
    """Write any graph as an ONNX file that comes of a trace; it may ask for operators of ours."""
    with _quiet(), _translated(), torch.no_grad():
        torch.onnx.export(
            graph.module.eval(),
            tuple(graph.example[name] for name in graph.inputs),
            str(path),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_axes={name: dict(axes) for name, axes in graph.dynamic.items()},
            opset_version=OPSET,
            dynamo=False,
        )


def _best_classes(graph: Any, boxes: Any, scores: Any, overlap: Any, most: Any, offset: Any) -> tuple[Any, Any]:
    """Write `ops.best_classes` of one picture: [1, P, 4] and [1, P, C] to [1, P] and [1, P]."""
    limit = symbolic_helper._maybe_get_const(overlap, "f")
    width = symbolic_helper._maybe_get_const(offset, "f")
    floor = _floor(graph, scores, symbolic_helper._maybe_get_const(most, "i"))
    widened = graph.op("Add", boxes, _constant(graph, [0.0, 0.0, width, width]))
    by_class = graph.op("Transpose", scores, perm_i=[0, SCORES, BOXES])
    every = graph.op("Shape", scores, start_i=BOXES, end_i=SCORES)  # as good as no bound
    chosen = graph.op("NonMaxSuppression", widened, by_class, every, _constant(graph, [limit]), floor)  # [M, 3]
    pairs = graph.op("Gather", chosen, _constant(graph, [0, SCORES, BOXES]), axis_i=1)  # picture, box, class
    nothing = graph.op("ConstantOfShape", graph.op("Shape", scores), value_t=torch.zeros(1))
    left = graph.op("ScatterND", nothing, pairs, graph.op("GatherND", scores, pairs))  # [1, P, C]
    best = graph.op("ReduceMax", left, axes_i=[SCORES], keepdims_i=0)
    return best, graph.op("ArgMax", left, axis_i=SCORES, keepdims_i=0)


def _floor(graph: Any, scores: Any, most: int) -> Any:
    """Write the floor of `ops.best_classes`: [1, P, C] to [1]."""
    tops = graph.op("ReduceMax", scores, axes_i=[BOXES], keepdims_i=0)  # [1, C]
    rows = graph.op("ArgMax", scores, axis_i=BOXES, keepdims_i=0)
    sides = graph.op("Shape", scores, start_i=0, end_i=SCORES)
    nothing = graph.op("ConstantOfShape", sides, value_t=torch.zeros(1))
    bounds = graph.op("ScatterElements", nothing, rows, tops, axis_i=1, reduction_s="max")  # [1, P]
    wanted = graph.op("Min", _constant(graph, [most]), graph.op("Shape", scores, start_i=BOXES, end_i=SCORES))
    largest, _ = graph.op("TopK", bounds, wanted, axis_i=1, outputs=2)
    last = graph.op("ReduceMin", largest, axes_i=[1], keepdims_i=0)
    return graph.op("Mul", last, _constant(graph, [BELOW]))


def _constant(graph: Any, values: list[Any]) -> Any:
    return graph.op("Constant", value_t=torch.tensor(values))


TRANSLATIONS: Mapping[str, Callable[..., Any]] = {f"{NAMESPACE}::best_classes": _best_classes}
"""The operators of ours in a guest's graph, for the exporter that traces."""


@contextmanager
def _translated() -> Iterator[None]:
    for name, translation in TRANSLATIONS.items():
        register_custom_op_symbolic(name, translation, OPSET)
    try:
        yield
    finally:
        for name in TRANSLATIONS:
            unregister_custom_op_symbolic(name, OPSET)


@contextmanager
def _counting_as_traced(module: Any) -> Iterator[None]:
    """Let detectron2's predictor count proposals by what a trace can follow.

    Its code splits what it predicts by `len(proposals)`, a number for good: the file would take pictures only of which
    as many boxes are proposed as of the traced one. The method behind `len` gives what the trace knows.
    """
    predictor = module.model.roi_heads.box_predictor
    with ExitStack() as patches:
        for name in COUNTING:
            method = inspect.unwrap(getattr(type(predictor), name))
            patches.enter_context(patch.dict(method.__globals__, {"len": _length}))
        yield


def _length(counted: Any) -> Any:
    return counted.__len__()


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what the exporter says of itself, and of sizes that detectron2 takes for constants."""
    with warnings.catch_warnings():
        for kind in (DeprecationWarning, TracerWarning, UserWarning):
            warnings.simplefilter("ignore", kind)
        yield
