"""What enters the streams: word pieces with a task token, regions with their locations.

Shapes: N rows · L word pieces · T tokens (L, and 1 where there is a task token) · R regions
        D text width · V image width · F features.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from twelve.boxes import LOCATION_WIDTH
from twelve.model.attention import dropout_of
from twelve.model.config import ModelConfig


class TextEmbedding(nn.Module):
    """Words, positions and segments summed; the task token inserted after [CLS].

    Source: 12-in-1, section 3.2, and the published `BertEmbeddings`: the task row gets neither position nor segment,
    and the words keep the positions that they had without it.
    Differs: the word table may be narrower than the stream (`embedding_size`) and is then projected up.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        table_width = config.embedding_size or config.hidden_size
        self.words = nn.Embedding(config.vocab_size, table_width)
        self.widen = nn.Linear(table_width, config.hidden_size, bias=False) if config.embedding_size else nn.Identity()
        self.positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        self.segments = nn.Embedding(config.type_vocab_size, config.hidden_size)
        rows = config.task_embedding_rows
        self.tasks = nn.Embedding(rows, config.hidden_size) if config.task_specific_tokens else None
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.dropout = dropout_of(config.hidden_dropout_prob)

    def initialise_widening(self) -> None:
        """Let a factorised table's words come out as wide as positions and segments, not fainter."""
        if isinstance(self.widen, nn.Linear):
            nn.init.normal_(self.widen.weight, std=self.widen.in_features**-0.5)

    def forward(self, token_ids: Tensor, task_tokens: Tensor, segments: Tensor | None = None) -> Tensor:
        """Embed.

        Args:
            token_ids: [N, L] int64, [CLS] first.
            task_tokens: [N] int64, rows of the task table; unused where the model has none.
            segments: [N, L] int64, or None for all zero.

        Returns:
            [N, T, D].
        """
        positions = torch.arange(token_ids.shape[1], device=token_ids.device)
        segment_rows = self.segments.weight[:1] if segments is None else self.segments(segments)
        states = self.widen(self.words(token_ids)) + self.positions(positions) + segment_rows  # [N, L, D]
        if self.tasks is not None:
            task = self.tasks(task_tokens)[:, None]  # [N, 1, D]
            states = torch.cat([states[:, :1], task, states[:, 1:]], dim=1)  # [N, L+1, D]
        return self.dropout(self.norm(states))

    def match(self, states: Tensor) -> Tensor:
        """Compare states with every word of the table, as pre-training does to guess hidden words.

        Args:
            states: [..., D].

        Returns:
            [..., words of the table], the inner product with each word as `forward` widens it.
        """
        if isinstance(self.widen, nn.Linear):
            states = states @ self.widen.weight  # [..., table width]
        return functional.linear(states, self.words.weight)


class RegionEmbedding(nn.Module):
    """Features and locations projected and summed. Sees no text and no task: made once a picture.

    Source: the published `BertImageEmbeddings`.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.features = nn.Linear(config.v_feature_size, config.v_hidden_size)
        self.locations = nn.Linear(LOCATION_WIDTH, config.v_hidden_size)
        self.norm = nn.LayerNorm(config.v_hidden_size, eps=config.layer_norm_eps)
        self.dropout = dropout_of(config.hidden_dropout_prob)

    def forward(self, features: Tensor, locations: Tensor) -> Tensor:
        """Embed [N, R, F] features at [N, R, 5] locations as [N, R, V]."""
        return self.dropout(self.norm(self.features(features) + self.locations(locations)))
