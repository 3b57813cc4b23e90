"""Building a world: planning its scenes and drawing their pictures, by several processes.

Every scene has its own random numbers, so the number of processes changes the time and nothing else.
"""

import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from training.world.plan import Family, families, plan_family
from training.world.profiles import Profile
from training.world.render import jpeg
from training.world.sketch import Sketch
from training.world.sprites import SpriteCase

POOL_FOLDER: Final = "pictures"
"""Below the data root while a world is built; the official layouts link to its files."""

PROCESSES: Final = 2
_CHUNK: Final = 150
"""Scenes that a process works on at a time; it draws its sprites once for them."""

Item = TypeVar("Item")
Result = TypeVar("Result")
OnProgress = Callable[[int], None]
"""Called with the number of scenes done since the last call."""


def plan_world(
    profile: Profile, seed: int, *, processes: int = PROCESSES, on_progress: OnProgress | None = None
) -> list[Sketch]:
    """Plan every scene of a world, by id.

    Args:
        profile: How many scenes.
        seed: The same seed gives the same world.
        processes: 1 plans in this process; more start that many.
        on_progress: Hears of every scene planned.
    """
    work = partial(_plan_chunk, profile=profile, seed=seed)
    sketches: list[Sketch] = []
    for chunk in _in_parallel(work, _chunks(list(families(profile, seed))), processes):
        sketches.extend(chunk)
        _report(on_progress, len(chunk))
    return sketches


def render_pictures(
    sketches: Sequence[Sketch], out_dir: Path, *, processes: int = PROCESSES, on_progress: OnProgress | None = None
) -> Path:
    """Draw every scene's picture once, as `OUT_DIR/pictures/{id}.jpg`.

    Args:
        sketches: What to draw.
        out_dir: The data root.
        processes: As in `plan_world`.
        on_progress: Hears of every picture written.

    Returns:
        The folder of the pictures. `link` its files to where they belong; then it may be removed.
    """
    folder = out_dir / POOL_FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for count in _in_parallel(partial(_render_chunk, folder=folder), _chunks(sketches), processes):
        _report(on_progress, count)
    return folder


def pool_picture(out_dir: Path, scene_id: int) -> Path:
    """Give where `render_pictures` writes the picture of a scene."""
    return out_dir / POOL_FOLDER / f"{scene_id}.jpg"


def link(picture: Path, target: Path) -> None:
    """Show a picture under one more name, without copying it where the file system can.

    Args:
        picture: An existing file.
        target: Its other name; folders are made, an older file there is replaced.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(picture, target)
    except OSError:
        shutil.copyfile(picture, target)


def _plan_chunk(chunk: Sequence[Family], *, profile: Profile, seed: int) -> list[Sketch]:
    case = SpriteCase.open()
    return [sketch for family in chunk for sketch in plan_family(family, profile, seed=seed, case=case)]


def _render_chunk(chunk: Sequence[Sketch], *, folder: Path) -> int:
    case = SpriteCase.open()
    for sketch in chunk:
        (folder / f"{sketch.scene.id}.jpg").write_bytes(jpeg(sketch, case))
    return len(chunk)


def _in_parallel(work: Callable[[Item], Result], items: Iterable[Item], processes: int) -> Iterator[Result]:
    if processes == 1:
        yield from map(work, items)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(work, items)


def _chunks(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]


def _report(on_progress: OnProgress | None, count: int) -> None:
    if on_progress is not None:
        on_progress(count)
