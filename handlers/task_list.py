"""The tasks of a bundle as JSON: `python -m handlers.task_list BUNDLE FILE`, what nginx answers `GET /v1/tasks` with.

A program of its own, because to know the tasks is to import torch.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from twelve.bundle import Bundle
from twelve.tasks import TASKS


def listed(bundle: Bundle) -> dict[str, Any]:
    """Describe the tasks that a bundle was trained on, with the JSON schema of their fields."""
    known = [TASKS[name] for name in TASKS if name in bundle.manifest.tasks]
    return {
        "model": {"name": bundle.manifest.name, "version": bundle.manifest.version},
        "tasks": [
            {
                "task": task.name,
                "token": task.token,
                "summary": task.summary,
                "path": f"/v1/tasks/{task.name}",
                "request": task.request.model_json_schema(),
            }
            for task in known
        ],
    }


def main(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    file: Annotated[Path, typer.Argument(help="To write.")],
) -> None:
    """Write the list of a bundle's tasks; who reads meanwhile gets the old one whole."""
    new = file.with_name(f"{file.name}.new")
    new.write_text(json.dumps(listed(Bundle.open(bundle))), encoding="utf-8")
    new.rename(file)


if __name__ == "__main__":
    typer.run(main)
