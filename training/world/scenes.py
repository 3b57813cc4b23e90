"""`scenes.jsonl`: the ground truth of every scene, one a line."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.world.scene import Scene, Thing
from twelve.errors import DataError

FILE_NAME = "scenes.jsonl"


def write_scenes(path: Path, scenes: Iterable[Scene]) -> None:
    """Write scenes, one a line, in their order."""
    with path.open("w", encoding="utf-8") as file:
        for scene in scenes:
            file.write(json.dumps(asdict(scene), separators=(",", ":")) + "\n")


def read_scenes(path: Path) -> Iterator[Scene]:
    """Read scenes as `write_scenes` wrote them.

    Raises:
        DataError: A line is no scene; names the file and the line.
    """
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield _scene(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise DataError(f"{path}, line {number}: needs a scene as the world writes it, got {error}") from error


def _scene(row: Mapping[str, Any]) -> Scene:
    edit = row["edit"]
    things = tuple(_thing(thing) for thing in row["things"])
    return Scene(**{**row, "things": things, "edit": edit and tuple(edit)})


def _thing(row: Mapping[str, Any]) -> Thing:
    return Thing(**{**row, "box_px": tuple(row["box_px"]), "polygon_px": tuple(row["polygon_px"])})
