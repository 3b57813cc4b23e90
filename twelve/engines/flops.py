"""Floating-point operations of a request: counted, on tensors that have shapes and no numbers.

A multiplication and an addition count two. What counts is matrix products, attention's among them; all else is below
one in a hundred of them, and is left out as everybody leaves it out.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from twelve.batch import Text, Visual
from twelve.boxes import LOCATION_WIDTH
from twelve.engines.engine import Engine
from twelve.engines.graphs import token_count
from twelve.engines.savings import DEFAULT, ORDINARY_REGIONS, ORDINARY_TOKENS, Savings
from twelve.heads.model import TwelveModel
from twelve.model.config import ModelConfig
from twelve.schema import StoredImage
from twelve.tasks.registry import AnyTask

Result = TypeVar("Result")


class Size(NamedTuple):
    """What a request holds; an ordinary one by default.

    Attributes:
        tokens: Of a text, [CLS], [SEP] and the task token included.
        regions: Of a picture, the global one included.
    """

    tokens: int = ORDINARY_TOKENS
    regions: int = ORDINARY_REGIONS


class Cost(NamedTuple):
    """Operations of one request, by graph.

    Attributes:
        text: Once a text.
        regions: Once a picture.
        fuse: Once a pair of both.
        heads: Once a request.
    """

    text: int
    regions: int
    fuse: int
    heads: int

    @property
    def all(self) -> int:
        """Give the sum."""
        return sum(self)


def weightless(config: ModelConfig) -> TwelveModel:
    """Build a model whose weights have shapes and no numbers; it takes neither time nor memory."""
    with torch.device("meta"):
        return TwelveModel(config).eval()


def cost(model: TwelveModel, task: AnyTask, size: Size, savings: Savings = DEFAULT) -> Cost:
    """Count the operations of a task's example request.

    Args:
        model: Without numbers; see `weightless`.
        task: Whose example is asked, with as many pictures as it has.
        size: Of its text and of each of its pictures.
        savings: Which are made.

    Returns:
        The counts.
    """
    engine = Engine.eager(model, savings)
    with torch.device("meta"):
        builder = engine.builder()
        span = builder.add(_pairs(task, size, model.config))
        batch = builder.build()
        passes = engine.plan(batch, rows_per_pass=1)
        texts, of_text = counted(lambda: engine.text(batch.texts))
        regions, of_regions = counted(lambda: engine.regions(batch.visuals))
        states, of_fuse = counted(lambda: engine.fuse(batch, passes, texts, regions))
        _, of_heads = counted(lambda: engine.head(task.head, states, span))
    return Cost(of_text, of_regions, of_fuse, of_heads)


def counted(run: Callable[[], Result]) -> tuple[Result, int]:
    """Run something and count its operations.

    Args:
        run: Uses torch, on any device.

    Returns:
        What it gave, and the count.
    """
    with FlopCounterMode(display=False, custom_mapping=dict(KERNELS)) as counter:
        result = run()
    return result, counter.get_total_flops()


def _pairs(task: AnyTask, size: Size, config: ModelConfig) -> list[tuple[Text, Visual]]:
    """Give the rows of a task's example, its texts and pictures replaced by some of the given size."""
    stored = [StoredImage(key=str(place)) for place in range(task.pictures_in_example)]
    prompt = task.rows(task.request(**task.example(stored)))
    pieces = size.tokens - token_count(0, config)
    numbers = {text: number for number, text in enumerate(dict.fromkeys(text for text, _ in prompt.rows))}
    visuals = [
        Visual(torch.empty(size.regions, config.v_feature_size), torch.empty(size.regions, LOCATION_WIDTH))
        for _ in prompt.images
    ]
    return [(Text((numbers[text],) * pieces, task.token), visuals[image]) for text, image in prompt.rows]


def _attention(query: Any, key: Any, value: Any, *rest: Any, out_shape: Any = None, **options: Any) -> int:
    """Count one run of attention in one kernel, by the shapes that it is called with."""
    del rest, out_shape, options
    return int(sdpa_flop_count(query, key, value))


KERNELS: Mapping[Any, Callable[..., int]] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention,
    torch.ops.aten._scaled_dot_product_fused_attention_overrideable: _attention,
}
"""What torch's own counter takes for nothing: attention in one kernel, as torch runs it on CPUs and added devices."""
