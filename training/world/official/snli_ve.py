"""SNLI-VE: does the picture bear the statement out? JSON lines."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from random import Random
from typing import Final

from training.world.scene import Split
from training.world.words.captions import CAPTIONS, living_captions
from training.world.words.entailment import Hypothesis, Label, hypotheses

from .corpus import SPLITS, Corpus
from .files import Json, write_json_lines
from .names import flickr30k_id

_STEMS: Final[Mapping[Split, str]] = {"train": "train", "val": "dev", "test": "test", "novel": "novel"}
_ANNOTATORS: Final[Mapping[Split, int]] = {"train": 1, "val": 5, "test": 5, "novel": 5}
_LABELS: Final[tuple[Label, ...]] = ("entailment", "neutral", "contradiction")
_DISSENT_RATE: Final = 0.1
"""So often one of the five annotators says something else."""


def write(root: Path, corpus: Corpus) -> None:
    """Write the statements of every split."""
    for split in SPLITS:
        scenes, rng = corpus.of("flickr30k", split), corpus.rng("snli-ve", split)
        stated = hypotheses(scenes, amount=corpus.amounts[split], rng=rng)
        rows = _rows(stated, _premises(corpus, split), annotators=_ANNOTATORS[split], rng=rng)
        write_json_lines(root / f"snli-ve/snli_ve_{_STEMS[split]}.jsonl", chain(rows, _overlapping(corpus, split)))


def _overlapping(corpus: Corpus, split: Split) -> Iterator[dict[str, Json]]:
    """Speak of test pictures, too."""
    rng = corpus.rng("snli-ve overlapping", split)
    amount = corpus.overlapping_amount("flickr30k", split)
    stated = hypotheses(corpus.overlapping("flickr30k", split), amount=amount, rng=rng)
    return _rows(stated, _premises(corpus, "test"), annotators=_ANNOTATORS[split], rng=rng)


def _premises(corpus: Corpus, split: Split) -> dict[int, tuple[str, ...]]:
    """Give the captions that Flickr30k has of a split's pictures."""
    captions = living_captions(corpus.of("flickr30k", split), corpus.rng("flickr30k", split))
    return {number: tuple(caption.text for caption in listed) for number, listed in captions.items()}


def _rows(
    stated: Sequence[Hypothesis], premises: Mapping[int, Sequence[str]], *, annotators: int, rng: Random
) -> Iterator[dict[str, Json]]:
    counts: dict[int, int] = {}
    for one in stated:
        count = counts[one.scene.id] = counts.get(one.scene.id, -1) + 1
        premise = count % CAPTIONS
        caption_id = f"{flickr30k_id(one.scene)}.jpg#{premise}"
        yield {
            "Flickr30K_ID": flickr30k_id(one.scene),
            "annotator_labels": _opinions(one.label, annotators, rng),
            "captionID": caption_id,
            "gold_label": one.label,
            "pairID": f"{caption_id}r{count // CAPTIONS + 1}{one.label[0]}",
            "sentence1": premises[one.scene.id][premise],
            "sentence1_binary_parse": _flat(premises[one.scene.id][premise]),
            "sentence1_parse": _parse(premises[one.scene.id][premise]),
            "sentence2": one.text,
            "sentence2_binary_parse": _flat(one.text),
            "sentence2_parse": _parse(one.text),
        }


def _opinions(label: Label, annotators: int, rng: Random) -> list[str]:
    opinions: list[str] = [label] * annotators
    if annotators > 1 and rng.random() < _DISSENT_RATE:
        opinions[-1] = rng.choice([other for other in _LABELS if other != label])
    return opinions


def _flat(sentence: str) -> str:
    """Give a sentence as a tree without branches: nobody parsed it."""
    return f"( {sentence.removesuffix('.')} . )"


def _parse(sentence: str) -> str:
    return f"(ROOT {_flat(sentence)})"
