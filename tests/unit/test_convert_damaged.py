import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.checkpoints import DECODER, SMALL, WORDS, answer_files, make_state, save_legacy, save_zip
from twelve.cli import main

State = dict[str, Tensor]
Damage = Callable[[State], object]
QUERY = "bert.encoder.layer.3.attention.self.query.weight"
NORM = "bert.encoder.layer.3.output.LayerNorm.weight"
DEAD = "bert.encoder.c_layer.2.biOutput.q_dense1.weight"
TASKS = "bert.embeddings.task_embeddings.weight"
NAN, INF = float("nan"), float("inf")
ZERO = torch.zeros(1)


@pytest.fixture(scope="module")
def state() -> State:
    return make_state()


@pytest.fixture
def refusal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[Path], str]:
    """Import a file that is to be refused; give the sentence, once nothing has been left behind."""

    def call(path: Path) -> str:
        SMALL.save(tmp_path / "model.json")
        files = answer_files(tmp_path)
        lists = ["--answers", files["vqa"], "--gqa-answers", files["gqa"]]
        before = set(tmp_path.iterdir())
        with pytest.raises(SystemExit) as left:
            main(
                list(
                    map(str, ["import-checkpoint", path, *lists, "--config", tmp_path / "model.json", tmp_path / "out"])
                )
            )
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


def without(start: str) -> Damage:
    return lambda state: {name: tensor for name, tensor in state.items() if not name.startswith(start)}


def beside(name: object, value: object) -> Damage:
    return lambda state: {**state, name: value}


def changed(name: str, change: Callable[[Tensor], Tensor]) -> Damage:
    return lambda state: state | {name: change(state[name]).clone()}


DAMAGED: dict[str, tuple[Damage, str]] = {
    "no trunk key": (without(QUERY), f"the multi-task checkpoint lacks {QUERY} of its 560 keys"),
    "no head key": (without("vil_logit.bias"), "lacks vil_logit.bias of its 560 keys"),
    "no dead key": (without(DEAD), f"lacks {DEAD} of its 560 keys"),
    "no tied key": (without(DECODER), f"lacks {DECODER} of its 560 keys"),
    "no task table": (without(TASKS), f"lacks {TASKS} of its 560 keys"),
    "no pre-training heads": (without("cls."), "lacks cls.predictions.bias, "),
    "no task heads": (without("vi"), "has no task heads; if it is one of pre-training, leave out the lists of answers"),
    "a foreign key": (beside("vil_prediction.main.0.bias", ZERO), "has vil_prediction.main.0.bias beside its 560 keys"),
    "a 13th layer": (beside("bert.encoder.layer.12.output.dense.bias", ZERO), "has bert.encoder.layer.12.output"),
    "another vocabulary": (changed(WORDS, lambda one: one[:-1]), f"{WORDS}: has shape [30521, 24], this model's is"),
    "another task table": (
        changed(TASKS, lambda one: one[1:]),
        f"{TASKS}: has shape [19, 24], this model's is [20, 24]",
    ),
    "a transposed matrix": (
        changed("bert.t_pooler.dense.weight", lambda one: one.T),
        "bert.t_pooler.dense.weight: has shape [24, 48], this model's is [48, 24]",
    ),
    "a scalar": (changed("vil_logit.bias", lambda one: one[0]), "vil_logit.bias: has shape [], this model's is [1]"),
    "NaN in the trunk": (
        with_number(QUERY, NAN),
        f"{QUERY}: 1 of 576 numbers are NaN or infinite, the first at [0, 1]",
    ),
    "infinity in a head": (
        with_number("vil_tri_prediction.weight", INF),
        "vil_tri_prediction.weight: 1 of 144 numbers",
    ),
    "infinity in a dead key": (with_number(DEAD, -INF), f"{DEAD}: 1 of 1536 numbers"),
    "NaN in pre-training": (
        with_number("cls.bi_seq_relationship.bias", NAN),
        "cls.bi_seq_relationship.bias: 1 of 2 num",
    ),
    "an untied decoder": (
        changed(DECODER, lambda one: one + 1),
        f"{DECODER}: differs from {WORDS}, of which it is a copy",
    ),
    "whole numbers": (changed(NORM, Tensor.long), f"{NORM} is a tensor of torch.int64, expected dense floating-point"),
    "a sparse tensor": (changed(QUERY, Tensor.to_sparse), f"{QUERY} is a tensor of torch.float32, expected dense"),
    "no numbers": (changed(QUERY, lambda one: one.to("meta")), f"{QUERY} has a shape and no numbers; save it from"),
    "no tensor": (beside("epoch", 9), "epoch is a int, expected a tensor"),
    "no name": (beside(7, ZERO), "has an entry under 7, expected names"),
    "an old name twice": (
        beside("bert.v_embeddings.LayerNorm.gamma", ZERO),
        "LayerNorm.gamma, which are one parameter",
    ),
    "a prefixed name twice": (beside(f"module.{QUERY}", ZERO), f"has both {QUERY} and module.{QUERY}, which are one"),
    "no dict": (lambda state: list(state.values()), "holds a list, expected a dict of tensors by name"),
    "a training state": (lambda state: {"model_state_dict": state}, "is a file to resume a training from; save its"),
}
"""What is wrong with a checkpoint, and what is said of it."""


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_checkpoint_is_refused_by_name(
    state: State, refusal: Callable[[Path], str], tmp_path: Path, case: str
) -> None:
    damage, says = DAMAGED[case]
    save = save_zip if len(case) % 2 else save_legacy  # the two formats in turn
    assert says in refusal(save(damage(state), tmp_path / "damaged.bin"))


def test_no_two_damages_are_told_alike() -> None:
    assert len({says for _, says in DAMAGED.values()}) == len(DAMAGED)


@pytest.mark.parametrize("save", [save_legacy, save_zip])
@pytest.mark.parametrize("kept", [0, 1, 100, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_short_is_refused(
    state: State, refusal: Callable[[Path], str], tmp_path: Path, save, kept: float
) -> None:
    path = save(state, tmp_path / "m.bin")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(int(kept * size) if isinstance(kept, float) else kept)
    assert "m.bin: cannot be read: " in refusal(path)


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE html><title>Moved</title>",
        b"\x80\x02}q\x00.",
        os.urandom(4096),
        b"PK\x03\x04" + bytes(999),
        (2**40).to_bytes(8, "little") + b'{"a"',
    ],
    ids=["a web page", "a bare pickle", "noise", "a broken zip file", "broken safetensors"],
)
def test_what_torch_did_not_write_is_refused(refusal: Callable[[Path], str], tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.bin"
    path.write_bytes(content)
    message = refusal(path)
    assert "m.bin: " in message
    assert "weights_only" not in message  # torch's advice to run what is in the file


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"hello world\n" * 100, "it is no file that torch wrote, or not all of one"), (b"", "it is empty")],
    ids=["a text", "nothing"],
)
def test_what_is_no_checkpoint_is_told_in_words(
    refusal: Callable[[Path], str], tmp_path: Path, content: bytes, says: str
) -> None:
    path = tmp_path / "m.bin"
    path.write_bytes(content)
    assert refusal(path).endswith(f"m.bin: cannot be read: {says}; copy or download it again")


def test_a_missing_file_is_refused(refusal: Callable[[Path], str], tmp_path: Path) -> None:
    assert "m.bin: there is no such file; check the path" in refusal(tmp_path / "m.bin")


class Hostile:
    """Pickles into a call that would leave a folder behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("save", [save_legacy, save_zip])
def test_code_in_a_checkpoint_is_not_run(state: State, refusal: Callable[[Path], str], tmp_path: Path, save) -> None:
    path = save({**state, "vil_logit.bias": Hostile(tmp_path / "trace")}, tmp_path / "m.bin")
    assert re.search(r"it asks for \w+\.mkdir, expected nothing but tensors; nothing of it was run", refusal(path))
    assert not (tmp_path / "trace").exists()
