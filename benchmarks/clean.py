"""What the clean split costs on lists of the real data sets' size, and on the files of a data root.

    python -m benchmarks.clean --root runs/world

The lists are drawn, not read: as many rows and pictures as the twelve data sets have in train and val together (4.4
million rows), as the readers would name them. So the figures say what telling pictures apart, comparing and cleaning
cost; what reading official files costs besides is measured on the files of `--root`.
"""

import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from benchmarks.forward import machine
from training.data import census, clean
from training.data.identity import GENOME_IMAGES, Identities
from training.data.overlap import Overlap, overlaps

SEED = 0
COCO_PICTURES, GENOME_PICTURES, FLICKR30K_PICTURES, NLVR2_PICTURES = 123_287, 108_077, 31_783, 120_000
FIRST_GENOME_ID = 150_000
HELD_SHARE = 0.05
"""Of a task's pictures, in val and in test alike."""


class Row(NamedTuple):
    """One row, as far as cleaning looks at it."""

    images: tuple[str, ...]


@dataclass(frozen=True)
class Listed:
    """One task's list.

    Attributes:
        rows: In train and val, as the paper counts them.
        pictures: In all splits.
        universe: Pictures of the source they are drawn from.
        images: Gives the paths of a row by the picture's number.
    """

    rows: int
    pictures: int
    universe: int
    images: Callable[[int], tuple[str, ...]]


def _coco(number: int) -> tuple[str, ...]:
    return (f"images/coco/train2014/COCO_train2014_{number:012d}.jpg",)


def _genome(number: int) -> tuple[str, ...]:
    return (f"images/vg/VG_100K/{FIRST_GENOME_ID + number}.jpg",)


def _visual7w(number: int) -> tuple[str, ...]:
    return (f"images/visual7w/v7w_{FIRST_GENOME_ID + number}.jpg",)


def _flickr30k(number: int) -> tuple[str, ...]:
    return (f"images/flickr30k/flickr30k-images/{number}.jpg",)


def _nlvr2(number: int) -> tuple[str, ...]:
    return tuple(f"images/nlvr2/dev/dev-{number}-0-img{side}.png" for side in (0, 1))


LISTS = {
    "vqa-v2": Listed(655_111, 123_287, COCO_PICTURES, _coco),
    "vg-qa": Listed(1_440_069, 108_077, GENOME_PICTURES, _genome),
    "gqa": Listed(1_072_062, 82_000, GENOME_PICTURES, _genome),
    "coco-retrieval": Listed(566_747, 123_287, COCO_PICTURES, _coco),
    "flickr30k-retrieval": Listed(145_000, 31_014, FLICKR30K_PICTURES, _flickr30k),
    "refcoco": Listed(120_624, 19_994, COCO_PICTURES, _coco),
    "refcoco+": Listed(120_191, 19_992, COCO_PICTURES, _coco),
    "refcocog": Listed(80_512, 25_799, COCO_PICTURES, _coco),
    "visual7w": Listed(93_813, 25_000, GENOME_PICTURES, _visual7w),
    "guesswhat": Listed(113_221, 66_537, COCO_PICTURES, _coco),
    "nlvr2": Listed(86_373, 60_000, NLVR2_PICTURES, _nlvr2),
    "snli-ve": Listed(529_527, 31_000, FLICKR30K_PICTURES, _flickr30k),
}
"""Rows as docs/data.md has them; pictures as published, or of that order."""


def splits(listed: Listed, seed: str) -> Iterator[tuple[str, list[Row]]]:
    """Draw a task's pictures and deal them out; every split has rows in proportion to its pictures."""
    rng = random.Random(seed)
    numbers = rng.sample(range(listed.universe), listed.pictures)
    held = round(listed.pictures * HELD_SHARE)
    dealt = {"test": numbers[:held], "val": numbers[held : 2 * held], "train": numbers[2 * held :]}
    learned = len(numbers) - held
    for split, own in dealt.items():
        rows = [Row(listed.images(number)) for number in own]
        yield split, [rng.choice(rows) for _ in range(round(listed.rows * len(own) / learned))]


def write_shared(root: Path) -> None:
    """Write the list that says half of Visual Genome's pictures are COCO's."""
    rows = [
        {"image_id": FIRST_GENOME_ID + number, "coco_id": number if number % 2 else None}
        for number in range(GENOME_PICTURES)
    ]
    (root / GENOME_IMAGES).parent.mkdir(parents=True)
    (root / GENOME_IMAGES).write_text(json.dumps(rows), encoding="utf-8")


class Clock:
    """Adds up CPU-seconds by what was done."""

    def __init__(self) -> None:
        self.cpu_s: Counter[str] = Counter()

    def timed(self, name: str, work: Callable[[], Any]) -> Any:
        """Do something, and note what it took."""
        since = time.process_time()
        made = work()
        self.cpu_s[name] += time.process_time() - since
        return made

    def report(self) -> dict[str, float]:
        """Give the seconds, and their sum."""
        rounded = {name: round(seconds, 2) for name, seconds in self.cpu_s.items()}
        return {**rounded, "together": round(sum(self.cpu_s.values()), 2)}


def of_lists(root: Path) -> dict[str, Any]:
    """Measure on drawn lists."""
    write_shared(root)
    identities, clock, taken = Identities(root), Clock(), {}
    for task, listed in LISTS.items():
        taken[task] = {
            split: clock.timed("tell pictures apart", lambda rows=rows: census.count(rows, identities))
            for split, rows in splits(listed, f"{SEED} {task}")
        }
    found = clock.timed("overlap", lambda: overlaps(taken))
    cleaned = clock.timed("clean", lambda: clean.clean(taken))
    tasks = {task: clean.Cleaned((), parts) for task, parts in cleaned.items()}
    sizes = [clock.timed("write the manifest", lambda: _saved(root, tasks)) for _ in range(2)]
    assert sizes[0] == sizes[1], "the same lists give the same bytes"
    return {"cpu_s": clock.report(), "manifest_bytes": len(sizes[0]), **_sums(cleaned, found)}


def of_files(root: Path) -> dict[str, Any]:
    """Measure on the official files of a data root; leaves the root as it is."""
    clock = Clock()
    clock.timed("hash the files", lambda: clean.stamps(root))
    taken = clock.timed("read the files", lambda: census.take(root))
    found = clock.timed("overlap", lambda: overlaps(taken))
    cleaned = clock.timed("clean", lambda: clean.clean(taken))
    return {"cpu_s": clock.report(), **_sums(cleaned, found)}


def _saved(root: Path, tasks: dict[str, clean.Cleaned]) -> bytes:
    clean.Manifest(clean.PAPER.name, clean.stamps(root), tasks).save(root)
    return (root / clean.MANIFEST).read_bytes()


def _sums(cleaned: dict[str, dict[str, clean.LeftOut]], found: dict[str, Overlap]) -> dict[str, int]:
    parts: Sequence[clean.LeftOut] = [one for splits in cleaned.values() for one in splits.values()]
    return {
        "rows": sum(one.rows for one in parts),
        "left_out": sum(one.left_out for one in parts),
        "test_pictures": sum(one.tested for one in found.values()),
    }


def main(
    root: Annotated[Path | None, typer.Option(help="A data root whose files are measured as well.")] = None,
    to: Annotated[Path, typer.Option(help="The report.")] = Path("benchmarks/clean.json"),
) -> None:
    """Measure, print, write a report."""
    with tempfile.TemporaryDirectory() as folder:
        report: dict[str, Any] = {"lists": of_lists(Path(folder))}
    if root is not None:
        report["files"] = of_files(root)
    report["machine"] = machine()
    to.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    typer.echo(json.dumps(report, indent=2))


if __name__ == "__main__":
    typer.run(main)
