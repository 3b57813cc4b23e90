"""Every saving pays, and none changes a result."""

import dataclasses
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from twelve.batch import Text, Visual
from twelve.boxes import LOCATION_WIDTH
from twelve.engines.engine import Engine
from twelve.engines.flops import counted
from twelve.engines.graphs import FUSE, PACKED_REGIONS, PACKED_TEXT, REGIONS, TEXT, graphs
from twelve.engines.savings import NO_SAVINGS, Savings
from twelve.heads.model import TwelveModel
from twelve.model.attention import CoAttention
from twelve.model.config import ModelConfig

CLOSE = 1e-5  # of the largest value: fp32 sums in another order
SWITCHES = [field.name for field in dataclasses.fields(Savings)]
ALL = Savings(first_meeting_once=True)
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "tiny": {},
    "sum": {"fusion_method": "sum"},
    "no task tokens": {"task_specific_tokens": False},
    "gates": {"dynamic_attention": True},
    "gates on layers before the first meeting": {"dynamic_attention": True, "v_biattention_id": (1, 1)},
    "layers before the first meeting": {"v_biattention_id": (1,), "t_biattention_id": (2,)},
    "no layer after the last meeting": {"v_biattention_id": (0, 2), "t_biattention_id": (1, 3)},
    "layers that never meet": {"with_coattention": False},
    "wide heads": {"bi_hidden_size": 128, "bi_num_attention_heads": 2},
    "no meeting": {"v_biattention_id": (), "t_biattention_id": ()},
}


@cache
def model(configuration: str = "tiny") -> TwelveModel:
    torch.manual_seed(0)
    made = TwelveModel(dataclasses.replace(ModelConfig.tiny(), **CONFIGURATIONS[configuration])).eval()
    with torch.no_grad():
        for weight in made.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return made


@cache
def requests() -> list[tuple[str, list[tuple[Text, Visual]]]]:
    """Ask every head; texts and pictures of many lengths, some of them asked more than once."""
    generator = torch.Generator().manual_seed(1)
    texts = [Text(tuple(range(10, 12 + words)), 1 + words) for words in (1, 4, 2)]
    pictures = [
        Visual(torch.rand(count, 8, generator=generator), torch.rand(count, LOCATION_WIDTH, generator=generator))
        for count in (5, 2, 7)
    ]
    return [
        ("vqa", [(texts[0], pictures[0])]),
        ("alignment", [(texts[1], picture) for picture in pictures]),
        ("grounding", [(texts[2], pictures[2])]),
        ("pair", [(texts[1], pictures[0]), (texts[1], pictures[1])]),
        ("grounding", [(texts[1], pictures[0])]),
        ("entailment", [(texts[1], pictures[2])]),
        ("gqa", [(texts[0], pictures[1])]),
    ]


def logits(engine: Engine, *, rows_per_pass: int) -> list[Tensor]:
    builder = engine.builder()
    spans = [builder.add(pairs) for _, pairs in requests()]
    batch = builder.build()
    passes = engine.plan(batch, rows_per_pass=rows_per_pass)
    states = engine.fuse(batch, passes, engine.text(batch.texts), engine.regions(batch.visuals))
    return [engine.head(head, states, span) for (head, _), span in zip(requests(), spans, strict=True)]


@cache
def without_savings(configuration: str) -> list[Tensor]:
    return logits(Engine.eager(model(configuration), NO_SAVINGS), rows_per_pass=1)


@pytest.mark.parametrize("switch", [*SWITCHES, "all"])
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
def test_no_saving_changes_a_result(configuration: str, switch: str) -> None:
    saving = ALL if switch == "all" else dataclasses.replace(NO_SAVINGS, **{switch: True})
    with_it = logits(Engine.eager(model(configuration), saving), rows_per_pass=4)
    for one, other in zip(with_it, without_savings(configuration), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=CLOSE * float(other.abs().max()))


@pytest.mark.parametrize("others", [NO_SAVINGS, Savings(), ALL], ids=["alone", "beside the default", "beside all"])
@pytest.mark.parametrize("switch", [name for name in SWITCHES if name != "regions_unprojected"])  # see test_flops
def test_every_saving_saves(switch: str, others: Savings) -> None:
    def flops(on: bool) -> int:
        engine = Engine.eager(model(), dataclasses.replace(others, **{switch: on}))
        return counted(lambda: logits(engine, rows_per_pass=4))[1]

    assert flops(True) < flops(False)


@pytest.mark.parametrize(("tokens", "regions"), [(1, 1), (1, 9), (9, 1), (5, 12)])
@pytest.mark.parametrize("heads", [1, 3])
def test_tokens_projected_in_the_regions_place_attend_alike(tokens: int, regions: int, heads: int) -> None:
    torch.manual_seed(tokens)
    layer = CoAttention(image_width=7, text_width=5, inner=6, heads=heads, dropouts=(0.0, 0.0)).double()
    given = torch.randn(4, regions, 7).double(), torch.rand(4, regions) < 0.7
    said = torch.randn(4, tokens, 5).double(), torch.rand(4, tokens) < 0.7
    for _, mask in (given, said):
        mask[:, 0] = True
    for one, other in zip(layer.through_text(*given, *said), layer(*given, *said), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_what_pays_in_a_server_is_on() -> None:
    assert {name for name in SWITCHES if getattr(Savings(), name)} == set(SWITCHES) - {"first_meeting_once"}
    assert not any(getattr(NO_SAVINGS, name) for name in SWITCHES)


def test_a_trunk_that_cannot_keep_a_first_meeting_has_the_graphs_of_any_other() -> None:
    for configuration in ("layers that never meet", "no meeting", "gates on layers before the first meeting"):
        found = {graph.name: graph for graph in graphs(model(configuration), ALL)}
        assert found[TEXT].outputs == (TEXT,)
        assert PACKED_TEXT not in found[FUSE].inputs


def test_a_kept_first_meeting_is_given_from_graph_to_graph_by_name() -> None:
    found = {graph.name: graph for graph in graphs(model(), ALL)}
    assert found[TEXT].outputs == (TEXT, PACKED_TEXT)
    assert found[REGIONS].outputs == (REGIONS, PACKED_REGIONS)
    assert found[FUSE].inputs[-2:] == (PACKED_TEXT, PACKED_REGIONS)
    assert found[FUSE].example.keys() == found[FUSE].dynamic.keys() == set(found[FUSE].inputs)
