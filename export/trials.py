"""Inputs of other shapes than those the model's graphs are traced with: one row, several, padding, the longest text."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Generator, Tensor

from export.exportable import Exportable
from twelve.engines.graphs import Graph, graphs, token_count
from twelve.engines.savings import DEFAULT, Savings
from twelve.heads.model import TwelveModel
from twelve.model.config import ModelConfig

SHORTEST = 3
"""Word pieces of a text of one word: [CLS], the word, [SEP]."""

FEWEST, MOST = 2, 101
"""Regions: the global one and another; the published model's."""


def model_exportables(model: TwelveModel, savings: Savings = DEFAULT) -> list[Exportable]:
    """Give the model's graphs, each with its trials.

    Args:
        model: In evaluation mode.
        savings: Of the graphs.

    Returns:
        In the order of `graphs`.
    """
    generator = Generator().manual_seed(0)
    sizes = _sizes(model.config)
    bounds = {"token_ids": model.config.vocab_size, "task_tokens": model.config.task_embedding_rows}
    return [
        Exportable(graph, tuple(_trial(graph, dimensions, bounds, generator) for dimensions in sizes))
        for graph in graphs(model, savings)
    ]


def _sizes(config: ModelConfig) -> Sequence[Mapping[str, int]]:
    """Give each trial's dimensions by their letters; an item of a head is a row here."""
    longest = config.max_position_embeddings
    rows_pieces_regions = ((1, SHORTEST, FEWEST), (1, longest, MOST), (3, longest // 2, 21), (5, 2 * SHORTEST, 12))
    return [
        {"rows": rows, "items": rows, "pieces": pieces, "tokens": token_count(pieces, config), "regions": regions}
        for rows, pieces, regions in rows_pieces_regions
    ]


def _trial(
    graph: Graph, dimensions: Mapping[str, int], bounds: Mapping[str, int], generator: Generator
) -> dict[str, Tensor]:
    drawn = {}
    for name, example in graph.example.items():
        shape = list(example.shape)
        for place, letter in graph.dynamic[name].items():
            shape[place] = dimensions[letter]
        drawn[name] = DRAWS[example.dtype](shape, bounds.get(name, 1), generator)
    return drawn


def _numbers(shape: Sequence[int], bound: int, generator: Generator) -> Tensor:
    del bound
    return torch.randn(*shape, generator=generator)


def _indices(shape: Sequence[int], bound: int, generator: Generator) -> Tensor:
    return torch.randint(0, bound, tuple(shape), generator=generator)


def _mask(shape: Sequence[int], bound: int, generator: Generator) -> Tensor:
    """Pad each row but the first: [N, L], at least one True a row."""
    del bound
    lengths = torch.randint(1, shape[1], (shape[0], 1), generator=generator)
    lengths[0] = shape[1]
    return torch.arange(shape[1]) < lengths


DRAWS: Mapping[torch.dtype, Callable[[Sequence[int], int, Generator], Tensor]] = {
    torch.float32: _numbers,
    torch.int64: _indices,
    torch.bool: _mask,
}
