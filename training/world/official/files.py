"""Writing files: the same content gives the same bytes."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

Json = Any
"""What JSON can say; official files are dicts of dicts whose types no checker could follow."""

_DENSE: Final = (",", ":")


def write_json(path: Path, content: Json) -> None:
    """Write one JSON document; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        json.dump(content, file, separators=_DENSE)


def write_json_lines(path: Path, rows: Iterable[Json]) -> None:
    """Write one JSON document a line; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, separators=_DENSE) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text; folders are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
