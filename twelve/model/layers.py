"""The layers of both streams: post-norm transformer blocks, and the co-attention block between them.

Shapes: N rows · L positions of a stream · T tokens · R regions · D text width · V image width · B co-attention width.
Masks: bool, True = may be attended.
"""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from twelve.model.attention import CoAttended, CoAttention, SelfAttention, dropout_of
from twelve.model.config import ModelConfig

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": functional.gelu,  # exact, by erf
    "relu": functional.relu,
    "swish": functional.silu,
}


class AddNorm(nn.Module):
    """Project, drop out, add the residual, normalise."""

    def __init__(self, inner: int, width: int, *, eps: float, dropout: float) -> None:
        super().__init__()
        self.dense = nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, eps=eps)
        self.dropout = dropout_of(dropout)

    def forward(self, inner: Tensor, residual: Tensor) -> Tensor:
        """Join [N, L, inner] to its [N, L, width] residual."""
        return self.norm(self.dropout(self.dense(inner)) + residual)


class FeedForward(nn.Module):
    """Expand, activate, contract, add, normalise."""

    def __init__(self, width: int, inner: int, *, act: str, eps: float, dropout: float) -> None:
        super().__init__()
        self.expand = nn.Linear(width, inner)
        self.act = ACTIVATIONS[act]
        self.contract = AddNorm(inner, width, eps=eps, dropout=dropout)

    def forward(self, states: Tensor) -> Tensor:
        """Transform each position of [N, L, width] on its own."""
        return self.contract(self.act(self.expand(states)), states)


class Layered(NamedTuple):
    """A layer's states, [N, L, width], and its attention weights, [N, H, L, L]."""

    states: Tensor
    weights: Tensor


class Layer(nn.Module):
    """A post-norm transformer layer of one stream."""

    def __init__(self, attention: SelfAttention, output: AddNorm, feed_forward: FeedForward) -> None:
        super().__init__()
        self.attention = attention
        self.output = output
        self.feed_forward = feed_forward

    def forward(self, states: Tensor, mask: Tensor, text: Tensor | None = None) -> Layered:
        """Attend and transform.

        Args:
            states: [N, L, width].
            mask: [N, L].
            text: [N, D] mean text state, for a gated layer.

        Returns:
            New states and attention weights.
        """
        attended = self.attention(states, mask, text)
        return Layered(self._transform(attended.context, states), attended.weights)

    def first(self, states: Tensor, mask: Tensor) -> Tensor:
        """Give the new state of the first position alone: [N, L, width] and [N, L] to [N, 1, width]."""
        return self._transform(self.attention.first(states, mask), states[:, :1])

    def first_of_many(self, states: Tensor, mask: Tensor) -> Tensor:
        """Give what `first` gives, cheaper where positions are many."""
        return self._transform(self.attention.first_of_many(states, mask), states[:, :1])

    def _transform(self, context: Tensor, states: Tensor) -> Tensor:
        return self.feed_forward(self.output(context, states))


class CoLayered(NamedTuple):
    """Both streams after a co-attention layer, and its weights both ways."""

    regions: Tensor
    text: Tensor
    image_to_text: Tensor
    text_to_image: Tensor


class CoLayer(nn.Module):
    """Co-attention, then each stream's own residual and feed-forward block.

    Source: 12-in-1's `BertConnectionLayer`.
    Differs: its `q_dense1` and `q_dense2`, never used there, do not exist here.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention = CoAttention(
            image_width=config.v_hidden_size,
            text_width=config.hidden_size,
            inner=config.bi_hidden_size,
            heads=config.bi_num_attention_heads,
            dropouts=(config.v_attention_probs_dropout_prob, config.attention_probs_dropout_prob),
        )
        eps = config.layer_norm_eps
        image_dropout, text_dropout = config.v_hidden_dropout_prob, config.hidden_dropout_prob
        self.image_output = AddNorm(config.bi_hidden_size, config.v_hidden_size, eps=eps, dropout=image_dropout)
        self.text_output = AddNorm(config.bi_hidden_size, config.hidden_size, eps=eps, dropout=text_dropout)
        self.image_feed_forward = _image_feed_forward(config)
        self.text_feed_forward = _text_feed_forward(config)

    def forward(self, regions: Tensor, region_mask: Tensor, text: Tensor, text_mask: Tensor) -> CoLayered:
        """Let the streams meet: [N, R, V] and [N, T, D] in, the same out."""
        return self._transform(regions, text, self.attention(regions, region_mask, text, text_mask))

    def through_text(self, regions: Tensor, region_mask: Tensor, text: Tensor, text_mask: Tensor) -> CoLayered:
        """Give what `forward` gives without projecting a region; see `CoAttention.through_text`."""
        return self._transform(regions, text, self.attention.through_text(regions, region_mask, text, text_mask))

    def meet(
        self, regions: Tensor, region_mask: Tensor, text: Tensor, text_mask: Tensor, packed: tuple[Tensor, Tensor]
    ) -> CoLayered:
        """Let the streams meet whose queries, keys and values were computed before.

        Args:
            regions: [N, R, V].
            region_mask: [N, R].
            text: [N, T, D].
            text_mask: [N, T].
            packed: [N, R, 3*B] of the regions and [N, T, 3*B] of the text, as `QueryKeyValue.pack` gives them.

        Returns:
            What `forward` gives.
        """
        image, words = self.attention.image.unpack(packed[0]), self.attention.text.unpack(packed[1])
        return self._transform(regions, text, self.attention.meet(image, region_mask, words, text_mask))

    def _transform(self, regions: Tensor, text: Tensor, met: CoAttended) -> CoLayered:
        return CoLayered(
            self.image_feed_forward(self.image_output(met.regions, regions)),
            self.text_feed_forward(self.text_output(met.text, text)),
            met.image_to_text,
            met.text_to_image,
        )


def text_layer(config: ModelConfig) -> Layer:
    """Build a layer of the text stream."""
    attention = SelfAttention(
        config.hidden_size, heads=config.num_attention_heads, dropout=config.attention_probs_dropout_prob
    )
    output = AddNorm(
        config.hidden_size, config.hidden_size, eps=config.layer_norm_eps, dropout=config.hidden_dropout_prob
    )
    return Layer(attention, output, _text_feed_forward(config))


def image_layer(config: ModelConfig) -> Layer:
    """Build a layer of the visual stream."""
    attention = SelfAttention(
        config.v_hidden_size,
        heads=config.v_num_attention_heads,
        dropout=config.v_attention_probs_dropout_prob,
        text_width=config.hidden_size if config.dynamic_attention else None,
    )
    output = AddNorm(
        config.v_hidden_size, config.v_hidden_size, eps=config.layer_norm_eps, dropout=config.v_hidden_dropout_prob
    )
    return Layer(attention, output, _image_feed_forward(config))


def _text_feed_forward(config: ModelConfig) -> FeedForward:
    return FeedForward(
        config.hidden_size,
        config.intermediate_size,
        act=config.hidden_act,
        eps=config.layer_norm_eps,
        dropout=config.hidden_dropout_prob,
    )


def _image_feed_forward(config: ModelConfig) -> FeedForward:
    return FeedForward(
        config.v_hidden_size,
        config.v_intermediate_size,
        act=config.v_hidden_act,
        eps=config.layer_norm_eps,
        dropout=config.v_hidden_dropout_prob,
    )
