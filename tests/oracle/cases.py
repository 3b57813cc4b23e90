"""Random tiny models and batches, drawn by hypothesis: what the oracle and the torch model are both given.

Sizes and switches are drawn one by one, the plainest first, so that a failure shrinks to the switch that matters; the
numbers themselves come from one seed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.oracle.trunk import Picture, Text

MOST_PIECES, MOST_REGIONS, MOST_LAYERS = 6, 5, 4
LEAST_WIDTH = 12
VOCABULARY, TASK_ROWS, FEATURES = 11, 4, 3
GARBAGE = 50.0
"""Of what stands where nothing may look, against about 1 elsewhere."""


@dataclass(frozen=True)
class Case:
    """A model and a batch.

    Attributes:
        config: Sizes and switches, under the configuration's names.
        texts: One for each picture, or one for all: how many word pieces, and which of its tokens are hidden.
        pictures: Of each, how many regions, and which are hidden.
        with_segments: Whether texts have segments, or leave them to the model.
        seed: Of weights, ids and features.
    """

    config: Mapping[str, Any]
    texts: Sequence[tuple[int, frozenset[int]]]
    pictures: Sequence[tuple[int, frozenset[int]]]
    with_segments: bool
    seed: int


@dataclass(frozen=True)
class Numbers:
    """The arrays of a case: the weights by name, and a text and a picture of each row."""

    weights: Mapping[str, NDArray[np.float32]]
    texts: Sequence[Text]
    pictures: Sequence[Picture]


def widths(draw: st.DrawFn) -> tuple[int, int]:
    """Draw a width and the heads that divide it, not so narrow that LayerNorm would blow up what rounding left."""
    heads = draw(st.integers(1, 3))
    return heads * draw(st.integers(LEAST_WIDTH // heads, LEAST_WIDTH // heads + 2)), heads


@st.composite
def configs(draw: st.DrawFn) -> dict[str, Any]:
    """Draw sizes and switches of a model."""
    text_layers, image_layers = draw(st.integers(1, MOST_LAYERS)), draw(st.integers(1, MOST_LAYERS))
    meetings = draw(st.sampled_from([1, 2, 3, 0]))
    hidden, heads = widths(draw)
    image_hidden, image_heads = widths(draw)
    fused, co_heads = widths(draw)
    activation = st.sampled_from(["gelu", "relu", "swish"])
    return {
        "num_hidden_layers": text_layers,
        "v_num_hidden_layers": image_layers,
        "t_biattention_id": draw(layer_ids(meetings, text_layers)),
        "v_biattention_id": draw(layer_ids(meetings, image_layers)),
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "v_hidden_size": image_hidden,
        "v_num_attention_heads": image_heads,
        "bi_hidden_size": fused,
        "bi_num_attention_heads": co_heads,
        "intermediate_size": draw(st.integers(1, 6)),
        "v_intermediate_size": draw(st.integers(1, 6)),
        "embedding_size": draw(st.none() | st.integers(1, 5)),
        "hidden_act": draw(activation),
        "v_hidden_act": draw(activation),
        "fusion_method": draw(st.sampled_from(["mul", "sum"])),
        "heads": draw(st.sampled_from(["paper", "released"])),
        "task_specific_tokens": draw(st.booleans()),
        "dynamic_attention": draw(st.booleans()),
        "with_coattention": draw(st.sampled_from([True, False])),
        "layer_norm_eps": draw(st.sampled_from([1e-12, 1e-3])),
        "type_vocab_size": draw(st.integers(1, 3)),
        "vqa_labels": draw(st.integers(1, 3)),
        "gqa_labels": draw(st.integers(1, 3)),
        "vocab_size": VOCABULARY,
        "max_position_embeddings": MOST_PIECES,
        "task_embedding_rows": TASK_ROWS,
        "v_feature_size": FEATURES,
    }


def layer_ids(count: int, layers: int) -> st.SearchStrategy[tuple[int, ...]]:
    """Draw the layers that co-attention stands before, in order; their number stands for the end of the stream."""
    ids = st.lists(st.integers(0, layers), min_size=count, max_size=count)
    return ids.map(lambda drawn: tuple(sorted(drawn)))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Draw a model and a batch of one to four rows."""
    config = draw(configs())
    task_token = int(config["task_specific_tokens"])
    pictures = draw(st.lists(sequences(MOST_REGIONS), min_size=1, max_size=4))
    texts = st.lists(sequences(MOST_PIECES, extra=task_token), min_size=len(pictures), max_size=len(pictures))
    return Case(
        config=config,
        texts=draw(texts | texts.map(lambda drawn: drawn[:1])),
        pictures=pictures,
        with_segments=draw(st.booleans()),
        seed=draw(st.integers(0, 2**32 - 1)),
    )


@st.composite
def sequences(draw: st.DrawFn, longest: int, *, extra: int = 0) -> tuple[int, frozenset[int]]:
    """Draw a length and hidden positions among it and `extra` more; the first is never hidden, the heads read it."""
    length = draw(st.integers(1, longest))
    positions = range(1, length + extra)
    return length, draw(st.frozensets(st.sampled_from(positions)) if positions else st.just(frozenset()))


def numbers_of(case: Case, shapes: Mapping[str, tuple[int, ...]]) -> Numbers:
    """Give a case its numbers.

    Args:
        case: As drawn.
        shapes: Of each weight, by name.
    """
    rng = np.random.default_rng(case.seed)
    weights = {name: weight(name, shape, rng) for name, shape in shapes.items()}
    task_token = int(case.config["task_specific_tokens"])
    texts = [
        Text(
            token_ids=rng.integers(0, VOCABULARY, length),
            segments=rng.integers(0, case.config["type_vocab_size"], length) * int(case.with_segments),
            task_token=int(rng.integers(0, TASK_ROWS)),
            counts=seen(length + task_token, hidden),
        )
        for length, hidden in case.texts
    ]
    pictures = [
        Picture(rng.normal(size=(length, FEATURES)), rng.uniform(size=(length, 5)), seen(length, hidden))
        for length, hidden in case.pictures
    ]
    return Numbers(weights, texts * (len(pictures) // len(texts)), pictures)


def weight(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a weight: nothing in it is 0 or 1 or equal to its neighbour, and states keep their size through layers."""
    drawn = rng.normal(size=shape)
    if len(shape) > 1:
        return (1.5 * drawn / np.sqrt(shape[-1])).astype(np.float32)
    return (0.3 * drawn + (1.0 if name.endswith("weight") else 0.0)).astype(np.float32)


def seen(length: int, hidden: frozenset[int]) -> NDArray[np.bool_]:
    """Write hidden positions as [length], True = may be attended."""
    return np.array([position not in hidden for position in range(length)])
