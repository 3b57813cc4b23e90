import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.checkpoints import save_legacy, save_zip
from tests.detector_layouts import LAYOUTS, write_as
from tests.rcnn import BODIES, SMALL, net, tiny
from twelve.cli import main

State = dict[str, Tensor]
Damage = Callable[[State], object]
Refusal = Callable[[Path], str]

LAYOUT = LAYOUTS["vilbert-multi-task-x152"]
STEM = "backbone.body.stem.conv1.weight"
ANCHORS = "rpn.anchor_generator.cell_anchors.3"
CLASSES = "roi_heads.box.predictor.cls_score.bias"
MOVED = "roi_heads.box.predictor.bbox_pred.weight"
FC7 = "roi_heads.box.feature_extractor.fc7.weight"
ATTRIBUTES = "roi_heads.box.predictor.cls_embed.weight"
CALLED = "the maskrcnn-benchmark checkpoint, taken for x152-fpn,"


@pytest.fixture(scope="module")
def state() -> State:
    config = tiny(LAYOUT.preset)
    return write_as(LAYOUT, config, net(config).state_dict())


@pytest.fixture
def refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refusal:
    """Import a file that is to be refused; give the sentence, once nothing has been left behind."""
    sizes = {name: value for name, value in {**SMALL, **BODIES["fpn"]}.items() if name != "class_names"}
    (tmp_path / "tiny.json").write_text(json.dumps(sizes))

    def call(path: Path) -> str:
        before = set(tmp_path.iterdir())
        arguments = ["import-detector", path, "--out", tmp_path / "out", "--settings", tmp_path / "tiny.json"]
        with pytest.raises(SystemExit) as left:
            main(list(map(str, arguments)))
        assert left.value.code == 65
        assert set(tmp_path.iterdir()) == before
        message = capsys.readouterr().err.splitlines()[-1]
        assert message.startswith("weights-invalid: ")
        return message

    return call


def with_number(name: str, value: float) -> Damage:
    def changed(state: State) -> State:
        tensor = state[name].clone()
        tensor.view(-1)[1] = value
        return state | {name: tensor}

    return changed


def without(*starts: str) -> Damage:
    return lambda state: {name: tensor for name, tensor in state.items() if not name.startswith(starts)}


def beside(name: object, value: object) -> Damage:
    return lambda state: {**state, name: value}


def changed(name: str, change: Callable[[Tensor], Tensor]) -> Damage:
    return lambda state: state | {name: change(state[name]).clone()}


DAMAGED: dict[str, tuple[Damage, str]] = {
    "no stem": (without(STEM), f"{CALLED} lacks {STEM} of its 120 keys"),
    "no anchors": (without(ANCHORS), f"{CALLED} lacks {ANCHORS} of its 120 keys"),
    "no layer": (without("backbone.body.layer4."), "lacks backbone.body.layer4.0.downsample.0.weight, "),
    "no classes": (without("roi_heads.box.predictor."), f"the maskrcnn-benchmark checkpoint lacks {CLASSES}, or it"),
    "a deeper net": (
        beside("backbone.body.layer3.36.bn1.bias", torch.zeros(9)),
        f"{CALLED} has backbone.body.layer3.36.bn1.bias, which no part of it knows",
    ),
    "another head": (beside("roi_heads.relation.fc.bias", torch.zeros(9)), "roi_heads.relation.fc.bias, which no part"),
    "a wider stem": (
        changed(STEM, lambda one: torch.cat([one, one])),
        f"{CALLED} has {STEM} of shape [16, 3, 7, 7], expected [8, 3, 7, 7]",
    ),
    "corrections without the background": (changed(MOVED, lambda one: one[4:]), f"{MOVED} of shape [20, 12], expected"),
    "transposed": (changed(FC7, lambda one: one[:, :9]), f"{FC7} of shape [12, 9], expected [12, 12]"),
    "no anchors in a level": (changed(ANCHORS, lambda one: one[:2]), f"{ANCHORS} of shape [2, 4], expected [3, 4]"),
    "NaN": (with_number(FC7, float("nan")), f"{FC7}: 1 of 144 numbers are NaN or infinite, the first at [0, 1]"),
    "infinity": (with_number(STEM, -float("inf")), f"{STEM}: 1 of 1176 numbers are NaN or infinite"),
    "whole numbers": (changed(FC7, Tensor.long), f"{FC7} is a tensor of torch.int64, expected floats"),
    "no numbers": (changed(FC7, lambda one: one.to("meta")), f"{FC7} has a shape and no numbers"),
    "sparse": (changed(FC7, Tensor.to_sparse), f"{FC7} is sparse, expected dense numbers"),
    "no tensor": (beside("iteration", 9), "iteration is a int, expected a tensor"),
    "no name": (beside(7, torch.zeros(1)), "has an entry under 7, expected names"),
    "a name twice": (beside(f"module.{STEM}", torch.zeros(1)), f"has both {STEM} and module.{STEM}, which are one"),
    "no dict": (lambda state: list(state.values()), "holds a list, expected a dict of tensors by name"),
    "no detector": (
        lambda state: {"fc.weight": torch.zeros(2), "fc.bias": torch.zeros(2)},
        "is no detector of a known format (maskrcnn-benchmark, bottom-up-attention, bua-caffe, bua-d2, detectron2); "
        "it holds fc.weight, fc.bias",
    ),
    "nothing": (lambda state: {}, "it holds nothing"),
}
"""What is wrong with a checkpoint, and what is said of it."""


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_checkpoint_is_refused_by_name(state: State, refusal: Refusal, tmp_path: Path, case: str) -> None:
    damage, says = DAMAGED[case]
    save = save_zip if len(case) % 2 else save_legacy  # the two formats in turn
    assert says in refusal(save(damage(state), tmp_path / "m.pth"))


def test_a_damaged_attribute_head_is_nobodys_business(state: State, tmp_path: Path, refusal: Refusal) -> None:
    path = save_zip(with_number(ATTRIBUTES, float("nan"))(state), tmp_path / "m.pth")
    arguments = ["import-detector", path, "--out", tmp_path / "out", "--settings", tmp_path / "tiny.json"]
    with pytest.raises(SystemExit) as left:
        main(list(map(str, arguments)))
    assert not left.value.code


def as_pickle(state: State, path: Path) -> Path:
    path.write_bytes(pickle.dumps({"model": {key: tensor.numpy() for key, tensor in state.items()}}, 2))
    return path


@pytest.mark.parametrize("save", [save_legacy, save_zip, as_pickle])
@pytest.mark.parametrize("kept", [0, 1, 100, 0.1, 0.5, 0.999])
def test_a_file_that_was_cut_short_is_refused(
    state: State, refusal: Refusal, tmp_path: Path, save, kept: float
) -> None:
    path = save(state, tmp_path / "m.pth")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(int(kept * size) if isinstance(kept, float) else kept)
    assert "m.pth: cannot be read: " in refusal(path)


@pytest.mark.parametrize(
    "content",
    [b"<!DOCTYPE html><title>Moved</title>", b"\x80\x02]q\x00.", os.urandom(4096), b"PK\x03\x04" + bytes(999)],
    ids=["a web page", "a pickled list", "noise", "a broken zip file"],
)
def test_what_is_no_checkpoint_is_refused(refusal: Refusal, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.pkl"
    path.write_bytes(content)
    assert "m.pkl: cannot be read: " in refusal(path)


def test_a_missing_file_is_refused(refusal: Refusal, tmp_path: Path) -> None:
    assert "m.pth: there is no such file; check the path" in refusal(tmp_path / "m.pth")


@pytest.mark.parametrize("missing", ["pytorch_model.bin", "config.yaml"])
def test_a_folder_lacks_nothing(state: State, refusal: Refusal, tmp_path: Path, missing: str) -> None:
    folder = tmp_path / "frcnn"
    folder.mkdir()
    save_zip(state, folder / "pytorch_model.bin")
    (folder / "config.yaml").write_text("model: {}")
    (folder / missing).unlink()
    assert f"frcnn/{missing}: there is no such file" in refusal(folder)


class Hostile:
    """Pickles into a call of the system's shell that would leave a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.system, (f"touch {self.trace}",)


def hostile_pickle(state: State, path: Path) -> Path:
    path.write_bytes(pickle.dumps({"model": state}, 2))
    return path


@pytest.mark.parametrize("save", [save_legacy, save_zip, hostile_pickle])
def test_code_in_a_checkpoint_is_not_run(refusal: Refusal, tmp_path: Path, save) -> None:
    path = save({STEM: Hostile(tmp_path / "trace")}, tmp_path / "m.pkl")
    message = refusal(path)
    assert f"it asks for {os.system.__module__}.system, expected " in message
    assert message.endswith("nothing of it was run")
