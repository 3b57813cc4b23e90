"""`transformers.AutoTokenizer` reads a bundle's folder, and reads a text as the model's own encoder does."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tests.bundles import make_tiny_bundle
from twelve.bundle import TOKENIZER_SETTINGS, VOCABULARY, seal
from twelve.hub import dress
from twelve.model.config import ModelConfig
from twelve.text import LONGEST_WORD, TextEncoder

PIECES = (
    "[SEP]",
    "[CLS] ",
    " [MASK]",
    "[PAD]",
    "[UNK]",
    "##ing",
    "don't",
    "Ünïcode",
    "漢字",
    "\u200b",
    "\x00",
    "e\u0301",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dress(make_tiny_bundle(tmp_path_factory.mktemp("hub") / "tiny", detector=False)).path


@pytest.fixture(scope="module")
def tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(folder)


@pytest.fixture(scope="module")
def encoder(folder: Path) -> TextEncoder:
    return TextEncoder.load(folder / VOCABULARY)


@given(st.lists(st.text() | st.sampled_from(PIECES)).map("".join))
@example("What color is the car? [SEP] Red.")
@example("x" * LONGEST_WORD + " " + "x" * (LONGEST_WORD + 1))
@example("")
@settings(max_examples=200, deadline=None)
def test_a_text_becomes_the_same_ids(tokenizer: PreTrainedTokenizerBase, encoder: TextEncoder, text: str) -> None:
    assert tuple(tokenizer(text)["input_ids"]) == encoder.encode(text)


def test_a_long_text_is_cut_at_the_same_place_where_it_is_to_be_cut(
    tokenizer: PreTrainedTokenizerBase, encoder: TextEncoder
) -> None:
    longest = ModelConfig.tiny().max_position_embeddings
    text = "a red car and a blue dog " * longest
    assert tuple(tokenizer(text, truncation=True)["input_ids"]) == encoder.encode(text, most=longest)


def test_the_settings_are_no_part_of_the_bundle(folder: Path) -> None:
    assert (folder / TOKENIZER_SETTINGS).is_file()
    assert TOKENIZER_SETTINGS not in seal(folder, name="tiny", version="0", tasks={}).manifest.files
