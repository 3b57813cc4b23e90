"""What a request costs, held to the figures worked out for the published model, and to a closed form."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.published import PublishedForward, padded
from twelve.batch import Text, Visual
from twelve.engines.flops import KERNELS, Cost, Size, cost, counted, weightless
from twelve.engines.savings import NO_SAVINGS, Savings
from twelve.heads.model import TwelveModel
from twelve.model.config import ModelConfig
from twelve.tasks import TASKS

GIGA = 1e9
CLOSE = 0.01
CAPTION = Size(tokens=14, regions=101)
PICTURES = TASKS["coco-retrieval"].pictures_in_example
PROJECTING = Savings(regions_unprojected=False)
PACKING = Savings(first_meeting_once=True, regions_unprojected=False)

LIGHT = {
    *("_softmax", "gelu", "native_layer_norm", "relu", "sigmoid", "silu"),
    *("add", "bitwise_not", "div", "lt", "mean", "mul", "sub", "sum"),
    *("_to_copy", "_unsafe_view", "alias", "cat", "clone", "detach", "embedding", "expand"),
    *("index_select", "masked_fill"),
    *("permute", "select", "slice", "split", "squeeze", "stack", "t", "transpose", "unbind", "unsqueeze", "view"),
    *("arange", "empty", "ones", "ones_like", "rand", "scalar_tensor", "zeros"),
}
"""Kernels of the model that do a few operations a number, or none."""


@cache
def paper() -> TwelveModel:
    return weightless(ModelConfig.paper())


@cache
def tiny() -> TwelveModel:
    return weightless(ModelConfig.tiny())


@cache
def of(task: str, savings: Savings = PROJECTING, size: Size = CAPTION) -> Cost:
    return cost(paper(), TASKS[task], size, savings)


def near(giga: float) -> Any:
    return pytest.approx(giga * GIGA, rel=CLOSE)


def test_a_retrieval_pair_costs_what_was_worked_out_or_a_little_less() -> None:
    found = of("coco-retrieval")
    marginal = (found.fuse + found.heads) / PICTURES
    assert marginal == near(16.77)
    assert marginal + found.text + found.regions / PICTURES == near(18.39)


def test_a_pair_is_cheaper_by_the_first_meeting_where_that_is_kept() -> None:
    found = of("coco-retrieval", PACKING)
    assert (found.fuse + found.heads) / PICTURES == near(16.07)
    assert found.all == of("coco-retrieval").all - (PICTURES - 1) * (found.text - of("coco-retrieval").text)


def test_the_published_forward_pads_and_runs_every_head() -> None:
    with torch.device("meta"):
        forward = PublishedForward(TwelveModel(ModelConfig.paper())).eval()
        seen = Visual(torch.empty(101, 2048), torch.empty(101, 5))
        given = padded([Text((0,) * 11, 7)] * 2, [seen] * 2, tokens=31, regions=101)
        with torch.inference_mode():
            _, flops = counted(lambda: forward(given))
    assert flops / 2 == near(26.38)


def test_a_pair_costs_what_the_layers_multiply() -> None:
    found = of("coco-retrieval", dataclasses.replace(PROJECTING, last_layer_where_read=False))
    text, regions, pair = by_hand(CAPTION)
    assert found.text == pytest.approx(text, rel=1e-6)
    assert found.regions == pytest.approx(PICTURES * regions, rel=1e-6)
    assert found.fuse == pytest.approx(PICTURES * pair, rel=1e-6)


def by_hand(size: Size) -> tuple[int, int, int]:
    """Multiply out the published sizes: 6 text layers alone; then 6 of each kind, and both poolers."""
    T, R = size.tokens, size.regions
    text_layer = T * (4 * 768 * 768 + 2 * 768 * 3072) + 2 * T * T * 768
    image_layer = R * (4 * 1024 * 1024 + 2 * 1024 * 1024) + 2 * R * R * 1024
    of_text = T * (3 * 768 * 1024 + 1024 * 768 + 2 * 768 * 3072)
    of_image = R * (3 * 1024 * 1024 + 1024 * 1024 + 2 * 1024 * 1024)
    meeting = of_text + of_image + 2 * (2 * T * R * 1024)
    poolers = 768 * 1024 + 1024 * 1024
    embedding = R * (2048 + 5) * 1024
    return 2 * 6 * text_layer, 2 * embedding, 2 * (6 * (text_layer + image_layer + meeting) + poolers)


def test_where_one_position_is_read_the_last_layers_cost_as_much_less_as_they_multiply_less() -> None:
    everywhere = dataclasses.replace(PROJECTING, last_layer_where_read=False)
    T, R = CAPTION
    text = (T - 1) * (2 * 768 * 768 + 2 * 768 * 3072 + 2 * T * 768)  # query, output, feed-forward; scores and means
    image = (R - 1) * (2 * 1024 * 1024 + 2 * 1024 * 1024)  # the same
    projected = (R - 1) * 2 * 1024 * 1024  # keys and values: two products for one position in place of R
    attended = R * 2 * 1024 * R - R * 2 * 1024 * 8  # one query, but each of 8 heads sees the whole width
    saved = of("vqa-v2", everywhere).fuse - of("vqa-v2").fuse
    assert saved == 2 * (text + image + projected + attended)


def test_tokens_that_are_projected_in_the_regions_place_cost_what_they_multiply() -> None:
    T, R = CAPTION
    regions = 3 * R * 1024 * 1024  # a query, a key and a value each
    tokens = 3 * T * 1024 * 1024
    seen_whole = 3 * T * R * (8 - 1) * 1024  # each of 8 heads sees the whole width: both scores, and the means
    bias = T * 1024
    saved = of("vqa-v2").fuse - of("vqa-v2", Savings()).fuse
    assert saved == 2 * 6 * (regions - tokens - seen_whole - bias)


def test_by_default_a_retrieval_pair_costs_a_sixth_less_than_was_worked_out() -> None:
    found = of("coco-retrieval", Savings())
    assert (found.fuse + found.heads) / PICTURES == near(13.72)


@pytest.mark.parametrize(
    ("tokens", "regions", "pays"), [(29, 37, True), (30, 37, False), (59, 101, True), (60, 101, False)]
)
def test_tokens_in_the_regions_place_pay_while_they_are_few(tokens: int, regions: int, pays: bool) -> None:
    layer = paper().trunk.co_layers[0]
    given = torch.empty(1, regions, 1024, device="meta"), torch.ones(1, regions, dtype=torch.bool, device="meta")
    said = torch.empty(1, tokens, 768, device="meta"), torch.ones(1, tokens, dtype=torch.bool, device="meta")
    with torch.inference_mode():
        through_text = counted(lambda: layer.through_text(*given, *said))[1]
        projecting = counted(lambda: layer(*given, *said))[1]
    assert (through_text < projecting) == pays


def test_a_model_of_narrow_heads_projects_its_regions() -> None:
    small = weightless(ModelConfig.small(vqa_labels=9, gqa_labels=9))
    assert cost(small, TASKS["vqa-v2"], CAPTION) == cost(small, TASKS["vqa-v2"], CAPTION, PROJECTING)


def test_the_grounding_head_runs_the_last_layer_of_the_regions_itself() -> None:
    R = CAPTION.regions
    layer = R * (4 * 1024 * 1024 + 2 * 1024 * 1024) + 2 * R * R * 1024
    assert of("refcoco").heads == 2 * (layer + R * 1024)
    assert of("refcoco").fuse == of("vqa-v2").fuse


@pytest.mark.parametrize("task", TASKS)
def test_every_task_costs_less_with_savings_than_without(task: str) -> None:
    assert cost(tiny(), TASKS[task], CAPTION).all < cost(tiny(), TASKS[task], CAPTION, NO_SAVINGS).all


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("mask", [None, (1, 1, 1, 9)], ids=["no mask", "mask"])
@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode, torch.enable_grad])
def test_attention_in_one_kernel_counts_like_attention_in_several(
    device: str, mask: tuple[int, ...] | None, guard: Callable[[], Any]
) -> None:
    query, key = torch.rand(2, 4, 7, 16, device=device), torch.rand(2, 4, 9, 16, device=device)
    allowed = None if mask is None else torch.ones(mask, dtype=torch.bool, device=device)
    with guard():
        _, flops = counted(lambda: functional.scaled_dot_product_attention(query, key, key, attn_mask=allowed))
    assert flops == 2 * (2 * 2 * 4 * 7 * 9 * 16)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dynamic_attention": True},
        {"with_coattention": False},
        {"fusion_method": "sum", "hidden_act": "relu", "v_hidden_act": "swish"},
        {"embedding_size": None},
    ],
    ids=str,
)
def test_the_counter_knows_every_kernel_that_could_be_heavy(changes: dict[str, Any]) -> None:
    model = weightless(dataclasses.replace(ModelConfig.tiny(), **changes))
    with kernels() as seen:
        for task, savings in (("nlvr2", NO_SAVINGS), ("nlvr2", PACKING), ("refcoco", PACKING)):  # every head and graph
            cost(model, TASKS[task], Size(tokens=5, regions=4), savings)
    counted_for = {packet.__name__ for packet in (*flop_registry, *KERNELS) if hasattr(packet, "__name__")}
    assert seen - LIGHT <= counted_for
    assert seen & counted_for >= {"addmm", "bmm"}


class _Seen(TorchDispatchMode):
    def __init__(self, names: set[str]) -> None:
        super().__init__()
        self.names = names

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.add(func._schema.name.removeprefix("aten::").rstrip("_"))
        return func(*args, **(kwargs or {}))


@contextmanager
def kernels() -> Iterator[set[str]]:
    """Note every kernel that runs: below the counter, which takes composite ones apart."""
    names: set[str] = set()
    with _Seen(names):
        yield names
