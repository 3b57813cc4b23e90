"""The trunk: two streams and what joins them, cut where one stream alone can be computed once and kept.

Shapes: N rows · L word pieces · T tokens (task token included) · R regions (global one first) · D text width
        V image width · B co-attention width.
Masks: bool, True = may be attended.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from twelve.boxes import GLOBAL_REGION
from twelve.model.config import ModelConfig
from twelve.model.embeddings import RegionEmbedding, TextEmbedding
from twelve.model.layers import CoLayer, image_layer, text_layer

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


class Maps(NamedTuple):
    """Attention weights by layer: within each stream, and (image to text, text to image) between them."""

    text: list[Tensor]
    regions: list[Tensor]
    co: list[tuple[Tensor, Tensor]]


class Trunk(nn.Module):
    """Text and visual stream with co-attention between them.

    `encode_text` and `encode_regions` do what needs no other stream; `fuse` does the rest. The order of layers is the
    published one: before each co-attention, the text layers up to its text id and the visual layers up to its visual
    id; after the last, what remains.
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
        self.text_alone = config.t_biattention_id[0] if config.t_biattention_id else config.num_hidden_layers
        self.regions_alone = _layers_without_text(config)
        self.apply(self._initialise)
        self.text_embedding.initialise_widening()

    def encode_text(
        self, token_ids: Tensor, text_mask: Tensor, task_tokens: Tensor, segments: Tensor | None = None
    ) -> Tensor:
        """Run what sees no picture: the embedding and the text layers before the first co-attention.

        Args:
            token_ids: [N, L] int64.
            text_mask: [N, T], the task token's place included.
            task_tokens: [N] int64.
            segments: [N, L] int64, or None.

        Returns:
            [N, T, D].
        """
        states = self.text_embedding(token_ids, task_tokens, segments)
        for layer in self.text_layers[: self.text_alone]:
            states = layer(states, text_mask).states
        return states

    def encode_regions(self, features: Tensor, locations: Tensor, region_mask: Tensor) -> Tensor:
        """Run what sees no text: the embedding and the visual layers before the first co-attention.

        Args:
            features: [N, R, F].
            locations: [N, R, 5].
            region_mask: [N, R].

        Returns:
            [N, R, V].
        """
        states = self.region_embedding(features, locations)
        for layer in self.image_layers[: self.regions_alone]:
            states = layer(states, region_mask).states
        return states

    def fuse(
        self, text: Tensor, text_mask: Tensor, regions: Tensor, region_mask: Tensor, maps: Maps | None = None
    ) -> States:
        """Run the pairs through the rest of both streams.

        Args:
            text: [N, T, D] from `encode_text`.
            text_mask: [N, T].
            regions: [N, R, V] from `encode_regions`.
            region_mask: [N, R].
            maps: Takes up the attention weights where given.

        Returns:
            What the heads read.
        """
        text_done, image_done = self.text_alone, self.regions_alone
        for index, (image_id, text_id) in enumerate(_meetings(self.config)):
            text = self._run_text(text, text_mask, text_done, text_id, maps)
            regions = self._run_regions(regions, region_mask, (image_done, image_id), (text, text_mask), maps)
            text_done, image_done = text_id, image_id
            if self.config.with_coattention:
                met = self.co_layers[index](regions, region_mask, text, text_mask)
                regions, text = met.regions, met.text
                if maps is not None:
                    maps.co.append((met.image_to_text, met.text_to_image))
        regions_end, text_end = len(self.image_layers), len(self.text_layers)
        regions = self._run_regions(regions, region_mask, (image_done, regions_end), (text, text_mask), maps)
        text = self._run_text(text, text_mask, text_done, text_end, maps)
        return self._pool(text, regions)

    def _run_text(self, text: Tensor, mask: Tensor, start: int, stop: int, maps: Maps | None) -> Tensor:
        for layer in self.text_layers[start:stop]:
            text, weights = layer(text, mask)
            if maps is not None:
                maps.text.append(weights)
        return text

    def _run_regions(
        self, regions: Tensor, mask: Tensor, span: tuple[int, int], text: tuple[Tensor, Tensor], maps: Maps | None
    ) -> Tensor:
        for layer in self.image_layers[span[0] : span[1]]:
            gate = _mean_state(*text) if self.config.dynamic_attention else None
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


def _layers_without_text(config: ModelConfig) -> int:
    """Count the visual layers that run before any text is seen; a gated layer always sees text."""
    if config.dynamic_attention:
        return 0
    return config.v_biattention_id[0] if config.v_biattention_id else config.v_num_hidden_layers


def _mean_state(text: Tensor, mask: Tensor) -> Tensor:
    """Average [N, T, D] over the tokens that count, [N, D]."""
    weights = mask[..., None].to(text.dtype)
    return (text * weights).sum(dim=1) / weights.sum(dim=1)
