"""The tokenizer against the published one's pieces and ids (tests/data/golden/PROVENANCE.md)."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from twelve.text import PAD, TextEncoder

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "data" / "golden"
FILES = sorted(path.name for path in GOLDEN.glob("golden_tokenizer*.json"))
BERT = ROOT / "twelve" / "convert" / "vocab.txt"
VOCABULARIES = dict.fromkeys(("bert_base_uncased_vocab.txt", "bert-base-uncased-vocab.txt"), BERT)
SPECIAL = re.compile(r"(\[CLS\]|\[SEP\]|\[MASK\]|\[PAD\]|\[UNK\])")  # the published tokenizer obeys them in any text


@cache
def told(file: str) -> dict[str, Any]:
    return json.loads((GOLDEN / file).read_text(encoding="utf-8"))


@cache
def vocabulary(file: str) -> list[str]:
    name = told(file)["vocab"]
    return VOCABULARIES.get(name, GOLDEN / name).read_text(encoding="utf-8").split("\n")


@cache
def encoder(file: str) -> TextEncoder:
    return TextEncoder({piece: index for index, piece in enumerate(vocabulary(file)) if piece})


def published_pieces(file: str, text: str) -> list[int]:
    """Encode as ours does, but for special tokens written out in the text."""
    ids: list[int] = []
    for part in SPECIAL.split(text):
        ids += [vocabulary(file).index(part)] if SPECIAL.fullmatch(part) else encoder(file).encode(part)[1:-1]
    return ids


CASES = [(file, place) for file in FILES for place in range(len(told(file)["cases"]))]


def test_the_golden_texts_are_there() -> None:
    assert len(CASES) >= 26 + 22


@pytest.mark.parametrize(("file", "place"), CASES)
def test_a_text_becomes_the_published_pieces_and_ids(file: str, place: int) -> None:
    case = told(file)["cases"][place]
    cls, sep = encoder(file).encode("")
    pad = vocabulary(file).index(PAD)
    ids = published_pieces(file, case["text"])
    assert ids == case["ids"]
    assert [vocabulary(file)[index] for index in ids] == case["tokens"]
    assert [cls, *ids, sep] == case["with_special"]
    for length, padded in case["padded"].items():
        kept = [cls, *ids[: int(length) - 2], sep]
        missing = int(length) - len(kept)
        assert kept + [pad] * missing == padded["ids"]
        assert [1] * len(kept) + [0] * missing == padded["mask"]
        assert set(padded.get("segments", ())) <= {0}


@pytest.mark.parametrize(("file", "place"), CASES)
def test_our_encoder_alone_gives_the_published_ids_of_texts_without_special_tokens(file: str, place: int) -> None:
    case = told(file)["cases"][place]
    same = list(encoder(file).encode(case["text"])) == case["with_special"]
    assert same is (SPECIAL.search(case["text"]) is None)
    for length, padded in case["padded"].items():
        ids = encoder(file).encode(case["text"], most=int(length))
        assert len(ids) <= int(length)
        assert not same or list(ids) == padded["ids"][: len(ids)]
