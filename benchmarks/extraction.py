"""Extraction under SIGKILL: does it lose or change anything, and what does a kill cost?

    python -m benchmarks.extraction --pictures runs/world/pictures

Makes a folder of pictures, copies of some of them, odd pictures and bad ones; extracts it undisturbed; extracts it
again under SIGKILLs at random points, and once more when it is whole; extracts it on Ray. Each is the real command in
a process of its own, which notes each run of the detector. Writes what came of it to benchmarks/extraction.json.
"""

import hashlib
import json
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import odd_pictures
from twelve.features import FeatureStore
from twelve.image import Picture
from twelve.regions.extraction.run import CUT_INPUTS
from twelve.regions.local import DetectorExtractor

RESULT = Path(__file__).with_suffix(".json")
OF_EACH_ODD = 5
FOLDERS = 7
POLL_S = 0.05
MOST_LATER_S = 2.0
"""A kill comes so much later at most than the detector's run that it waits for."""

REJECTS = 3
RAN = b"."
console = Console(stderr=True)


@dataclass(frozen=True)
class Collection:
    """A folder of inputs, and how many of each kind it holds."""

    folder: Path
    done: int
    duplicate: int
    rejected: int

    @property
    def inputs(self) -> int:
        """Count them all."""
        return self.done + self.duplicate + self.rejected

    @property
    def last_line(self) -> str:
        """Give what a whole run prints last."""
        return f"done={self.done} duplicate={self.duplicate} rejected={self.rejected}"


@dataclass(frozen=True)
class Killed:
    """What kills cost.

    Attributes:
        kills: That hit a running extraction.
        wasted: Runs of the detector beyond one a picture, for each kill.
    """

    kills: int
    wasted: list[int]


def collection(pictures: Path, folder: Path, *, inputs: int, copies: int, of_each_odd: int) -> Collection:
    """Make a folder of inputs.

    Args:
        pictures: A folder of distinct pictures.
        folder: To be made.
        inputs: All together.
        copies: Inputs that show a picture which is there already.
        of_each_odd: Odd and bad inputs of each kind.

    Returns:
        The folder.
    """
    odd, bad = odd_pictures.write(folder / "odd", each=of_each_odd)
    plain = inputs - copies - odd - bad
    chosen = sorted(islice(sorted(pictures.iterdir()), plain))
    for number, path in enumerate(chosen):
        place = folder / f"album {number % FOLDERS}"
        place.mkdir(exist_ok=True)
        shutil.copyfile(path, place / path.name)
    for number, path in enumerate(chosen[:copies]):
        shutil.copyfile(path, folder / f"album {(number * 3) % FOLDERS}" / f"copy of {path.name}")
    return Collection(folder, plain + odd, copies, bad)


def command(made: Collection, store: Path, runs: Path, *options: str) -> list[str]:
    """Give the command line that extracts a collection and notes the detector's runs in a file."""
    program = [sys.executable, "-m", "benchmarks.extraction", "--note-runs", str(runs)]
    return [*program, "features", str(made.folder), "--out", str(store), *options]


def runs_in(path: Path) -> int:
    """Count the noted runs of the detector."""
    return path.stat().st_size if path.exists() else 0


def whole_run(arguments: Sequence[str]) -> str:
    """Extract to the end.

    Returns:
        The last line.

    Raises:
        SystemExit: The exit code is not that of a complete run with rejects.
    """
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    if done.returncode != REJECTS:
        raise SystemExit(f"{' '.join(arguments)}: left with {done.returncode}")
    return done.stdout.splitlines()[-1]


def kill_at_random(made: Collection, store: Path, runs: Path, *, kills: int, draw: random.Random) -> Killed:
    """Extract a collection while killing it at random runs of the detector, and a little later."""
    wasted: list[int] = []
    for point in sorted(draw.sample(range(1, made.done), kills)):
        begun_with, run_before = _pictures(store), runs_in(runs)
        arguments = command(made, store, runs)
        with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while begun_with + runs_in(runs) - run_before < point and process.poll() is None:
                time.sleep(POLL_S)
            time.sleep(draw.uniform(0, MOST_LATER_S))
            process.kill()
        if process.returncode == -signal.SIGKILL:
            wasted.append(runs_in(runs) - run_before - (_pictures(store) - begun_with))
        console.print(f"a kill at {point}: {_pictures(store)} pictures kept, wasted {wasted}")
    return Killed(len(wasted), wasted)


def _pictures(store: Path) -> int:
    return len(FeatureStore.open(store)) if (store / "store.json").exists() else 0


def digest_of(store: Path) -> str:
    """Identify every file of a store, names included."""
    content = hashlib.sha256()
    for path in _files(store):
        content.update(f"{path.relative_to(store)}\n".encode())
        content.update(hashlib.sha256(path.read_bytes()).digest())
    return content.hexdigest()


def state_of(store: Path) -> list[tuple[str, int, int]]:
    """Give every file with its time and size: what a run that writes nothing leaves."""
    return [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in _files(store)]


def _files(store: Path) -> Iterator[Path]:
    return (path for path in sorted(store.rglob("*")) if path.is_file())


def prove(made: Collection, work: Path, *, kills: int, seed: int, ray_workers: int) -> dict[str, object]:
    """Do all of it.

    Args:
        made: The inputs.
        work: A folder for the stores.
        kills: How many.
        seed: Of where they hit.
        ray_workers: Actors; 0 for no run on Ray.

    Returns:
        What came of it, as JSON values.
    """
    since = os.times()
    peace, peace_runs = work / "peace", work / "peace.runs"
    assert whole_run(command(made, peace, peace_runs)) == made.last_line
    took = os.times()
    console.print(f"undisturbed: {made.last_line}, {runs_in(peace_runs)} runs of the detector")
    store, runs = work / "killed", work / "killed.runs"
    killed = kill_at_random(made, store, runs, kills=kills, draw=random.Random(seed))
    after_kills = whole_run(command(made, store, runs))
    state, total = state_of(store), runs_in(runs)
    second = whole_run(command(made, store, runs))
    found: dict[str, object] = {
        "inputs": made.inputs,
        "kinds of odd pictures": len(odd_pictures.ODD),
        "kinds of bad ones": len(odd_pictures.BAD) + len(odd_pictures.UNREADABLE),
        "last line": made.last_line,
        "inputs a shard": CUT_INPUTS,
        "kills": killed.kills,
        "same last line after kills": after_kills == made.last_line,
        "same bytes after kills": digest_of(store) == digest_of(peace),
        "detector runs undisturbed": runs_in(peace_runs),
        "detector runs under kills": total,
        "most detector runs wasted by a kill": max(killed.wasted),
        "wasted by each kill": killed.wasted,
        "second run: detector runs": runs_in(runs) - total,
        "second run: same last line": second == made.last_line,
        "second run: no file written": state_of(store) == state,
        "undisturbed CPU s": round(_cpu_s(took) - _cpu_s(since), 1),
        "machine": asdict(_Machine()),
    }
    if ray_workers:
        store = work / "ray"
        options = ("--engine", "ray", "--workers", str(ray_workers))
        found["ray: actors"] = ray_workers
        found["ray: same last line"] = whole_run(command(made, store, work / "ray.runs", *options)) == made.last_line
        found["ray: same bytes"] = digest_of(store) == digest_of(peace)
    return found


def _cpu_s(times: os.times_result) -> float:
    return times.children_user + times.children_system


@dataclass(frozen=True)
class _Machine:
    cores: int = os.cpu_count() or 1
    threads: str = os.environ.get("OMP_NUM_THREADS", "all")


def note_runs(path: Path, arguments: Sequence[str]) -> None:
    """Run `python -m training`, noting each run of the detector in a file."""
    real = DetectorExtractor.extract
    notes = path.open("ab", buffering=0)

    def noted(self: DetectorExtractor, picture: Picture, *given: object) -> object:
        notes.write(RAN)
        return real(self, picture, *given)

    DetectorExtractor.extract = noted
    sys.argv = ["training", *arguments]
    runpy.run_module("training", run_name="__main__")


def main(
    pictures: Annotated[Path, typer.Option(help="A folder of distinct pictures.")] = Path("runs/world/pictures"),
    inputs: Annotated[int, typer.Option(help="All together.")] = 5000,
    copies: Annotated[int, typer.Option(help="Inputs that repeat a picture.")] = 250,
    kills: Annotated[int, typer.Option(help="SIGKILLs.")] = 20,
    seed: int = 0,
    ray_workers: Annotated[int, typer.Option(help="Actors of Ray; 0 leaves Ray out.")] = 2,
    to: Annotated[Path, typer.Option(help="The file to write.")] = RESULT,
) -> None:
    """Prove it, and write down what came of it."""
    with tempfile.TemporaryDirectory(prefix="extraction-") as work:
        made = collection(pictures, Path(work) / "inputs", inputs=inputs, copies=copies, of_each_odd=OF_EACH_ODD)
        found = prove(made, Path(work), kills=kills, seed=seed, ray_workers=ray_workers)
    to.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    console.print_json(json.dumps(found))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--note-runs"]:
        note_runs(Path(sys.argv[2]), sys.argv[3:])
    else:
        typer.run(main)
