import dataclasses
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from twelve.engines.engine import heads_of
from twelve.errors import BundleMissing, ConfigInvalid
from twelve.heads import HEADS
from twelve.heads.model import PRETRAINING_FILE, WEIGHTS_FILE, TwelveModel
from twelve.model.config import HEAD_PRESETS, HeadPreset, HeadSwitches, ModelConfig
from twelve.tasks.kinds.losses import one_hot
from twelve.tasks.registry import TASKS

VERDICTS = {"nlvr2": 2, "snli-ve": 3}
MIXED = HeadSwitches(entailment_classifier="linear", entailment_labels="exclusive", pair_labels="independent")


def config(heads: HeadPreset | HeadSwitches) -> ModelConfig:
    return dataclasses.replace(ModelConfig.tiny(), heads=heads)


def pretrained() -> TwelveModel:
    torch.manual_seed(0)
    model = TwelveModel(ModelConfig.tiny())
    model.add_pretraining()
    return model.eval()


def test_the_presets_are_the_papers_heads_and_the_released_codes() -> None:
    paper, released = (heads_of(TwelveModel(config(heads))) for heads in ("paper", "released"))
    assert isinstance(paper["entailment"].classify, nn.Sequential)
    assert isinstance(released["entailment"].classify, nn.Linear)
    verdicts = ("pair", "entailment")
    assert {name: head.labels for name, head in paper.items() if name in verdicts} == dict.fromkeys(
        verdicts, "exclusive"
    )
    assert {name: head.labels for name, head in released.items() if name in verdicts} == dict.fromkeys(
        verdicts, "independent"
    )
    for name in HEADS.keys() - set(verdicts):
        assert paper[name].labels == released[name].labels


def test_each_switch_of_the_heads_turns_on_its_own() -> None:
    heads = heads_of(TwelveModel(config(MIXED)))
    assert isinstance(heads["entailment"].classify, nn.Linear)
    assert (heads["entailment"].labels, heads["pair"].labels) == ("exclusive", "independent")


def exclusive_loss(scores: torch.Tensor, right: int) -> torch.Tensor:
    return -scores[right].log()


def independent_loss(scores: torch.Tensor, right: int) -> torch.Tensor:
    return functional.binary_cross_entropy(scores, one_hot(right, len(scores)))


@pytest.mark.parametrize(("heads", "of_scores"), [("paper", exclusive_loss), ("released", independent_loss)])
@pytest.mark.parametrize("task", VERDICTS)
def test_a_verdicts_scores_mean_what_its_loss_trains(
    heads: HeadPreset, of_scores: Callable[[torch.Tensor, int], torch.Tensor], task: str
) -> None:
    head = heads_of(TwelveModel(config(heads)))[TASKS[task].head]
    generator = torch.Generator().manual_seed(0)
    batch = [torch.randn(VERDICTS[task], generator=generator) for _ in range(4)]
    rights = [place % VERDICTS[task] for place in range(4)]
    loss = TASKS[task].loss(batch, [one_hot(right, VERDICTS[task]) for right in rights], head.labels)
    by_scores = [of_scores(head.scores(logits), right) for logits, right in zip(batch, rights, strict=True)]
    torch.testing.assert_close(loss, torch.stack(by_scores).mean())


@pytest.mark.parametrize("heads", ["paper", "released", MIXED])
def test_the_heads_of_a_configuration_come_back_from_its_file(tmp_path: Path, heads: HeadPreset | HeadSwitches) -> None:
    config(heads).save(tmp_path / "config.json")
    assert ModelConfig.load(tmp_path / "config.json") == config(heads)


@pytest.mark.parametrize(
    ("heads", "said"),
    [
        ({"pair_labels": "exclusive"}, "heads: has switches ['pair_labels'], needs ['entailment_classifier'"),
        (
            {**dataclasses.asdict(MIXED), "pair_labels": "softmax"},
            "heads.pair_labels: Input should be 'exclusive' or 'independent', got 'softmax'",
        ),
    ],
)
def test_a_switch_that_does_not_exist_is_refused_by_name(heads: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigInvalid) as refused:
        ModelConfig.from_dict({"heads": heads})
    assert str(refused.value).startswith(said)


def test_presets_and_switches_are_told_apart_in_every_field() -> None:
    paper, released = (dataclasses.asdict(HEAD_PRESETS[preset]) for preset in ("paper", "released"))
    assert all(paper[switch] != released[switch] for switch in paper)


def test_pretraining_heads_draw_nothing_from_the_generator_unless_asked_for() -> None:
    torch.manual_seed(0)
    plain = TwelveModel(ModelConfig.tiny())
    after = torch.rand(1)
    asked = pretrained()
    torch.manual_seed(0)
    TwelveModel(ModelConfig.tiny())
    assert torch.equal(torch.rand(1), after)
    assert all(torch.equal(asked.state_dict()[name], weight) for name, weight in plain.state_dict().items())


def test_pretraining_heads_are_kept_beside_what_serves(tmp_path: Path) -> None:
    model = pretrained()
    model.save(tmp_path / "with")
    TwelveModel.load(tmp_path / "with").save(tmp_path / "without")
    assert not (tmp_path / "without" / PRETRAINING_FILE).exists()
    assert (tmp_path / "with" / WEIGHTS_FILE).read_bytes() == (tmp_path / "without" / WEIGHTS_FILE).read_bytes()
    loaded = TwelveModel.load(tmp_path / "with")
    loaded.load_pretraining(tmp_path / "with")
    assert loaded.state_dict().keys() == model.state_dict().keys()
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items())


def test_pretraining_heads_that_nobody_saved_are_refused(tmp_path: Path) -> None:
    model = TwelveModel(ModelConfig.tiny())
    with pytest.raises(BundleMissing, match=r"pretraining\.safetensors is not there"):
        model.load_pretraining(tmp_path)
    assert model.pretraining is None


@pytest.mark.parametrize("width", [None, 8])
def test_hidden_words_are_compared_with_the_word_table_as_the_text_stream_sees_it(width: int | None) -> None:
    torch.manual_seed(0)
    model = TwelveModel(dataclasses.replace(ModelConfig.tiny(), embedding_size=width, vocab_size=50))
    head, table = model.add_pretraining().words, model.trunk.text_embedding
    text = torch.rand(2, 3, 16)
    with torch.inference_mode():
        wide = table.widen(table.words(torch.arange(50)))  # [50, 16]
        expected = functional.linear(head.norm(head.act(head.dense(text))), wide) + head.bias
        torch.testing.assert_close(head(text, table), expected)
    assert sum(weight.numel() for weight in head.parameters()) == 16 * 16 + 3 * 16 + 50


def test_every_switch_stands_in_the_one_numbered_list_of_differences() -> None:
    page = (Path(__file__).parents[2] / "docs" / "fidelity.md").read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in page.splitlines() if re.match(r"\| \d+ \|", line)]
    assert [int(row[0].strip("| ")) for row in rows] == list(range(1, len(rows) + 1))
    assert {len(row) for row in rows} == {5}
    paper, released = (dataclasses.asdict(HEAD_PRESETS[preset]) for preset in ("paper", "released"))
    for row, switch in zip(rows, paper, strict=False):
        assert f"switch `{switch}`: `{paper[switch]}` or `{released[switch]}`" in row[-1]
