"""The trunk of 12-in-1 (arXiv:1912.02315; ViLBERT, arXiv:1908.02265): one text before one picture.

No rows, no padding, no masks: what may not be attended is left out before the first layer. So this says directly what
the batched model must come to, whatever stands beside a row or behind its end.

Shapes: L word pieces · T tokens (task token included) · R regions (global one first) · D text width · V image width
        B co-attention width · H heads · F feature width.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.oracle.algebra import ACTIVATIONS, Array, Weights, affine, attention, layer_norm, relu, sigmoid

Config = Mapping[str, Any]
"""Under the names of the published configuration."""

CLS = 0
GLOBAL_REGION = 0


@dataclass(frozen=True)
class Text:
    """A text: [L] ids and segments, its task token, and which of its [T] tokens may be attended."""

    token_ids: NDArray[np.int64]
    segments: NDArray[np.int64]
    task_token: int
    counts: NDArray[np.bool_]


@dataclass(frozen=True)
class Picture:
    """A picture: [R, F] features, [R, 5] locations, and which of its [R] regions may be attended."""

    features: Array
    locations: Array
    counts: NDArray[np.bool_]


Maps = dict[str, list[Array]]
"""Attention weights in the order of layers: "text" [H, T, T], "regions" [H, R, R], "text to image" [H, T, R] and
"image to text" [H, R, T], each where there are such layers."""


@dataclass(frozen=True)
class States:
    """What the heads read of one pair: last states of the tokens and regions that count, pooled and fused ones."""

    text: Array
    regions: Array
    pooled_text: Array
    pooled_regions: Array
    fused: Array
    maps: Maps


class Trunk:
    """Two streams with co-attention between them."""

    def __init__(self, weights: Weights, config: Config) -> None:
        self._weights = weights
        self._config = config

    def run(self, text: Text, picture: Picture) -> States:
        """Read a text before a picture.

        Before each co-attention stand the text layers up to its text id and the image layers up to its image id; after
        the last one, the remaining image layers and then the remaining text layers.
        """
        config: Config = self._config
        maps: Maps = defaultdict(list)
        words, regions = self.embed_text(text), self.embed_picture(picture)
        text_done = image_done = 0
        for index, (image_id, text_id) in enumerate(
            zip(config["v_biattention_id"], config["t_biattention_id"], strict=True)
        ):
            words = self._text_layers(words, range(text_done, text_id), maps)
            regions = self._image_layers(regions, range(image_done, image_id), words, maps)
            text_done, image_done = text_id, image_id
            if config["with_coattention"]:
                words, regions = self._meet(words, regions, self._weights.below("co_layers", index), maps)
        regions = self._image_layers(regions, range(image_done, config["v_num_hidden_layers"]), words, maps)
        words = self._text_layers(words, range(text_done, config["num_hidden_layers"]), maps)
        return self._pool(words, regions, maps)

    def embed_text(self, text: Text) -> Array:
        """Word + position + segment, the bare task row put in after [CLS], all normalised: [T, D], what counts of it.

        The task row has no position and no segment, and no word's position moves for it.
        """
        weights, words = self._weights.below("text_embedding"), self.words()[text.token_ids]
        states = words + weights["positions.weight"][: len(words)] + weights["segments.weight"][text.segments]
        if self._config["task_specific_tokens"]:
            task = weights["tasks.weight"][text.task_token]
            states = np.vstack([states[0], task, states[1:]])
        return self._norm(states, weights.below("norm"))[text.counts]

    def words(self) -> Array:
        """Every word of the table, as wide as the text stream: narrow rows are projected up (arXiv:1909.11942)."""
        weights = self._weights.below("text_embedding")
        table = weights["words.weight"]
        return table @ weights["widen.weight"].T if self._config["embedding_size"] else table

    def embed_picture(self, picture: Picture) -> Array:
        """Features + locations, each projected, normalised: [R, V], what counts of it."""
        weights = self._weights.below("region_embedding")
        features = affine(picture.features, weights.below("features"))
        locations = affine(picture.locations, weights.below("locations"))
        return self._norm(features + locations, weights.below("norm"))[picture.counts]

    def _text_layers(self, words: Array, indices: range, maps: Maps) -> Array:
        heads, act = self._config["num_attention_heads"], self._config["hidden_act"]
        for index in indices:
            weights = self._weights.below("text_layers", index)
            project = weights.below("attention", "project")
            query, key, value = (affine(words, project.below(name)) for name in ("query", "key", "value"))
            attended = attention(query, key, value, heads=heads)
            maps["text"].append(attended.weights)
            words = self._feed_forward(
                self._add_norm(attended.context, words, weights.below("output")), weights.below("feed_forward"), act
            )
        return words

    def _image_layers(self, regions: Array, indices: range, words: Array, maps: Maps) -> Array:
        heads, act = self._config["v_num_attention_heads"], self._config["v_hidden_act"]
        for index in indices:
            weights = self._weights.below("image_layers", index)
            project = weights.below("attention", "project")
            query, key, value = (affine(regions, project.below(name)) for name in ("query", "key", "value"))
            if self._config["dynamic_attention"]:
                query = query * self._gate(words, weights.below("attention", "query_gate"))
                key = key * self._gate(words, weights.below("attention", "key_gate"))
            attended = attention(query, key, value, heads=heads)
            maps["regions"].append(attended.weights)
            regions = self._feed_forward(
                self._add_norm(attended.context, regions, weights.below("output")), weights.below("feed_forward"), act
            )
        return regions

    def _meet(self, words: Array, regions: Array, weights: Weights, maps: Maps) -> tuple[Array, Array]:
        """Each stream asks the other as both were before; then each its own residual and feed-forward block."""
        heads = self._config["bi_num_attention_heads"]
        of_image, of_text = weights.below("attention", "image"), weights.below("attention", "text")
        image_query, image_key, image_value = (
            affine(regions, of_image.below(name)) for name in ("query", "key", "value")
        )
        text_query, text_key, text_value = (affine(words, of_text.below(name)) for name in ("query", "key", "value"))
        text_took = attention(text_query, image_key, image_value, heads=heads)
        image_took = attention(image_query, text_key, text_value, heads=heads)
        maps["text to image"].append(text_took.weights)
        maps["image to text"].append(image_took.weights)
        words = self._add_norm(text_took.context, words, weights.below("text_output"))
        regions = self._add_norm(image_took.context, regions, weights.below("image_output"))
        return (
            self._feed_forward(words, weights.below("text_feed_forward"), self._config["hidden_act"]),
            self._feed_forward(regions, weights.below("image_feed_forward"), self._config["v_hidden_act"]),
        )

    def _pool(self, words: Array, regions: Array, maps: Maps) -> States:
        pooled_text = relu(affine(words[CLS], self._weights.below("text_pooler")))
        pooled_regions = relu(affine(regions[GLOBAL_REGION], self._weights.below("region_pooler")))
        fuse = {"mul": np.multiply, "sum": np.add}[self._config["fusion_method"]]
        return States(words, regions, pooled_text, pooled_regions, fuse(pooled_text, pooled_regions), maps)

    def _gate(self, words: Array, weights: Weights) -> Array:
        """1 + sigmoid of the mean word state, projected: between 1 and 2, one factor a column."""
        return 1 + sigmoid(affine(words.mean(axis=0), weights))

    def _add_norm(self, x: Array, residual: Array, weights: Weights) -> Array:
        return self._norm(affine(x, weights.below("dense")) + residual, weights.below("norm"))

    def _feed_forward(self, x: Array, weights: Weights, act: str) -> Array:
        inner = ACTIVATIONS[act](affine(x, weights.below("expand")))
        return self._add_norm(inner, x, weights.below("contract"))

    def _norm(self, x: Array, weights: Weights) -> Array:
        return layer_norm(x, weights, eps=self._config["layer_norm_eps"])
