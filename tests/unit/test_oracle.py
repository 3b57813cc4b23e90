"""The torch model beside a second one, written in NumPy from the equations, on random tiny configurations.

Shapes: N rows · L word pieces · T tokens (task token included) · R regions (global one first).
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from tests.oracle.algebra import Array, Weights
from tests.oracle.cases import GARBAGE, Case, Numbers, cases, numbers_of
from tests.oracle.heads import Heads, PretrainingHeads
from tests.oracle.trunk import Trunk
from twelve.batch import Text, Visual
from twelve.engines.engine import Engine, heads_of
from twelve.engines.savings import Savings
from twelve.heads import HEADS
from twelve.heads.base import Head
from twelve.heads.model import TwelveModel
from twelve.heads.pair import PICTURES_OF_A_PAIR, PairHead
from twelve.model.config import ModelConfig
from twelve.model.trunk import Given, Maps, States

CASES = 200
SERVED_CASES = 60
EXACT = 1e-9  # of float64 sums in another order
SINGLE = 1e-4  # of the tensor's largest value, for float32 through all layers
FAINT = 1.0  # a sum that cancelled to less is measured against what was summed

Value = TypeVar("Value")
Named = dict[str, Array]
"""What a model gives of one row: states, attention weights, every head's logits and scores."""

DIMENSIONS = {
    "state text": "TD",
    "state regions": "RV",
    "attention text": "LHTT",
    "attention regions": "LHRR",
    "attention text to image": "LHTR",
    "attention image to text": "LHRT",
    "logits grounding": "R",
    "pretraining words": "TW",
    "pretraining regions": "RC",
    "pretraining tokens": "T1",
}
"""Of what has tokens or regions, a row of the torch model's."""


@given(cases())
@settings(max_examples=CASES, deadline=None)
def test_the_torch_model_computes_what_the_equations_say(case: Case) -> None:
    model, numbers = model_and_numbers(case)
    expected = by_the_equations(case, numbers)
    assert_close(by_torch(model.double(), case, numbers), expected, relative=0.0, absolute=EXACT)
    assert_close(by_torch(model.float(), case, numbers), expected, relative=SINGLE, absolute=SINGLE * FAINT)


@given(cases(), st.builds(Savings, **{field.name: st.booleans() for field in fields(Savings)}), st.integers(1, 4))
@settings(max_examples=SERVED_CASES, deadline=None)
def test_an_engine_with_any_savings_answers_what_the_equations_say(
    case: Case, savings: Savings, rows_per_pass: int
) -> None:
    model, numbers = model_and_numbers(as_served(case))
    model.load_state_dict({name: torch.tensor(array) for name, array in numbers.weights.items()})
    got = by_engine(Engine.eager(model.eval(), savings), numbers, rows_per_pass=rows_per_pass)
    expected = [
        {name: array for name, array in row.items() if name.startswith("logits")}
        for row in by_the_equations(as_served(case), numbers)
    ]
    assert_close(got, expected, relative=SINGLE, absolute=SINGLE * FAINT)


def model_and_numbers(case: Case) -> tuple[TwelveModel, Numbers]:
    model = TwelveModel(ModelConfig(**case.config))
    model.add_pretraining()
    return model, numbers_of(case, {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()})


def as_served(case: Case) -> Case:
    """Give a case as a server would have it: no segments, and nothing hidden before its end."""
    texts, pictures = ([(length, frozenset()) for length, _ in items] for items in (case.texts, case.pictures))
    return replace(case, texts=texts, pictures=pictures, with_segments=False)


def assert_close(got: list[Named], expected: list[Named], *, relative: float, absolute: float) -> None:
    assert [row.keys() for row in got] == [row.keys() for row in expected]
    for name in expected[0]:
        largest = max(float(np.abs(row[name]).max()) for row in expected)
        for own, reference in zip(got, expected, strict=True):
            assert own[name].shape == reference[name].shape, name
            assert float(np.abs(own[name] - reference[name]).max()) <= max(relative * largest, absolute), name


def by_the_equations(case: Case, numbers: Numbers) -> list[Named]:
    """Run the oracle, each row on its own; the pair head reads a row and the next one."""
    weights = Weights(numbers.weights)
    trunk, heads = Trunk(weights.below("trunk"), case.config), Heads(weights.below("heads"), case.config)
    pretraining = PretrainingHeads(weights.below("pretraining"), trunk.words(), case.config)
    rows = [trunk.run(text, picture) for text, picture in zip(numbers.texts, numbers.pictures, strict=True)]
    given = []
    for row, following in zip(rows, [*rows[1:], rows[0]], strict=True):
        logits = heads.logits(row, following)
        named = titled("state", {name: getattr(row, name) for name in States._fields})
        named |= titled("attention", {name: np.stack(maps) for name, maps in row.maps.items()})
        named |= titled("logits", logits) | titled("pretraining", pretraining.logits(row))
        named |= titled("scores", {name: heads.scores(name, own) for name, own in logits.items()})
        given.append(named)
    return given


def by_torch(model: TwelveModel, case: Case, numbers: Numbers) -> list[Named]:
    """Run the torch model on all rows as one padded batch, then cut off what is padding."""
    dtype = model.trunk.text_pooler.weight.dtype
    model.load_state_dict({name: torch.tensor(array, dtype=dtype) for name, array in numbers.weights.items()})
    read, maps = given_of(case, numbers, dtype), Maps.empty()
    with torch.inference_mode():
        states = model.eval().trunk(read, maps=maps)
        logits = {name: rated(head, states) for name, head in heads_of(model).items()}
        batched = titled("state", states._asdict()) | titled("attention", stacked(maps, rows=len(states.fused)))
        batched |= titled("logits", logits) | titled("pretraining", pretrained(model, states))
    rows = []
    for place, seen in enumerate(read.region_mask):
        counts = {"T": read.text_mask[min(place, len(read.text_mask) - 1)], "R": seen}
        row = {name: cut(tensor[place], DIMENSIONS.get(name, ""), counts) for name, tensor in batched.items()}
        row |= titled("scores", {name: model.heads[name].scores(row[f"logits {name}"]) for name in logits})
        rows.append({name: tensor.double().numpy() for name, tensor in row.items()})
    return rows


def by_engine(engine: Engine, numbers: Numbers, *, rows_per_pass: int) -> list[Named]:
    """Ask every head about every row, all in one batch; the pair head about a row and the next one."""
    texts = [Text(tuple(text.token_ids.tolist()), text.task_token) for text in numbers.texts]
    visuals = [
        Visual(torch.tensor(picture.features).float(), torch.tensor(picture.locations).float())
        for picture in numbers.pictures
    ]
    rows = list(zip(texts, visuals, strict=True))
    builder, asked = engine.builder(), []
    for name in HEADS:
        for row, following in zip(rows, [*rows[1:], rows[0]], strict=True):
            asked.append((name, builder.add([row, following] if name == PairHead.name else [row])))
    built = builder.build()
    passes = engine.plan(built, rows_per_pass=rows_per_pass)
    states = engine.fuse(built, passes, engine.text(built.texts), engine.regions(built.visuals))
    logits = [(name, engine.head(name, states, span).double().numpy()) for name, span in asked]
    return [{f"logits {name}": own for name, own in logits[place :: len(rows)]} for place in range(len(rows))]


def given_of(case: Case, numbers: Numbers, dtype: torch.dtype) -> Given:
    """Pad a case's texts and pictures: some word stands behind the end of a text, garbage behind that of a picture."""
    texts, pictures = numbers.texts[: len(case.texts)], numbers.pictures
    segments = padded([text.segments for text in texts], fill=0)
    return Given(
        token_ids=padded([text.token_ids for text in texts], fill=1),
        text_mask=padded([text.counts for text in texts], fill=False),
        task_tokens=torch.tensor([text.task_token for text in texts]),
        features=padded([picture.features for picture in pictures], fill=GARBAGE).to(dtype),
        locations=padded([picture.locations for picture in pictures], fill=GARBAGE).to(dtype),
        region_mask=padded([picture.counts for picture in pictures], fill=False),
        segments=segments if case.with_segments else None,
    )


def rated(head: Head, states: States) -> Tensor:
    """Let a head rate each row; one that reads two at a time, each row and the next."""
    own: Tensor = getattr(states, head.reads)
    pairs = torch.arange(len(own)).repeat_interleave(PICTURES_OF_A_PAIR).roll(-1)  # 0 1, 1 2, …, N-1 0
    return head(head.arrange(own[pairs] if isinstance(head, PairHead) else own))


def pretrained(model: TwelveModel, states: States) -> Mapping[str, Tensor]:
    """Let the pre-training heads rate each row."""
    heads = model.pretraining
    assert heads is not None
    return {
        "words": heads.words(states.text, model.trunk.text_embedding),
        "regions": heads.regions(states.regions),
        "alignment": heads.alignment(states.fused),
        "tokens": heads.tokens(states.text),
    }


def stacked(maps: Maps, *, rows: int) -> Mapping[str, Tensor]:
    """Stack the attention weights of all layers, [N, L, H, …]; those of a single text count for every row."""
    image_to_text, text_to_image = zip(*maps.co, strict=True) if maps.co else ((), ())
    of_all = {
        "text": maps.text,
        "regions": maps.regions,
        "text to image": text_to_image,
        "image to text": image_to_text,
    }
    return {
        name: torch.stack([layer.expand(rows, -1, -1, -1) for layer in layers], dim=1)
        for name, layers in of_all.items()
        if layers
    }


def cut(tensor: Tensor, dimensions: str, counts: Mapping[str, Tensor]) -> Tensor:
    """Keep the tokens and regions that count."""
    for axis, letter in enumerate(dimensions):
        if letter in counts:
            tensor = tensor.index_select(axis, counts[letter].nonzero()[:, 0])
    return tensor


def padded(arrays: Sequence[NDArray[Any]], *, fill: Any) -> Tensor:
    """Stack [L_i, …] arrays as [N, L, …], `fill` where one ends early."""
    stack = np.full((len(arrays), max(map(len, arrays)), *arrays[0].shape[1:]), fill, dtype=arrays[0].dtype)
    for row, array in zip(stack, arrays, strict=True):
        row[: len(array)] = array
    return torch.from_numpy(stack)


def titled(title: str, named: Mapping[str, Value]) -> dict[str, Value]:
    """Put a title before each name."""
    return {f"{title} {name}": value for name, value in named.items()}
