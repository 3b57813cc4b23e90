"""The model card says what the bundle's files say, and no more."""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from safetensors.torch import save_file

from tests.bundles import make_tiny_bundle
from tests.checkout import ROOT
from training.config import Model
from twelve.bundle import DETECTOR_CONFIG, DETECTOR_WEIGHTS, WEIGHTS_FILE, Bundle, seal
from twelve.card import THIS_FOLDER, model_card
from twelve.heads.model import TwelveModel
from twelve.hub import CARD
from twelve.model.config import ModelConfig

SCORES = {
    "model": {
        "gqa": {"items": 2000, "score": 0.5415, "chance": 0.013},
        "nlvr2": {"items": 1500, "score": 0.89, "chance": 0.5},
    },
    "novel": {"gqa": {"items": 700, "score": 0.478, "chance": 0.013}},
    "own": {"gqa": {"items": 9, "score": 1.0, "chance": 0.5}},
}


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return make_tiny_bundle(tmp_path / "tiny").path


def card_of(
    path: Path, *, scores: Mapping[str, Any] | None = None, notes: Mapping[str, Any] | None = None
) -> ModelCard:
    tasks = {"gqa": 15, "nlvr2": 12}
    bundle = seal(path, name="tiny", version="2", tasks=tasks, scores=scores, notes=notes)
    return ModelCard(model_card(bundle, where="someone/tiny"))


def test_a_hub_can_read_its_head(tiny: Path) -> None:
    data = card_of(tiny, notes={"licence": "Apache-2.0"}).data
    assert (data.license, data.library_name, data.pipeline_tag) == (
        "apache-2.0",
        "twelve-in-one",
        "visual-question-answering",
    )
    assert "vilbert" in data.tags


def test_each_task_has_its_token_and_what_was_measured_of_it(tiny: Path) -> None:
    text = card_of(tiny, scores=SCORES).text
    assert "| task | token | items | chance, % | model, % | novel, % | own, % |" in text
    assert "| `gqa` | 15 | 2,000 | 1.3 | 54.1 | 47.8 | 100.0 |" in text
    assert "| `nlvr2` | 12 | 1,500 | 50.0 | 89.0 |  |  |" in text


def test_scores_say_what_they_were_measured_on(tiny: Path) -> None:
    text = card_of(tiny, scores=SCORES, notes={"trained_on": "drawn pictures"}).text
    assert "*model*: items that training never saw" in text
    assert "*own*: the manifest does not say on what" in text
    assert "The data: drawn pictures." in text
    assert "The data: photographs." in card_of(tiny, scores=SCORES, notes={"measured_on": "photographs"}).text


def test_what_was_not_measured_and_not_licensed_is_named_so(tiny: Path) -> None:
    card = card_of(tiny)
    assert "Nothing was measured of these weights." in card.text
    assert "The manifest states none for these weights" in card.text
    assert card.data.license is None
    assert "| task | token |" in card.text


def test_limits_come_from_the_files(tiny: Path) -> None:
    text = card_of(tiny).text
    assert "at most 62 word pieces" in text
    assert "the 6 regions that its detector finds at most" in text
    assert "The `vqa` head chooses among 7 answers" in text
    for file in (DETECTOR_CONFIG, DETECTOR_WEIGHTS):
        (tiny / file).unlink()
    assert "It has no detector: bring regions along, 8 numbers each." in card_of(tiny).text


def test_notes_that_are_sentences_say_where_it_comes_from(tiny: Path) -> None:
    text = card_of(tiny, notes={"kind": "an import", "changed_from": "tiny 1", "recipe": {"seed": 0}}).text
    assert "- kind: an import\n- changed from: tiny 1\n- digest: `" in text
    assert "seed" not in text


def starting_point(path: Path, *, heads: bool) -> str:
    model = TwelveModel(ModelConfig.tiny())
    model.save(path)
    if not heads:
        save_file({f"trunk.{name}": tensor for name, tensor in model.trunk.state_dict().items()}, path / WEIGHTS_FILE)
    bundle: Bundle = seal(path, name="new", version="0", tasks={})
    return model_card(bundle, where="someone/new")


def test_a_starting_point_for_training_is_not_offered_for_answers(tmp_path: Path) -> None:
    text = starting_point(tmp_path, heads=True)
    assert "a starting point for training, and are not served" in text
    assert "twelve.load" not in text
    assert 'TwelveModel.from_pretrained("someone/new")' in text


def test_a_starting_point_without_heads_says_how_a_recipe_names_it_and_offers_nothing_that_fails(
    tmp_path: Path,
) -> None:
    text = starting_point(tmp_path, heads=False)
    assert "from_pretrained" not in text
    (recipe,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    assert Model(**tomllib.loads(recipe)["model"]).start == THIS_FOLDER


def test_a_bundle_that_is_served_is_no_starting_point(tiny: Path) -> None:
    text = card_of(tiny).text
    assert "start =" not in text
    assert 'twelve.load("someone/tiny")' in text
    assert 'TwelveModel.from_pretrained("someone/tiny")' in text


def test_the_card_of_the_committed_bundle_is_written_from_its_manifest() -> None:
    bundle = Bundle.open(ROOT / "model_store/small")
    assert (bundle.path / CARD).read_text(encoding="utf-8") == model_card(bundle, where=THIS_FOLDER)
