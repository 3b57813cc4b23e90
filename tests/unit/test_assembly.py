"""Bundles and graphs that are not fit to be served are refused at start-up, by a sentence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bundles import make_tiny_bundle
from twelve.assembly import Settings, assemble, encoder_of, knowledge_of
from twelve.bundle import MANIFEST, VOCABULARY, Bundle, seal
from twelve.engines.exported import EXPORT_FILE, FORMAT, Exported
from twelve.errors import StartupError
from twelve.heads.model import CONFIG_FILE
from twelve.model.config import ModelConfig

EAGER = Settings(engine="eager")
DIGEST = "0" * 64


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make_tiny_bundle(tmp_path / "tiny", detector=False)


def resealed(bundle: Bundle) -> Path:
    """Write the manifest anew: what was changed was meant."""
    return seal(bundle.path, name="tiny", version="0", tasks=bundle.manifest.tasks).path


def with_config(**changes: Any) -> Callable[[Bundle], Path]:
    def spoil(bundle: Bundle) -> Path:
        file = bundle.path / CONFIG_FILE
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
        return resealed(bundle)

    return spoil


def with_text(name: str, text: str) -> Callable[[Bundle], Path]:
    def spoil(bundle: Bundle) -> Path:
        (bundle.path / name).write_text(text)
        return bundle.path if name == MANIFEST else resealed(bundle)

    return spoil


def without(name: str) -> Callable[[Bundle], Path]:
    def spoil(bundle: Bundle) -> Path:
        (bundle.path / name).unlink()
        return resealed(bundle)

    return spoil


def with_manifest(**changes: Any) -> Callable[[Bundle], Path]:
    def spoil(bundle: Bundle) -> Path:
        file = bundle.path / MANIFEST
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
        return bundle.path

    return spoil


UNFIT = {
    "no answers": (without("answers/gqa.json"), r"answers/gqa\.json is not there"),
    "answers that are no list": (with_text("answers/gqa.json", "{}"), "is no JSON list of strings"),
    "answers of another length": (with_text("answers/gqa.json", '["yes"]'), "lists 1 answers, the head has 5"),
    "no configuration": (without(CONFIG_FILE), r"config\.json is not there"),
    "a configuration that is no object": (with_text(CONFIG_FILE, "[]"), "is no JSON object"),
    "a configuration that is no JSON": (with_text(CONFIG_FILE, "{"), "is no JSON"),
    "an unknown fusion": (with_config(fusion_method="concat"), "fusion_method: Input should be 'mul' or 'sum'"),
    "an unknown activation": (with_config(v_hidden_act="tanh"), "v_hidden_act: Input should be 'gelu'"),
    "an unknown form of head": (with_config(heads="mine"), "heads: Input should be 'paper' or 'released'"),
    "a size that is a word": (with_config(hidden_size="16"), "hidden_size: .* got '16'"),
    "a vocabulary beyond the word table": (with_config(vocab_size=30521), "30522 entries, the word table 30521 rows"),
    "a token beyond the task table": (with_config(task_embedding_rows=17), "has token 17, the task table has 17 rows"),
    "a manifest that is no object": (with_text(MANIFEST, "[]"), "is no JSON object"),
    "a manifest that is no JSON": (with_text(MANIFEST, "{"), "is no JSON"),
    "a token that is no number": (with_manifest(tasks={"gqa": "15"}), "tasks must be an object of token numbers"),
    "a file without its hash": (with_manifest(files={VOCABULARY: {}}), "files must be an object of entries"),
    "a token of another table": (with_manifest(tasks={"gqa": 3}), "was trained with token 3, here it is 15"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_an_unfit_bundle_is_refused_by_a_sentence(bundle: Bundle, case: str) -> None:
    spoil, said = UNFIT[case]
    with pytest.raises(StartupError, match=said):
        assemble(spoil(bundle), EAGER)


def test_a_word_table_may_have_more_rows_than_the_vocabulary_has_entries(bundle: Bundle) -> None:
    path = with_config(vocab_size=40000)(bundle)
    assert encoder_of(Bundle.open(path), ModelConfig.load(path / CONFIG_FILE)).size == 30522


def test_a_model_without_task_tokens_needs_no_rows_for_them(bundle: Bundle) -> None:
    path = with_config(task_embedding_rows=1, task_specific_tokens=False)(bundle)
    assert "guesswhat" in knowledge_of(Bundle.open(path), ModelConfig.load(path / CONFIG_FILE)).tasks


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no JSON"),
        ("[]", "is no JSON object"),
        (json.dumps({"format": FORMAT}), "was exported from another bundle"),
        (json.dumps({"format": FORMAT, "bundle": DIGEST}), "is broken"),
        (json.dumps({"format": FORMAT, "bundle": DIGEST, "graphs": {"text": {}}}), "is broken"),
        (
            json.dumps(
                {"format": FORMAT, "bundle": DIGEST, "graphs": {"text": {"inputs": [], "outputs": [], "onnx": {}}}}
            ),
            "is broken",
        ),
    ],
)
def test_a_broken_record_of_an_export_is_refused_by_a_sentence(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / EXPORT_FILE).write_text(text)
    with pytest.raises(StartupError, match=said):
        Exported.open(tmp_path, bundle=DIGEST)
