"""Detectors in 8 bits: what is quantised, and the gate before them."""

import base64
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from export import folder, gate, int8
from export.__main__ import app, main
from export.gate import Count, GateClosed
from export.source import open_source
from tests.bundles import make_tiny_bundle, tiny_detector
from tests.rcnn import net, tiny
from twelve.assembly import ENGINES, Settings
from twelve.bundle import CONFIG_FILE
from twelve.engines.exported import DETECTOR, EXPORT_FILE, Exported
from twelve.errors import ConfigInvalid
from twelve.model.config import ModelConfig
from twelve.regions.detector import INPUTS, OUTPUTS
from twelve.regions.families import open_config, open_detector
from twelve.regions.local import digest_of
from twelve.runtimes.module import ModuleRuntime

SAME_DIRECTION = 0.99
"""Least cosine of features in 8 bits and in 32, of nets whose weights were drawn."""


def photographs(where: Path, count: int) -> Path:
    """Write pictures of soft blots."""
    where.mkdir()
    for seed in range(count):
        coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        Image.fromarray(coarse).resize((96, 72), Image.Resampling.BILINEAR).save(where / f"{seed}.png")
    (where / "notes.txt").write_text("no picture")
    return where


def regions(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["regions", *map(str, arguments)])


def exported(where: Path) -> onnx.ModelProto:
    folder.export(open_source(where), where / "out", [(DETECTOR, "onnx")], lambda written: None)
    return onnx.load(str(where / "out" / "detector.onnx"))


def test_bodies_and_the_stage_over_boxes_are_quantised_and_what_chooses_is_not(tmp_path: Path) -> None:
    net(tiny("vg-r101-c4")).save(tmp_path)
    model = exported(tmp_path)
    chosen = set(int8.quantisable(model))
    weights = {node.input[1]: node.name in chosen for node in model.graph.node if node.op_type == "Conv"}
    assert any(name.startswith("roi_heads.res5.") for name in weights)
    assert all(taken is not name.startswith("proposal_generator.") for name, taken in weights.items())
    kinds = {node.op_type for node in model.graph.node if node.name in chosen}
    assert kinds == {"Conv", "Relu", "Add"}


def test_a_detector_in_8_bits_says_nearly_what_it_says_in_32(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tiny_detector().save(tmp_path / "detector")
    pictures = photographs(tmp_path / "pictures", 6)
    done = regions(tmp_path / "detector", "--out", tmp_path / "out", "--int8", "--calibration", pictures)
    assert done.exit_code == 0, done.output
    record = Exported.open(tmp_path / "out", bundle=digest_of(tmp_path / "detector"))
    image = next(int8.pictures(pictures, open_config(tmp_path / "detector"), lambda name: None))
    given = torch.tensor([[0.0, 0.0, image.shape[2], image.shape[1]], [4.0, 4.0, 40.0, 40.0]])
    exact, coarse = (
        record.runtime(DETECTOR, kind, threads=1).run(image=image, given=given)["given_features"]
        for kind in ("onnx", "int8")
    )
    assert not torch.equal(exact, coarse)
    assert torch.cosine_similarity(exact, coarse).min() > SAME_DIRECTION


@pytest.mark.parametrize(("arguments", "wanted"), [((), "--calibration"), (("--calibration",), "--requests")])
def test_8_bits_need_pictures_and_for_a_bundle_requests(
    tmp_path: Path, arguments: tuple[str, ...], wanted: str
) -> None:
    make_tiny_bundle(tmp_path / "bundle")
    named = [word for option in arguments for word in (option, photographs(tmp_path / "pictures", 4))]
    done = regions(tmp_path / "bundle", "--out", tmp_path / "out", "--int8", *named)
    assert done.exit_code == 2
    assert f"name {wanted}" in " ".join(done.output.replace("│", " ").split())
    assert not (tmp_path / "out").exists()


def test_ranges_are_not_read_off_fewer_pictures_than_say_anything(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="3 pictures could be read; ranges are read off 4 at least"):
        list(int8.pictures(photographs(tmp_path / "few", 3), tiny_detector().config, lambda name: None))


def test_pictures_to_calibrate_with_are_spread_over_the_folder(tmp_path: Path) -> None:
    names: list[str] = []
    found = list(int8.pictures(photographs(tmp_path / "many", 8), tiny_detector().config, names.append, most=4))
    assert len(found) == 4
    assert names == ["0.png", "2.png", "4.png", "6.png"]


def test_the_engine_with_8_bits_opens_that_file_and_keeps_its_regions_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_tiny_bundle(tmp_path)
    opened: list[tuple[str, str]] = []

    class Files:
        def runtime(self, graph: str, kind: str, **_: object) -> ModuleRuntime:
            opened.append((graph, kind))
            return ModuleRuntime(torch.nn.Identity(), inputs=("x",), outputs=("y",))

    monkeypatch.setattr(Exported, "open", lambda path, bundle: Files())
    config, settings = ModelConfig.load(bundle.path / CONFIG_FILE), Settings()
    exact = ENGINES["onnxruntime"](bundle, config, settings).extractor
    assert (DETECTOR, "int8") not in opened
    coarse = ENGINES["onnxruntime-int8"](bundle, config, settings).extractor
    assert [kind for graph, kind in opened if graph == DETECTOR] == ["onnx", "int8"]
    assert {kind for graph, kind in opened if graph != DETECTOR} == {"onnx"}
    assert exact is not None
    assert coarse is not None
    assert exact.digest[:20] != coarse.digest[:20]


def questions(to: Path, count: int) -> Path:
    """Write requests about pictures of noise."""
    lines = []
    for seed in range(count):
        path = to.with_suffix(".png")
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(path)
        image = base64.b64encode(path.read_bytes()).decode()
        lines.append({"task": "gqa", "question": "Is it red?", "image": image})
        lines.append({"task": "refcoco", "expression": "the red one", "image": image})
    to.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return to


def test_a_bundle_gets_no_detector_in_8_bits_before_enough_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_tiny_bundle(tmp_path / "bundle")
    command = ["export", "regions", str(tmp_path / "bundle"), "--out", str(tmp_path / "out"), "--int8"]
    command += ["--calibration", str(photographs(tmp_path / "pictures", 4))]
    monkeypatch.setattr("sys.argv", [*command, "--requests", str(questions(tmp_path / "asked.jsonl", 2))])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == GateClosed.exit_code
    assert "2 items of group 'answering' were asked, 1000 are needed" in capsys.readouterr().err
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"detector.onnx", EXPORT_FILE}
    assert "int8" not in json.loads((tmp_path / "out" / EXPORT_FILE).read_text())["graphs"][DETECTOR]


def test_the_gate_counts_the_answers_that_another_detector_changes(tmp_path: Path) -> None:
    make_tiny_bundle(tmp_path / "bundle")
    asked = questions(tmp_path / "asked.jsonl", 4)
    own = ModuleRuntime(open_detector(tmp_path / "bundle"), inputs=INPUTS, outputs=OUTPUTS)
    torch.manual_seed(7)
    other = ModuleRuntime(tiny_detector(), inputs=INPUTS, outputs=OUTPUTS)
    settings = Settings(engine="eager")
    *_, alike = gate.compare(tmp_path / "bundle", (own, own), asked, settings)
    assert {group: (count.items, count.same) for group, count in alike.items()} == {
        "answering": (4, 4),
        "grounding": (4, 4),
    }
    *_, unlike = gate.compare(tmp_path / "bundle", (own, other), asked, settings)
    assert unlike["grounding"].same < 4


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ({}, "no request was asked"),
        ({"answering": Count(1000, 989)}, r"98\.90% of 1000 answers of group 'answering' stay the same, 99% is needed"),
        ({"answering": Count(5000, 5000), "grounding": Count(999, 999)}, "999 items of group 'grounding' were asked"),
    ],
)
def test_the_gate_stays_shut(counts: gate.Counts, reason: str) -> None:
    with pytest.raises(GateClosed, match=reason):
        gate.pass_or_raise(counts, "detector-int8.onnx")


def test_the_gate_opens_at_99_percent_of_every_group() -> None:
    gate.pass_or_raise({"answering": Count(1000, 990), "grounding": Count(2000, 2000)}, "detector-int8.onnx")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("red", "red", True),
        ("red", "blue", False),
        (True, False, False),
        ([0.0, 0, 10, 10], [0.0, 0, 10, 9], True),
        ([0.0, 0, 10, 10], [0.0, 0, 10, 6], False),
    ],
)
def test_answers_are_the_same_and_boxes_nearly(one: object, other: object, same: bool) -> None:
    assert gate._is_same(one, other) is same
