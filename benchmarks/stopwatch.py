"""Run a module as `python -m` does, and write down what it took: `python -m benchmarks.stopwatch FILE MODULE …`."""

import json
import re
import runpy
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

KILOBYTE = 1024


@dataclass(frozen=True)
class Took:
    """What a program took.

    Attributes:
        wall_s: From start to end, imports included.
        cpu_s: Of all its threads.
        peak_bytes: Of memory.
    """

    wall_s: float
    cpu_s: float
    peak_bytes: int


def timed(arguments: Sequence[str], notes: Path) -> Took:
    """Run a module in a process of its own.

    Args:
        arguments: Its name, then its own arguments.
        notes: Where the process writes what it took.

    Returns:
        What it took.

    Raises:
        SystemExit: It failed.
    """
    since = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "benchmarks.stopwatch", str(notes), *arguments], check=False)
    if done.returncode:
        raise SystemExit(f"python -m {' '.join(arguments)}: left with {done.returncode}")
    values = json.loads(notes.read_text(encoding="utf-8"))
    return Took(round(time.monotonic() - since, 1), round(values["cpu_s"], 1), values["peak_bytes"])


def main() -> None:
    """Run the module that the command line names, then write what it took."""
    notes, module, *arguments = sys.argv[1:]
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        values = {"cpu_s": time.process_time(), "peak_bytes": _peak_bytes()}
        Path(notes).write_text(json.dumps(values), encoding="utf-8")


def _peak_bytes() -> int:
    """Give the kernel's own peak of this program; that of getrusage begins with whoever started it."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    assert found is not None, "Linux says so of every process"
    return KILOBYTE * int(found[1])


if __name__ == "__main__":
    main()
