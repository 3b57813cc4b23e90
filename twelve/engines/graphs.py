"""The four graphs: which module, which inputs and outputs, which dimensions vary. Export and eager engine read this.

Shapes: N rows · L word pieces · T tokens (task token included) · R regions (global one first) · D text width
        V image width · F feature width · B fused width · M items of a head.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor, nn

from twelve.engines.savings import DEFAULT, Savings, pays_unprojected
from twelve.heads.base import Head
from twelve.heads.model import TwelveModel
from twelve.model.config import ModelConfig
from twelve.model.layers import CoLayer
from twelve.model.trunk import Packed, Read, States, Trunk

TEXT, REGIONS, FUSE = "text", "regions", "fuse"
PACKED_TEXT, PACKED_REGIONS = "packed_text", "packed_regions"

Fuse = Callable[..., States | Read]
"""`Trunk.fuse` or `Trunk.fuse_to_read`, with or without a `meet` of its own."""


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


class TrunkGraph(nn.Module):
    """A part of the trunk."""

    def __init__(self, trunk: Trunk) -> None:
        super().__init__()
        self.trunk = trunk


class TextGraph(TrunkGraph):
    """Word pieces to text states, before any picture is seen."""

    def forward(self, token_ids: Tensor, text_mask: Tensor, task_tokens: Tensor) -> Tensor:
        """Give [N, T, D] for [N, L] ids, [N, T] mask and [N] task tokens."""
        return self.trunk.encode_text(token_ids, text_mask, task_tokens)


class RegionsGraph(TrunkGraph):
    """Features and locations to region states, before any text is seen."""

    def forward(self, features: Tensor, locations: Tensor, region_mask: Tensor) -> Tensor:
        """Give [N, R, V] for [N, R, F] features, [N, R, 5] locations and [N, R] mask."""
        return self.trunk.encode_regions(features, locations, region_mask)


class PackingTextGraph(TrunkGraph):
    """Text states, and what the first co-attention reads of them."""

    def forward(self, token_ids: Tensor, text_mask: Tensor, task_tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Give [N, T, D] states and [N, T, 3*B] queries, keys and values."""
        text = self.trunk.encode_text(token_ids, text_mask, task_tokens)
        return text, self.trunk.pack_text(text)


class PackingRegionsGraph(TrunkGraph):
    """Region states, and what the first co-attention reads of them."""

    def forward(self, features: Tensor, locations: Tensor, region_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Give [N, R, V] states and [N, R, 3*B] queries, keys and values."""
        regions = self.trunk.encode_regions(features, locations, region_mask)
        return regions, self.trunk.pack_regions(regions)


class FuseGraph(TrunkGraph):
    """Pairs of text and picture to what the heads read."""

    def __init__(self, trunk: Trunk, fuse: Fuse) -> None:
        super().__init__(trunk)
        self.fuse = fuse

    def forward(self, text: Tensor, text_mask: Tensor, regions: Tensor, region_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Give [N, B] fused and [N, R, V] region states for a pass of pairs."""
        states = self.fuse(text, text_mask, regions, region_mask)
        return states.fused, states.regions


class PackedFuseGraph(TrunkGraph):
    """`FuseGraph` without the first projections, which the packing graphs made."""

    def __init__(self, trunk: Trunk, fuse: Fuse) -> None:
        super().__init__(trunk)
        self.fuse = fuse

    def forward(
        self,
        text: Tensor,
        text_mask: Tensor,
        regions: Tensor,
        region_mask: Tensor,
        packed_text: Tensor,
        packed_regions: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Give what `FuseGraph` gives, for [N, T, 3*B] and [N, R, 3*B] packed states beside the others."""
        states = self.fuse(text, text_mask, regions, region_mask, packed=Packed(packed_text, packed_regions))
        return states.fused, states.regions


class FinishingHead(nn.Module):
    """A head that reads every region, and the last layer before it, which the fusing graph left out."""

    def __init__(self, trunk: Trunk, head: Head) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head

    def forward(self, states: Tensor) -> Tensor:
        """Turn [M, R, V] states before the last layer into logits."""
        logits: Tensor = self.head(self.trunk.finish_regions(states))
        return logits


def graphs(model: TwelveModel, savings: Savings = DEFAULT) -> list[Graph]:
    """List the graphs of a model: text, regions, fuse, then one a head.

    Args:
        model: Whose modules they run.
        savings: Those that are a matter of graphs are made where the trunk allows them: what the first co-attention
            projects stands in the graphs that run once, and the last layer where it is read.

    Returns:
        The graphs.
    """
    trunk = model.trunk
    to_read = savings.last_layer_where_read and trunk.finishes
    through_text = savings.regions_unprojected and pays_unprojected(model.config)
    meet = CoLayer.through_text if through_text else CoLayer.__call__
    fuse = partial(trunk.fuse_to_read if to_read else trunk.fuse, meet=meet)
    streams = _packing if savings.first_meeting_once and trunk.packs else _plain
    finishing = {"regions": lambda head: FinishingHead(trunk, head)} if to_read else {}
    heads = [head for head in model.heads.values() if isinstance(head, Head)]
    return [
        *streams(model, fuse),
        *(_head(head, finishing.get(head.reads, _as_it_is)(head), model.config) for head in heads),
    ]


def token_count(pieces: int, config: ModelConfig) -> int:
    """Give T for L word pieces: one more where there is a task token."""
    return pieces + int(config.task_specific_tokens)


EXAMPLE_ROWS, EXAMPLE_PIECES, EXAMPLE_REGIONS = 2, 9, 7
"""Of the tensors an export is traced with; each differs from 1, which tracers take for a constant."""


def _as_it_is(head: Head) -> nn.Module:
    return head


def _plain(model: TwelveModel, fuse: Fuse) -> list[Graph]:
    return [_text(model), _regions(model), _fuse(model, FuseGraph(model.trunk, fuse))]


def _packing(model: TwelveModel, fuse: Fuse) -> list[Graph]:
    text, regions, pairs = _text(model), _regions(model), _fuse(model, PackedFuseGraph(model.trunk, fuse))
    width = 3 * model.config.bi_hidden_size
    packed = {
        PACKED_TEXT: torch.rand(*pairs.example[TEXT].shape[:2], width),
        PACKED_REGIONS: torch.rand(*pairs.example[REGIONS].shape[:2], width),
    }
    varies = {PACKED_TEXT: pairs.dynamic[TEXT], PACKED_REGIONS: pairs.dynamic[REGIONS]}
    return [
        replace(text, module=PackingTextGraph(model.trunk), outputs=(TEXT, PACKED_TEXT)),
        replace(regions, module=PackingRegionsGraph(model.trunk), outputs=(REGIONS, PACKED_REGIONS)),
        replace(
            pairs,
            inputs=(*pairs.inputs, *packed),
            example={**pairs.example, **packed},
            dynamic={**pairs.dynamic, **varies},
        ),
    ]


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


def _fuse(model: TwelveModel, module: TrunkGraph) -> Graph:
    tokens = token_count(EXAMPLE_PIECES, model.config)
    example = {
        "text": torch.rand(EXAMPLE_ROWS, tokens, model.config.hidden_size),
        "text_mask": torch.ones(EXAMPLE_ROWS, tokens, dtype=torch.bool),
        "regions": torch.rand(EXAMPLE_ROWS, EXAMPLE_REGIONS, model.config.v_hidden_size),
        "region_mask": torch.ones(EXAMPLE_ROWS, EXAMPLE_REGIONS, dtype=torch.bool),
    }
    of_text, of_regions = {0: "rows", 1: "tokens"}, {0: "rows", 1: "regions"}
    dynamic = {"text": of_text, "text_mask": of_text, "regions": of_regions, "region_mask": of_regions}
    return Graph(FUSE, module, tuple(example), ("fused", "region_states"), example, dynamic)


def _head(head: Head, module: nn.Module, config: ModelConfig) -> Graph:
    raw = {
        "fused": torch.rand(EXAMPLE_ROWS * head.rows_an_item, config.bi_hidden_size),
        "regions": torch.rand(EXAMPLE_ROWS, EXAMPLE_REGIONS, config.v_hidden_size),
    }[head.reads]
    dynamic = {"fused": {0: "items"}, "regions": {0: "items", 1: "regions"}}[head.reads]
    return Graph(head.name, module, ("states",), ("logits",), {"states": head.arrange(raw)}, {"states": dynamic})
