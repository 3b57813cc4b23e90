"""A model on disk: files, JSON, sha256. Open, verify, refuse. Needs no torch.

A bundle is a folder:

    manifest.json          format, name, version, tasks with their tokens, sha256 and size of each file, scores
    config.json            `twelve.model.ModelConfig`
    model.safetensors      trunk and heads
    vocab.txt              word pieces
    answers/vqa.json       answers of the VQA head, in the order of its outputs; answers/gqa.json likewise
    detector.json          the region extractor, where the bundle has one, with detector.safetensors

Beside it, for others to read and no part of it: README.md, its card, and tokenizer_config.json.

Whatever is read of a bundle is named in its manifest and lies in its folder: `Bundle.open` refuses any other.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, Self

from twelve.errors import BundleMissing, ChecksumMismatch, ConfigInvalid

FORMAT = 1
MANIFEST = "manifest.json"
CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
PRETRAINING_FILE = "pretraining.safetensors"
"""Weights of the pre-training heads, where a folder keeps them; whoever serves it never opens this file."""

VOCABULARY = "vocab.txt"
TOKENIZER_SETTINGS = "tokenizer_config.json"
BESIDE = (MANIFEST, "README.md", TOKENIZER_SETTINGS)
"""In a bundle's folder, and no part of the bundle."""

DETECTOR_CONFIG = "detector.json"
DETECTOR_WEIGHTS = "detector.safetensors"
NEEDED = (CONFIG_FILE, WEIGHTS_FILE)
"""No bundle is without them."""

READ = (*NEEDED, PRETRAINING_FILE, VOCABULARY, "answers/*.json", DETECTOR_CONFIG, DETECTOR_WEIGHTS)
"""Patterns of the files that something reads wherever they lie in a bundle's folder."""

SNAPSHOTS, BLOBS = "snapshots", "blobs"
"""How huggingface_hub keeps a repository: `snapshots/<commit>/` holds links to the files in `blobs/` beside it."""

CHUNK = 1 << 20


@dataclass(frozen=True)
class Manifest:
    """What a bundle says of itself.

    Attributes:
        name: Of the model.
        version: Of the model; a bundle is immutable, a change is a new version.
        tasks: Names of the tasks it was trained on, with their token numbers.
        files: sha256 and size in bytes of each file, by its path inside the bundle.
        scores: Whatever its evaluation measured.
        notes: Where it comes from, for people.
    """

    name: str
    version: str
    tasks: Mapping[str, int]
    files: Mapping[str, Mapping[str, Any]]
    scores: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: its folder and its manifest."""

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read a bundle's manifest and see that its files are there.

        Args:
            path: The bundle's folder.

        Returns:
            The bundle, not yet verified.

        Raises:
            BundleMissing: The folder, its manifest or a file named there is missing.
            ConfigInvalid: The manifest is of another format or lacks an entry, names a file outside the folder, or
                does not name one that is read.
        """
        manifest = _read_manifest(path / MANIFEST)
        for name in manifest.files:
            _refuse_odd_name(path, name)
            if not (path / name).is_file():
                raise BundleMissing(f"{path}: {name} is named in {MANIFEST} and is not there; copy the bundle again")
            _refuse_outside(path, name)
        _refuse_unnamed(path, manifest)
        return cls(path, manifest)

    def verify(self) -> None:
        """Compare every file with the hash in the manifest.

        Raises:
            ChecksumMismatch: A file has changed; names it and both hashes.
        """
        for name, entry in self.manifest.files.items():
            found = sha256_of(self.path / name)
            if found != entry["sha256"]:
                raise ChecksumMismatch(
                    f"{self.path}: {name} has sha256 {found[:12]}…, {MANIFEST} states {entry['sha256'][:12]}…; "
                    "copy the bundle again"
                )

    @property
    def has_detector(self) -> bool:
        """Say whether the bundle finds regions itself, or needs them brought along."""
        return DETECTOR_CONFIG in self.manifest.files

    def answers(self, head: str) -> tuple[str, ...]:
        """Give the answers of a head, in the order of its outputs.

        Raises:
            BundleMissing: Their file is not there.
            ConfigInvalid: It is no list of words.
        """
        path = self.path / "answers" / f"{head}.json"
        answers = _json(path)
        if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
            raise ConfigInvalid(f"{path}: is no JSON list of strings; copy the bundle again")
        return tuple(answers)

    def digest(self) -> str:
        """Identify the bundle by the hashes of its files, scores and notes aside."""
        lines = [f"{name} {entry['sha256']}" for name, entry in sorted(self.manifest.files.items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def seal(
    path: Path,
    *,
    name: str,
    version: str,
    tasks: Mapping[str, int],
    scores: Mapping[str, Any] | None = None,
    notes: Mapping[str, Any] | None = None,
) -> Bundle:
    """Write the manifest over the files that lie in a folder.

    Args:
        path: The bundle's folder; every file in it belongs to the bundle, but for `BESIDE`.
        name: Of the model.
        version: Of the model.
        tasks: Names and tokens of the tasks it was trained on.
        scores: What its evaluation measured.
        notes: Where it comes from.

    Returns:
        The bundle.
    """
    files = {
        file.relative_to(path).as_posix(): {"sha256": sha256_of(file), "bytes": file.stat().st_size}
        for file in sorted(path.rglob("*"))
        if file.is_file() and file.name not in BESIDE
    }
    values = {
        "format": FORMAT,
        "name": name,
        "version": version,
        "tasks": dict(tasks),
        "files": files,
        "scores": dict(scores or {}),
        "notes": dict(notes or {}),
    }
    (path / MANIFEST).write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
    return Bundle.open(path)


def sha256_of(path: Path) -> str:
    """Hash a file."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def json_object(path: Path) -> dict[str, Any]:
    """Read a file that must hold one JSON object.

    Raises:
        BundleMissing: There is no such file.
        ConfigInvalid: It holds something else.
    """
    values = _json(path)
    if not isinstance(values, dict):
        raise ConfigInvalid(f"{path}: is no JSON object but {str(values)[:40]!r}; write or copy it again")
    return values


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BundleMissing(f"{path} is not there; write or copy it again") from error
    except (ValueError, RecursionError) as error:
        raise ConfigInvalid(f"{path}: is no JSON ({error}); write or copy it again") from error


def _read_manifest(path: Path) -> Manifest:
    if not path.is_file():
        raise BundleMissing(f"{path.parent} holds no bundle: there is no {path.name}; name a folder that has one")
    values = json_object(path)
    if values.get("format") != FORMAT:
        raise ConfigInvalid(f"{path}: format {values.get('format')!r}, this version reads format {FORMAT}")
    try:
        entries = {name: values[name] for name in ("name", "version", "tasks", "files", "scores", "notes")}
    except KeyError as error:
        raise ConfigInvalid(f"{path}: has no entry {error}") from error
    for name in ("name", "version"):
        if not isinstance(entries[name], str):
            raise ConfigInvalid(f"{path}: {name} is {entries[name]!r} and must be text, in quotes")
    if not _all_are(entries["tasks"], lambda token: isinstance(token, int)):
        raise ConfigInvalid(f"{path}: tasks must be an object of token numbers by name")
    if not _all_are(entries["files"], lambda entry: isinstance(entry, dict) and isinstance(entry.get("sha256"), str)):
        raise ConfigInvalid(f"{path}: files must be an object of entries with a sha256, by name")
    if not isinstance(entries["notes"], dict):
        raise ConfigInvalid(f"{path}: notes must be an object, where there are none an empty one")
    return Manifest(**entries)


def _refuse_odd_name(folder: Path, name: str) -> None:
    """Refuse what is no plain path below the folder, on this system or on another."""
    plain, windows = PurePosixPath(name), PureWindowsPath(name)
    odd = plain.is_absolute() or ".." in plain.parts or windows.drive or "\\" in name or plain.as_posix() != name
    if odd:
        raise ConfigInvalid(
            f"{folder}: {MANIFEST} names the file {name!r}, which is no plain path inside the bundle; "
            "get the bundle from whom you trust"
        )


def _refuse_outside(folder: Path, name: str) -> None:
    """Refuse a link that leads out of the folder, save into the hub's own store of what it downloaded."""
    home, target = folder.resolve(), (folder / name).resolve()
    homes = [home, home.parents[1] / BLOBS] if home.parent.name == SNAPSHOTS else [home]
    if not any(target.is_relative_to(place) for place in homes):
        raise ConfigInvalid(f"{folder}: {name} is a link that leads out of the bundle; copy the file itself into it")


def _refuse_unnamed(folder: Path, manifest: Manifest) -> None:
    """Refuse files that would be read and have no hash, and a bundle that lacks its model or half of its detector."""
    lying = {file.relative_to(folder).as_posix() for pattern in READ for file in folder.glob(pattern)}
    for name in sorted(lying - manifest.files.keys()):
        raise ConfigInvalid(
            f"{folder}: {name} is not named in {MANIFEST}, so nothing says that it is the right one; "
            "copy the bundle again, or remove the file"
        )
    detector = (DETECTOR_CONFIG, DETECTOR_WEIGHTS)
    for name in (*NEEDED, *(detector if manifest.files.keys() & detector else ())):
        if name not in manifest.files:
            raise BundleMissing(f"{folder}: {name} is not there, and nothing replaces it; copy the bundle again")


def _all_are(values: object, fit: Callable[[object], bool]) -> bool:
    return isinstance(values, dict) and all(fit(value) for value in values.values())
