"""Laws of the model on every engine: neither padding, nor batch mates, nor their order changes an answer.

Shapes: N rows · L word pieces · T tokens (task token included) · R regions (global one first) · F feature width.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from export.folder import KINDS, export
from export.source import graph_names
from tests.bundles import FEATURE_WIDTH, make_tiny_bundle
from twelve.assembly import Settings, assemble
from twelve.batch import BatchBuilder, Text, Visual, pad, plan
from twelve.boxes import LOCATION_WIDTH
from twelve.bundle import Bundle
from twelve.engines.engine import Engine
from twelve.engines.exported import Exported
from twelve.engines.graphs import FUSE, REGIONS, TEXT, graphs
from twelve.heads import HEADS
from twelve.heads.model import TwelveModel
from twelve.heads.pair import PICTURES_OF_A_PAIR
from twelve.runtimes import Runtime
from twelve.runtimes.module import ModuleRuntime

pytestmark = pytest.mark.slow  # every graph is exported twice

SAME = 1e-5  # of the largest value: float32 sums in another order
FAINT = 1.0  # a sum that cancelled to less is measured against what was summed
GARBAGE = 50.0  # of what stands in padding, against about 1 elsewhere
SOME_WORD = 7
TASK_TOKEN = 1  # as a tiny model has, beside its word pieces
CASES = 40

EAGER = "eager"
FILES = {kind.engine: name for name, kind in KINDS.items()}


@dataclass(frozen=True)
class Served:
    """One engine, and the graphs that it runs."""

    engine: Engine
    runtimes: Mapping[str, Runtime]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("laws") / "tiny", detector=False)


@pytest.fixture(scope="module")
def exported(bundle: Bundle) -> Path:
    out = bundle.path.parent / "graphs"
    export(bundle, out, [(graph, kind) for graph in graph_names(bundle) for kind in KINDS], lambda written: None)
    return out


@pytest.fixture(scope="module", params=[EAGER, *FILES])
def served(request: pytest.FixtureRequest, bundle: Bundle, exported: Path) -> Served:
    engine = assemble(bundle.path, Settings(engine=request.param, graphs=exported)).engine
    if request.param == EAGER:
        modules = graphs(TwelveModel.load(bundle.path))
        return Served(
            engine, {one.name: ModuleRuntime(one.module, inputs=one.inputs, outputs=one.outputs) for one in modules}
        )
    files = Exported.open(exported, bundle=bundle.digest())
    return Served(
        engine, {name: files.runtime(name, FILES[request.param], threads=1) for name in (TEXT, REGIONS, FUSE)}
    )


@dataclass(frozen=True)
class Request:
    """One request. Texts and pictures are numbered; equal numbers are the same text or picture."""

    head: str
    text: int
    pictures: tuple[int, ...]


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """Draw a request of any head: two pictures for the pair head, one or more candidates for alignment."""
    head = draw(st.sampled_from(sorted(HEADS)))
    fewest, most = {"pair": (PICTURES_OF_A_PAIR, PICTURES_OF_A_PAIR), "alignment": (1, 4)}.get(head, (1, 1))
    pictures = draw(st.lists(st.integers(0, 5), min_size=fewest, max_size=most))
    return Request(head, draw(st.integers(0, 5)), tuple(pictures))


@given(st.lists(requests(), min_size=1, max_size=5), st.integers(1, 6), st.sampled_from([0.0, 0.4, 1.0]))
@settings(max_examples=CASES, deadline=None)
def test_a_request_is_answered_alike_alone_and_among_any_others(
    served: Served, asked: list[Request], rows_per_pass: int, slack: float
) -> None:
    together = logits(served.engine, asked, rows_per_pass=rows_per_pass, slack=slack)
    for one, beside in zip(asked, together, strict=True):
        assert_close(beside, logits(served.engine, [one], rows_per_pass=1, slack=0.0)[0])


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=4))
@settings(max_examples=CASES, deadline=None)
def test_whatever_stands_in_padding_changes_nothing(served: Served, rows: list[tuple[int, int]]) -> None:
    for row, padded in zip(rows, states(served.runtimes, rows), strict=True):
        for name, alone in states(served.runtimes, [row])[0].items():
            assert_close(padded[name], alone)


def logits(engine: Engine, asked: Sequence[Request], *, rows_per_pass: int, slack: float) -> list[Tensor]:
    """Run requests as one batch."""
    visuals = {picture: visual_of(picture) for one in asked for picture in one.pictures}
    builder = BatchBuilder()
    spans = [builder.add([(text_of(one.text), visuals[picture]) for picture in one.pictures]) for one in asked]
    batch = builder.build()
    passes = plan(batch, rows_per_pass=rows_per_pass, slack=slack)
    states = engine.fuse(batch, passes, engine.text(batch.texts), engine.regions(batch.visuals))
    return [engine.head(one.head, states, span) for one, span in zip(asked, spans, strict=True)]


def states(runtimes: Mapping[str, Runtime], rows: Sequence[tuple[int, int]]) -> list[dict[str, Tensor]]:
    """Run rows of a text and a picture as one pass, garbage behind the end of each, and cut it off again."""
    texts, visuals = [text_of(text) for text, _ in rows], [visual_of(picture) for _, picture in rows]
    ids, _ = padded([torch.tensor(text.token_ids) for text in texts], fill=SOME_WORD)
    text_mask = pad([torch.ones(len(text.token_ids) + TASK_TOKEN, dtype=torch.bool) for text in texts])[1]
    task_tokens = torch.tensor([text.task_token for text in texts])
    features, region_mask = padded([visual.features for visual in visuals], fill=GARBAGE)
    locations, _ = padded([visual.locations for visual in visuals], fill=GARBAGE)
    text = runtimes[TEXT].run(token_ids=ids, text_mask=text_mask, task_tokens=task_tokens)["text"]
    regions = runtimes[REGIONS].run(features=features, locations=locations, region_mask=region_mask)["regions"]
    text, regions = text.clone(), regions.clone()
    text[~text_mask], regions[~region_mask] = GARBAGE, GARBAGE
    fused = runtimes[FUSE].run(text=text, text_mask=text_mask, regions=regions, region_mask=region_mask)
    return [
        {
            "text": text[row, words],
            "regions": regions[row, seen],
            "fused": fused["fused"][row],
            "region states": fused["region_states"][row, seen],
        }
        for row, (words, seen) in enumerate(zip(text_mask, region_mask, strict=True))
    ]


def padded(items: Sequence[Tensor], *, fill: float) -> tuple[Tensor, Tensor]:
    """Stack [L_i, …] items as [N, L, …], `fill` where one ends early; and the [N, L] mask of what is no padding."""
    stack, mask = pad(items)
    stack[~mask] = fill
    return stack, mask


def text_of(number: int) -> Text:
    """Make text `number`: its own words, length and task token."""
    generator = torch.Generator().manual_seed(number)
    words = torch.randint(1000, 20000, (number,), generator=generator).tolist()
    return Text((101, *words, 102), 1 + number)


def visual_of(number: int) -> Visual:
    """Make picture `number`: its own regions and how many."""
    generator = torch.Generator().manual_seed(number)
    features = torch.randn(2 + number, FEATURE_WIDTH, generator=generator)
    return Visual(features, torch.rand(2 + number, LOCATION_WIDTH, generator=generator))


def assert_close(got: Tensor, expected: Tensor) -> None:
    largest = max(float(expected.abs().max()), FAINT)
    torch.testing.assert_close(got, expected, rtol=0, atol=SAME * largest)
