"""One picture through the published detector: CPU seconds by part, and the most memory.

    OMP_NUM_THREADS=1 python -m benchmarks.regions_x152 --to benchmarks/regions_x152.json

The weights are drawn, the norms then told what comes to them and the classes made as sure of themselves as trained ones
are, for what the selection takes depends on that. The picture is drawn as well, at the size that a photograph of
600x816 pixels is resized to. The parts run in a process of their own, whose peak of memory is reported; it holds the
weights once, folded as a served detector has them.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
import typer
from torch import Tensor
from torch.nn import functional as F

from benchmarks.forward import machine
from benchmarks.stopwatch import timed
from twelve.regions.rcnn.backbone import FrozenNorm, fold
from twelve.regions.rcnn.config import X152_FPN, RcnnConfig
from twelve.regions.rcnn.detector import Rcnn

CLASSES = 1600
"""Of Visual Genome, background left out."""

SURENESS = 4.0
"""Standard deviation of the classes' logits: the likeliest of 1,601 then has some tenths."""

GIGA, MILLION = 1e9, 1e6
Value = TypeVar("Value")


def drawn(config: RcnnConfig, image: Tensor) -> Rcnn:
    """Make a detector that behaves as a trained one on this picture, its norms folded."""
    detector = taught(config, image)
    fold(detector)
    return detector


def taught(config: RcnnConfig, image: Tensor) -> Rcnn:
    """Make a detector that behaves as a trained one on this picture, norms and all."""
    detector = Rcnn(config).eval().requires_grad_(requires_grad=False)
    norms = [module for module in detector.modules() if isinstance(module, FrozenNorm)]
    hooks = [norm.register_forward_pre_hook(_learn) for norm in norms]
    levels = detector.backbone(detector.normalised(image))
    height, width = image.shape[1:]
    boxes = detector.proposal_generator(levels, height=height, width=width).boxes
    seen = detector.roi_heads(levels, boxes).seen
    for hook in hooks:
        hook.remove()
    classes = detector.roi_heads.box_predictor.cls_score
    classes.weight.mul_(SURENESS / classes(seen).std())
    return detector


def _learn(norm: FrozenNorm, arguments: tuple[Tensor]) -> None:
    maps = arguments[0]
    norm.running_mean.copy_(maps.mean(dim=(0, 2, 3)))
    norm.running_var.copy_(maps.var(dim=(0, 2, 3)))


def picture(height: int, width: int) -> Tensor:
    """Draw soft blots, raw RGB [3, H, W]."""
    coarse = torch.rand(1, 3, height // 32, width // 32) * 255
    return F.interpolate(coarse, size=(height, width), mode="bilinear")[0].round()


def parts(detector: Rcnn, image: Tensor) -> dict[str, float]:
    """Run one picture part by part; give the CPU seconds of each."""
    spent: dict[str, float] = {}

    def took(name: str, run: Callable[[], Value]) -> Value:
        since = time.process_time()
        value = run()
        spent[name] = time.process_time() - since
        return value

    height, width = image.shape[1:]
    levels = took("backbone", lambda: detector.backbone(detector.normalised(image)))
    found = took("proposals", lambda: detector.proposal_generator(levels, height=height, width=width))
    described = took("head", lambda: detector.roi_heads(levels, found.boxes))
    took("selection", lambda: detector.selected(found, described, height=height, width=width))
    return spent


def measure(height: int, width: int, rounds: int, seed: int) -> dict[str, Any]:
    """Give the medians of all parts over some rounds; a first one warms up."""
    torch.manual_seed(seed)
    with torch.inference_mode():
        image = picture(height, width)
        detector = drawn(RcnnConfig.of(X152_FPN, [str(number) for number in range(CLASSES)]), image)
        runs = [parts(detector, image) for _ in range(rounds + 1)][1:]
    by_part = {name: round(statistics.median(run[name] for run in runs), 2) for name in runs[0]}
    return {"cpu_s": by_part, "cpu_s_in_all": round(sum(by_part.values()), 1), "parameters": _parameters()}


def _parameters() -> int:
    with torch.device("meta"):
        weightless = Rcnn(RcnnConfig.of(X152_FPN, [str(number) for number in range(CLASSES)]))
    return sum(parameter.numel() for parameter in weightless.parameters())


def table(report: Mapping[str, Any]) -> str:
    """Write the figures in Markdown."""
    rows = ["| part | CPU s |", "| --- | ---: |"]
    rows += [f"| {name} | {cpu_s:.2f} |" for name, cpu_s in report["cpu_s"].items()]
    rows += [f"| in all | {report['cpu_s_in_all']:.1f} |"]
    sizes = f"{report['parameters'] / MILLION:.1f} million parameters, {report['peak_bytes'] / GIGA:.1f} GB at the peak"
    return "\n".join([*rows, "", sizes])


def main(
    height: Annotated[int, typer.Option(help="Of the resized picture.")] = 800,
    width: Annotated[int, typer.Option(help="Likewise.")] = 1088,
    rounds: Annotated[int, typer.Option(min=1, help="Of which the median is reported.")] = 3,
    seed: Annotated[int, typer.Option(help="Of weights and picture.")] = 0,
    only: Annotated[Path | None, typer.Option(help="Run here and write what the parts took into this file.")] = None,
    to: Annotated[Path, typer.Option(help="The report.")] = Path("benchmarks/regions_x152.json"),
) -> None:
    """Measure, print a table, write a report."""
    if only is not None:
        only.write_text(json.dumps(measure(height, width, rounds, seed)), encoding="utf-8")
        return
    settings = {"height": height, "width": width, "rounds": rounds, "seed": seed}
    options = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    with tempfile.TemporaryDirectory() as private:
        found = Path(private) / "parts.json"
        took = timed(["benchmarks.regions_x152", *options, "--only", str(found)], Path(private) / "took.json")
        measured = json.loads(found.read_text(encoding="utf-8"))
    report = {
        "preset": X152_FPN,
        **settings,
        "threads": torch.get_num_threads(),
        **measured,
        "peak_bytes": took.peak_bytes,
        "machine": machine(),
    }
    to.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    typer.echo(table(report))


if __name__ == "__main__":
    typer.run(main)
