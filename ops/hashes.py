"""Writes requirements/hashes.txt: each pinned version with the hash of the file that pip takes. `make hashes`.

pip itself says which files it would install, for the Python and the machine that this runs on. torch stands in a file
of its own without a hash: the builds for CPUs and for CUDA are different files of one version.
"""

import json
import platform
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONSTRAINTS = ROOT / "requirements" / "constraints.txt"
HASHES = ROOT / "requirements" / "hashes.txt"
TORCH = ROOT / "requirements" / "torch.txt"
UNHASHED = "torch=="

HEADER = """\
# What constraints.txt pins, torch aside, with the hash of each file for CPython {python} on {machine}.
# Written by `make hashes`; installed by
#     pip install --no-deps --require-hashes -r requirements/hashes.txt
#     pip install --constraint requirements/constraints.txt -r requirements/torch.txt
"""


def pins(text: str) -> list[str]:
    """Give the lines of a file of requirements that are no remarks."""
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def hashed(wanted: Sequence[str]) -> dict[str, str]:
    """Ask pip which file it would take for each requirement.

    Args:
        wanted: As `name==version`.

    Returns:
        The files' sha256 by requirement.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        options = ("--dry-run", "--ignore-installed", "--no-deps", "--no-build-isolation", "--quiet")
        command = [sys.executable, "-m", "pip", "install", *options, "--report", str(report), *wanted]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    named = {plain(one["metadata"]["name"]): one["download_info"]["archive_info"]["hashes"]["sha256"] for one in found}
    return {requirement: named[plain(requirement.split("==")[0])] for requirement in wanted}


def plain(name: str) -> str:
    """Write a package's name as all its spellings are compared."""
    return name.lower().replace("_", "-").replace(".", "-")


def written(hashes: Mapping[str, str]) -> str:
    """Write requirements with hashes as pip reads them."""
    python, machine = ".".join(platform.python_version_tuple()[:2]), f"{platform.system()}, {platform.machine()}"
    entries = [f"{requirement} \\\n    --hash=sha256:{digest}\n" for requirement, digest in hashes.items()]
    return HEADER.format(python=python, machine=machine) + "".join(entries)


def main() -> None:
    """Write both files anew."""
    wanted = pins(CONSTRAINTS.read_text(encoding="utf-8"))
    HASHES.write_text(written(hashed([one for one in wanted if not one.startswith(UNHASHED)])), encoding="utf-8")
    [torch] = [one for one in wanted if one.startswith(UNHASHED)]
    TORCH.write_text(f"# Without a hash: one version, other files for CPUs and for CUDA.\n{torch}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
