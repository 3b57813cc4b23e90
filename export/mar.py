"""A model archive, for those who must have one. A model directory serves the same and is not unpacked at each start.

The archive holds what the directory links to: the handler, its configuration, the bundle, the graphs of one engine.
The library is installed where the server runs, as it is for the directory.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from export.archive import CONFIG, HANDLER, MODEL, SELF_TEST
from export.folder import KINDS
from twelve.engines.exported import EXPORT_FILE
from twelve.errors import ConfigInvalid

STORED = "zip-store"
"""Weights do not shrink: deflating takes six times as long and saves nothing."""

KIND_OF = {kind.engine: name for name, kind in KINDS.items()}
"""What an engine opens; the eager one opens the bundle alone."""


def make_archive(directory: Path, out: Path) -> Path:
    """Pack a model directory by torch-model-archiver.

    Args:
        directory: As `make_model_directory` made it.
        out: Folder of the archive.

    Returns:
        `OUT/twelve.mar`.

    Raises:
        ConfigInvalid: torch-model-archiver refused.
    """
    version = json.loads((directory / "MAR-INF" / "MANIFEST.json").read_text(encoding="utf-8"))["model"]["modelVersion"]
    with tempfile.TemporaryDirectory() as private:
        staged = Path(private) / "staged"
        _stage(directory, staged)
        arguments = {
            "--model-name": MODEL,
            "--version": version,
            "--handler": str(directory / HANDLER.name),
            "--config-file": str(directory / CONFIG),
            "--extra-files": str(staged),
            "--export-path": str(out),
            "--archive-format": STORED,
        }
        command = [sys.executable, "-m", "model_archiver.model_packaging", "--force"]
        command += [word for pair in arguments.items() for word in pair]
        # In the temporary directory the archiver deletes and fills a folder of the model's name: give it its own.
        done = subprocess.run(
            command, env={**os.environ, "TMPDIR": private}, capture_output=True, text=True, check=False
        )
    if done.returncode:
        raise ConfigInvalid(f"torch-model-archiver refused: {done.stderr.strip()[-500:]}")
    return out / f"{MODEL}.mar"


def _stage(directory: Path, staged: Path) -> None:
    """Link what the archive takes up; the archiver keeps the folders inside this one, and follows links."""
    staged.mkdir()
    (staged / SELF_TEST).symlink_to((directory / SELF_TEST).resolve())
    (staged / "bundle").symlink_to((directory / "bundle").resolve(), target_is_directory=True)
    engine = yaml.safe_load((directory / CONFIG).read_text(encoding="utf-8"))["handler"]["engine"]
    if engine not in KIND_OF:
        return
    (staged / "graphs").mkdir()
    for name in _served_files(directory / "graphs", engine):
        (staged / "graphs" / name).symlink_to((directory / "graphs" / name).resolve())


def _served_files(graphs: Path, engine: str) -> list[str]:
    """Name the files that an engine opens, and the record of all."""
    values = json.loads((graphs / EXPORT_FILE).read_text(encoding="utf-8"))
    kind = KIND_OF[engine]
    entries = [entry[kind] for entry in values["graphs"].values()]
    return [EXPORT_FILE, *(one["file"] for entry in entries for one in (entry, *entry.get("beside", ())))]
