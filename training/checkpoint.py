"""Checkpoints: weights and optimiser state as safetensors, the rest as JSON. No pickle.

checkpoint/
  model/            config.json and model.safetensors, as a bundle has them
  optimiser.safetensors
  state.json        round, recipe, figures so far, what the data sets were read through
"""

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from training.config import Loading
from twelve.errors import ConfigInvalid
from twelve.heads.model import TwelveModel

FOLDER = "checkpoint"
MODEL, OPTIMISER, STATE = "model", "optimiser.safetensors", "state.json"

MAY_CHANGE: Mapping[str, frozenset[str]] = {
    "run": frozenset({"name", "version", "data", "out", "threads"}),
    "optim": frozenset({"rounds"}),
    "model": frozenset(),
    "tasks": frozenset(),
    "loading": frozenset({"workers", "ahead", "pictures_kept"}),
}
"""Sections of a recipe that steer the steps, and their keys that may differ when a run goes on."""

BEFORE: Mapping[str, Mapping[str, Any]] = {
    "run": {"clean": "auto"},
    "model": {"start": ""},
    "loading": asdict(Loading()),
}
"""Keys that recipes of older checkpoints lack, and what they stood for."""


@dataclass(frozen=True)
class State:
    """Where a run stands.

    Attributes:
        round: The next one.
        recipe: As it was started.
        figures: Whatever was logged last.
        read_through: Digest of the manifest that the data sets were cleaned by, or that they were not, as
            `training.data.sets` gives it; None where the run was begun before this was noted.
    """

    round: int
    recipe: dict[str, Any]
    figures: dict[str, Any]
    read_through: str | None = None


def save(out: Path, model: TwelveModel, optimiser: torch.optim.Optimizer, state: State) -> None:
    """Write a checkpoint beside the old one, then swap them: a kill at any point leaves a whole one.

    Args:
        out: Folder of the run.
        model: Its weights are written as float32.
        optimiser: Its moments are written as they are.
        state: Where the run stands.
    """
    fresh, place, old = (out / f"{FOLDER}{suffix}" for suffix in (".new", "", ".old"))
    shutil.rmtree(fresh, ignore_errors=True)
    model.save(fresh / MODEL)
    save_file(_moments(optimiser), fresh / OPTIMISER)
    (fresh / STATE).write_text(json.dumps(vars(state), indent=2) + "\n", encoding="utf-8")
    _sync(fresh)
    if place.exists():
        shutil.rmtree(old, ignore_errors=True)
        place.rename(old)
    fresh.rename(place)
    shutil.rmtree(old, ignore_errors=True)


def find(out: Path) -> Path | None:
    """Give the folder of a run's whole checkpoint, or None; a kill during `save` may leave only the old one."""
    places = (out / FOLDER, out / f"{FOLDER}.old")
    return next((place for place in places if (place / STATE).is_file()), None)


def state_of(place: Path) -> State:
    """Read where the run of a checkpoint stands."""
    return State(**json.loads((place / STATE).read_text(encoding="utf-8")))


def load(
    out: Path,
    model: TwelveModel,
    optimiser: torch.optim.Optimizer,
    recipe: Mapping[str, Any],
    *,
    read_through: str,
) -> State | None:
    """Bring model and optimiser to where a run was cut short.

    Args:
        out: Folder of the run.
        model: Takes up the weights.
        optimiser: Takes up the moments.
        recipe: That the run is to go on under, as plain values.
        read_through: What the data sets are read through now.

    Returns:
        Where the run stands, or None where it has not begun.

    Raises:
        ConfigInvalid: The run was started under another recipe, which names the section; or on data sets that were
            read through another manifest.
    """
    place = find(out)
    if place is None:
        return None
    state = state_of(place)
    _refuse_changes(state.recipe, recipe, place)
    _refuse_other_data(state.read_through, read_through, place)
    model.load_state_dict(TwelveModel.load(place / MODEL).state_dict())
    _restore(optimiser, load_file(place / OPTIMISER))
    return state


def _refuse_changes(begun: Mapping[str, Any], recipe: Mapping[str, Any], place: Path) -> None:
    for section, free in MAY_CHANGE.items():
        before, now = {**BEFORE.get(section, {}), **begun.get(section, {})}, recipe[section]
        changed = [key for key in {**before, **now} if key not in free and before.get(key) != now.get(key)]
        if changed:
            raise ConfigInvalid(
                f"[{section}] {changed[0]}: {place} was begun with {before.get(changed[0])}, the recipe says "
                f"{now.get(changed[0])}; go on with the recipe it was begun with, or choose another run.out"
            )


def _refuse_other_data(begun: str | None, now: str, place: Path) -> None:
    """Check that a run goes on with the data it was begun with; an older checkpoint does not say, and may go on."""
    if begun not in (None, now):
        raise ConfigInvalid(
            f"[run] data: {place} was begun on data sets whose clean.json is {begun}, and now it is {now}; "
            "go on with the clean.json it was begun with, or choose another run.out"
        )


def _moments(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    state = optimiser.state_dict()["state"]
    return {f"{index}.{name}": value for index, entry in state.items() for name, value in entry.items()}


def _restore(optimiser: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]) -> None:
    whole = optimiser.state_dict()
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".")
        state.setdefault(int(index), {})[name] = value
    optimiser.load_state_dict({**whole, "state": state})


def _sync(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
