"""Detectors by every engine: CPU seconds a picture, and how far each engine's answer is from eager's.

    OMP_NUM_THREADS=1 python -m benchmarks.regions vg-r101-c4 --work /tmp/regions --to benchmarks/regions.json
    OMP_NUM_THREADS=1 python -m benchmarks.regions small --folder model_store/small --work /tmp/regions

One preset a call; the report keeps those of other calls. Weights are drawn unless a folder is named: they decide what
is found, not what it costs. Pictures are drawn, and handed over at the size the graph sees. Two sizes warm every engine
up. Of the two that are timed each round has one run of every engine in turn, so that a machine whose speed drifts
drifts for all of them; medians of the rounds are compared. `benchmarks.regions_detectron2` has detectron2 among them.
"""

import json
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from benchmarks.forward import machine
from benchmarks.regions_x152 import CLASSES, picture, taught
from export import int8, to_onnx, to_torchscript
from export.to_regions import detector_graph, tied_out
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

ROUNDS = 3

NEAR_PX = 0.5
"""Boxes that are nearer than this in every corner are the same."""

SHORTEST_S = 1e-4
"""What the clock of a process can tell from nothing."""

Answer = dict[str, Tensor]
"""Of a graph, by the names of its outputs."""


def engines(graph: Graph, work: Path) -> dict[str, Runtime]:
    """Write every kind of file, then open them all."""
    traced, exact, coarse = work / "detector.pt", work / "detector.onnx", work / int8.FILE
    to_torchscript.write(graph, traced)
    to_onnx.write(graph, exact)
    int8.quantise(exact, coarse, [picture(*size) for size in CALIBRATED])
    return {
        "eager": ModuleRuntime(graph.module, inputs=graph.inputs, outputs=graph.outputs),
        "torchscript": to_torchscript.reopen(graph, traced),
        "onnxruntime": to_onnx.reopen(graph, exact),
        "int8": to_onnx.reopen(graph, coarse),
    }


def in_turn(
    runtimes: Mapping[str, Runtime], image: Tensor, *, rounds: int
) -> tuple[dict[str, Answer], dict[str, list[float]]]:
    """Give what each engine answers and the CPU seconds of its runs, a round after the other."""
    height, width = image.shape[1:]
    given = torch.tensor([[0.0, 0.0, width, height], [width / 4, height / 4, width / 2, height / 2]])
    answers: dict[str, Answer] = {}
    cpu_s: dict[str, list[float]] = {name: [] for name in runtimes}
    for _ in range(rounds):
        for name, runtime in runtimes.items():
            since = time.process_time()
            answers[name] = runtime.run(image=image, given=given)
            cpu_s[name].append(max(time.process_time() - since, SHORTEST_S))
    return answers, cpu_s


def agreement(expected: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> dict[str, Any]:
    """Say how many boxes of eager's have their like in an answer, and how far labels and features of these agree.

    "tied_out" are regions that another of the same score replaced, at the end of a full answer.
    """
    count, found = int(expected["count"]), int(got["count"])
    left_out = tied_out(dict(expected), dict(got))
    apart, like = _nearest(expected["boxes"][:count], got["boxes"][:found])
    near = (apart <= NEAR_PX) & ~left_out
    own = like[near]
    features = torch.cat([expected["features"][:count][near], expected["given_features"]])
    others = torch.cat([got["features"][own], got["given_features"]])
    directions = torch.cosine_similarity(features, others)
    labels_equal = (expected["labels"][:count][near] == got["labels"][own]).float()
    return {
        "regions": count,
        "regions_got": found,
        "tied_out": int(left_out.sum()),
        "boxes_matched": round(len(own.unique()) / max(int((~left_out).sum()), 1), 4),
        "labels_equal": round(float(labels_equal.mean()), 4) if len(own) else None,
        "largest_px": round(float(apart[near].max()), 4) if len(own) else None,
        "least_cosine": round(float(directions.min()), 6),
    }


def _nearest(boxes: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    """Give how far the corners of the nearest box are from each, pixels, and which that is."""
    if not len(others):
        return torch.full((len(boxes),), torch.inf), torch.zeros(len(boxes), dtype=torch.int64)
    nearest = torch.cdist(boxes, others, p=float("inf")).min(dim=1)
    return nearest.values, nearest.indices


def measure(graph: Graph, work: Path, *, rounds: int) -> dict[str, Any]:
    """Run every engine on every size, and lay each beside eager."""
    pictures = {size: picture(*size) for size in SIZES}  # the first that are drawn: the same whatever else is
    runtimes = engines(graph, work)
    figures: dict[str, Any] = {
        name: {"cpu_s": {}, "times_eager": {}, "agreement": {}, "rounds": {}} for name in runtimes
    }
    for (height, width), image in pictures.items():
        size, is_timed = f"{height}x{width}", (height, width) in TIMED
        answers, cpu_s = in_turn(runtimes, image, rounds=rounds if is_timed else 1)
        usual = {name: statistics.median(each) for name, each in cpu_s.items()}
        for name, figure in figures.items():
            figure["agreement"][size] = agreement(answers["eager"], answers[name])
            if is_timed:
                figure["cpu_s"][size] = round(usual[name], 4)
                figure["times_eager"][size] = round(usual["eager"] / usual[name], 2)
                figure["rounds"][size] = [round(each, 4) for each in cpu_s[name]]
        typer.echo(f"{size}: {json.dumps(cpu_s)}")
    return figures


def main(
    preset: Annotated[str, typer.Argument(help="small, or one of the presets of `twelve.regions.rcnn.config`.")],
    folder: Annotated[Path | None, typer.Option(help="Of a detector; its weights are drawn if absent.")] = None,
    work: Annotated[Path, typer.Option(help="Folder of the files, gigabytes of them.")] = Path("build/regions"),
    rounds: Annotated[int, typer.Option(help="Runs of each engine on a size that is timed.", min=1)] = ROUNDS,
    to: Annotated[Path, typer.Option(help="The report.")] = Path("benchmarks/regions.json"),
) -> None:
    """Measure one preset and write it into the report."""
    report: dict[str, Any] = json.loads(to.read_text(encoding="utf-8")) if to.is_file() else {}
    report.setdefault("presets", {})[preset] = _measured(preset, folder, work / preset, rounds)
    to.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _measured(preset: str, folder: Path | None, work: Path, rounds: int) -> dict[str, Any]:
    work.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(0)
    if folder is None:
        with torch.inference_mode():
            taught(RcnnConfig.of(preset, [str(number) for number in range(CLASSES)]), picture(480, 640)).save(work)
    detector = open_detector(folder or work)
    config = detector.config.to_dict()
    with torch.inference_mode():
        figures = measure(detector_graph(detector, torch.Generator().manual_seed(0)), work, rounds=rounds)
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
