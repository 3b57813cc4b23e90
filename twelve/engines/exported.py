"""Exported graphs on disk: `export.json`, which says what was exported from which bundle, and the runtimes it opens."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import TypeAdapter, ValidationError

from twelve.bundle import json_object, sha256_of
from twelve.errors import BundleMissing, ChecksumMismatch, ConfigInvalid
from twelve.heads import HEADS
from twelve.heads.base import Head
from twelve.model.config import ModelConfig
from twelve.runtimes.base import Runtime
from twelve.runtimes.devices import CPU, Device

EXPORT_FILE = "export.json"
FORMAT = 1
FIRST_MEETING = "first_meeting_once"
"""Entry of `export.json`: whether the graphs make that saving; see `twelve.engines.savings`."""

DETECTOR = "detector"
"""Name of the region extractor's graph, which stands beside the model's own."""


@dataclass(frozen=True)
class _Stored:
    file: str
    sha256: str


@dataclass(frozen=True)
class _FileEntry(_Stored):
    """A graph's file, and those that it names: weights that it cannot hold."""

    beside: tuple[_Stored, ...] = ()


@dataclass(frozen=True)
class _GraphEntry:
    """What is read of a graph's entry; it has more."""

    inputs: list[str]
    outputs: list[str]
    onnx: _FileEntry | None = None
    torchscript: _FileEntry | None = None
    int8: _FileEntry | None = None


_GRAPHS = TypeAdapter(dict[str, _GraphEntry])


@dataclass(frozen=True)
class Exported:
    """A folder of exported graphs.

    Attributes:
        path: The folder.
        bundle: Digest of the bundle they were exported from.
        graphs: By name: inputs, outputs, and for each kind of file its name and sha256, and those of files beside it.
        first_meeting_once: Whether texts and pictures keep what the first co-attention projects of them. The engine
            gives the pairs' graph whatever the graphs of texts and pictures gave.
    """

    path: Path
    bundle: str
    graphs: Mapping[str, Mapping[str, Any]]
    first_meeting_once: bool = False

    @classmethod
    def open(cls, path: Path, *, bundle: str) -> "Exported":
        """Read `export.json`.

        Args:
            path: The folder.
            bundle: Digest of the bundle that is to be served.

        Returns:
            What was exported.

        Raises:
            BundleMissing: Nothing was exported there.
            ConfigInvalid: It was exported from another bundle, or in another format, or `export.json` is broken.
        """
        file = path / EXPORT_FILE
        if not file.is_file():
            raise BundleMissing(f"{path} holds no exported graphs; run `python -m export all BUNDLE`, or use eager")
        values = json_object(file)
        if values.get("format") != FORMAT:
            raise ConfigInvalid(f"{file}: format {values.get('format')!r}, this version reads {FORMAT}; export again")
        if values.get("bundle") != bundle:
            raise ConfigInvalid(f"{file}: was exported from another bundle; run `python -m export all BUNDLE` again")
        graphs = values.get("graphs")
        try:
            _GRAPHS.validate_python(graphs)
        except ValidationError as error:
            raise ConfigInvalid(f"{file}: is broken; run `python -m export all BUNDLE` again") from error
        kept = values.get(FIRST_MEETING) is True
        return cls(path, bundle, cast(Mapping[str, Mapping[str, Any]], graphs), kept)

    def file(self, graph: str, kind: str) -> Path:
        """Give a graph's file after comparing its hash, and those of the files that it names.

        Raises:
            ConfigInvalid: This graph was not exported in this form.
            ChecksumMismatch: A file is not the one that was exported.
        """
        entry = self.graphs.get(graph, {}).get(kind)
        if entry is None:
            raise ConfigInvalid(f"{self.path}: graph '{graph}' was not exported as {kind}; export it again")
        for stored in (entry, *entry.get("beside", ())):
            path = self.path / str(stored["file"])
            if not path.is_file() or sha256_of(path) != stored["sha256"]:
                raise ChecksumMismatch(f"{path}: is not the file that was exported; run `python -m export all` again")
        return self.path / str(entry["file"])

    def runtime(self, graph: str, kind: str, *, threads: int, device: Device = CPU) -> Runtime:
        """Open one graph.

        Args:
            graph: Its name.
            kind: "onnx" or "torchscript"; "int8" where the detector passed for it.
            threads: Most threads of one run.
            device: To run on.

        Returns:
            The runtime.
        """
        return OPENERS[kind](self, graph, threads, device)


def headless(config: ModelConfig) -> dict[str, Head]:
    """Build the heads without weights: what arranges rows and reads scores when another runtime has the weights."""
    with torch.device("meta"):
        return {name: build(config) for name, build in HEADS.items()}


def _open_onnx(exported: Exported, graph: str, threads: int, device: Device, kind: str = "onnx") -> Runtime:
    from twelve.runtimes.onnx_file import OnnxRuntime  # onnxruntime is wanted by this engine alone

    return OnnxRuntime.open(exported.file(graph, kind), threads=threads, device=device)


def _open_torchscript(exported: Exported, graph: str, threads: int, device: Device) -> Runtime:
    from twelve.runtimes.torchscript import TorchScriptRuntime  # TorchScript is wanted by this engine alone

    del threads  # torch bounds threads for the whole process
    entry = exported.graphs[graph]
    file = exported.file(graph, "torchscript")
    return TorchScriptRuntime.open(file, inputs=entry["inputs"], outputs=entry["outputs"], device=device)


OPENERS: Mapping[str, Callable[[Exported, str, int, Device], Runtime]] = {
    "onnx": _open_onnx,
    "int8": partial(_open_onnx, kind="int8"),
    "torchscript": _open_torchscript,
}
