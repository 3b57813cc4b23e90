"""Test items as contract requests: bodies of `POST /predictions/twelve`, for whoever asks a served model."""

import base64
import json
from pathlib import Path
from typing import Any

from training.config import Recipe
from training.data.readers import read
from training.evaluate import spread
from training.features import Regions, pictures_of
from training.items import Gallery, PictureShelf, SeededDraw, seeded
from twelve.schema import StoredImage
from twelve.tasks.registry import TASKS


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
    shelf = PictureShelf(Regions.open(recipe.run.out))
    lines = [body for name in recipe.tasks for body in bodies(recipe, shelf, name, split, per_task)]
    to.write_text("".join(json.dumps(body) + "\n" for body in lines), encoding="utf-8")
    return len(lines)


def bodies(recipe: Recipe, shelf: PictureShelf, name: str, split: str, most: int) -> list[dict[str, Any]]:
    """Give one task's items as request bodies, pictures in base64."""
    task = TASKS[name]
    records = [one for record in read(name, recipe.run.data, split) for one in task.expand(record)]
    gallery = Gallery([image for record in records for image in pictures_of(record)], shelf)
    found = []
    for place in spread(len(records), most):
        draw = SeededDraw(gallery, seeded(recipe.run.seed, name, split, place))
        request = task.labelled(records[place], draw).request
        fields = {field: _value(recipe.run.data, getattr(request, field)) for field in task.request.model_fields}
        found.append({"task": name, **fields})
    return found


def _value(root: Path, value: Any) -> Any:
    """Write a field as JSON holds it; stored pictures become base64."""
    if isinstance(value, StoredImage):
        return base64.b64encode((root / value.key).read_bytes()).decode("ascii")
    if isinstance(value, tuple):
        return [_value(root, entry) for entry in value]
    return value.model_dump() if hasattr(value, "model_dump") else value
