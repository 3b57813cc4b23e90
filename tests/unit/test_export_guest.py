"""Choosing regions in an ONNX file that came of a trace, as a guest's does."""

from pathlib import Path

import torch
from torch import Tensor, nn

from export.to_guest import write_traced
from twelve.engines.graphs import Graph
from twelve.regions.ops import best_classes
from twelve.runtimes.onnx_file import OnnxRuntime

OVERLAP, MOST, WIDER = 0.5, 8, 1.0
INPUTS, OUTPUTS = ("boxes", "scores"), ("best", "labels")


class Choice(nn.Module):
    def forward(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        return best_classes(boxes, scores, OVERLAP, MOST, WIDER)


def drawn(boxes: int, classes: int, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(1, boxes, 2, generator=generator) * 60
    sides = 10 + torch.rand(1, boxes, 2, generator=generator) * 40
    scores = torch.rand(1, boxes, classes, generator=generator)
    return {"boxes": torch.cat([corners, corners + sides], dim=2), "scores": scores}


def test_a_traced_onnx_file_chooses_classes_as_the_library_does(tmp_path: Path) -> None:
    dynamic = {"boxes": {1: "boxes"}, "scores": {1: "boxes"}, "best": {1: "boxes"}, "labels": {1: "boxes"}}
    write_traced(Graph("choice", Choice(), INPUTS, OUTPUTS, drawn(30, 5, seed=0), dynamic), tmp_path / "choice.onnx")
    runtime = OnnxRuntime.open(tmp_path / "choice.onnx", threads=1)
    for seed, boxes in enumerate((30, 200, 6), start=1):
        inputs = drawn(boxes, 5, seed)
        best, labels = Choice()(**inputs)
        got = runtime.run(**inputs)
        wanted = best[0].topk(min(MOST, boxes)).indices
        assert torch.equal(got["best"][0, wanted], best[0, wanted])
        assert torch.equal(got["labels"][0, wanted], labels[0, wanted])
