"""Attention: within a stream, and between the two (ViLBERT, arXiv:1908.02265, Fig. 2b).

Shapes: N rows · Q queries · K keys · T tokens (task token included) · R regions (global one first) · H heads
        E head width · D text width · V image width · B co-attention width.
Masks: bool [N, K], True = may be attended.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Attended(NamedTuple):
    """What attention gives: [N, Q, H*E] contexts and [N, H, Q, K] weights."""

    context: Tensor
    weights: Tensor


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, dropout: nn.Module) -> Attended:
    """Weigh values by the match of queries and keys.

    Args:
        query: [N, H, Q, E].
        key: [N, H, K, E].
        value: [N, H, K, E].
        mask: [N, K], True = may be attended; each row has at least one True.
        dropout: Applied to the weights.

    Returns:
        Contexts and weights.

    Differs: masked keys get minus infinity, not -10000 added; in fp32 both give a weight of exactly 0.
    """
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])  # [N, H, Q, K]
    weights = dropout(_weights(scores, mask))
    return Attended(merge_heads(weights @ value), weights)


def _weights(scores: Tensor, mask: Tensor) -> Tensor:
    """Share [N, H, Q, K] scores out among the keys that [N, K] lets be attended."""
    return scores.masked_fill(~mask[:, None, None, :], float("-inf")).softmax(dim=-1)


def split_heads(states: Tensor, heads: int) -> Tensor:
    """Split the last dimension into heads: [N, L, H*E] to [N, H, L, E]."""
    return states.unflatten(-1, (heads, -1)).transpose(1, 2)


def merge_heads(states: Tensor) -> Tensor:
    """Join the heads: [N, H, L, E] to [N, L, H*E]."""
    return states.transpose(1, 2).flatten(2)


def dropout_of(probability: float) -> nn.Module:
    """Give a dropout, or nothing at all where the probability is 0 (random numbers cost time on a CPU)."""
    return nn.Dropout(probability) if probability else nn.Identity()


class Projected(NamedTuple):
    """What attention reads of a stream: queries, keys and values, each [N, H, L, E]."""

    query: Tensor
    key: Tensor
    value: Tensor


class QueryKeyValue(nn.Module):
    """The three projections of one stream, split into heads."""

    def __init__(self, width: int, inner: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, inner)
        self.key = nn.Linear(width, inner)
        self.value = nn.Linear(width, inner)

    def forward(
        self, states: Tensor, gates: tuple[Tensor, Tensor] | None = None, *, asking: Tensor | None = None
    ) -> Projected:
        """Project.

        Args:
            states: [N, L, width].
            gates: [N, 1, inner] factors on queries and on keys, or None.
            asking: [N, Q, width] states that query in place of all L.

        Returns:
            Query, key and value, each [N, H, L, E]; the query [N, H, Q, E] where only some ask.
        """
        query, key = self.query(states if asking is None else asking), self.key(states)
        if gates is not None:
            query, key = query * gates[0], key * gates[1]
        return self._split(query, key, self.value(states))

    def pack(self, states: Tensor) -> Tensor:
        """Project, and lay query, key and value side by side: [N, L, width] to [N, L, 3*H*E]."""
        return torch.cat([self.query(states), self.key(states), self.value(states)], dim=-1)

    def unpack(self, packed: Tensor) -> Projected:
        """Take apart what `pack` laid side by side."""
        return self._split(*packed.chunk(3, dim=-1))

    def _split(self, query: Tensor, key: Tensor, value: Tensor) -> Projected:
        return Projected(*(split_heads(states, self.heads) for states in (query, key, value)))


class SelfAttention(nn.Module):
    """One stream attends to itself.

    Differs: with `text_width`, queries and keys are gated by the mean text state ("dynamic attention" of the published
    code, off in the released model).
    """

    def __init__(self, width: int, *, heads: int, dropout: float, text_width: int | None = None) -> None:
        super().__init__()
        self.project = QueryKeyValue(width, width, heads=heads)
        self.dropout = dropout_of(dropout)
        self.query_gate = nn.Linear(text_width, width) if text_width else None
        self.key_gate = nn.Linear(text_width, width) if text_width else None

    def forward(self, states: Tensor, mask: Tensor, text: Tensor | None = None) -> Attended:
        """Attend.

        Args:
            states: [N, L, width].
            mask: [N, L].
            text: [N, D] mean text state, where this layer is gated by it.

        Returns:
            [N, L, width] contexts and [N, H, L, L] weights.
        """
        gates = None
        if self.query_gate is not None and self.key_gate is not None and text is not None:
            gates = (1 + torch.sigmoid(self.query_gate(text))[:, None], 1 + torch.sigmoid(self.key_gate(text))[:, None])
        query, key, value = self.project(states, gates)
        return attend(query, key, value, mask, self.dropout)

    def first(self, states: Tensor, mask: Tensor) -> Tensor:
        """Attend from the first position alone, ungated: [N, L, width] and [N, L] to [N, 1, width] contexts."""
        query, key, value = self.project(states, asking=states[:, :1])
        return attend(query, key, value, mask, self.dropout).context

    def first_of_many(self, states: Tensor, mask: Tensor) -> Tensor:
        """Give what `first` gives, without a key or a value of any position: for streams of many.

        One query q needs neither keys K x nor values V x: q . K x is (q K) . x, and the weighted mean of V x is V times
        that of x. The bias of the keys adds the same to every score, which a softmax does not see.
        """
        by_head = (self.project.heads, -1, states.shape[-1])
        query = self.project.query(states[:, 0]).unflatten(-1, (self.project.heads, -1))  # [N, H, E]
        wanted = _each_head(query, self.project.key.weight.view(by_head))  # [N, H, width]
        scores = wanted @ states.transpose(1, 2) / math.sqrt(query.shape[-1])  # [N, H, L]
        weights = self.dropout(scores.masked_fill(~mask[:, None], float("-inf")).softmax(dim=-1))
        means = weights @ states  # [N, H, width]
        values = _each_head(means, self.project.value.weight.view(by_head).transpose(1, 2))  # [N, H, E]
        return (values.flatten(1) + self.project.value.bias)[:, None]


def _each_head_of_many(states: Tensor, matrices: Tensor) -> Tensor:
    """Multiply each head's [N, H, L, a] states by its own matrix of [H, a, b]: [N, H, L, b], one product a head."""
    rows, _, length, _ = states.shape
    by_head = states.transpose(0, 1).flatten(1, 2) @ matrices  # [H, N*L, b]
    return by_head.unflatten(1, (rows, length)).transpose(0, 1)


def _each_head(states: Tensor, matrices: Tensor) -> Tensor:
    """Multiply each head's [N, H, a] states by its own matrix of [H, a, b]: [N, H, b]."""
    return (states.transpose(0, 1) @ matrices).transpose(0, 1)


class CoAttended(NamedTuple):
    """Both directions: what each stream took from the other, [N, R, B] and [N, T, B], and the weights."""

    regions: Tensor
    text: Tensor
    image_to_text: Tensor
    text_to_image: Tensor


class CoAttention(nn.Module):
    """Each stream queries the other; both directions start from the layer's inputs."""

    def __init__(
        self, *, image_width: int, text_width: int, inner: int, heads: int, dropouts: tuple[float, float]
    ) -> None:
        super().__init__()
        self.image = QueryKeyValue(image_width, inner, heads=heads)
        self.text = QueryKeyValue(text_width, inner, heads=heads)
        self.image_dropout = dropout_of(dropouts[0])
        self.text_dropout = dropout_of(dropouts[1])

    def forward(self, regions: Tensor, region_mask: Tensor, text: Tensor, text_mask: Tensor) -> CoAttended:
        """Attend both ways.

        Args:
            regions: [N, R, V].
            region_mask: [N, R].
            text: [N, T, D].
            text_mask: [N, T].

        Returns:
            Contexts for both streams and both maps of weights.
        """
        return self.meet(self.image(regions), region_mask, self.text(text), text_mask)

    def meet(self, image: Projected, region_mask: Tensor, text: Projected, text_mask: Tensor) -> CoAttended:
        """Attend both ways, with both streams projected already."""
        for_text = attend(text.query, image.key, image.value, region_mask, self.image_dropout)
        for_regions = attend(image.query, text.key, text.value, text_mask, self.text_dropout)
        return CoAttended(for_regions.context, for_text.context, for_regions.weights, for_text.weights)

    def through_text(self, regions: Tensor, region_mask: Tensor, text: Tensor, text_mask: Tensor) -> CoAttended:
        """Give what `forward` gives without projecting a region: cheaper where they are many more than the tokens.

        A token's query q meets keys K x as (q K) . x; a region's query Q x meets a key k as x . (k Q), and the weighted
        mean of values V x is V times that of x. So the tokens are multiplied with the regions' matrices. Of the biases,
        that of the keys adds the same to all scores of a query, which a softmax does not see; that of the queries adds
        its product with each key; that of the values is added once, as weights sum to 1.

        Args:
            regions: [N, R, V].
            region_mask: [N, R].
            text: [N, T, D].
            text_mask: [N, T].

        Returns:
            Contexts for both streams and both maps of weights.
        """
        words, heads = self.text(text), self.image.heads
        keys, queries, values = (
            layer.weight.unflatten(0, (heads, -1)) for layer in (self.image.key, self.image.query, self.image.value)
        )  # [H, E, V]
        wanted = _each_head_of_many(words.query, keys)  # [N, H, T, V]
        offered = _each_head_of_many(words.key, queries)  # [N, H, T, V]
        scale = math.sqrt(words.key.shape[-1])
        scores = torch.cat([wanted, offered], dim=1).flatten(1, 2) @ regions.transpose(1, 2) / scale  # [N, 2*H*T, R]
        for_text, for_regions = scores.unflatten(1, (2 * heads, -1)).split(heads, dim=1)  # [N, H, T, R] each
        added = words.key @ self.image.query.bias.view(heads, -1, 1) / scale  # [N, H, T, 1]
        text_weights = self.image_dropout(_weights(for_text, region_mask))
        region_weights = self.text_dropout(_weights((for_regions + added).transpose(2, 3), text_mask))  # [N, H, R, T]
        means = (text_weights.flatten(1, 2) @ regions).unflatten(1, (heads, -1))  # [N, H, T, V]
        seen = merge_heads(_each_head_of_many(means, values.transpose(1, 2))) + self.image.value.bias  # [N, T, B]
        return CoAttended(merge_heads(region_weights @ words.value), seen, region_weights, text_weights)
