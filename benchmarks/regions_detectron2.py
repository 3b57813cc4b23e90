"""Our detectors beside detectron2's: CPU seconds for a picture, and how far the two agree.

    make build/detectron2/.ready
    export PYTHONPATH=build/detectron2/pb1-detectron2-0.6:tests/detectron2/stand_ins:.
    build/detectron2/env/bin/python -m benchmarks.regions_detectron2

Everything runs in one process on one thread, on the same random weights, with as many boxes looked at; each round has
one run of each engine in turn, and medians of the rounds are compared. detectron2's networks run as guests, in PyTorch
as they are and as TorchScript; ours in PyTorch, norms folded, and in onnxruntime, in float32 and in 8 bits. torchvision
is not there: detectron2 gets our NMS and RoIAlign under torchvision's names, so that both have the same. Writes
`benchmarks/regions_detectron2.json`.
"""

import json
import statistics
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any
from unittest.mock import patch

import torch
import typer
from rich.console import Console
from torch import Tensor

from benchmarks.forward import machine
from benchmarks.regions import CALIBRATED, ROUNDS, in_turn
from export import int8, to_guest, to_onnx, to_torchscript
from tests.detectron2 import guests, parity
from twelve.engines.graphs import Graph
from twelve.regions import ops
from twelve.regions.detector import INPUTS, OUTPUTS
from twelve.regions.guest import Detectron2Extractor
from twelve.runtimes import Runtime
from twelve.runtimes.module import ModuleRuntime
from twelve.runtimes.onnx_file import OnnxRuntime

SIZES = ((320, 416), (800, 1088))
AGREED_ON = ((320, 416), (256, 480), (427, 333), (600, 800))
PRESETS = ("r50-fpn", "r101-fpn", "r50-c4", "r101-c4")
WARMED_ON = (256, 480)
PROPOSALS = 300
SEED = 3
GUEST = "detectron2 eager"
"""What the others are compared with."""

RESULT = Path(__file__).with_suffix(".json")

console = Console(stderr=True)


def measure(
    presets: Annotated[list[str] | None, typer.Option("--preset", help="Of these; all without.")] = None,
    proposals: Annotated[int, typer.Option(help="Boxes looked at.")] = PROPOSALS,
    rounds: Annotated[int, typer.Option(help="Timed runs of each engine.", min=1)] = ROUNDS,
    out: Annotated[Path, typer.Option(help="The result.")] = RESULT,
) -> None:
    """Measure each preset and write down what came out."""
    torch.set_num_threads(1)
    found = json.loads(out.read_text(encoding="utf-8"))["presets"] if out.is_file() else {}
    for preset in presets or PRESETS:
        with torch.inference_mode():
            found[preset] = of_preset(preset, proposals=proposals, rounds=rounds)
        content = {"threads": 1, "machine": machine(), "presets": found}
        out.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        console.print(preset, found[preset])


def of_preset(preset: str, *, proposals: int, rounds: int) -> Mapping[str, Any]:
    """Compare the two on the stand-in's own operators, then time both on the same ones."""
    cfg = guests.settings(preset, MODEL__RPN__POST_NMS_TOPK_TEST=proposals)
    model = guests.network(cfg)
    detector = parity.ours(cfg, model, preset, regions="proposals")
    agreements = [asdict(parity.agreement(model, detector, size)) for size in AGREED_ON]
    with fast_operators(), tempfile.TemporaryDirectory() as folder:
        runtimes = opened(Detectron2Extractor.of(model, cfg), detector.folded(), Path(folder))
        in_turn(runtimes, guests.picture(*WARMED_ON, seed=SEED), rounds=1)
        took = {f"{height}x{width}": timed(runtimes, height, width, rounds=rounds) for height, width in SIZES}
    return {"proposals": proposals, "agreement": agreements, "timed": took}


def opened(guest: Detectron2Extractor, detector: Any, folder: Path) -> Mapping[str, Runtime]:
    """Give every way to run either."""
    assert isinstance(guest.runtime, ModuleRuntime)
    graph = to_guest.guest_graph(guest.runtime.module)
    to_guest.write_torchscript(graph, folder / "guest.pt")
    same = Graph(graph.name, detector, INPUTS, OUTPUTS, graph.example, _varying(graph))
    exact, coarse = folder / "ours.onnx", folder / int8.FILE
    to_onnx.write(same, exact)
    int8.quantise(exact, coarse, [guests.picture(*size, seed=SEED) for size in CALIBRATED])
    return {
        GUEST: guest.runtime,
        "detectron2 torchscript": to_torchscript.reopen(graph, folder / "guest.pt"),
        "ours eager": ModuleRuntime(detector, inputs=INPUTS, outputs=OUTPUTS),
        "ours onnxruntime": OnnxRuntime.open(exact, threads=1),
        "ours int8": OnnxRuntime.open(coarse, threads=1),
    }


def _varying(graph: Graph) -> Mapping[str, Mapping[int, str]]:
    return {name: graph.dynamic[name] for name in INPUTS}


def timed(runtimes: Mapping[str, Runtime], height: int, width: int, *, rounds: int) -> Mapping[str, Any]:
    """Give each runtime's CPU seconds for a picture, and how many times as fast as detectron2 in PyTorch it is."""
    _, cpu_s = in_turn(runtimes, guests.picture(height, width, seed=SEED), rounds=rounds)
    usual = {name: statistics.median(each) for name, each in cpu_s.items()}
    return {
        "cpu_s": {name: round(seconds, 2) for name, seconds in usual.items()},
        "times_detectron2_eager": {name: round(usual[GUEST] / seconds, 2) for name, seconds in usual.items()},
        "rounds": {name: [round(seconds, 2) for seconds in each] for name, each in cpu_s.items()},
    }


@contextmanager
def fast_operators() -> Iterator[None]:
    """Put our operators behind torchvision's names: the stand-in's are for comparing, one box after the other."""
    from torchvision.ops import kernels  # the stand-in

    with patch.object(kernels, "survivors", _survivors), patch.object(kernels, "align", _aligned):
        yield


def _survivors(boxes: Tensor, scores: Tensor, overlap: float) -> Tensor:
    chosen, valid = ops.nms(boxes[None], scores[None], overlap, len(boxes))
    return chosen[0, valid[0]]


def _aligned(
    features: Tensor, rois: Tensor, scale: float, height: int, width: int, samples: int, aligned: bool
) -> Tensor:
    if not len(rois):  # a level that no box is read off
        return features.new_zeros(0, features.shape[1], height, width)
    return ops.roi_align(features, rois[None, :, 1:], scale, height, samples, aligned)[0].contiguous()


if __name__ == "__main__":
    typer.run(measure)
