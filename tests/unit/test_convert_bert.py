import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertForPreTraining, BertModel

from tests.checkpoints import SMALL
from twelve.cli import main
from twelve.convert.importing import import_bert
from twelve.convert.packing import BERT_VOCABULARY, Imported, Packing
from twelve.convert.starting import start
from twelve.errors import BundleMissing, ConfigInvalid, WeightsInvalid
from twelve.heads.model import TwelveModel
from twelve.model.config import ModelConfig

CLOSE = 1e-5  # of the largest value: fp32 sums in another order
LAYERS, WORDS = 8, 200
QUERY = "bert.encoder.layer.3.attention.self.query.weight"
NORM = "bert.encoder.layer.3.attention.output.LayerNorm.bias"
SIZES = {
    "vocab_size": WORDS,
    "hidden_size": 24,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 32,
}


@contextmanager
def unwatched(name: str, *, length: int | None = None, start: int = 0) -> Iterator[Callable[[int], None]]:
    yield lambda count: None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A BERT of pre-training, saved by transformers, with a vocabulary of its own."""
    torch.manual_seed(0)
    path = tmp_path / "bert"
    BertForPreTraining(BertConfig(**SIZES)).save_pretrained(path)
    (path / "vocab.txt").write_text("\n".join(BERT_VOCABULARY.read_text().split("\n")[: WORDS - 4]))
    with (path / "vocab.txt").open("a") as file:
        file.write("\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n")
    return path


def imported(folder: Path) -> Imported:
    return import_bert(folder, Packing(folder.parent / "out", "bert"), config=SMALL, watch=unwatched)


def config_of(bundle: Path) -> ModelConfig:
    return ModelConfig.load(bundle / "config.json")


def altered(folder: Path, change: Callable[[dict], dict]) -> None:
    path = folder / "model.safetensors"
    save_file({name: tensor.clone() for name, tensor in change(load_file(path)).items()}, path)


def test_the_text_stream_computes_what_bert_does(folder: Path) -> None:
    bundle = imported(folder).bundle.path
    model = TwelveModel(config_of(bundle)).eval()
    start(model, bundle)
    bert = BertModel.from_pretrained(folder).eval()
    ids, mask = torch.randint(0, WORDS, (2, 9)), torch.ones(2, 9, dtype=torch.bool)
    mask[1, 6:] = False
    segments = torch.tensor([[0] * 4 + [1] * 5] * 2)
    with torch.inference_mode():
        ours = model.trunk.encode_text(ids, mask, torch.zeros(2, dtype=torch.long), segments)
        for layer in model.trunk.text_layers[LAYERS - 6 :]:
            ours = layer(ours, mask).states
        last = bert(ids, mask.long(), segments).last_hidden_state
    torch.testing.assert_close(ours[mask], last[mask], rtol=0, atol=CLOSE * float(last.abs().max()))


def test_every_layer_of_the_text_stream_is_bert_s(folder: Path) -> None:
    bundle = imported(folder).bundle
    names = load_file(bundle.path / "model.safetensors").keys()
    model = TwelveModel(config_of(bundle.path))
    started = start(model, bundle.path)
    assert {name for name in started.new if name.startswith(("trunk.text_embedding", "trunk.text_layers"))} == set()
    assert all(name.startswith(("trunk.text_embedding", "trunk.text_layers")) for name in names)
    assert bundle.manifest.tasks == {}
    assert (bundle.path / "vocab.txt").read_bytes() == (folder / "vocab.txt").read_bytes()


def test_co_attention_stands_before_the_last_layers(folder: Path) -> None:
    assert config_of(imported(folder).bundle.path).t_biattention_id == (2, 3, 4, 5, 6, 7)


def test_the_head_of_hidden_words_comes_along(folder: Path) -> None:
    bundle = imported(folder).bundle.path
    theirs = BertForPreTraining.from_pretrained(folder).cls.predictions.bias
    assert torch.equal(load_file(bundle / "pretraining.safetensors")["words.bias"], theirs)


def test_what_has_no_place_is_named(folder: Path) -> None:
    passed_over = imported(folder).source.passed_over
    assert {name.rpartition(".")[0] for name in passed_over} == {"bert.pooler.dense", "cls.seq_relationship"}


def bare(state: dict[str, torch.Tensor], folder: Path) -> None:
    trunk = {name.removeprefix("bert."): one for name, one in state.items() if name.startswith("bert.")}
    save_file(trunk, folder / "model.safetensors")


def with_old_names(state: dict[str, torch.Tensor], folder: Path) -> None:
    def old(name: str) -> str:
        return re.sub(r"(?<=LayerNorm\.)\w+", lambda leaf: {"weight": "gamma", "bias": "beta"}[leaf[0]], name)

    save_file({old(name): one for name, one in state.items()}, folder / "model.safetensors")


def pickled(state: dict[str, torch.Tensor], folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save(state, folder / "pytorch_model.bin")


@pytest.mark.parametrize("save", [bare, with_old_names, pickled])
def test_a_bert_may_be_saved_otherwise(folder: Path, save: Callable[[dict[str, torch.Tensor], Path], None]) -> None:
    state = {name: one.clone() for name, one in load_file(folder / "model.safetensors").items()}
    save(state, folder)
    arrived = load_file(imported(folder).bundle.path / "model.safetensors")
    assert torch.equal(arrived["trunk.text_embedding.words.weight"], state["bert.embeddings.word_embeddings.weight"])
    assert torch.equal(arrived["trunk.text_layers.3.output.norm.bias"], state[NORM])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda state: {n: t for n, t in state.items() if n != QUERY}, rf"the BERT lacks {QUERY}"),
        (
            lambda state: state | {"bert.encoder.layer.8.output.dense.bias": torch.zeros(24)},
            r"has bert\.encoder\.layer\.8",
        ),
        (lambda state: state | {"bert.crossattention.weight": torch.zeros(24)}, r"has bert\.crossattention\.weight"),
        (lambda state: state | {QUERY: state[QUERY][1:]}, rf"{QUERY}: has shape \[23, 24\]"),
        (lambda state: state | {QUERY: state[QUERY] / 0}, rf"{QUERY}: 576 of 576 numbers are NaN or infinite"),
        (lambda state: state | {"vil_logit.bias": torch.zeros(1)}, "holds task heads, which no BERT has"),
        (
            lambda state: {n: t for n, t in state.items() if n != "cls.predictions.bias"},
            r"lacks cls\.predictions\.bias",
        ),
    ],
)
def test_other_weights_are_refused_by_name(folder: Path, change: Callable[[dict], dict], says: str) -> None:
    altered(folder, change)
    with pytest.raises(WeightsInvalid, match=says):
        imported(folder)
    assert not (folder.parent / "out").exists()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"model_type": "roberta"}, "model_type is 'roberta', expected 'bert'"),
        ({"num_hidden_layers": 4}, "num_hidden_layers is 4, co-attention needs at least 6"),
        ({"hidden_act": "gelu_new"}, "hidden_act: "),
        ({"vocab_size": 100}, "has 200 entries, the word table has 100 rows"),
    ],
)
def test_another_configuration_is_refused(folder: Path, values: dict[str, object], says: str) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(ConfigInvalid, match=says):
        imported(folder)


def test_a_configuration_that_lacks_a_size_is_refused(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ConfigInvalid, match=r"lacks .*'hidden_size'"):
        imported(folder)


def test_a_folder_without_weights_or_configuration_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsInvalid, match=r"has neither model\.safetensors nor pytorch_model\.bin"):
        imported(folder)
    (folder / "config.json").unlink()
    with pytest.raises(BundleMissing, match=r"config\.json is not there"):
        imported(folder)


def test_broken_weights_are_refused(folder: Path) -> None:
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(5000)
    with pytest.raises(WeightsInvalid, match="cannot be read"):
        imported(folder)


def test_the_command_makes_a_starting_point(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["import-bert", str(folder), str(folder.parent / "out")])
    shown = capsys.readouterr()
    assert left.value.code in (0, None), shown.err
    assert "a BERT, safetensors format" in shown.out
    assert "passed over: bert.pooler.dense.bias" in shown.out
