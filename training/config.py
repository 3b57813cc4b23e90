"""A training run's recipe: one TOML file, typed, saved whole into every checkpoint."""

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from pydantic import TypeAdapter, ValidationError

from twelve.errors import ConfigInvalid
from twelve.schema import sentence_of
from twelve.tasks.registry import TASKS

CLEAN = ("auto", "always", "never")
"""What a recipe may say of cleaning."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What the run is called, where it reads and where it writes.

    Attributes:
        name: Of the model.
        version: Of the model.
        data: The data root: what `python -m training world` wrote, or the official data sets.
        out: Folder of features, checkpoints and logs.
        seed: Of everything drawn.
        threads: Of torch; part of what makes a run repeatable.
        clean: Whether train and val leave out what the data root's clean.json names: "auto" where there is one,
            "always", or "never"; see `training.data.clean`.
    """

    name: str
    version: str
    data: Path
    out: Path
    seed: int = 0
    threads: int = 2
    clean: str = "auto"

    def __post_init__(self) -> None:
        if self.clean not in CLEAN:
            raise ConfigInvalid(f"[run] clean {self.clean!r}; there are {', '.join(CLEAN)}")


@dataclass(frozen=True, kw_only=True)
class World:
    """The small world that `python -m training all` makes where `run.data` holds nothing yet; absent for real data.

    Attributes:
        profile: Of the world.
        seed: Of the world; the data are fixed while `run.seed` varies.
    """

    profile: str = "default"
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Model:
    """Which model.

    Attributes:
        preset: A constructor of `ModelConfig`.
        start: A bundle whose weights the new model begins with, as `twelve import-bert` and `import-checkpoint` write
            them; empty for none.
        minimum_answer_count: Rarer answers are left out of the vocabularies.
        vocabulary: `vocab.txt`.
    """

    preset: str = "small"
    start: str = ""
    minimum_answer_count: int = 9
    vocabulary: Path = Path("twelve/convert/vocab.txt")


@dataclass(frozen=True, kw_only=True)
class Optim:
    """How weights move.

    Attributes:
        rounds: Each gives every task one batch and one step.
        learning_rate: At the peak.
        warmup: Share of the rounds over which the rate rises; it falls linearly to zero after.
        weight_decay: Of matrices; biases and norms have none.
        clip: Largest norm of a gradient.
        precision: "bf16" or "no", as Accelerate calls them.
    """

    rounds: int
    learning_rate: float = 8e-4
    warmup: float = 0.1
    weight_decay: float = 0.01
    clip: float = 1.0
    precision: str = "bf16"


@dataclass(frozen=True, kw_only=True)
class TaskShare:
    """One task's part in the round robin.

    Attributes:
        batch: Requests of one step.
        loss_scale: Weight of its loss (12-in-1 scales by the task's learning rate over the smallest).
    """

    batch: int
    loss_scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Keep:
    """When to save and to look.

    Attributes:
        checkpoint_every: Rounds.
        log_every: Rounds.
    """

    checkpoint_every: int = 100
    log_every: int = 10


@dataclass(frozen=True, kw_only=True)
class Loading:
    """How batches come to be; no number of workers changes one.

    Attributes:
        workers: Processes that make batches beside the one that trains; 0 makes them in it.
        ahead: Batches that each worker may have in hand.
        pictures_kept: Whose regions each process holds in memory, those last looked at.
        group: Batches that are drawn together and cut by length, to pad less; 1 leaves each as it was drawn.
        mined: Nearest pictures of the tables that `python -m training negatives` writes (100 as published); 0 compares
            the pictures in memory when the run starts, and keeps 20 of each.
        right_boxes: Whether training shows the right box of an expression among the regions, as 12-in-1's code does.
    """

    workers: int = 0
    ahead: int = 2
    pictures_kept: int = 20_000
    group: int = 1
    mined: int = 0
    right_boxes: bool = False

    def __post_init__(self) -> None:
        for name, (least, most) in BOUNDS.items():
            if not least <= getattr(self, name) <= most:
                raise ConfigInvalid(f"[loading] {name}: got {getattr(self, name)}, takes {least} to {most:,}")


BOUNDS: Mapping[str, tuple[int, int]] = {
    "workers": (0, 256),
    "ahead": (1, 1_000),
    "pictures_kept": (0, 10_000_000),
    "group": (1, 10_000),
    "mined": (0, 10_000),
}
"""Smallest and largest values of what counts something under [loading]."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A whole recipe; `detector` is read by `training.detector`."""

    run: Run
    optim: Optim
    tasks: Mapping[str, TaskShare]
    model: Model = field(default_factory=Model)
    world: World | None = None
    keep: Keep = field(default_factory=Keep)
    loading: Loading = field(default_factory=Loading)
    detector: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path, *, seed: int | None = None, out: Path | None = None) -> Self:
        """Read a recipe.

        Args:
            path: Of the TOML file.
            seed: Takes the place of the recipe's own.
            out: Likewise.

        Returns:
            The recipe.

        Raises:
            ConfigInvalid: A section or key is missing or unknown; names it.
        """
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        unknown = sorted(set(values) - {entry.name for entry in dataclasses.fields(cls)})
        if unknown:
            raise ConfigInvalid(f"{path}: unknown sections {unknown}")
        recipe = cls(
            run=_section(Run, values, "run", path),
            optim=_section(Optim, values, "optim", path),
            tasks=_tasks(values.get("tasks", {}), path),
            model=_section(Model, values, "model", path),
            world=_section(World, values, "world", path) if "world" in values else None,
            keep=_section(Keep, values, "keep", path),
            loading=_section(Loading, values, "loading", path),
            detector=values.get("detector", {}),
        )
        changes: dict[str, Any] = {"seed": recipe.run.seed if seed is None else seed, "out": out or recipe.run.out}
        return dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, **changes))

    def as_dict(self) -> dict[str, Any]:
        """Give plain values, for a checkpoint's JSON."""
        return dict(_plain(dataclasses.asdict(self)))


def _section(kind: type, values: Mapping[str, Any], name: str, path: Path) -> Any:
    given = values.get(name, {})
    if not isinstance(given, Mapping):
        raise ConfigInvalid(f"{path}: {name} must be a section, [{name}], got {given!r}")
    fields = {entry.name: entry for entry in dataclasses.fields(kind)}
    unknown = sorted(set(given) - set(fields))
    if unknown:
        raise ConfigInvalid(f"{path}: [{name}] has unknown keys {unknown}; known are {sorted(fields)}")
    typed = {
        key: Path(value) if fields[key].type is Path and isinstance(value, str) else value
        for key, value in given.items()
    }
    missing = [key for key, entry in fields.items() if entry.default is dataclasses.MISSING and key not in given]
    if missing:
        raise ConfigInvalid(f"{path}: [{name}] {missing[0]} is missing")
    return kind(**{key: _checked(fields[key].type, value, f"{path}: [{name}] {key}") for key, value in typed.items()})


def _checked(kind: Any, value: object, at: str) -> object:
    """Give a value of the kind that a field declares; a whole number may stand for any number."""
    try:
        return TypeAdapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        raise ConfigInvalid(f"{at} {sentence_of(error.errors(include_url=False)[0])}") from error


def _tasks(values: Mapping[str, Any], path: Path) -> dict[str, TaskShare]:
    unknown = sorted(set(values) - set(TASKS))
    if unknown or not values:
        raise ConfigInvalid(f"{path}: [tasks] names {unknown or 'none'}; known are {', '.join(TASKS)}")
    return {name: _section(TaskShare, values, name, path) for name in TASKS if name in values}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items()}
    return str(value) if isinstance(value, Path) else value
