"""The published model's whole size, exported for real: sizes, times, peak memory, and do the files compute the same?

    python -m benchmarks.export_full --work build/full --to benchmarks/export_full.json

Makes a bundle of random weights (1.0 GB), exports it by `python -m export` as ONNX and as TorchScript, which tries
every file beside its module, and asks every engine each task's example over 100 regions brought along. Each step is a
process of its own, whose peak memory is the kernel's. Needs 4 GB of disk and 6 GB of memory.
"""

import base64
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console

from benchmarks.forward import SIZES, VOCABULARY, machine
from benchmarks.stopwatch import Took, timed
from export.folder import KINDS
from twelve.bundle import VOCABULARY as VOCABULARY_FILE
from twelve.bundle import seal
from twelve.engines.exported import EXPORT_FILE
from twelve.heads.model import TwelveModel
from twelve.model.config import ModelConfig
from twelve.tasks import TASKS
from twelve.tasks.kinds.pointing import EXAMPLE_BOXES

REGIONS = 100
WIDTH, HEIGHT = 640, 480
SPREAD = 1.0
"""Of random features; the published detector's are of about that size."""

GIGABYTE = 1e9
console = Console(stderr=True)
steps = typer.Typer(add_completion=False)


@steps.command()
def make(
    folder: Annotated[Path, typer.Argument(help="Of the bundle; made anew.")],
    size: Annotated[str, typer.Option(help=f"Of the model: {', '.join(SIZES)}.")] = "paper",
    seed: Annotated[int, typer.Option(help="Of the weights.")] = 0,
) -> None:
    """Write a bundle of random weights that knows all tasks and has no detector."""
    torch.manual_seed(seed)
    config = SIZES[size]()
    shutil.rmtree(folder, ignore_errors=True)
    TwelveModel(config).save(folder)
    _write_vocabulary(folder, config)
    for head, count in {"vqa": config.vqa_labels, "gqa": config.gqa_labels}.items():
        (folder / "answers").mkdir(exist_ok=True)
        (folder / "answers" / f"{head}.json").write_text(json.dumps([f"answer {place}" for place in range(count)]))
    seal(folder, name=f"random-{size}", version="0", tasks={task.name: task.token for task in TASKS.values()})


def _write_vocabulary(folder: Path, config: ModelConfig) -> None:
    shutil.copyfile(VOCABULARY, folder / VOCABULARY_FILE)


@steps.command()
def ask(
    folder: Annotated[Path, typer.Argument(help="Of the bundle.")],
    to: Annotated[Path, typer.Argument(help="The JSON-lines file to write.")],
    seed: Annotated[int, typer.Option(help="Of the features.")] = 0,
) -> None:
    """Write each task's example as a request, its pictures replaced by regions with random features."""
    rng = np.random.default_rng(seed)
    width = ModelConfig.load(folder / "config.json").v_feature_size
    lines = []
    for task in TASKS.values():
        pictures = [_brought(rng, width) for _ in range(task.pictures_in_example)]
        lines.append(json.dumps({"task": task.name, **task.example(pictures)}) + "\n")
    to.write_text("".join(lines), encoding="utf-8")


def _brought(rng: np.random.Generator, width: int) -> dict[str, Any]:
    """Give a picture's regions as the contract has them: the example's boxes and others."""
    corners = rng.uniform(0, 0.5, (REGIONS - len(EXAMPLE_BOXES), 2)) * (WIDTH, HEIGHT)
    sides = rng.uniform(0.1, 0.5, corners.shape) * (WIDTH, HEIGHT)
    boxes = [*EXAMPLE_BOXES, *np.concatenate([corners, corners + sides], axis=1).tolist()]
    features = np.abs(SPREAD * rng.standard_normal((REGIONS, width))).astype(np.float32)
    encoded = base64.b64encode(features.tobytes()).decode("ascii")
    return {"regions": {"features": encoded, "boxes": boxes, "width": WIDTH, "height": HEIGHT}}


def run_all(work: Path, size: str) -> dict[str, Any]:
    """Make, export, reload and compare.

    Args:
        work: Folder of everything.
        size: Of the model.

    Returns:
        The report.
    """
    bundle, graphs, requests = work / "bundle", work / "graphs", work / "requests.jsonl"
    took = {"make": _step(work, "benchmarks.export_full", "make", bundle, "--size", size)}
    shutil.rmtree(graphs, ignore_errors=True)
    for kind in KINDS:
        took[kind] = _step(work, "export", kind, bundle, "--out", graphs)
    _step(work, "benchmarks.export_full", "ask", bundle, requests)
    for engine in (kind.engine for kind in KINDS.values()):
        asked = ("parity", bundle, "--out", graphs, "--requests", requests, "--engines", engine)
        took[f"eager and {engine} answer every task"] = _step(work, "export", *asked)
    exported = json.loads((graphs / EXPORT_FILE).read_text(encoding="utf-8"))["graphs"]
    return {
        "size": size,
        "machine": machine(),
        "bundle_bytes": sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file()),
        "steps": {name: asdict(one) for name, one in took.items()},
        "graphs": {name: {kind: _file(entry, kind) for kind in KINDS} for name, entry in exported.items()},
    }


def _step(work: Path, *arguments: object) -> Took:
    console.print(*arguments)
    return timed([str(argument) for argument in arguments], work / "took.json")


def _file(entry: Mapping[str, Any], kind: str) -> dict[str, Any]:
    stored = entry[kind]
    size = sum(one["bytes"] for one in (stored, *stored.get("beside", ())))
    return {"bytes": size, "largest_error": max(entry["parity"][kind]["errors"].values())}


def tables(report: Mapping[str, Any]) -> str:
    """Write a report in Markdown."""
    steps_of = ["| step | s | CPU s | peak GB |", "|---|---:|---:|---:|"]
    steps_of += [
        f"| {name} | {took['wall_s']:.0f} | {took['cpu_s']:.0f} | {took['peak_bytes'] / GIGABYTE:.2f} |"
        for name, took in report["steps"].items()
    ]
    files = ["| graph | " + " | ".join(f"{kind}, MB | largest error" for kind in KINDS) + " |"]
    files += ["|---|" + "---:|" * 2 * len(KINDS)]
    files += [
        f"| {name} | " + " | ".join(f"{f['bytes'] / 1e6:.1f} | {f['largest_error']:.0e}" for f in kinds.values()) + " |"
        for name, kinds in report["graphs"].items()
    ]
    return "\n".join([*steps_of, "", *files])


@contextmanager
def _folder(work: Path | None) -> Iterator[Path]:
    """Give the folder that was named, or one that is gone afterwards."""
    if work is not None:
        work.mkdir(parents=True, exist_ok=True)
        yield work
        return
    with tempfile.TemporaryDirectory() as private:
        yield Path(private)


@steps.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    size: Annotated[str, typer.Option(help=f"Of the model: {', '.join(SIZES)}.")] = "paper",
    work: Annotated[Path | None, typer.Option(help="Keeps bundle and graphs.")] = None,
    to: Annotated[Path, typer.Option(help="The report.")] = Path("benchmarks/export_full.json"),
) -> None:
    """Export and compare everything, print tables, write a report; the commands below are its steps."""
    if context.invoked_subcommand is not None:
        return
    with _folder(work) as folder:
        report = run_all(folder, size)
    to.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    typer.echo(tables(report))


if __name__ == "__main__":
    steps()
