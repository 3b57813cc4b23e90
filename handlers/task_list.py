"""The tasks of a bundle as JSON: `python -m handlers.task_list BUNDLE FILE`, what nginx answers `GET /v1/tasks` with.

A program of its own, because to know the tasks is to import torch.
"""

from pathlib import Path
from typing import Annotated

import typer

from twelve.bundle import Bundle
from twelve.roster import roster
from twelve.schema import ModelName, TaskList


def listed(bundle: Bundle) -> TaskList:
    """Describe the tasks that a bundle was trained on, with the JSON schema of their fields."""
    manifest = bundle.manifest
    return roster(ModelName(name=manifest.name, version=manifest.version), manifest.tasks)


def main(
    bundle: Annotated[Path, typer.Argument(help="Folder of the bundle.")],
    file: Annotated[Path, typer.Argument(help="To write.")],
) -> None:
    """Write the list of a bundle's tasks; who reads meanwhile gets the old one whole."""
    new = file.with_name(f"{file.name}.new")
    new.write_text(listed(Bundle.open(bundle)).model_dump_json(), encoding="utf-8")
    new.rename(file)


if __name__ == "__main__":
    typer.run(main)
