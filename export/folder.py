"""The folder of exported graphs: what is good stays, what is missing is written and tried, `export.json` comes last.

build/NAME/
  text.onnx  text.pt  regions.onnx  …  detector.onnx  detector.pt
  NAME.onnx.data   the weights of a graph, where they are more than an ONNX file can hold
  export.json      the digest of the bundle, or of a detector that is alone; what made the files; of each file sha256,
                   size and figures of its trials
"""

import hashlib
import importlib.metadata
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import twelve
from export import to_onnx, to_torchscript
from export.exportable import Exportable
from export.parity import Parity, measure
from export.source import Source, graph_names
from export.to_regions import detector_exportable
from export.trials import model_exportables
from twelve.bundle import json_object, sha256_of
from twelve.engines.exported import DETECTOR, EXPORT_FILE, FIRST_MEETING, FORMAT, Exported
from twelve.engines.graphs import Graph
from twelve.engines.savings import DEFAULT, Savings
from twelve.errors import ConfigInvalid, StartupError
from twelve.heads.model import TwelveModel
from twelve.regions.families import open_detector
from twelve.runtimes import Runtime

LIBRARY = Path(twelve.__file__).parent
SOURCES = (Path(__file__).parent, *(LIBRARY / name for name in ("engines", "heads", "model", "regions")))
"""Folders whose code decides what is in the files."""

MAKERS = ("torch", "onnx", "onnxscript")


@dataclass(frozen=True)
class Kind:
    """A kind of file: its ending, which engine runs it, how it is written and how a server opens it."""

    suffix: str
    engine: str
    write: Callable[[Graph, Path], None]
    reopen: Callable[[Graph, Path], Runtime]


KINDS: Mapping[str, Kind] = {
    "onnx": Kind(".onnx", "onnxruntime", to_onnx.write, to_onnx.reopen),
    "torchscript": Kind(".pt", "torchscript", to_torchscript.write, to_torchscript.reopen),
}

Piece = tuple[str, str]
"""A graph's name and a kind."""


@dataclass(frozen=True)
class Stored:
    """A file of the folder.

    Attributes:
        file: Its name.
        sha256: Of its bytes.
        bytes: How many.
    """

    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Written:
    """A graph that was written and tried.

    Attributes:
        graph: Its name.
        kind: Of the file.
        main: The file that a server opens.
        beside: Files that it names.
        parity: What its trials measured.
        seconds: To write and to try.
    """

    graph: str
    kind: str
    main: Stored
    beside: tuple[Stored, ...]
    parity: Parity
    seconds: float

    @property
    def bytes(self) -> int:
        """Give the size of all its files."""
        return sum(stored.bytes for stored in (self.main, *self.beside))

    def entry(self) -> dict[str, Any]:
        """Give what `export.json` says of it."""
        beside = [asdict(stored) for stored in self.beside]
        return {**asdict(self.main), **({"beside": beside} if beside else {})}


def missing(source: Source, out: Path, pieces: Collection[Piece], savings: Savings = DEFAULT) -> list[Piece]:
    """List what is not there, or was made from another bundle, by other code, otherwise, or has changed since.

    Args:
        source: To export.
        out: The folder.
        pieces: What is wanted.
        savings: Of the graphs.

    Returns:
        What has to be written.

    Raises:
        ConfigInvalid: The source has no such graph.
    """
    unknown = sorted({graph for graph, _ in pieces} - set(graph_names(source)))
    if unknown:
        raise ConfigInvalid(f"{source.path}: has no graph '{unknown[0]}'; it has {', '.join(graph_names(source))}")
    good = _good(source, out, savings)
    return [(graph, kind) for graph, kind in pieces if kind not in good.get(graph, {})]


def export(
    source: Source,
    out: Path,
    pieces: Sequence[Piece],
    on_written: Callable[[Written], None],
    savings: Savings = DEFAULT,
) -> None:
    """Write graphs; what lies there and is still good stays. Graphs of the model that were made otherwise do not.

    Args:
        source: Verified.
        out: The folder; made where there is none.
        pieces: What to write.
        on_written: Told of each file.
        savings: Of the graphs.

    Raises:
        Mismatch: A file does not compute what its module computes. There is no `export.json` then.
    """
    entries = {graph: dict(entry) for graph, entry in _good(source, out, savings).items()}
    out.mkdir(parents=True, exist_ok=True)
    (out / EXPORT_FILE).unlink(missing_ok=True)
    for exportable in _exportables(source, {graph for graph, _ in pieces}, savings):
        graph = exportable.graph
        entry = entries.setdefault(graph.name, {})
        entry.update(inputs=list(graph.inputs), outputs=list(graph.outputs))
        for kind in (kind for name, kind in pieces if name == graph.name):
            written = _write(exportable, kind, out)
            entry[kind] = written.entry()
            entry.setdefault("parity", {})[kind] = asdict(written.parity)
            on_written(written)
    _write_json(out / EXPORT_FILE, {**_origin(source, savings), "graphs": entries})


def add_detector(source: Source, out: Path, kind: str, file: Path, figures: Mapping[str, Any]) -> Stored:
    """Put another file of the detector beside those that are there, and record it.

    Args:
        source: What the folder was exported from.
        out: The folder.
        kind: Under which the detector's entry names the file.
        file: Moved into the folder.
        figures: What was measured of it.

    Returns:
        What is recorded.

    Raises:
        StartupError: The folder holds no graphs of this source.
    """
    Exported.open(out, bundle=source.digest())
    values = json_object(out / EXPORT_FILE)
    stored = _move(file, out)
    values["graphs"][DETECTOR][kind] = {**asdict(stored), **figures}
    _write_json(out / EXPORT_FILE, values)
    return stored


def savings_of(source: Source, out: Path) -> Savings:
    """Give the savings of the graphs that lie in a folder; where there are none, those of any."""
    try:
        return Savings(first_meeting_once=Exported.open(out, bundle=source.digest()).first_meeting_once)
    except StartupError:
        return DEFAULT


def made_with() -> dict[str, str]:
    """Name what decides the bytes of a file, beside the bundle: versions, and a digest of the code."""
    digest = hashlib.sha256()
    for folder in SOURCES:
        for file in sorted(folder.rglob("*.py")):
            digest.update(file.read_bytes())
    return {**{name: importlib.metadata.version(name) for name in MAKERS}, "code": digest.hexdigest()}


def _origin(source: Source, savings: Savings) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "bundle": source.digest(),
        "made_with": made_with(),
        FIRST_MEETING: savings.first_meeting_once,
    }


def _good(source: Source, out: Path, savings: Savings) -> dict[str, dict[str, Any]]:
    """Give the entries of what lies there and may stay."""
    try:
        exported = Exported.open(out, bundle=source.digest())
        values = json.loads((out / EXPORT_FILE).read_text(encoding="utf-8"))
    except (StartupError, ValueError, KeyError):
        return {}
    if values.get("made_with") != made_with():
        return {}
    alike = exported.first_meeting_once == savings.first_meeting_once
    may_stay = [graph for graph in graph_names(source) if alike or graph == DETECTOR]
    known = {graph: exported.graphs[graph] for graph in may_stay if graph in exported.graphs}
    return {graph: _unharmed(exported, graph, entry) for graph, entry in known.items()}


def _unharmed(exported: Exported, graph: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    harmed = {kind for kind in KINDS if kind in entry and not _is_unharmed(exported, graph, kind)}
    return {name: value for name, value in entry.items() if name not in harmed}


def _is_unharmed(exported: Exported, graph: str, kind: str) -> bool:
    try:
        exported.file(graph, kind)
    except StartupError:
        return False
    return True


def _exportables(source: Source, names: Collection[str], savings: Savings) -> Iterator[Exportable]:
    """Load what the named graphs are made of, and nothing else."""
    if set(names) - {DETECTOR}:
        of_model = model_exportables(TwelveModel.load(source.path), savings)
        yield from (one for one in of_model if one.graph.name in names)
    if DETECTOR in names:
        yield detector_exportable(open_detector(source.path))


def _write(exportable: Exportable, kind: str, out: Path) -> Written:
    """Write one graph beside its place, under its final name, which its files may hold; try it, then put it there."""
    graph, how = exportable.graph, KINDS[kind]
    since = time.perf_counter()
    file = graph.name + how.suffix
    with _workshop(out / f"unfinished-{file}") as unfinished:
        how.write(graph, unfinished / file)
        parity = measure(exportable, how.reopen(graph, unfinished / file), name=file)
        made = {path.name: _move(path, out) for path in sorted(unfinished.iterdir())}
    main = made.pop(file)
    return Written(graph.name, kind, main, tuple(made.values()), parity, time.perf_counter() - since)


@contextmanager
def _workshop(folder: Path) -> Iterator[Path]:
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _move(path: Path, folder: Path) -> Stored:
    stored = Stored(path.name, sha256_of(path), path.stat().st_size)
    os.replace(path, folder / path.name)
    return stored


def _write_json(path: Path, value: Any) -> None:
    unfinished = path.with_name(f"unfinished-{path.name}")
    unfinished.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    os.replace(unfinished, path)
