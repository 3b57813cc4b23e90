"""Putting a world together on disk: scenes, pictures, the official files of all data sets, and `world.json` last.

A folder with `world.json` holds a whole world. One that is being written holds `world.partial.json`, so that a run that
was cut off can be told from somebody else's files and done again.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from training.world.build import PROCESSES, OnProgress, plan_world, render_pictures
from training.world.official.corpus import AMOUNTS, Corpus
from training.world.official.files import write_json
from training.world.official.pictures import link_pictures
from training.world.official.write import WRITERS, write_comparisons, write_data_sets
from training.world.profiles import Profile
from training.world.scene import Scene
from training.world.scenes import FILE_NAME as SCENES_FILE
from training.world.scenes import write_scenes
from training.world.sources import sources_of
from twelve.errors import DataError

WORLD_FILE: Final = "world.json"
PARTIAL_FILE: Final = "world.partial.json"

FORMAT_VERSION: Final = 2
"""Of what is written; since 2, train and val hold test pictures for cleaning to remove."""

Stage = Callable[[str, int], OnProgress]
"""Begins a stage with its name and its number of steps; gives what hears of the steps done."""


@dataclass(frozen=True)
class Identity:
    """What makes a world this one and no other."""

    seed: int
    profile: str
    format_version: int = FORMAT_VERSION

    @property
    def in_words(self) -> str:
        """Name the world in a message."""
        return f"the world of seed {self.seed} and profile {self.profile!r} in format {self.format_version}"


def assemble(
    profile: Profile, seed: int, out_dir: Path, *, stage: Stage, processes: int = PROCESSES
) -> Mapping[str, int]:
    """Write a world below a folder.

    Args:
        profile: How large.
        seed: The same seed gives the same bytes.
        out_dir: Empty, or holding this very world or a part of it.
        stage: Hears of the progress.
        processes: That plan and draw; their number changes nothing but the time.

    Returns:
        The number of scenes by split.

    Raises:
        DataError: The folder holds something else.
    """
    identity = Identity(seed, profile.name)
    claim(out_dir, identity)
    sketches = plan_world(profile, seed, processes=processes, on_progress=stage("Planning scenes", _scenes(profile)))
    drawn = stage("Drawing pictures", len(sketches))
    render_pictures(sketches, out_dir, processes=processes, on_progress=drawn)
    scenes = [sketch.scene for sketch in sketches]
    write_scenes(out_dir / SCENES_FILE, scenes)
    corpus = Corpus.deal(scenes, seed=seed, amounts=AMOUNTS[profile.name])
    _write_words(out_dir, corpus, stage)
    write_json(out_dir / WORLD_FILE, {**asdict(identity), "counts": _counts(scenes)})
    (out_dir / PARTIAL_FILE).unlink()
    return Counter(scene.split for scene in scenes)


def is_whole(out_dir: Path, identity: Identity) -> bool:
    """Say whether a folder holds this very world, written to its end."""
    return _identity_in(out_dir / WORLD_FILE) == identity


def claim(out_dir: Path, identity: Identity) -> None:
    """Mark a folder as the place of a world, and what it may hold of it as unfinished.

    Raises:
        DataError: The folder holds something else.
    """
    held = _identity_in(out_dir / WORLD_FILE) or _identity_in(out_dir / PARTIAL_FILE)
    if held != identity and out_dir.is_dir() and any(out_dir.iterdir()):
        found = held.in_words if held else "files that are no world"
        raise DataError(
            f"{out_dir}: needs an empty folder, or one with {identity.in_words}; found {found}. "
            "Give another folder, or empty this one"
        )
    out_dir.mkdir(parents=True, exist_ok=True)
    write_json(out_dir / PARTIAL_FILE, asdict(identity))
    (out_dir / WORLD_FILE).unlink(missing_ok=True)


def _identity_in(path: Path) -> Identity | None:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return Identity(content["seed"], content["profile"], content["format_version"])
    except (ValueError, KeyError, TypeError):
        return None


def _scenes(profile: Profile) -> int:
    return sum(profile.scenes.values())


def _write_words(out_dir: Path, corpus: Corpus, stage: Stage) -> None:
    written = stage("Writing annotations", len(WRITERS) + 1)
    for _ in write_data_sets(out_dir, corpus):
        written(1)
    shown = write_comparisons(out_dir, corpus)
    written(1)
    link_pictures(out_dir, shown, stage("Linking pictures", len(shown)))


def _counts(scenes: Iterable[Scene]) -> dict[str, dict[str, int]]:
    """Count scenes by split, and pictures by source."""
    listed = list(scenes)
    return {
        "scenes": dict(Counter(scene.split for scene in listed)),
        "pictures": dict(Counter(source for scene in listed for source in sources_of(scene))),
    }
