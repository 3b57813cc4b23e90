"""The published checkpoint's whole size: how much memory the import takes, and do all twelve tasks answer from it?

    python -m benchmarks.published_import

Writes a checkpoint of 560 keys with 268,028,859 random numbers as PyTorch did before 1.6 (1.07 GB), imports it in a
process of its own, starts TorchServe with the bundle, and asks every task over 100 regions brought along. Needs 3 GB of
disk and of memory. Writes what the import took to benchmarks/published_import.json, or where `--to` says. Exits with 1
where the import takes more than 2.2 times the file, or a task does not answer.
"""

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from tests.checkout import ROOT
from tests.integration.harness import LiveServer, example, serving
from twelve.model.config import ModelConfig
from twelve.tasks import TASKS
from twelve.tasks.kinds.pointing import EXAMPLE_BOXES

MOST_MEMORY = 2.2
"""Of the file's size, at the peak of an import."""

REGIONS = 100
WIDTH, HEIGHT = 640, 480
SPREAD = 0.02
"""Standard deviation of the random numbers: the published code's for new weights."""

GIGABYTE = 1e9
KILOBYTE = 1024
MAKE = """
import sys
from pathlib import Path
from tests.checkpoints import answer_files, make_state, save_{form}
from twelve.model.config import ModelConfig
folder, config = Path(sys.argv[1]), ModelConfig.paper()
save_{form}(make_state(config, spread={spread}), folder / "multi_task_model.bin")
answer_files(folder, config)
"""
IMPORT = """
import re, sys, time
from pathlib import Path
from twelve.cli import main
try:
    main(sys.argv[1:])
finally:  # the kernel's own peak of this program; getrusage's begins with that of the process that started it
    peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
    print(f"{peak} {time.process_time()}", file=sys.stderr)
"""
console = Console()


@dataclass(frozen=True)
class Import:
    """What one import took."""

    file_bytes: int
    peak_bytes: int
    cpu_s: float
    wall_s: float

    @property
    def ratio(self) -> float:
        """Give the peak of memory as a multiple of the file."""
        return self.peak_bytes / self.file_bytes


def main(
    folder: Annotated[Path | None, typer.Option(help="Where to work; a temporary folder if absent.")] = None,
    form: Annotated[str, typer.Option(help="Of the file: legacy or zip.")] = "legacy",
    dtype: Annotated[str, typer.Option(help="What the bundle's weights are stored as.")] = "float32",
    serve: Annotated[bool, typer.Option(help="Whether to start a server, too.")] = True,
    to: Annotated[Path, typer.Option(help="The report.")] = Path("benchmarks/published_import.json"),
) -> None:
    """Import a checkpoint of the published size, and serve it."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        work = Path(name)
        _python(MAKE.format(form=form, spread=SPREAD), work)
        took = _import(work, dtype)
        console.print(
            f"{form} file {took.file_bytes / GIGABYTE:.3f} GB to {dtype}: peak {took.peak_bytes / GIGABYTE:.3f} GB, "
            f"{took.ratio:.2f} times the file; {took.cpu_s:.1f} s of one core, {took.wall_s:.1f} s"
        )
        to.write_text(json.dumps(_report(took, form, dtype), indent=2) + "\n", encoding="utf-8")
        silent = [task for task, answer in _answers(work) if answer is None] if serve else []
    if took.ratio > MOST_MEMORY or silent:
        console.print(f"failed: {took.ratio:.2f} of at most {MOST_MEMORY}, without an answer: {silent}")
        raise typer.Exit(1)


def _report(took: Import, form: str, dtype: str) -> dict[str, Any]:
    """Give what lasts beyond one machine: bytes, their ratio, and seconds of one core."""
    return {
        "form": form,
        "dtype": dtype,
        "file_bytes": took.file_bytes,
        "peak_bytes": took.peak_bytes,
        "peak_of_file": round(took.ratio, 3),
        "cpu_s": round(took.cpu_s, 1),
    }


def _import(work: Path, dtype: str) -> Import:
    """Import in a process of its own, and read its peak of memory."""
    checkpoint = work / "multi_task_model.bin"
    command = ["import-checkpoint", checkpoint, "--answers", work / "vqa.json", "--gqa-answers", work / "gqa.json"]
    began = time.monotonic()
    ran = _python(IMPORT, *command, "--dtype", dtype, work / "published")
    peak_kilobytes, cpu_s = ran.stderr.split()[-2:]
    console.print(ran.stdout)
    size = checkpoint.stat().st_size
    checkpoint.unlink()
    return Import(size, int(peak_kilobytes) * KILOBYTE, float(cpu_s), time.monotonic() - began)


def _python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, arguments)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if ran.returncode != 0:
        console.print(ran.stderr)
        raise typer.Exit(1)
    return ran


def _answers(work: Path) -> Iterator[tuple[str, Any]]:
    """Ask every task of a server; an answer that is none is given as None."""
    (work / "served").mkdir()
    with serving(work / "published", work / "served", ENGINE="eager", WORKERS="1", THREADS="1") as server:
        for name in TASKS:
            began = time.monotonic()
            status, answer = server.ask_json(_request(name))
            shown = answer.get("answer", answer.get("error"))
            console.print(f"{name:<22}{status}  {time.monotonic() - began:6.2f} s  {json.dumps(shown)}")
            yield name, answer.get("answer")
        console.print(f"the worker's memory: {_resident(server) / GIGABYTE:.2f} GB")


def _resident(server: LiveServer) -> int:
    fields = Path(f"/proc/{server.workers()[0]}/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def _request(name: str) -> Mapping[str, Any]:
    return example(name, [_regions(seed) for seed in range(TASKS[name].pictures_in_example)])


def _regions(seed: int) -> dict[str, Any]:
    """Bring along what a detector might have found: the example's candidates, and boxes anywhere."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, [WIDTH / 2, HEIGHT / 2], (REGIONS - len(EXAMPLE_BOXES), 2))
    boxes = [*EXAMPLE_BOXES, *np.hstack([corners, corners + rng.uniform(10, 200, corners.shape)]).tolist()]
    features = rng.random((REGIONS, ModelConfig.paper().v_feature_size), dtype=np.float32)
    packed = base64.b64encode(features.tobytes()).decode()
    return {"regions": {"features": packed, "boxes": boxes, "width": WIDTH, "height": HEIGHT}}


if __name__ == "__main__":
    typer.run(main)
