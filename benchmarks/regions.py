"""Detectors by every engine: CPU seconds a picture, and how far each engine's answer is from eager's.

    OMP_NUM_THREADS=1 python -m benchmarks.regions vg-r101-c4 --work /tmp/regions --to benchmarks/regions.json
    OMP_NUM_THREADS=1 python -m benchmarks.regions small --folder model_store/small --work /tmp/regions
    python -m benchmarks.regions x152-fpn --detectron2 FILE     # add what detectron2 took, a JSON object of its figures

One preset a call; the report keeps those of other calls. Weights are drawn unless a folder is named: they decide what
is found, not what it costs. Pictures are drawn, and handed over at the size the graph sees. Each engine runs each size
in this order, so the first two warm it up; of the two that are timed, the lesser of two runs counts.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from benchmarks.forward import machine
from benchmarks.regions_x152 import CLASSES, picture, taught
from export import int8, to_onnx, to_torchscript
from export.to_regions import detector_graph, matched, tied_out
from twelve.engines.graphs import Graph
from twelve.regions.families import open_detector
from twelve.regions.rcnn.config import RcnnConfig
from twelve.runtimes import Runtime
from twelve.runtimes.module import ModuleRuntime

SIZES = ((256, 480), (600, 912), (320, 416), (800, 1088))
TIMED = SIZES[2:]
"""Heights and widths. The graphs are traced with a picture of none of these sizes."""

CALIBRATED = ((320, 416), (416, 320), (480, 480), (256, 480))
"""Sizes of the drawn pictures that ranges are read off."""

SETTINGS = ("proposals", "candidates", "bins", "res5_stride", "max_regions")
"""Entries of a configuration that decide what a picture costs, where it has them."""

RUNS = 2

NEAR_PX = 0.5
"""Boxes that are nearer than this in every corner are the same."""

SHORTEST_S = 1e-4
"""What the clock of a process can tell from nothing."""

Answers = dict[str, dict[str, Tensor]]
"""By size."""


def engines(graph: Graph, work: Path) -> Iterator[tuple[str, Callable[[], Runtime]]]:
    """Write every kind of file, and give how each is opened: one at a time, for a large one fills the memory."""
    module = ModuleRuntime(graph.module, inputs=graph.inputs, outputs=graph.outputs)
    traced, exact, coarse = work / "detector.pt", work / "detector.onnx", work / int8.FILE
    yield "eager", lambda: module
    to_torchscript.write(graph, traced)
    yield "torchscript", lambda: to_torchscript.reopen(graph, traced)
    to_onnx.write(graph, exact)
    yield "onnxruntime", lambda: to_onnx.reopen(graph, exact)
    int8.quantise(exact, coarse, [picture(*size) for size in CALIBRATED])
    yield "int8", lambda: to_onnx.reopen(graph, coarse)


def run(runtime: Runtime, pictures: Mapping[str, Tensor]) -> tuple[Answers, dict[str, float]]:
    """Give what an engine answers and the CPU seconds that it takes, by size."""
    answers, cpu_s = {}, {}
    for size, image in pictures.items():
        height, width = image.shape[1:]
        given = torch.tensor([[0.0, 0.0, width, height], [width / 4, height / 4, width / 2, height / 2]])
        runs = RUNS if (height, width) in TIMED else 1
        answers[size], cpu_s[size] = min(
            (_timed(runtime, image, given) for _ in range(runs)), key=lambda answered: answered[1]
        )
    return answers, cpu_s


def _timed(runtime: Runtime, image: Tensor, given: Tensor) -> tuple[dict[str, Tensor], float]:
    since = time.process_time()
    answer = runtime.run(image=image, given=given)
    return answer, time.process_time() - since


def agreement(expected: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> dict[str, Any]:
    """Say how far an answer is from eager's: boxes that have their like, labels, features where there is a like.

    "tied_out" are regions that another of the same score replaced, at the end of a full answer.
    """
    count = int(expected["count"])
    laid, left_out = matched(dict(expected), dict(got)), tied_out(dict(expected), dict(got))
    apart = (expected["boxes"][:count] - laid["boxes"][:count]).abs().amax(dim=1)
    near = apart <= NEAR_PX
    features = torch.cat([expected["features"][:count][near], expected["given_features"]])
    others = torch.cat([laid["features"][:count][near], laid["given_features"]])
    directions = torch.cosine_similarity(features, others)
    return {
        "regions": count,
        "regions_got": int(got["count"]),
        "tied_out": int(left_out.sum()),
        "boxes_matched": round(float(near[~left_out].float().mean()), 4),
        "labels_equal": round(float((expected["labels"] == laid["labels"])[:count].float().mean()), 4),
        "largest_px": round(float(apart.max()), 4),
        "least_cosine": round(float(directions.min()), 6),
    }


def measure(graph: Graph, work: Path) -> dict[str, Any]:
    """Run every engine on every size."""
    pictures = {f"{height}x{width}": picture(height, width) for height, width in SIZES}
    expected: Answers = {}
    figures: dict[str, Any] = {}
    for name, opened in engines(graph, work):
        answers, cpu_s = run(opened(), pictures)
        expected = expected or answers
        figures[name] = {
            "cpu_s": {
                size: round(max(cpu_s[size], SHORTEST_S), 4)
                for size in (f"{height}x{width}" for height, width in TIMED)
            },
            "agreement": {size: agreement(expected[size], answers[size]) for size in pictures},
        }
        typer.echo(f"{name}: {json.dumps(figures[name])}")
    for figure in figures.values():
        eager = figures["eager"]["cpu_s"]
        figure["times_eager"] = {size: round(eager[size] / cpu_s, 2) for size, cpu_s in figure["cpu_s"].items()}
    return figures


def main(
    preset: Annotated[str, typer.Argument(help="small, or one of the presets of `twelve.regions.rcnn.config`.")],
    folder: Annotated[Path | None, typer.Option(help="Of a detector; its weights are drawn if absent.")] = None,
    work: Annotated[Path, typer.Option(help="Folder of the files, gigabytes of them.")] = Path("build/regions"),
    detectron2: Annotated[Path | None, typer.Option(help="JSON of what detectron2 took, kept beside ours.")] = None,
    to: Annotated[Path, typer.Option(help="The report.")] = Path("benchmarks/regions.json"),
) -> None:
    """Measure one preset and write it into the report."""
    report: dict[str, Any] = json.loads(to.read_text(encoding="utf-8")) if to.is_file() else {}
    found = report.setdefault("presets", {}).setdefault(preset, {})
    if detectron2 is not None:
        found["detectron2"] = json.loads(detectron2.read_text(encoding="utf-8"))
    else:
        found.update(_measured(preset, folder, work / preset))
    to.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _measured(preset: str, folder: Path | None, work: Path) -> dict[str, Any]:
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    if folder is None:
        with torch.inference_mode():
            taught(RcnnConfig.of(preset, [str(number) for number in range(CLASSES)]), picture(480, 640)).save(work)
    detector = open_detector(folder or work)
    config = detector.config.to_dict()
    with torch.inference_mode():
        figures = measure(detector_graph(detector, torch.Generator().manual_seed(0)), work)
    settings = {name: config[name] for name in SETTINGS if name in config}
    drawn = folder is None
    return {
        "settings": settings,
        "weights_drawn": drawn,
        "threads": torch.get_num_threads(),
        "engines": figures,
        "machine": machine(),
    }


if __name__ == "__main__":
    typer.run(main)
