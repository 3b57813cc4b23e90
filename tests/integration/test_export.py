"""A bundle exported for real: both kinds of file, run by the whole service."""

import base64
import json
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from typer.testing import CliRunner

from export import folder, to_onnx
from export.__main__ import app
from export.agreement import Verdict, compare
from export.archive import Serving, make_model_directory
from export.exportable import LIMIT
from export.folder import KINDS, Written, missing
from export.mar import make_archive
from export.parity import Mismatch, measure
from export.source import graph_names
from export.trials import model_exportables
from tests.bundles import make_tiny_bundle, picture
from twelve.bundle import Bundle
from twelve.engines.exported import EXPORT_FILE, Exported
from twelve.engines.graphs import Graph
from twelve.engines.savings import Savings
from twelve.errors import ChecksumMismatch, ConfigInvalid
from twelve.heads.model import TwelveModel
from twelve.tasks import TASKS

pytestmark = pytest.mark.integration

HEAD = "alignment"  # the smallest graph


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("export") / "tiny")


@pytest.fixture(scope="module")
def exported(bundle: Bundle) -> Path:
    """Export everything, once."""
    out = bundle.path.parent / "graphs"
    export(bundle, out, [(graph, kind) for graph in graph_names(bundle) for kind in KINDS])
    return out


def export(bundle: Bundle, out: Path, pieces: Sequence[tuple[str, str]]) -> list[Written]:
    written: list[Written] = []
    folder.export(bundle, out, pieces, written.append)
    return written


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def head(bundle: Bundle, tmp_path: Path) -> Path:
    """Export one head as TorchScript, which takes no time."""
    export(bundle, tmp_path, [(HEAD, "torchscript")])
    return tmp_path


def test_every_graph_is_recorded_with_figures_within_the_limit(bundle: Bundle, exported: Path) -> None:
    record = Exported.open(exported, bundle=bundle.digest())
    assert set(record.graphs) == set(graph_names(bundle))
    for name, entry in record.graphs.items():
        for kind in KINDS:
            assert record.file(name, kind).stat().st_size == entry[kind]["bytes"]
            assert entry["parity"][kind]["trials"] >= 4
            assert all(error <= LIMIT for error in entry["parity"][kind]["errors"].values())


def test_files_bear_the_names_that_the_graphs_state(bundle: Bundle, exported: Path) -> None:
    record = Exported.open(exported, bundle=bundle.digest())
    for name, entry in record.graphs.items():
        for kind in KINDS:
            runtime: Any = record.runtime(name, kind, threads=1)
            assert list(runtime.inputs) == entry["inputs"]
            assert list(runtime.outputs) == entry["outputs"]


def test_onnx_files_hold_neither_training_nor_paths_of_this_machine(exported: Path) -> None:
    for path in exported.glob("*.onnx"):
        model = onnx.load(path)
        onnx.checker.check_model(model)
        operators = {node.op_type for node in model.graph.node}
        assert not operators & {"Dropout", "BatchNormalization", "RandomNormalLike", "RandomUniformLike"}
        assert {node.domain for node in model.graph.node} == {""}
        assert not any(node.metadata_props for node in model.graph.node)
        assert str(Path(__file__).parents[2]).encode() not in path.read_bytes()


def test_torchscript_files_hold_the_weights_of_their_own_graph_alone(exported: Path) -> None:
    text, fuse, head = ((exported / f"{name}.pt").stat().st_size for name in ("text", "fuse", HEAD))
    assert head < fuse < text / 2  # the word table lies in the text graph


@pytest.mark.parametrize("kind", KINDS)
def test_graphs_that_keep_the_first_meeting_are_exported_as_well(bundle: Bundle, tmp_path: Path, kind: str) -> None:
    how = KINDS[kind]
    exportables = model_exportables(TwelveModel.load(bundle.path), Savings(first_meeting_once=True))
    for exportable in exportables[:3]:  # text, regions, fuse: the heads are those of any model
        path = tmp_path / f"{exportable.graph.name}{how.suffix}"
        how.write(exportable.graph, path)
        assert measure(exportable, how.reopen(exportable.graph, path), name=path.name).worst <= LIMIT
    assert "packed_text" in exportable.graph.inputs


def test_weights_that_an_onnx_file_cannot_hold_lie_beside_it(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [("vqa", "onnx")]
    monkeypatch.setattr(to_onnx, "MOST_INSIDE", 1000)
    [written] = export(bundle, tmp_path, wanted)
    record = Exported.open(tmp_path, bundle=bundle.digest())

    assert {path.name for path in tmp_path.iterdir()} == {"vqa.onnx", "vqa.onnx.data", EXPORT_FILE}
    assert written.bytes == sum((tmp_path / name).stat().st_size for name in ("vqa.onnx", "vqa.onnx.data"))
    assert (tmp_path / "vqa.onnx").stat().st_size < (tmp_path / "vqa.onnx.data").stat().st_size
    assert record.runtime("vqa", "onnx", threads=1).run(states=torch.rand(1, 16))["logits"].shape == (1, 7)
    assert missing(bundle, tmp_path, wanted) == []

    (tmp_path / "vqa.onnx.data").write_bytes(b"other weights")
    assert missing(bundle, tmp_path, wanted) == wanted
    with pytest.raises(ChecksumMismatch, match=r"vqa\.onnx\.data: is not the file that was exported"):
        record.file("vqa", "onnx")


@pytest.fixture(scope="module")
def requests(bundle: Bundle) -> Path:
    path = bundle.path.parent / "requests.jsonl"
    lines = []
    for seed, task in enumerate(TASKS.values()):
        images = [base64.b64encode(picture(10 * seed + one)).decode() for one in range(task.pictures_in_example)]
        lines.append(json.dumps({"task": task.name, **task.example(images)}) + "\n")
    path.write_text("".join(lines))
    return path


def test_all_engines_answer_alike_on_every_task(bundle: Bundle, exported: Path, requests: Path) -> None:
    engines = [kind.engine for kind in KINDS.values()]
    *_, tallies = compare(bundle.path, exported, engines, requests)
    assert set(tallies) == {(task, engine) for task in TASKS for engine in engines}
    assert all(tally.verdicts[Verdict.DIFFERENT] == 0 for tally in tallies.values())


def test_the_parity_command_counts_the_answers_of_every_engine(bundle: Bundle, exported: Path, requests: Path) -> None:
    shown = run("parity", bundle.path, "--requests", requests, "--out", exported, "--engines", "torchscript")
    assert "torchscript" in shown
    assert "nlvr2" in shown


def test_a_request_that_no_engine_can_answer_is_named_by_its_line(
    bundle: Bundle, exported: Path, tmp_path: Path
) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text('{"task": "nlvr2"}\n')
    with pytest.raises(Exception, match=r"requests\.jsonl:1: the request was refused: .*statement"):
        list(compare(bundle.path, exported, ["torchscript"], path))


def test_a_second_run_finds_everything_up_to_date(bundle: Bundle, exported: Path) -> None:
    before = (exported / EXPORT_FILE).stat().st_mtime_ns
    shown = run("all", bundle.path, "--out", exported)
    assert f"{2 * len(graph_names(bundle))} files are up to date" in shown
    assert (exported / EXPORT_FILE).stat().st_mtime_ns == before


def test_a_kind_that_is_asked_later_joins_what_is_there(bundle: Bundle, head: Path) -> None:
    export(bundle, head, [("entailment", "torchscript")])
    assert set(Exported.open(head, bundle=bundle.digest()).graphs) == {HEAD, "entailment"}


def test_a_file_that_was_touched_is_missing_again(bundle: Bundle, head: Path) -> None:
    wanted = [(HEAD, "torchscript")]
    assert missing(bundle, head, wanted) == []
    (head / f"{HEAD}.pt").write_bytes(b"something else")
    assert missing(bundle, head, wanted) == wanted


def test_files_of_other_code_or_another_bundle_are_missing(
    bundle: Bundle, head: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [(HEAD, "torchscript")]
    other = make_tiny_bundle(tmp_path / "other", seed=1, detector=False)
    assert missing(other, head, wanted) == wanted
    monkeypatch.setattr(folder, "made_with", lambda: {"code": "of tomorrow"})
    assert missing(bundle, head, wanted) == wanted


def test_a_file_that_computes_something_else_leaves_no_record(
    bundle: Bundle, head: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = KINDS["torchscript"]

    def write(graph: Graph, path: Path) -> None:
        with torch.no_grad():
            for weight in graph.module.parameters():
                weight.mul_(1.001)
        honest.write(graph, path)
        with torch.no_grad():
            for weight in graph.module.parameters():
                weight.div_(1.001)

    monkeypatch.setattr(folder, "KINDS", {"torchscript": replace(honest, write=write)})
    with pytest.raises(Mismatch, match=rf"{HEAD}\.pt: output 'logits' differs"):
        export(bundle, head, [(HEAD, "torchscript")])
    assert not (head / EXPORT_FILE).exists()
    assert not list(head.glob("unfinished-*"))


def test_a_bundle_without_a_detector_has_no_detector_to_export(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path / "tiny", detector=False)
    with pytest.raises(ConfigInvalid, match="has no graph 'detector'; it has text, regions, fuse"):
        missing(bundle, tmp_path, [("detector", "onnx")])


def test_an_unknown_kind_is_refused_with_those_there_are(bundle: Bundle, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["all", str(bundle.path), "--out", str(tmp_path), "--kinds", "tflite"])
    assert result.exit_code == 2
    assert "'tflite'" in result.output


def test_an_archive_holds_what_its_engine_opens_in_folders(bundle: Bundle, exported: Path, tmp_path: Path) -> None:
    directory = make_model_directory(bundle.path, exported, tmp_path, Serving(engine="torchscript"))
    with zipfile.ZipFile(make_archive(directory, tmp_path)) as archive:
        names = set(archive.namelist())
        manifest = json.loads(archive.read("MAR-INF/MANIFEST.json"))
    graphs = {f"graphs/{name}.pt" for name in graph_names(bundle)} | {f"graphs/{EXPORT_FILE}"}
    files = {f"bundle/{name}" for name in (*bundle.manifest.files, "manifest.json")}
    own = {"twelve_handler.py", "model-config.yaml", "self-test.json", "MAR-INF/MANIFEST.json"}
    assert names == graphs | files | own
    assert manifest["model"]["modelName"] == "twelve"
