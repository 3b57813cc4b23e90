import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.checkout import ROOT
from tests.checkpoints import save_legacy, save_zip
from tests.detector_layouts import LAYOUTS, Layout, binary, write_as
from tests.rcnn import BODIES, NAMES, SMALL, net, picture, tiny
from twelve.cli import main
from twelve.convert.detector import planned
from twelve.convert.detector_formats import FORMATS, LISTS, recognise
from twelve.convert.detector_names import reason_of
from twelve.convert.detector_settings import Asked
from twelve.convert.detector_source import DetectorSource, read
from twelve.regions.families import open_config, open_detector
from twelve.regions.rcnn.config import RcnnConfig
from twelve.regions.rcnn.detector import Rcnn

State = dict[str, Tensor]
Run = Callable[..., tuple[int, str, str]]

LISTED = ROOT / "tests/data/detector-keys"
ANCHORS = "proposal_generator.anchor_generator.cell_anchors.0"
LOGITS = "proposal_generator.rpn_head.objectness_logits."
SETTINGS_FILE = "detector.json"
WEIGHTS_FILE = "detector.safetensors"
EVEN = {"proposal_width": 64}
"""In detectron2's C4 nets the proposals' head is as wide as the map; in bottom-up attention's it is narrower."""

ENTRIES: dict[str, dict[str, Any]] = {"r50-c4": EVEN, "r101-c4": EVEN}
"""What a preset's tiny net has beside the others'."""

GIVEN = torch.tensor([[3.0, 4.0, 90.0, 60.0], [50.0, 8.0, 120.0, 99.0]])

X152_PARAMETERS = 205.8e6
"""Learnt numbers of the published detector, its attribute head left out: norms are no part of them."""

MOST_MEMORY = 1.6
"""Times the file. It is read once, and its largest tensor is a quarter of it."""


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command; give its exit code, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return int(left.value.code or 0), shown.out, shown.err

    return call


def listed(name: str) -> dict[str, tuple[int, ...]]:
    """Read a committed list."""
    lines = (line.split("\t") for line in (LISTED / f"{name}.txt").read_text().splitlines())
    return {key: () if shape == "scalar" else tuple(map(int, shape.split("x"))) for key, shape in lines}


def small(layout: Layout) -> RcnnConfig:
    return tiny(layout.preset, **ENTRIES.get(layout.preset, {}))


def trained(layout: Layout) -> Rcnn:
    """Make a net whose logits a format with two scores an anchor can hold exactly."""
    made = net(small(layout))
    for name, tensor in made.state_dict().items():
        if name.startswith(LOGITS):
            tensor.copy_(binary(tensor))
    return made


def settings(folder: Path, layout: Layout) -> list[object]:
    """Write the settings that make a preset tiny; give the options that name them and the preset."""
    sizes = SMALL | BODIES[layout.preset.rpartition("-")[2]] | ENTRIES.get(layout.preset, {})
    values = {name: value for name, value in sizes.items() if name != "class_names"}
    (folder / "tiny.json").write_text(json.dumps(values))
    return ["--settings", folder / "tiny.json", "--preset", layout.preset]


def plain(state: State, path: Path) -> Path:
    return save_zip(state, path)


def of_a_trainer(state: State, path: Path) -> Path:
    held = {f"module.{key}": tensor for key, tensor in state.items()}
    return save_legacy({"model": held, "optimizer": {"state": {}}, "iteration": 90_000}, path)


def of_the_zoo(state: State, path: Path, protocol: int = 4) -> Path:
    arrays = {key: tensor.numpy() for key, tensor in state.items()}
    held = {"model": arrays, "__author__": "somebody", "matching_heuristics": True}
    path.write_bytes(pickle.dumps(held, protocol))
    return path


def of_the_zoo_long_ago(state: State, path: Path) -> Path:
    return of_the_zoo(state, path, protocol=2)


def as_safetensors(state: State, path: Path) -> Path:
    save_file({key: tensor.clone() for key, tensor in state.items()}, path)
    return path


def a_folder(state: State, path: Path, text: str = "model:\n  device: cpu\n") -> Path:
    path.mkdir()
    save_legacy(state, path / "pytorch_model.bin")
    (path / "config.yaml").write_text(text)
    return path


WRITERS = {
    "vilbert-multi-task-x152": of_a_trainer,
    "frcnn-vg-finetuned": a_folder,
    "py-bottom-up-attention": of_the_zoo_long_ago,
    "bua-caffe-frcn-r101": of_a_trainer,
    "bua-d2-frcn-r101": as_safetensors,
    "detectron2-r50-fpn": of_the_zoo,
    "detectron2-r101-fpn": plain,
    "detectron2-r50-c4": of_the_zoo,
    "detectron2-r101-c4": plain,
}
"""Each published file as it is written, or may be."""


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_committed_lists_say_what_the_modules_save(name: str) -> None:
    layout = LAYOUTS[name]
    assert listed(name) == {row.key: row.shape for row in layout.rows(layout.config())}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_published_list_is_known_by_one_format_alone(name: str) -> None:
    shapes = listed(name)
    assert [form.name for form in FORMATS if form.knows(shapes)] == [LAYOUTS[name].format]


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_published_key_is_taken_or_dropped_for_a_reason(name: str) -> None:
    layout, shapes = LAYOUTS[name], listed(name)
    [form] = [form for form in FORMATS if form.knows(shapes)]
    with torch.device("meta"):
        state = Rcnn(layout.config()).state_dict()
    keys = {parameter: form.key_of(parameter) for parameter in state}
    lacking = [parameter for parameter, key in keys.items() if key not in shapes]
    assert lacking == form.optional_of(lacking)
    left_over = shapes.keys() - keys.values()
    assert {row.key for row in layout.rows(layout.config()) if row.ours is None} == left_over
    assert all(reason_of(key) for key in left_over)
    assert form.classes(shapes) == layout.classes


def test_the_published_detector_has_as_many_parameters_as_its_authors_say() -> None:
    layout = LAYOUTS["vilbert-multi-task-x152"]
    with torch.device("meta"):
        detector = Rcnn(layout.config())
    assert round(sum(one.numel() for one in detector.parameters()) / X152_PARAMETERS, 3) == 1.0


@pytest.mark.parametrize("name", WRITERS)
def test_a_detector_comes_back_from_every_published_layout_to_the_bit(name: str, run: Run, tmp_path: Path) -> None:
    layout = LAYOUTS[name]
    made = trained(layout)
    source = WRITERS[name](write_as(layout, small(layout), made.state_dict()), tmp_path / "published")
    code, out, err = run("import-detector", source, "--out", tmp_path / "out", *settings(tmp_path, layout))
    assert code == 0, err
    assert f"a {layout.format} checkpoint" in out
    again = Rcnn.restore(tmp_path / "out")
    state = made.state_dict()
    assert again.state_dict().keys() == state.keys()
    assert all(torch.equal(tensor, state[parameter]) for parameter, tensor in again.state_dict().items())
    image = picture(112, 150, seed=3)
    expected = Rcnn(again.config).eval()
    expected.load_state_dict(state)
    found = open_detector(tmp_path / "out")(image, GIVEN)
    assert all(torch.equal(one, other) for one, other in zip(found, expected.folded()(image, GIVEN), strict=True))
    assert found.count > 0


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_preset_is_told_from_the_keys(name: str) -> None:
    tensors = {key: torch.empty(shape, device="meta") for key, shape in listed(name).items()}
    source = DetectorSource(Path("model_final.pkl"), "pickle", tensors)
    plan = planned(source, recognise(source.path, listed(name)), Asked())
    assert (plan.config.preset, plan.misfits) == (LAYOUTS[name].preset, 0)


def changed_anchors(layout: Layout, tmp_path: Path, run: Run, change: Callable[[State], State]) -> State:
    made = net(small(layout))
    state = change(write_as(layout, small(layout), made.state_dict()))
    source = save_zip(state, tmp_path / "m.pth")
    code, _, err = run("import-detector", source, "--out", tmp_path / "out", *settings(tmp_path, layout))
    assert code == 0, err
    return Rcnn.restore(tmp_path / "out").state_dict()


def test_a_checkpoints_own_anchors_win(tmp_path: Path, run: Run) -> None:
    layout, key = LAYOUTS["vilbert-multi-task-x152"], "rpn.anchor_generator.cell_anchors.0"
    state = changed_anchors(layout, tmp_path, run, lambda state: state | {key: state[key] + 0.25})
    config = RcnnConfig.read(tmp_path / "out" / SETTINGS_FILE)
    assert torch.equal(state[ANCHORS], Rcnn(config).state_dict()[ANCHORS] + 0.25)


def test_anchors_that_a_checkpoint_lacks_are_the_settings(tmp_path: Path, run: Run) -> None:
    layout = LAYOUTS["py-bottom-up-attention"]
    state = changed_anchors(layout, tmp_path, run, lambda state: state)
    assert torch.equal(state[ANCHORS], Rcnn(small(layout)).state_dict()[ANCHORS])
    assert json.loads((tmp_path / "out/import.json").read_text())["keys"]["computed"] == [ANCHORS]


def test_caffes_habits_are_written_down(tmp_path: Path, run: Run) -> None:
    layout = LAYOUTS["bua-caffe-frcn-r101"]
    changed_anchors(layout, tmp_path, run, lambda state: state)
    config = RcnnConfig.read(tmp_path / "out" / SETTINGS_FILE)
    assert (config.box_offset, config.correction_weights, config.resize) == (1.0, (1.0, 1.0, 1.0, 1.0), "cv2")


FOLDER = """
MODEL: {DEVICE: cuda, PIXEL_MEAN: [1, 2, 3]}
input: {min_size_test: 96, max_size_test: 160}
roi_heads: {nms_thresh_test: [0.4], score_thresh_test: 0.1}
min_detections: 5
max_detections: 9
"""


def imported_folder(tmp_path: Path, run: Run, text: str, *more: object) -> tuple[int, str]:
    layout = LAYOUTS["frcnn-vg-finetuned"]
    state = write_as(layout, small(layout), net(small(layout)).state_dict())
    source = a_folder(state, tmp_path / "frcnn", text)
    sizes = {**SMALL, **BODIES["c4"]}
    for name in ("class_names", "short_side", "long_side", "fewest_regions", "max_regions"):
        del sizes[name]
    (tmp_path / "tiny.json").write_text(json.dumps(sizes))
    code, _, err = run(
        "import-detector", source, "--out", tmp_path / "out", "--settings", tmp_path / "tiny.json", *more
    )
    return code, err


def test_a_folders_settings_go_before_the_presets(tmp_path: Path, run: Run) -> None:
    code, err = imported_folder(tmp_path, run, FOLDER)
    assert code == 0, err
    config = RcnnConfig.read(tmp_path / "out" / SETTINGS_FILE)
    assert (config.short_side, config.long_side, config.means) == (96, 160, (1.0, 2.0, 3.0))
    assert (config.class_overlap, config.score_floor) == (0.4, 0.1)
    assert (config.fewest_regions, config.max_regions) == (5, 9)
    assert config.resize == "torch"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("input: {min_size_test: large}", "its setting input.min_size_test is 'large', expected numbers"),
        ("input: {min_size_test: .nan}", "its setting input.min_size_test is nan, expected numbers"),
        ("input: {max_size_test: .inf}", "its setting input.max_size_test is inf, expected numbers"),
        ("a: [", "config.yaml: is no YAML: "),
        ("- 1", "config.yaml: expected a mapping of settings"),
        ("!!python/object/apply:os.system ['exit']", "config.yaml: is no YAML: could not determine a constructor"),
    ],
)
def test_a_folders_broken_settings_are_refused(tmp_path: Path, run: Run, text: str, says: str) -> None:
    code, err = imported_folder(tmp_path, run, text)
    assert code == 65
    assert says in err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("wished", "says"),
    [
        ({"preset": ["r101-c4"]}, 'wished.json: preset: got ["r101-c4"], want a text'),
        ({"class_names": 5}, "wished.json: class_names: got 5, want a list of texts"),
        ({"class_names": "abc"}, 'wished.json: class_names: got "abc", want a list of texts'),
        ({"proposals": "40"}, 'wished.json: proposals: got "40", want a whole number'),
    ],
)
def test_wished_settings_of_another_type_are_refused(
    tmp_path: Path, run: Run, wished: dict[str, object], says: str
) -> None:
    (tmp_path / "wished.json").write_text(json.dumps(wished))
    code, _, err = run("import-detector", *tiny_source(tmp_path)[:3], "--settings", tmp_path / "wished.json")
    assert code == 2
    assert says in err


def tiny_source(tmp_path: Path, name: str = "bua-d2-frcn-r101") -> list[object]:
    """Write a tiny checkpoint; give the command's arguments."""
    layout = LAYOUTS[name]
    source = save_zip(write_as(layout, small(layout), net(small(layout)).state_dict()), tmp_path / "m.pth")
    return [source, "--out", tmp_path / "out", *settings(tmp_path, layout)]


def test_classes_without_names_have_numbers(tmp_path: Path, run: Run) -> None:
    run("import-detector", *tiny_source(tmp_path))
    assert open_config(tmp_path / "out").class_names == tuple(f"class {label}" for label in range(len(NAMES)))


def test_classes_have_the_names_of_a_list(tmp_path: Path, run: Run) -> None:
    names = tmp_path / "names.txt"
    names.write_text("car,auto\ncat\n\ntree \nsky\ndog\n")
    code, _, err = run("import-detector", *tiny_source(tmp_path), "--class-names", names)
    assert code == 0, err
    assert open_config(tmp_path / "out").class_names == NAMES


def test_a_list_of_another_length_is_refused(tmp_path: Path, run: Run) -> None:
    names = tmp_path / "names.txt"
    names.write_text("car\ncat\n")
    code, _, err = run("import-detector", *tiny_source(tmp_path), "--class-names", names)
    assert code == 65
    assert f"{names}: has 2 class names, the checkpoint has 5 classes; list them in the order" in err
    assert not (tmp_path / "out").exists()


def test_a_list_that_is_not_there_is_refused_with_those_that_are(tmp_path: Path, run: Run) -> None:
    code, _, err = run("import-detector", *tiny_source(tmp_path), "--class-names", "wordnet")
    assert code == 65
    assert "wordnet: there is no such file; name a list of class names, or one of visual-genome, coco" in err


@pytest.mark.parametrize("count", LISTS)
def test_the_lists_that_come_along_have_no_name_twice(count: int) -> None:
    lines = (ROOT / "twelve/convert" / LISTS[count]).read_text().splitlines()
    names = [name for line in lines for name in line.split(",")]
    assert len(lines) == count
    assert len(set(names)) == len(names)


def test_the_summary_accounts_for_every_key(tmp_path: Path, run: Run) -> None:
    arguments = tiny_source(tmp_path)
    code, out, err = run("import-detector", *arguments, "--json")
    assert code == 0, err
    summary = json.loads(out)
    layout = LAYOUTS["bua-d2-frcn-r101"]
    keys = [row.key for row in layout.rows(small(layout))]
    dropped = summary["keys"]["dropped"]
    assert dropped == {
        "attributes of things; regions have classes": [key for key in keys if "attribute_predictor" in key]
    }
    assert summary["keys"]["taken"] + sum(map(len, dropped.values())) == len(keys)
    assert summary["source"]["name"] == "m.pth"
    assert summary["classes"] == len(NAMES)
    notes = json.loads((tmp_path / "out/import.json").read_text())
    assert notes | {"detector": str(tmp_path / "out")} == summary
    assert [line.split()[0] for line in err.splitlines()] == ["reading", "checking", "writing", "signing"]


def test_halves_keep_their_anchors_whole(tmp_path: Path, run: Run) -> None:
    arguments = tiny_source(tmp_path)
    run("import-detector", *arguments, "--dtype", "float16")
    with safe_open(tmp_path / "out" / WEIGHTS_FILE, "pt") as weights:
        kinds = {name: weights.get_tensor(name).dtype for name in weights.keys()}  # noqa: SIM118 - it is no dict
    assert {name for name, kind in kinds.items() if kind != torch.float16} == {ANCHORS}
    assert open_detector(tmp_path / "out")(picture(96, 128), GIVEN).count > 0


def test_weights_may_be_read_by_whoever_serves(tmp_path: Path, run: Run) -> None:
    run("import-detector", *tiny_source(tmp_path))
    assert (tmp_path / "out" / WEIGHTS_FILE).stat().st_mode & 0o044 == 0o044


def test_a_taken_folder_is_left_alone(tmp_path: Path, run: Run) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine").touch()
    code, _, err = run("import-detector", *tiny_source(tmp_path))
    assert code == 2
    assert "out: is there already; name a new folder, or remove it first" in err
    assert [one.name for one in (tmp_path / "out").iterdir()] == ["mine"]


def test_a_preset_of_another_format_is_refused(tmp_path: Path, run: Run) -> None:
    code, _, err = run("import-detector", *tiny_source(tmp_path), "--preset", "x152-fpn")
    assert code == 2
    assert "the checkpoint's format is bua-d2, which holds r101-c4 or r50-c4; got x152-fpn" in err


IMPORT = """
import sys
from contextlib import contextmanager
from pathlib import Path
from twelve.convert.detector import import_detector
from twelve.convert.detector_settings import Asked

@contextmanager
def quiet(name, *, length=None, start=0):
    yield lambda count: None

import_detector(Path(sys.argv[1]), Path(sys.argv[2]), Asked(), watch=quiet)
[peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
print(int(peak.split()[1]) * 1024)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Give a folder for 1.6 GB, which goes with the test."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.slow
def test_the_published_detector_is_imported_whole_in_little_memory(folder: Path) -> None:
    state = {key: torch.full(shape, 0.01) for key, shape in listed("vilbert-multi-task-x152").items()}
    size = save_legacy({"model": state}, folder / "detectron_model.pth").stat().st_size
    del state
    command = [sys.executable, "-c", IMPORT, folder / "detectron_model.pth", folder / "out"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) <= MOST_MEMORY * size
    with torch.device("meta"):
        detector = Rcnn(RcnnConfig.read(folder / "out" / SETTINGS_FILE))
    taken = detector.load_state_dict(load_file(folder / "out" / WEIGHTS_FILE), assign=True)
    assert (taken.missing_keys, taken.unexpected_keys) == ([], [])


def test_a_pickle_may_have_as_many_arrays_as_the_published_ones(tmp_path: Path) -> None:
    path = tmp_path / "model.pkl"
    for name in ("frcnn-vg-finetuned", "detectron2-r101-fpn", "py-bottom-up-attention"):
        keys = listed(name)
        of_the_zoo_long_ago({key: torch.ones(1) for key in keys}, path)
        assert read(path).tensors.keys() == keys.keys()


def test_the_zoos_masks_and_pixels_are_dropped(tmp_path: Path, run: Run) -> None:
    layout, drawn = LAYOUTS["detectron2-r50-fpn"], torch.zeros(3, 1, 1)
    state = write_as(layout, small(layout), net(small(layout)).state_dict())
    more = ("pixel_mean", "pixel_std", "roi_heads.mask_head.predictor.weight")
    source = of_the_zoo(state | dict.fromkeys(more, drawn), tmp_path / "model_final.pkl")
    code, out, err = run("import-detector", source, "--out", tmp_path / "out", "--json", *settings(tmp_path, layout))
    assert code == 0, err
    dropped = json.loads(out)["keys"]["dropped"]
    assert [key for keys in dropped.values() for key in keys] == list(more)
    assert json.loads(out)["source"]["passed_over"] == ["__author__", "matching_heuristics"]
