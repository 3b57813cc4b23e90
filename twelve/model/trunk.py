"""The trunk: two streams and what joins them, cut where one stream alone can be computed once and kept.

Shapes: N rows · L word pieces · T tokens (task token included) · R regions (global one first) · D text width
        V image width · B co-attention width.
Masks: bool, True = may be attended.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from twelve.boxes import GLOBAL_REGION
from twelve.model.attention import CoAttention
from twelve.model.config import ModelConfig
from twelve.model.embeddings import RegionEmbedding, TextEmbedding
from twelve.model.layers import CoLayer, CoLayered, Layer, image_layer, text_layer

CLS = 0
"""The token whose state stands for the whole text."""


class States(NamedTuple):
    """What the heads read.

    Attributes:
        fused: [N, B] product (or sum) of both pooled states.
        regions: [N, R, V] last states of the visual stream.
        text: [N, T, D] last states of the text stream.
        pooled_regions: [N, B].
        pooled_text: [N, B].
    """

    fused: Tensor
    regions: Tensor
    text: Tensor
    pooled_regions: Tensor
    pooled_text: Tensor


class Given(NamedTuple):
    """What the trunk reads, a row each: one text before one picture.

    A single text may stand before all N pictures; what sees no picture is then computed once.

    Attributes:
        token_ids: [N, L] int64, [CLS] first.
        text_mask: [N, T], the task token's place included.
        task_tokens: [N] int64, rows of the task table; unused where the model has none.
        features: [N, R, F].
        locations: [N, R, 5].
        region_mask: [N, R].
        segments: [N, L] int64, or None for all zero.
    """

    token_ids: Tensor
    text_mask: Tensor
    task_tokens: Tensor
    features: Tensor
    locations: Tensor
    region_mask: Tensor
    segments: Tensor | None = None


class Packed(NamedTuple):
    """Queries, keys and values of the first co-attention, side by side.

    Attributes:
        text: [N, T, 3*B] from `pack_text`.
        regions: [N, R, 3*B] from `pack_regions`.
    """

    text: Tensor
    regions: Tensor


Meet = Callable[..., CoLayered]
"""How a co-attention layer is computed: `CoLayer.__call__`, or `CoLayer.through_text`, which gives the same."""


class Meeting(NamedTuple):
    """How the streams meet: what was computed before, and how the rest is."""

    packed: Packed | None
    meet: Meet


class Read(NamedTuple):
    """What the heads read, where the last layer of each stream ran for the pooled position alone.

    Attributes:
        fused: [N, B], as in `States`.
        regions: [N, R, V] states of the visual stream before its last layer, which `finish_regions` runs.
    """

    fused: Tensor
    regions: Tensor


class Met(NamedTuple):
    """Both streams after their last meeting, and how many layers of each are done."""

    text: Tensor
    regions: Tensor
    text_done: int
    regions_done: int


class Maps(NamedTuple):
    """Attention weights of every layer, first layer first; those of a text before it met pictures have its own rows.

    Attributes:
        text: [N, H, T, T] each.
        regions: [N, H, R, R] each.
        co: ([N, H, R, T] image to text, [N, H, T, R] text to image) each.
    """

    text: list[Tensor]
    regions: list[Tensor]
    co: list[tuple[Tensor, Tensor]]

    @classmethod
    def empty(cls) -> "Maps":
        """Give maps that nothing was recorded in yet."""
        return cls([], [], [])


class Trunk(nn.Module):
    """Text and visual stream with co-attention between them.

    `encode_text` and `encode_regions` do what needs no other stream, `fuse` does the rest, and calling the trunk does
    all three. Each records the attention weights of its own layers where `maps` is given. The order of layers is the
    published one: before each co-attention, the text layers up to its text id and the visual layers up to its visual
    id; after the last, what remains. `fuse_to_read`, `packed` and `meet` spare what serving need not compute;
    training does not use them.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.text_embedding = TextEmbedding(config)
        self.region_embedding = RegionEmbedding(config)
        self.text_layers = nn.ModuleList(text_layer(config) for _ in range(config.num_hidden_layers))
        self.image_layers = nn.ModuleList(image_layer(config) for _ in range(config.v_num_hidden_layers))
        self.co_layers = nn.ModuleList(CoLayer(config) for _ in config.v_biattention_id)
        self.text_pooler = nn.Linear(config.hidden_size, config.bi_hidden_size)
        self.region_pooler = nn.Linear(config.v_hidden_size, config.bi_hidden_size)
        self.dropout = nn.Dropout(config.hidden_dropout_prob) if config.hidden_dropout_prob else nn.Identity()
        self.text_alone = _layers_without_pictures(config)
        self.regions_alone = _layers_without_text(config)
        self.apply(self._initialise)
        self.text_embedding.initialise_widening()

    def forward(self, given: Given, *, maps: Maps | None = None) -> States:
        """Run everything, from token ids and features to what the heads read.

        Args:
            given: One text before each picture, or one before all of them.
            maps: Takes up the attention weights.

        Returns:
            What the heads read, one row a picture.
        """
        text = self.encode_text(given.token_ids, given.text_mask, given.task_tokens, given.segments, maps=maps)
        regions = self.encode_regions(given.features, given.locations, given.region_mask, maps=maps)
        rows = len(regions)
        text, text_mask = text.expand(rows, -1, -1), given.text_mask.expand(rows, -1)  # [1, …] to [N, …], or as it is
        return self.fuse(text, text_mask, regions, given.region_mask, maps)

    def encode_text(
        self,
        token_ids: Tensor,
        text_mask: Tensor,
        task_tokens: Tensor,
        segments: Tensor | None = None,
        *,
        maps: Maps | None = None,
    ) -> Tensor:
        """Run what sees no picture: the embedding and the text layers before the first co-attention.

        Args:
            token_ids: [N, L] int64.
            text_mask: [N, T], the task token's place included.
            task_tokens: [N] int64.
            segments: [N, L] int64, or None.
            maps: Takes up the attention weights.

        Returns:
            [N, T, D].
        """
        states = self.text_embedding(token_ids, task_tokens, segments)
        return self._run_text(states, text_mask, (0, self.text_alone), maps)

    def encode_regions(
        self, features: Tensor, locations: Tensor, region_mask: Tensor, *, maps: Maps | None = None
    ) -> Tensor:
        """Run what sees no text: the embedding and the visual layers before the first co-attention.

        Args:
            features: [N, R, F].
            locations: [N, R, 5].
            region_mask: [N, R].
            maps: Takes up the attention weights.

        Returns:
            [N, R, V].
        """
        states = self.region_embedding(features, locations)
        return self._run_regions(states, region_mask, (0, self.regions_alone), None, maps)

    @property
    def packs(self) -> bool:
        """Say whether the first co-attention reads just what `encode_text` and `encode_regions` give."""
        alone = (self.regions_alone, self.text_alone)
        return self.config.with_coattention and _meetings(self.config)[:1] == [alone]

    def pack_text(self, text: Tensor) -> Tensor:
        """Give what the first co-attention reads of [N, T, D] from `encode_text`: [N, T, 3*B]."""
        return self._first_meeting().text.pack(text)

    def pack_regions(self, regions: Tensor) -> Tensor:
        """Give what the first co-attention reads of [N, R, V] from `encode_regions`: [N, R, 3*B]."""
        return self._first_meeting().image.pack(regions)

    def fuse(
        self,
        text: Tensor,
        text_mask: Tensor,
        regions: Tensor,
        region_mask: Tensor,
        maps: Maps | None = None,
        *,
        packed: Packed | None = None,
        meet: Meet = CoLayer.__call__,
    ) -> States:
        """Run the pairs through the rest of both streams.

        Args:
            text: [N, T, D] from `encode_text`.
            text_mask: [N, T].
            regions: [N, R, V] from `encode_regions`.
            region_mask: [N, R].
            maps: Takes up the attention weights.
            packed: What the first co-attention reads, computed before; only where the trunk `packs`.
            meet: How each co-attention is computed that was not packed.

        Returns:
            What the heads read.
        """
        met = self._meet((text, text_mask), (regions, region_mask), maps, Meeting(packed, meet))
        rest_of_regions, rest_of_text = (
            (met.regions_done, len(self.image_layers)),
            (met.text_done, len(self.text_layers)),
        )
        regions = self._run_regions(met.regions, region_mask, rest_of_regions, (met.text, text_mask), maps)
        text = self._run_text(met.text, text_mask, rest_of_text, maps)
        return self._pool(text, regions)

    @property
    def finishes(self) -> bool:
        """Say whether each stream ends in a layer of its own, that reads nothing of the other."""
        last = (_meetings(self.config) or [(self.regions_alone, self.text_alone)])[-1]
        left = (len(self.image_layers) - last[0], len(self.text_layers) - last[1])
        return min(left) > 0 and not self.config.dynamic_attention

    def fuse_to_read(
        self,
        text: Tensor,
        text_mask: Tensor,
        regions: Tensor,
        region_mask: Tensor,
        *,
        packed: Packed | None = None,
        meet: Meet = CoLayer.__call__,
    ) -> Read:
        """Run the pairs as `fuse` does, but the last layers for the pooled positions alone; where the trunk `finishes`.

        Args:
            text: [N, T, D] from `encode_text`.
            text_mask: [N, T].
            regions: [N, R, V] from `encode_regions`.
            region_mask: [N, R].
            packed: As for `fuse`.
            meet: As for `fuse`.

        Returns:
            What most heads read, and what `finish_regions` makes the rest of.
        """
        met = self._meet((text, text_mask), (regions, region_mask), None, Meeting(packed, meet))
        rest_of_regions, rest_of_text = (
            (met.regions_done, len(self.image_layers)),
            (met.text_done, len(self.text_layers)),
        )
        regions = self._run_regions(met.regions, region_mask, _but_last(rest_of_regions), None, None)
        text = self._run_text(met.text, text_mask, _but_last(rest_of_text), None)
        seen = _last(self.image_layers).first_of_many(regions, region_mask)  # [N, 1, V]
        said = _last(self.text_layers).first(text, text_mask)  # [N, 1, D]
        return Read(self._pool(said, seen).fused, regions)

    def finish_regions(self, regions: Tensor) -> Tensor:
        """Run the last layer of the visual stream on [N, R, V] from `fuse_to_read`, padding cut off."""
        whole = torch.ones_like(regions[..., 0], dtype=torch.bool)  # [N, R]
        return self.image_layers[-1](regions, whole).states

    def _first_meeting(self) -> CoAttention:
        layer = self.co_layers[0]
        assert isinstance(layer, CoLayer)
        return layer.attention

    def _meet(
        self, text: tuple[Tensor, Tensor], regions: tuple[Tensor, Tensor], maps: Maps | None, how: Meeting
    ) -> Met:
        """Run both streams, each a pair of states and mask, through all of their meetings."""
        (text_states, text_mask), (region_states, region_mask) = text, regions
        text_done, image_done = self.text_alone, self.regions_alone
        for index, (image_id, text_id) in enumerate(_meetings(self.config)):
            text_states = self._run_text(text_states, text_mask, (text_done, text_id), maps)
            seen_text = (text_states, text_mask)
            region_states = self._run_regions(region_states, region_mask, (image_done, image_id), seen_text, maps)
            text_done, image_done = text_id, image_id
            if self.config.with_coattention:
                streams = (region_states, region_mask, text_states, text_mask)
                met = self._meet_once(self.co_layers[index], streams, how._replace(packed=None) if index else how)
                region_states, text_states = met.regions, met.text
                if maps is not None:
                    maps.co.append((met.image_to_text, met.text_to_image))
        return Met(text_states, region_states, text_done, image_done)

    def _meet_once(self, layer: nn.Module, streams: tuple[Tensor, Tensor, Tensor, Tensor], how: Meeting) -> CoLayered:
        assert isinstance(layer, CoLayer)
        if how.packed is None:
            return how.meet(layer, *streams)
        return layer.meet(*streams, (how.packed.regions, how.packed.text))

    def _run_text(self, text: Tensor, mask: Tensor, span: tuple[int, int], maps: Maps | None) -> Tensor:
        for layer in self.text_layers[span[0] : span[1]]:
            text, weights = layer(text, mask)
            if maps is not None:
                maps.text.append(weights)
        return text

    def _run_regions(
        self,
        regions: Tensor,
        mask: Tensor,
        span: tuple[int, int],
        text: tuple[Tensor, Tensor] | None,
        maps: Maps | None,
    ) -> Tensor:
        for layer in self.image_layers[span[0] : span[1]]:
            gate = _mean_state(*text) if text is not None and self.config.dynamic_attention else None
            regions, weights = layer(regions, mask, gate)
            if maps is not None:
                maps.regions.append(weights)
        return regions

    def _pool(self, text: Tensor, regions: Tensor) -> States:
        pooled_text = torch.relu(self.text_pooler(text[:, CLS]))  # [N, B]
        pooled_regions = torch.relu(self.region_pooler(regions[:, GLOBAL_REGION]))  # [N, B]
        joined = pooled_text * pooled_regions if self.config.fusion_method == "mul" else pooled_text + pooled_regions
        return States(self.dropout(joined), regions, text, pooled_regions, pooled_text)

    def _initialise(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)


def _meetings(config: ModelConfig) -> list[tuple[int, int]]:
    return list(zip(config.v_biattention_id, config.t_biattention_id, strict=True))


def _layers_without_pictures(config: ModelConfig) -> int:
    """Count the text layers that run before any picture is seen."""
    if config.t_biattention_id:
        return config.t_biattention_id[0]
    return 0 if config.dynamic_attention else config.num_hidden_layers  # gates would read the text too late


def _layers_without_text(config: ModelConfig) -> int:
    """Count the visual layers that run before any text is seen; a gated layer always sees text."""
    if config.dynamic_attention:
        return 0
    return config.v_biattention_id[0] if config.v_biattention_id else config.v_num_hidden_layers


def _last(layers: nn.ModuleList) -> Layer:
    layer = layers[-1]
    assert isinstance(layer, Layer)
    return layer


def _but_last(span: tuple[int, int]) -> tuple[int, int]:
    return span[0], span[1] - 1


def _mean_state(text: Tensor, mask: Tensor) -> Tensor:
    """Average [N, T, D] over the tokens that count, [N, D]."""
    weights = mask[..., None].to(text.dtype)
    return (text * weights).sum(dim=1) / weights.sum(dim=1)
