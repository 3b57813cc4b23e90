"""The clean split: no test picture of any task is in train or val of any task (12-in-1, arXiv:1912.02315, section 4.1).

`write` reads all files and leaves `clean.json` in the data root. It names what to leave out, and the sha256 of every
file it was made from, so that what was cleaned is what is read. The official files stay as they are.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from rich.table import Table

from training.data.census import LEARNED, Census, Shown, take, tested, tests
from training.data.entries import Entry
from training.data.faults import Fault
from training.data.identity import GENOME_IMAGES
from training.data.readers import READERS
from twelve import __version__
from twelve.bundle import sha256_of
from twelve.errors import DataError

MANIFEST: Final = "clean.json"
FORMAT: Final = 2
DIGEST: Final = "digest"
"""The manifest's hash over its own content: whoever alters it by hand is told. It is no defence against intent."""

WITHOUT_TEST: Final = frozenset({"vg-qa"})
"""Data sets that are published without a test."""

_AGAIN = "run `python -m training data clean {root}` again"

_BECAME = {(True, True): "has changed", (True, False): "is gone", (False, True): "is new"}
"""What has become of a file, by whether the manifest names it and whether it is there."""

_TRAIN_ONLY = ("train",)


@dataclass(frozen=True)
class Rule:
    """Which splits test pictures are removed from.

    Attributes:
        name: As the command line takes it.
        splits: By task.
    """

    name: str
    splits: Mapping[str, tuple[str, ...]]


PAPER: Final = Rule("paper", MappingProxyType(dict.fromkeys(READERS, LEARNED)))
"""Every train and val."""

RELEASED: Final = Rule("released", MappingProxyType({**dict.fromkeys(READERS, _TRAIN_ONLY), "vg-qa": LEARNED}))
"""What the released code does with its lists of test pictures: val keeps them, but for Visual Genome QA's."""

RULES: Final[Mapping[str, Rule]] = MappingProxyType({rule.name: rule for rule in (PAPER, RELEASED)})


@dataclass(frozen=True)
class LeftOut:
    """What cleaning takes from one split.

    Attributes:
        rows: Of the split as it is published.
        left_out: So many of them.
        pictures: Identities; a row that shows one of them is left out.
    """

    rows: int
    left_out: int
    pictures: tuple[str, ...]


@dataclass(frozen=True)
class Cleaned:
    """One task in a manifest.

    Attributes:
        files: Its own, below the data root.
        splits: What is left out of them, by name.
    """

    files: tuple[str, ...]
    splits: Mapping[str, LeftOut]


@dataclass(frozen=True)
class Manifest:
    """What is to be left out, and of which files.

    Attributes:
        rule: Its name.
        sha256: Of every file that it was made from, by name below the data root.
        tasks: By name.
        made_by: Name and version of the program.
        format: Of the file.
    """

    rule: str
    sha256: Mapping[str, str]
    tasks: Mapping[str, Cleaned]
    made_by: str = f"twelve {__version__}"
    format: int = FORMAT

    @classmethod
    def load(cls, root: Path) -> "Manifest":
        """Read a data root's manifest.

        Raises:
            DataError: It is not there, or not as `write` leaves it.
        """
        path = root / MANIFEST
        if not is_stated(root):
            raise DataError(f"{path}: there is none; run `python -m training data clean {root}`")
        again = _AGAIN.format(root=root)
        try:
            return _parsed(Entry(json.loads(path.read_text(encoding="utf-8")), MANIFEST, ""))
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); remove it, and {again}") from error
        except Fault as fault:
            raise DataError(f"{path}: is no manifest of format {FORMAT} ({_of_field(fault)}); {again}") from fault
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: is no manifest of format {FORMAT} ({error}); {again}") from error

    def save(self, root: Path) -> None:
        """Write it into a data root; equal manifests give equal bytes, and a kill leaves an old one whole.

        Raises:
            DataError: It cannot be written.
        """
        fresh = root / f"{MANIFEST}.partial"
        values = {**asdict(self), DIGEST: self.digest}
        try:
            fresh.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            fresh.replace(root / MANIFEST)
        except OSError as error:
            raise DataError(f"{root / MANIFEST}: cannot be written: {error.strerror}") from error

    @property
    def digest(self) -> str:
        """Hash all of it but who made it: equal digests leave the same out of the same files."""
        content = {name: value for name, value in asdict(self).items() if name != "made_by"}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def verify(self, root: Path) -> None:
        """Check that the files are those that were cleaned.

        Raises:
            DataError: A file has changed, is new or is gone since; names the first.
        """
        there = stamps(root)
        for name in sorted({*self.sha256, *there}):
            if there.get(name) != self.sha256.get(name):
                became = _BECAME[name in self.sha256, name in there]
                raise DataError(f"{root / name}: {became} since {MANIFEST} was written; {_AGAIN.format(root=root)}")

    def left_out(self, task: str, split: str) -> frozenset[str]:
        """Give the pictures that a split must not show."""
        cleaned = self.tasks.get(task)
        found = cleaned.splits.get(split) if cleaned else None
        return frozenset(found.pictures) if found else frozenset()


def write(root: Path, rule: Rule = PAPER) -> Manifest:
    """Find what to leave out, and write it down; the same files give the same bytes.

    Raises:
        DataError: A file is not as its format says, no data set is there, or the test of one holds no row.
    """
    sha256 = stamps(root)
    census = take(root)
    _refuse_empty_tests(census, root)
    found = clean(census, rule)
    tasks = {task: Cleaned(tuple(sorted(READERS[task].files(root))), splits) for task, splits in found.items()}
    manifest = Manifest(rule.name, sha256, tasks)
    manifest.save(root)
    return manifest


def clean(census: Census, rule: Rule = PAPER) -> dict[str, dict[str, LeftOut]]:
    """Find what to leave out, by task and split; splits from which the rule takes nothing are not named."""
    held_out = frozenset().union(*(tested(splits) for splits in census.values()))
    return {
        task: {name: _left_out(splits[name], held_out) for name in splits if name in rule.splits[task]}
        for task, splits in census.items()
    }


def is_stated(root: Path) -> bool:
    """Say whether a data root has a manifest; one that cannot be read must not pass for none."""
    return os.path.lexists(root / MANIFEST)


def unprotected(root: Path) -> tuple[str, ...]:
    """Give the tasks of which no file is there, so that nobody knows the pictures of their tests."""
    return tuple(task for task, reader in READERS.items() if task not in WITHOUT_TEST and not reader.files(root))


def stamps(root: Path) -> dict[str, str]:
    """Hash every file that a reader reads or that tells pictures apart."""
    names = {name for reader in READERS.values() for name in reader.files(root)}
    names |= {GENOME_IMAGES} if (root / GENOME_IMAGES).is_file() else set()
    return {name: sha256_of(root / name) for name in sorted(names)}


def table(manifest: Manifest) -> Table:
    """Lay out what is left out of each split."""
    made = Table(title=f"Left out by the rule of {manifest.rule!r}")
    for heading, side in (("task", "left"), ("split", "left"), ("rows", "right"), ("kept", "right")):
        made.add_column(heading, justify="right" if side == "right" else "left")
    made.add_column("left out", justify="right")
    made.add_column("pictures", justify="right")
    for task, cleaned in manifest.tasks.items():
        for split, one in cleaned.splits.items():
            kept = f"{one.rows - one.left_out:,}"
            made.add_row(task, split, f"{one.rows:,}", kept, f"{one.left_out:,}", f"{len(one.pictures):,}")
    return made


def _left_out(counts: Counter[Shown], held_out: frozenset[str]) -> LeftOut:
    touched = {shown: count for shown, count in counts.items() if not held_out.isdisjoint(shown)}
    pictures = sorted({picture for shown in touched for picture in shown if picture in held_out})
    return LeftOut(counts.total(), sum(touched.values()), tuple(pictures))


def _refuse_empty_tests(census: Census, root: Path) -> None:
    """Check that each data set that is there has tests with rows: one that was emptied protects nothing."""
    for task, reader in READERS.items():
        counts = tests(census.get(task, {}))
        empty = [name for name, count in counts.items() if not count]
        is_missed = not counts and bool(reader.files(root)) and task not in WITHOUT_TEST
        if empty or is_missed:
            raise DataError(
                f"task {task!r}: its files are under {root}, but its split {(*empty, 'test')[0]!r} holds no row, so "
                f"that none of its pictures would be left out; expected in {reader.expects}"
            )


def _parsed(entry: Entry) -> Manifest:
    if entry.integer("format") != FORMAT:
        raise entry.complaint("format", f"it says {entry.integer('format')}")
    hashes = entry.entry("sha256")
    manifest = Manifest(
        rule=entry.one_of("rule", RULES),
        sha256={name: hashes.text(name) for name in entry.members("sha256")},
        tasks={task: _parsed_task(one) for task, one in entry.members("tasks").items()},
        made_by=entry.text("made_by"),
    )
    if entry.text(DIGEST) != manifest.digest:
        raise entry.complaint(DIGEST, "it is not that of the content: the file was altered after it was written")
    return manifest


def _parsed_task(entry: Entry) -> Cleaned:
    splits = {name: _parsed_split(one) for name, one in entry.members("splits").items()}
    return Cleaned(tuple(entry.texts("files")), splits)


def _parsed_split(entry: Entry) -> LeftOut:
    return LeftOut(entry.natural("rows"), entry.natural("left_out"), tuple(entry.texts("pictures")))


def _of_field(fault: Fault) -> str:
    return ": ".join(part for part in (fault.field, fault.reason) if part)
