"""The tiny world, and runs on it whose features are prepared: what the tests of training start from."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from tests.bundles import tiny_detector
from training import pipeline
from training.config import Recipe
from training.world.assembly import assemble
from training.world.profiles import PROFILES

TINY_RECIPE = """
[run]
name = "tiny"
version = "0"
data = "{world}"
out = "{out}"
threads = 1

[model]
preset = "tiny"
minimum_answer_count = 1

[optim]
rounds = 4
precision = "no"

[keep]
checkpoint_every = 2
log_every = 2

[tasks]
"""


def tiny_world(root: Path) -> Path:
    """Make the tiny world in a folder."""
    assemble(PROFILES["tiny"], 0, root, stage=lambda name, steps: lambda done: None, processes=1)
    return root


def tiny_run(world: Path, out: Path, tasks: Iterable[str], *, batch: int = 3, more: str = "") -> Recipe:
    """Prepare a run: an untrained detector and the features it finds.

    Args:
        world: The data root.
        out: Folder of the run.
        tasks: Names.
        batch: Of each.
        more: Further sections of the recipe.
    """
    path = out / "recipe.toml"
    shares = "\n".join(f'"{name}" = {{ batch = {batch} }}' for name in tasks)
    path.write_text(f"{TINY_RECIPE.format(world=world, out=out)}{shares}\n{more}")
    chosen = Recipe.load(path)
    tiny_detector().save(out / pipeline.DETECTOR)
    pipeline.features(chosen, on_total=lambda total: None, on_progress=lambda done: None)
    return chosen


def elsewhere(recipe: Recipe, out: Path, *, rounds: int = 4) -> Recipe:
    """Give the same recipe in another folder, features and all."""
    for name in (pipeline.DETECTOR, pipeline.ANSWERS, "features", "pictures.json"):
        source = recipe.run.out / name
        if source.exists():
            (out / name).symlink_to(source)
    return dataclasses.replace(
        recipe,
        run=dataclasses.replace(recipe.run, out=out),
        optim=dataclasses.replace(recipe.optim, rounds=rounds),
    )
