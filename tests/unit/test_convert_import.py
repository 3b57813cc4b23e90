import dataclasses
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests import markdown
from tests.checkout import ROOT
from tests.checkpoints import (
    DECODER,
    SMALL,
    answer_files,
    make_state,
    published_keys,
    save_legacy,
    save_zip,
    without_tasks,
)
from twelve.bundle import Bundle
from twelve.cli import main
from twelve.convert import packing as packing_module
from twelve.convert.names import key_of
from twelve.convert.packing import BERT_VOCABULARY, KEYS_FILE
from twelve.convert.restoring import published_checkpoint
from twelve.convert.starting import start
from twelve.convert.table import PUBLISHED
from twelve.errors import BundleMissing, WeightsInvalid
from twelve.heads.model import TwelveModel
from twelve.model.config import ModelConfig
from twelve.tasks import TASKS

State = dict[str, Tensor]
Run = Callable[..., tuple[int, str, str]]
QUERY = "bert.encoder.layer.3.attention.self.query.weight"
NORM = "bert.encoder.layer.3.output.LayerNorm.weight"
DEAD = "bert.encoder.c_layer.2.biOutput.q_dense1.weight"


@pytest.fixture(scope="module")
def state() -> State:
    return make_state()


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command; give its exit code, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return int(left.value.code or 0), shown.out, shown.err

    return call


@pytest.fixture
def arguments(tmp_path: Path) -> list[object]:
    """Give what the command needs beside the checkpoint."""
    return [*lists(tmp_path), "--config", config_file(tmp_path), tmp_path / "out"]


def lists(folder: Path) -> list[object]:
    files = answer_files(folder)
    return ["--answers", files["vqa"], "--gqa-answers", files["gqa"]]


def config_file(folder: Path) -> Path:
    SMALL.save(folder / "model.json")
    return folder / "model.json"


def parallel(state: State) -> State:
    return {f"module.{name}": tensor for name, tensor in state.items()}


def with_old_names(state: State) -> State:
    def old(name: str) -> str:
        if "LayerNorm" not in name:
            return name
        return name.replace(".weight", ".gamma").replace(".bias", ".beta")

    return {old(name): tensor for name, tensor in state.items()}


def weights_of(bundle: Path) -> State:
    """Read all of a bundle's weights by published name."""
    stored = load_file(bundle / "model.safetensors")
    if (bundle / "pretraining.safetensors").is_file():
        stored |= {f"pretraining.{name}": one for name, one in load_file(bundle / "pretraining.safetensors").items()}
    fates = json.loads((bundle / KEYS_FILE).read_text())
    return {name: stored.pop(fate["parameter"]) for name, fate in fates.items() if fate["parameter"]} | stored


@pytest.mark.parametrize("save", [save_legacy, save_zip])
@pytest.mark.parametrize("written", [dict, parallel, with_old_names], ids=["bare", "module.", "gamma and beta"])
def test_every_living_number_arrives_as_it_is(
    state: State, run: Run, arguments: list[object], tmp_path: Path, save, written
) -> None:
    code, _, err = run("import-checkpoint", save(written(state), tmp_path / "m.bin"), *arguments)
    assert code == 0, err
    arrived = weights_of(tmp_path / "out")
    living = {name for name, tensor in state.items() if name != DECODER and "q_dense" not in name}
    assert arrived.keys() == living
    assert all(torch.equal(arrived[name], state[name]) for name in living)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_numbers_may_be_stored_as_halves(
    state: State, run: Run, arguments: list[object], tmp_path: Path, dtype: str
) -> None:
    run("import-checkpoint", save_zip(state, tmp_path / "m.bin"), *arguments, "--dtype", dtype)
    arrived = weights_of(tmp_path / "out")
    assert all(torch.equal(tensor, state[name].to(getattr(torch, dtype))) for name, tensor in arrived.items())
    TwelveModel.load(tmp_path / "out")


def test_all_560_keys_are_accounted_for(state: State, run: Run, arguments: list[object], tmp_path: Path) -> None:
    _, out, _ = run("import-checkpoint", save_legacy(state, tmp_path / "m.bin"), *arguments)
    bundle = Bundle.open(tmp_path / "out")
    fates = json.loads((bundle.path / KEYS_FILE).read_text())
    keys = bundle.manifest.notes["keys"]
    assert fates.keys() == published_keys().keys()
    assert keys["used"] == {"trunk": 496, "head": 24}
    assert keys["kept apart"] == {"pretraining": 15}
    assert keys["tied"] == [DECODER]
    assert len(keys["dead"]) == 24
    assert all("q_dense" in name for name in keys["dead"])
    assert [line.split()[:2] for line in out.splitlines()[3:8]] == [
        ["trunk", "496"],
        ["head", "24"],
        ["pretraining", "15"],
        ["tied", "1"],
        ["dead", "24"],
    ]
    assert "560 keys" in out
    assert out.endswith(f"next: twelve check {tmp_path / 'out'}\n")


def test_a_checkpoint_kept_whole_can_be_put_together_again(
    state: State, run: Run, arguments: list[object], tmp_path: Path
) -> None:
    run("import-checkpoint", save_legacy(state, tmp_path / "m.bin"), *arguments, "--keep-dead")
    again = published_checkpoint(tmp_path / "out")
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in state.items())


@pytest.mark.parametrize("file", ["m.safetensors", "m.bin"])
def test_safetensors_are_told_by_their_content(
    state: State, run: Run, arguments: list[object], tmp_path: Path, file: str
) -> None:
    save_file({name: tensor.clone() for name, tensor in state.items()}, tmp_path / file)
    code, out, err = run("import-checkpoint", tmp_path / file, *arguments)
    assert code == 0, err
    assert "a multi-task checkpoint, safetensors format, 560 keys" in out
    assert Bundle.open(tmp_path / "out").manifest.notes["source_file"]["form"] == "safetensors"


@pytest.mark.parametrize("save", [save_legacy, save_zip])
def test_keys_that_share_their_memory_arrive_each_on_its_own(
    state: State, run: Run, arguments: list[object], tmp_path: Path, save
) -> None:
    other = QUERY.replace("layer.3", "layer.4")
    code, _, err = run("import-checkpoint", save(state | {other: state[QUERY]}, tmp_path / "m.bin"), *arguments)
    assert code == 0, err
    arrived = weights_of(tmp_path / "out")
    assert torch.equal(arrived[QUERY], state[QUERY])
    assert torch.equal(arrived[other], state[QUERY])


def with_rows(run: Run, folder: Path, rows: int) -> tuple[int, str, str]:
    """Import a checkpoint whose task table has so many rows."""
    config = dataclasses.replace(SMALL, task_embedding_rows=rows)
    path = save_zip(make_state(config), folder / "m.bin")
    config.save(folder / "rows.json")
    return run("import-checkpoint", path, *lists(folder), "--config", folder / "rows.json", folder / "out")


def test_tasks_without_a_row_of_the_task_table_are_left_out_by_name(run: Run, tmp_path: Path) -> None:
    code, out, err = with_rows(run, tmp_path, 10)
    assert code == 0, err
    kept = {task.name: task.token for task in TASKS.values() if task.token < 10}
    left_out = [name for name in TASKS if name not in kept]
    assert Bundle.open(tmp_path / "out").manifest.tasks == kept
    assert f"left out, the task table has no row for them: {', '.join(left_out)}\n" in out
    assert f"answers {len(kept)} tasks" in out
    assert run("check", tmp_path / "out")[0] == 0


def test_a_task_table_without_a_row_for_any_task_is_refused(run: Run, tmp_path: Path) -> None:
    code, _, err = with_rows(run, tmp_path, 1)
    assert code == 2
    assert "task_embedding_rows is 1, the first published task has token 1; a bundle of this checkpoint would" in err
    assert not (tmp_path / "out").exists()


def test_the_documented_lines_put_the_published_file_together_again(
    state: State, run: Run, arguments: list[object], tmp_path: Path
) -> None:
    run("import-checkpoint", save_legacy(state, tmp_path / "m.bin"), *arguments, "--keep-dead")
    text = (ROOT / "docs/published.md").read_text()
    [block] = [one for one in markdown.blocks(text) if "published_checkpoint" in one.body]
    places = {"model_store/published": str(tmp_path / "out"), "again.bin": str(tmp_path / "again.bin")}
    ran = markdown.run(block, replacing=places)
    assert ran.returncode == 0, ran.stderr
    again = torch.load(tmp_path / "again.bin", weights_only=True)
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], tensor) for name, tensor in state.items())


def test_the_bundle_says_where_it_comes_from(state: State, run: Run, arguments: list[object], tmp_path: Path) -> None:
    path = save_legacy(state, tmp_path / "multi_task_model.bin")
    run("import-checkpoint", path, *arguments, "--name", "12-in-1")
    manifest = Bundle.open(tmp_path / "out").manifest
    assert manifest.name == "12-in-1"
    assert manifest.tasks == {task.name: task.token for task in TASKS.values()}
    assert manifest.notes["kind"] == "multi-task checkpoint"
    assert manifest.notes["dtype"] == "float32"
    digest = packing_module.sha256_of(path)
    size = path.stat().st_size
    assert manifest.notes["source"] == f"multi_task_model.bin, legacy format, {size:,} bytes, sha256 {digest}"
    assert manifest.notes["source_file"] == {"name": path.name, "form": "legacy", "bytes": size, "sha256": digest}


def test_the_bundle_is_fit_to_be_served(state: State, run: Run, arguments: list[object], tmp_path: Path) -> None:
    run("import-checkpoint", save_legacy(state, tmp_path / "m.bin"), *arguments)
    code, out, err = run("check", tmp_path / "out")
    assert code == 0, err
    assert all(f"\n{name}: " in out for name in TASKS)
    assert all(os.stat(path).st_mode & 0o044 == 0o044 for path in (tmp_path / "out").rglob("*.safetensors"))


def test_progress_is_shown_on_stderr(state: State, run: Run, arguments: list[object], tmp_path: Path) -> None:
    _, _, err = run("import-checkpoint", save_legacy(state, tmp_path / "m.bin"), *arguments)
    assert [line.split()[0] for line in err.splitlines()] == ["reading", "checking", "writing", "sealing"]


def test_a_killed_import_leaves_nothing_that_is_taken_for_a_bundle(
    state: State, run: Run, arguments: list[object], tmp_path: Path
) -> None:
    command = [str(one) for one in ("import-checkpoint", save_zip(state, tmp_path / "m.bin"), *arguments)]
    killed = (
        "import os; from twelve.cli import main; from twelve.convert import packing; "
        f"packing.seal = lambda *_, **__: os._exit(9); main({command!r})"
    )
    assert subprocess.run([sys.executable, "-c", killed], cwd=ROOT, capture_output=True).returncode == 9
    assert not (tmp_path / "out").exists()
    with pytest.raises(BundleMissing):
        Bundle.open(tmp_path / "out.unfinished")
    code, _, err = run(*command)
    assert code == 0, err
    assert not (tmp_path / "out.unfinished").exists()
    Bundle.open(tmp_path / "out").verify()


def test_a_failed_import_leaves_nothing(
    state: State, run: Run, arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(packing_module, "seal", fail)
    before = set(tmp_path.iterdir())
    code, _, err = run("import-checkpoint", save_zip(state, tmp_path / "m.bin"), *arguments)
    assert (code, err.splitlines()[-1]) == (1, "[Errno 28] No space left on device")
    assert set(tmp_path.iterdir()) - before == {tmp_path / "m.bin"}


def test_a_full_disk_is_refused_before_anything_is_written(
    state: State, run: Run, arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = packing_module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(packing_module.shutil, "disk_usage", lambda _: usage._replace(free=10**7))
    code, _, err = run("import-checkpoint", save_zip(state, tmp_path / "m.bin"), *arguments)
    assert code == 2
    assert "needs 0.07 GB and the disk has 0.01 free; free some" in err
    assert not (tmp_path / "out.unfinished").exists()


@pytest.mark.parametrize("taken", ["a file", "a folder"])
def test_what_stands_at_the_bundles_place_is_left_alone(
    run: Run, arguments: list[object], tmp_path: Path, taken: str
) -> None:
    mine = tmp_path / "out" / "mine" if taken == "a folder" else tmp_path / "out"
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    code, _, err = run("import-checkpoint", tmp_path / "m.bin", *arguments)
    assert code == 2
    assert "out: is there already; name a new folder, or remove it first" in err
    assert mine.read_text() == "mine"


def test_an_empty_folder_may_stand_at_the_bundles_place(
    state: State, run: Run, arguments: list[object], tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    assert run("import-checkpoint", save_zip(state, tmp_path / "m.bin"), *arguments)[0] == 0


def test_numbers_too_large_for_halves_are_refused_by_key(
    state: State, run: Run, arguments: list[object], tmp_path: Path
) -> None:
    large = state | {"vil_logit.weight": state["vil_logit.weight"] + 70_000}
    path = save_zip(large, tmp_path / "m.bin")
    code, _, err = run("import-checkpoint", path, *arguments, "--dtype", "float16")
    assert code == 65
    assert "vil_logit.weight: 70000" in err.splitlines()[-1]
    assert err.endswith("is too large for float16; store bfloat16 or float32\n")
    assert run("import-checkpoint", path, *arguments, "--dtype", "bfloat16")[0] == 0


@pytest.mark.parametrize(
    ("number", "dtype", "says"),
    [
        (1e300, "float32", "is too large for float32; no type that a bundle may have holds it"),
        (1e300, "float16", "is too large for float16; no type that a bundle may have holds it"),
        (3.4e38, "bfloat16", "is too large for bfloat16; store float32"),
    ],
)
def test_another_type_is_named_only_where_it_would_do(
    state: State, run: Run, arguments: list[object], tmp_path: Path, number: float, dtype: str, says: str
) -> None:
    large = state["vil_logit.weight"].double()
    large[0, 0] = number
    path = save_zip(state | {"vil_logit.weight": large}, tmp_path / "m.bin")
    code, _, err = run("import-checkpoint", path, *arguments, "--dtype", dtype)
    assert code == 65
    assert err.endswith(f"{says}\n")


def test_a_factorised_word_table_is_refused_by_its_name(run: Run, arguments: list[object], tmp_path: Path) -> None:
    dataclasses.replace(SMALL, embedding_size=8).save(tmp_path / "model.json")
    code, _, err = run("import-checkpoint", tmp_path / "m.bin", *arguments)
    assert code == 2
    assert "widen.weight']; its heads are `released`, and it has no `embedding_size`" in err


def test_an_installed_library_brings_its_vocabulary_and_its_table() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["twelve"]
    brought = {path for pattern in settings for path in (ROOT / "twelve").glob(pattern)}
    assert {BERT_VOCABULARY, PUBLISHED} <= brought


def test_a_vocabulary_may_be_named(state: State, run: Run, arguments: list[object], tmp_path: Path) -> None:
    pieces = BERT_VOCABULARY.read_text().split("\n")
    other = tmp_path / "vocab.txt"
    other.write_text("\n".join([*pieces[:-2], "zyzzyva", ""]))
    run("import-checkpoint", save_zip(state, tmp_path / "m.bin"), *arguments, "--vocabulary", other)
    assert (tmp_path / "out" / "vocab.txt").read_bytes() == other.read_bytes()


def test_a_vocabulary_that_does_not_fit_the_word_table_is_refused(
    run: Run, arguments: list[object], tmp_path: Path
) -> None:
    short = tmp_path / "vocab.txt"
    short.write_text("\n".join(BERT_VOCABULARY.read_text().split("\n")[:30_000]))
    code, _, err = run("import-checkpoint", tmp_path / "m.bin", *arguments, "--vocabulary", short)
    assert code == 2
    assert "has 30,000 entries, the word table has 30,522 rows" in err


def test_a_vocabulary_that_is_no_text_is_refused(run: Run, arguments: list[object], tmp_path: Path) -> None:
    (tmp_path / "vocab.bin").write_bytes(b"\x80\x02")
    code, _, err = run("import-checkpoint", tmp_path / "m.bin", *arguments, "--vocabulary", tmp_path / "vocab.bin")
    assert code == 2
    assert "vocab.bin: is no text (" in err


def test_a_pre_training_checkpoint_becomes_a_starting_point(state: State, run: Run, tmp_path: Path) -> None:
    path = save_legacy(without_tasks(state), tmp_path / "pretrained_model.bin")
    code, out, err = run("import-checkpoint", path, tmp_path / "out", "--config", config_file(tmp_path))
    assert code == 0, err
    assert "a pre-training checkpoint, legacy format, 533 keys" in out
    assert out.endswith("a starting point for training, it answers no task\n")
    manifest = Bundle.open(tmp_path / "out").manifest
    assert manifest.tasks == {}
    assert manifest.notes["keys"]["used"] == {"trunk": 495}
    assert manifest.notes["keys"]["kept apart"] == {"pretraining": 13}
    arrived = weights_of(tmp_path / "out")
    assert all(torch.equal(tensor, state[name]) for name, tensor in arrived.items())


def test_a_starting_point_is_not_served(state: State, run: Run, tmp_path: Path) -> None:
    path = save_legacy(without_tasks(state), tmp_path / "pretrained_model.bin")
    run("import-checkpoint", path, tmp_path / "out", "--config", config_file(tmp_path))
    code, _, err = run("check", tmp_path / "out")
    assert code == 2
    assert "knows no task, it is a starting point for training" in err


@pytest.mark.parametrize("asked", [("--answers",), ("--gqa-answers",)])
def test_one_list_of_answers_is_not_enough(run: Run, tmp_path: Path, asked: tuple[str]) -> None:
    code, _, err = run("import-checkpoint", tmp_path / "m.bin", tmp_path / "out", *asked, tmp_path / "vqa.json")
    assert code == 2
    assert "needs both" in err


def test_a_checkpoint_with_heads_needs_their_answers(state: State, run: Run, tmp_path: Path) -> None:
    path = save_zip(state, tmp_path / "m.bin")
    code, _, err = run("import-checkpoint", path, tmp_path / "out", "--config", config_file(tmp_path))
    assert code == 65
    assert "has task heads; say what they answer, with --answers and --gqa-answers" in err


def test_training_starts_from_a_starting_point(state: State, run: Run, tmp_path: Path) -> None:
    path = save_legacy(without_tasks(state), tmp_path / "pretrained_model.bin")
    run("import-checkpoint", path, tmp_path / "out", "--config", config_file(tmp_path))
    model = TwelveModel(SMALL)
    drawn = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    started = start(model, tmp_path / "out")
    after = model.state_dict()
    assert all(name.startswith(("heads.", "trunk.text_embedding.tasks.")) for name in started.new)
    assert all(torch.equal(after[name], drawn[name]) for name in started.new)
    taken = {key.parameter: tensor for name, tensor in state.items() if (key := key_of(name)) and "q_dense" not in name}
    assert all(torch.equal(after[name], taken[name]) for name in started.taken)
    assert {*started.taken, *started.new} == set(after)


def test_pre_training_goes_on_from_a_starting_point(state: State, run: Run, tmp_path: Path) -> None:
    path = save_legacy(without_tasks(state), tmp_path / "pretrained_model.bin")
    run("import-checkpoint", path, tmp_path / "out", "--config", config_file(tmp_path))
    model = TwelveModel(SMALL)
    heads = model.add_pretraining()
    assert "pretraining.words.bias" in start(model, tmp_path / "out").taken
    assert torch.equal(heads.words.bias, state["cls.predictions.bias"])


def test_a_model_of_other_sizes_starts_from_nothing(state: State, run: Run, tmp_path: Path) -> None:
    path = save_legacy(without_tasks(state), tmp_path / "pretrained_model.bin")
    run("import-checkpoint", path, tmp_path / "out", "--config", config_file(tmp_path))
    with pytest.raises(WeightsInvalid, match=r"trunk\.\S+ has shape .* in the model to begin|no such parameter"):
        start(TwelveModel(ModelConfig.tiny()), tmp_path / "out")


MEMORY = """
import re, sys
from pathlib import Path
import twelve.convert.importing, safetensors.torch
from twelve.cli import main

def peak():  # of this program alone; getrusage begins with the peak of the process that started it
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])

before = peak()
try:
    main(sys.argv[1:])
finally:
    print(peak() - before)
"""
LARGE = ModelConfig(
    hidden_size=384,
    intermediate_size=768,
    v_hidden_size=256,
    v_feature_size=256,
    bi_hidden_size=256,
    v_intermediate_size=256,
    heads="released",
)
"""Of 166 MB: one copy too many is more than what an import needs besides."""

WHATEVER_THE_SIZE = 200e6
"""Bytes: modules that torch imports when first used, the vocabulary, and the look for NaN at one tensor at a time."""


@pytest.mark.slow
@pytest.mark.parametrize("save", [save_legacy, save_zip])
@pytest.mark.parametrize(("dtype", "copies"), [("float32", 1.0), ("bfloat16", 1.5)])
def test_memory_grows_by_the_file_and_what_is_stored_narrower(tmp_path: Path, save, dtype: str, copies: float) -> None:
    path = save(make_state(LARGE), tmp_path / "m.bin")
    LARGE.save(tmp_path / "model.json")
    files = answer_files(tmp_path, LARGE)
    command = ["import-checkpoint", path, "--config", tmp_path / "model.json", "--dtype", dtype, tmp_path / "out"]
    command += ["--answers", files["vqa"], "--gqa-answers", files["gqa"]]
    ran = subprocess.run([sys.executable, "-c", MEMORY, *map(str, command)], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout.split()[-1]) < copies * path.stat().st_size + WHATEVER_THE_SIZE
