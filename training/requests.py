"""Test items as contract requests: bodies of `POST /predictions/twelve`, for whoever asks a served model."""

import base64
import json
from pathlib import Path
from typing import Any

from training.config import Recipe
from training.evaluate import spread
from training.items import TaskItems
from training.pipeline import RunItems
from twelve.schema import StoredImage


def write(recipe: Recipe, split: str, items: int, to: Path) -> int:
    """Write items of every task, evenly.

    Args:
        recipe: Its tasks and data.
        split: Of the data sets.
        items: Of all tasks together.
        to: The JSON-lines file.

    Returns:
        How many were written.
    """
    per_task = -(-items // len(recipe.tasks))
    reader = RunItems.open(recipe)
    lines = [body for name in recipe.tasks for body in bodies(reader.read(name, split), recipe.run.data, per_task)]
    to.write_text("".join(json.dumps(body) + "\n" for body in lines), encoding="utf-8")
    return len(lines)


def bodies(source: TaskItems, root: Path, most: int) -> list[dict[str, Any]]:
    """Give one task's items as request bodies, pictures in base64; the same items as `evaluate` asks."""
    task = source.task
    requests = [source.labelled(place, place).request for place in spread(len(source), most)]
    return [
        {"task": task.name, **{field: _value(root, getattr(request, field)) for field in task.request.model_fields}}
        for request in requests
    ]


def _value(root: Path, value: Any) -> Any:
    """Write a field as JSON holds it; stored pictures become base64."""
    if isinstance(value, StoredImage):
        return base64.b64encode((root / value.key).read_bytes()).decode("ascii")
    if isinstance(value, tuple):
        return [_value(root, entry) for entry in value]
    return value.model_dump() if hasattr(value, "model_dump") else value
