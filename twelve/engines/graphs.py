"""The four graphs: which module, which inputs and outputs, which dimensions vary. Export and eager engine read this.

Shapes: N rows · L word pieces · T tokens (task token included) · R regions (global one first) · D text width
        V image width · F feature width · B fused width · M items of a head.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from twelve.heads.base import Head
from twelve.heads.model import TwelveModel
from twelve.heads.pair import PICTURES_OF_A_PAIR
from twelve.model.config import ModelConfig
from twelve.model.trunk import Trunk

TEXT, REGIONS, FUSE = "text", "regions", "fuse"


@dataclass(frozen=True)
class Graph:
    """One graph of the model, ready to run or to export.

    Attributes:
        name: Of the graph and of its files.
        module: What it runs.
        inputs: Names, in the order of the module's arguments.
        outputs: Names, in the order of what the module gives.
        example: Inputs of an ordinary shape, by name.
        dynamic: For each input, the dimensions that vary and their letters.
    """

    name: str
    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    example: Mapping[str, Tensor]
    dynamic: Mapping[str, Mapping[int, str]]


class TextGraph(nn.Module):
    """Word pieces to text states, before any picture is seen."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, token_ids: Tensor, text_mask: Tensor, task_tokens: Tensor) -> Tensor:
        """Give [N, T, D] for [N, L] ids, [N, T] mask and [N] task tokens."""
        return self.trunk.encode_text(token_ids, text_mask, task_tokens)


class RegionsGraph(nn.Module):
    """Features and locations to region states, before any text is seen."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, features: Tensor, locations: Tensor, region_mask: Tensor) -> Tensor:
        """Give [N, R, V] for [N, R, F] features, [N, R, 5] locations and [N, R] mask."""
        return self.trunk.encode_regions(features, locations, region_mask)


class FuseGraph(nn.Module):
    """Pairs of text and picture to what the heads read."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, text: Tensor, text_mask: Tensor, regions: Tensor, region_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Give [N, B] fused and [N, R, V] region states for a pass of pairs."""
        states = self.trunk.fuse(text, text_mask, regions, region_mask)
        return states.fused, states.regions


def graphs(model: TwelveModel) -> list[Graph]:
    """List the graphs of a model: text, regions, fuse, then one a head."""
    config = model.config
    return [_text(model), _regions(model), _fuse(model), *(_head(head, config) for head in model.heads.values())]


def token_count(pieces: int, config: ModelConfig) -> int:
    """Give T for L word pieces: one more where there is a task token."""
    return pieces + int(config.task_specific_tokens)


EXAMPLE_ROWS, EXAMPLE_PIECES, EXAMPLE_REGIONS = 2, 9, 7
"""Of the tensors an export is traced with; each differs from 1, which tracers take for a constant."""


def _text(model: TwelveModel) -> Graph:
    tokens = token_count(EXAMPLE_PIECES, model.config)
    example = {
        "token_ids": torch.arange(EXAMPLE_ROWS * EXAMPLE_PIECES).reshape(EXAMPLE_ROWS, EXAMPLE_PIECES),
        "text_mask": torch.ones(EXAMPLE_ROWS, tokens, dtype=torch.bool),
        "task_tokens": torch.ones(EXAMPLE_ROWS, dtype=torch.int64),
    }
    dynamic = {"token_ids": {0: "rows", 1: "pieces"}, "text_mask": {0: "rows", 1: "tokens"}, "task_tokens": {0: "rows"}}
    return Graph(TEXT, TextGraph(model.trunk), tuple(example), ("text",), example, dynamic)


def _regions(model: TwelveModel) -> Graph:
    example = {
        "features": torch.rand(EXAMPLE_ROWS, EXAMPLE_REGIONS, model.config.v_feature_size),
        "locations": torch.rand(EXAMPLE_ROWS, EXAMPLE_REGIONS, 5),
        "region_mask": torch.ones(EXAMPLE_ROWS, EXAMPLE_REGIONS, dtype=torch.bool),
    }
    varies = {0: "rows", 1: "regions"}
    dynamic = dict.fromkeys(example, varies)
    return Graph(REGIONS, RegionsGraph(model.trunk), tuple(example), ("regions",), example, dynamic)


def _fuse(model: TwelveModel) -> Graph:
    tokens = token_count(EXAMPLE_PIECES, model.config)
    example = {
        "text": torch.rand(EXAMPLE_ROWS, tokens, model.config.hidden_size),
        "text_mask": torch.ones(EXAMPLE_ROWS, tokens, dtype=torch.bool),
        "regions": torch.rand(EXAMPLE_ROWS, EXAMPLE_REGIONS, model.config.v_hidden_size),
        "region_mask": torch.ones(EXAMPLE_ROWS, EXAMPLE_REGIONS, dtype=torch.bool),
    }
    of_text, of_regions = {0: "rows", 1: "tokens"}, {0: "rows", 1: "regions"}
    dynamic = {"text": of_text, "text_mask": of_text, "regions": of_regions, "region_mask": of_regions}
    return Graph(FUSE, FuseGraph(model.trunk), tuple(example), ("fused", "region_states"), example, dynamic)


def _head(head: nn.Module, config: ModelConfig) -> Graph:
    assert isinstance(head, Head)
    raw = {
        "fused": torch.rand(EXAMPLE_ROWS * PICTURES_OF_A_PAIR, config.bi_hidden_size),
        "regions": torch.rand(EXAMPLE_ROWS, EXAMPLE_REGIONS, config.v_hidden_size),
    }[head.reads]
    dynamic = {"fused": {0: "items"}, "regions": {0: "items", 1: "regions"}}[head.reads]
    return Graph(head.name, head, ("states",), ("logits",), {"states": head.arrange(raw)}, {"states": dynamic})
