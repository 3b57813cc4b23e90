"""A bundle out of weights that were accounted for: written beside its place, sealed, and only then moved there."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from twelve.bundle import VOCABULARY, Bundle, seal, sha256_of
from twelve.convert.accounts import Accounted, Share, as_dtype
from twelve.convert.names import ASIDE, SERVES, key_of, published_name
from twelve.convert.restoring import keep_dead
from twelve.convert.watch import Watch
from twelve.errors import ConfigInvalid, WeightsInvalid
from twelve.heads.model import CONFIG_FILE, PRETRAINING_FILE, WEIGHTS_FILE
from twelve.hub import dress
from twelve.model.config import ModelConfig
from twelve.text import TextEncoder

BERT_VOCABULARY = Path(__file__).with_name("vocab.txt")
"""The 30,522 word pieces of bert-base-uncased (Apache-2.0), with which the published model was trained."""

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}

KEYS_FILE = "keys.json"
"""In a bundle: what became of every key of its source."""

VERSION = "1"
"""Of an imported model: the same weights never change."""

PRETRAINING = "pretraining."
UNFINISHED = ".unfinished"
MARGIN = 64 << 20
"""Bytes of the disk that the small files and the file system need."""

GIGABYTE = 1e9
READABLE = 0o644
"""Mode of the weights: safetensors lets nobody but the writer read, and a server may run as somebody else."""


@dataclass(frozen=True)
class Packing:
    """What a bundle is to be.

    Attributes:
        out: Its folder; must not be there, or be empty.
        name: Of the model.
        dtype: Of its weights, one of `DTYPES`.
        vocabulary: Its word pieces, or None for those that the weights come with.
        keep_dead: Whether what nothing computes with is kept too, so that the published file can be put together again.
    """

    out: Path
    name: str
    dtype: str = "float32"
    vocabulary: Path | None = None
    keep_dead: bool = False

    def refuse_taken(self) -> None:
        """See that the bundle's place is free.

        Raises:
            ConfigInvalid: It is not.
        """
        refuse_taken(self.out)

    def choose_vocabulary(self, config: ModelConfig, default: Path = BERT_VOCABULARY) -> Path:
        """Choose the vocabulary, and see that it has an entry for each row of the word table.

        Args:
            config: Of the model.
            default: What the weights come with.

        Returns:
            Its file.

        Raises:
            BundleMissing: There is no such file.
            ConfigInvalid: It has more or fewer entries.
        """
        path = self.vocabulary or default
        size = TextEncoder.load(path).size
        if size != config.vocab_size:
            raise ConfigInvalid(
                f"{path}: has {size:,} entries, the word table has {config.vocab_size:,} rows; "
                "name the vocabulary that the model was trained with, with --vocabulary"
            )
        return path


@dataclass(frozen=True)
class Source:
    """Where weights come from.

    Attributes:
        path: The file.
        form: How it holds them: "zip", "legacy" or "safetensors".
        kind: What they are, in words.
        passed_over: Keys that this model has no place for.
    """

    path: Path
    form: str
    kind: str
    passed_over: tuple[str, ...] = ()


@dataclass(frozen=True)
class Contents:
    """What a bundle is made of.

    Attributes:
        config: Of the model.
        source: Where the weights come from.
        weights: The weights.
        vocabulary: File of the word pieces.
        answers: By head.
        tasks: Tokens by name.
    """

    config: ModelConfig
    source: Source
    weights: Accounted
    vocabulary: Path
    answers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tasks: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Imported:
    """What an import gave.

    Attributes:
        bundle: The bundle.
        source: Where its weights come from.
        shares: Every key of the source, by use.
        left_out: Published tasks that the model has no task token for.
    """

    bundle: Bundle
    source: Source
    shares: tuple[Share, ...]
    left_out: tuple[str, ...] = ()


def refuse_taken(out: Path) -> None:
    """See that a folder's place is free.

    Raises:
        ConfigInvalid: Something is there.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ConfigInvalid(f"{out}: is there already; name a new folder, or remove it first")


def pack(contents: Contents, packing: Packing, watch: Watch) -> Imported:
    """Write a bundle.

    Args:
        contents: What it is made of.
        packing: What it is to be.
        watch: Shows progress.

    Returns:
        The bundle.

    Raises:
        ConfigInvalid: The disk has no room for it.
        WeightsInvalid: A number does not fit the type that the weights are to be stored as; names the key.
    """
    dtype = DTYPES[packing.dtype]
    numbers = sum(tensor.numel() for tensor in contents.weights.parameters.values())
    refuse_full_disk(packing.out, numbers * dtype.itemsize)
    with in_place_when_whole(packing.out) as folder:
        with watch("writing"):
            _write_texts(contents, folder)
            _write_weights(contents.weights.parameters, folder, dtype)
            if packing.keep_dead:
                keep_dead({name: as_dtype(name, one, dtype) for name, one in contents.weights.dead.items()}, folder)
            for file in folder.glob("*.safetensors"):
                file.chmod(READABLE)
        with watch("sealing"):
            notes = _notes(contents, packing.dtype)
            dress(seal(folder, name=packing.name, version=VERSION, tasks=contents.tasks, notes=notes))
            sync(folder)
    return Imported(Bundle.open(packing.out), contents.source, contents.weights.shares)


@contextmanager
def in_place_when_whole(out: Path) -> Iterator[Path]:
    """Give a folder beside another's place; it is moved there at the end, or removed where there is no good end."""
    folder = out.with_name(out.name + UNFINISHED)
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    folder.mkdir(parents=True)
    try:
        yield folder
        folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def refuse_full_disk(out: Path, size: int) -> None:
    """See that a folder's disk has room for so many bytes of weights.

    Raises:
        ConfigInvalid: It has not.
    """
    needed = size + MARGIN
    there = next(folder for folder in out.absolute().parents if folder.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise ConfigInvalid(
            f"{out}: needs {needed / GIGABYTE:.2f} GB and the disk has {free / GIGABYTE:.2f} free; free some, name a "
            "folder on another disk, or store halves with --dtype bfloat16"
        )


def _write_texts(contents: Contents, folder: Path) -> None:
    contents.config.save(folder / CONFIG_FILE)
    shutil.copyfile(contents.vocabulary, folder / VOCABULARY)
    for head, listed in contents.answers.items():
        path = folder / "answers" / f"{head}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(listed, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")
    fates = {name: _fate(name) for share in contents.weights.shares for name in share.keys}
    (folder / KEYS_FILE).write_text(json.dumps(fates, indent=1) + "\n", encoding="utf-8")


def _write_weights(parameters: Mapping[str, Tensor], folder: Path, dtype: torch.dtype) -> None:
    stored = {name: as_dtype(published_name(name) or name, tensor, dtype) for name, tensor in parameters.items()}
    serving = {name: tensor for name, tensor in stored.items() if not name.startswith(PRETRAINING)}
    rest = {name.removeprefix(PRETRAINING): tensor for name, tensor in stored.items() if name not in serving}
    _save(serving, folder / WEIGHTS_FILE)
    if rest:
        _save(rest, folder / PRETRAINING_FILE)


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        save_file(dict(_unshared(tensors)), path)
    except (SafetensorError, RuntimeError) as error:
        raise WeightsInvalid(f"{path.name}: cannot be written: {error}") from error


def _unshared(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Copy each tensor whose memory holds another one too: a file of safetensors has none that share."""
    taken: set[int] = set()
    for name, tensor in tensors.items():
        memory = tensor.untyped_storage().data_ptr()
        yield name, tensor.clone() if memory in taken else tensor
        taken.add(memory)


def _fate(name: str) -> dict[str, str | None]:
    """Say what becomes of a published key, and which of our parameters holds it."""
    key = key_of(name)
    assert key is not None, "every key was accounted for"
    return {"use": key.use.value, "parameter": None if key.use in ASIDE else key.parameter}


def _notes(contents: Contents, dtype: str) -> dict[str, Any]:
    """Write for people where a bundle comes from, and what became of every key; `keys.json` says it of each."""
    source = contents.source
    shares = {share.use: share for share in contents.weights.shares}
    size, sha256 = source.path.stat().st_size, sha256_of(source.path)
    return {
        "kind": source.kind,
        "source": f"{source.path.name}, {source.form} format, {size:,} bytes, sha256 {sha256}",
        "source_file": {"name": source.path.name, "form": source.form, "bytes": size, "sha256": sha256},
        "dtype": dtype,
        "keys": {
            "used": {use.value: len(share.keys) for use, share in shares.items() if use in SERVES},
            "kept apart": {use.value: len(share.keys) for use, share in shares.items() if use not in SERVES | ASIDE},
            **{use.value: list(shares[use].keys) for use in shares if use in ASIDE},
            "passed over": list(source.passed_over),
        },
    }


def sync(folder: Path) -> None:
    """Wait until a folder's files are on the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())
