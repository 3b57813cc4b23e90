"""A model on disk: files, JSON, sha256. Open, verify, refuse. Needs no torch.

A bundle is a folder:

    manifest.json          format, name, version, tasks with their tokens, sha256 and size of each file, scores
    config.json            `twelve.model.ModelConfig`
    model.safetensors      trunk and heads
    vocab.txt              word pieces
    answers/vqa.json       answers of the VQA head, in the order of its outputs; answers/gqa.json likewise
    detector.json          the region extractor, where the bundle has one, with detector.safetensors

Beside it, for others to read and no part of it: README.md, its card, and tokenizer_config.json.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from twelve.errors import BundleMissing, ChecksumMismatch, ConfigInvalid

FORMAT = 1
MANIFEST = "manifest.json"
VOCABULARY = "vocab.txt"
TOKENIZER_SETTINGS = "tokenizer_config.json"
BESIDE = (MANIFEST, "README.md", TOKENIZER_SETTINGS)
"""In a bundle's folder, and no part of the bundle."""

DETECTOR_CONFIG = "detector.json"
DETECTOR_WEIGHTS = "detector.safetensors"
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
            ConfigInvalid: The manifest is of another format or lacks an entry.
        """
        manifest = _read_manifest(path / MANIFEST)
        for name in manifest.files:
            if not (path / name).is_file():
                raise BundleMissing(f"{path}: {name} is named in {MANIFEST} and is not there; copy the bundle again")
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
    except ValueError as error:
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
    if not _all_are(entries["tasks"], lambda token: isinstance(token, int)):
        raise ConfigInvalid(f"{path}: tasks must be an object of token numbers by name")
    if not _all_are(entries["files"], lambda entry: isinstance(entry, dict) and isinstance(entry.get("sha256"), str)):
        raise ConfigInvalid(f"{path}: files must be an object of entries with a sha256, by name")
    return Manifest(**entries)


def _all_are(values: object, fit: Callable[[object], bool]) -> bool:
    return isinstance(values, dict) and all(fit(value) for value in values.values())
