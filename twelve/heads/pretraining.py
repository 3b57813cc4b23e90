"""What pre-training asks of the trunk (ViLBERT, arXiv:1908.02265, section 3.1): words, regions, alignment.

No task needs these heads: a model has them only where `TwelveModel.add_pretraining` was called, and each is computed
only where it is called.

Shapes: N rows · T tokens (task token included) · R regions (global one first) · D text width · V image width
        B fused width · W words of the table · C classes of regions.
"""

import torch
from torch import Tensor, nn

from twelve.model.config import ModelConfig
from twelve.model.embeddings import TextEmbedding
from twelve.model.layers import ACTIVATIONS

ALIGNED, NOT_ALIGNED = 0, 1
"""Outputs of the alignment head, in the order of the published checkpoint's."""


class HiddenWords(nn.Module):
    """Which word stands at each place. Shares the word table, and has one bias a word beside it.

    Source: the published `BertLMPredictionHead`.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.act = ACTIVATIONS[config.hidden_act]
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, text: Tensor, table: TextEmbedding) -> Tensor:
        """Rate each word at each place.

        Args:
            text: [..., D] last states of the text stream, those of hidden words alone where no others are asked for.
            table: The trunk's, which the words are compared with.

        Returns:
            [..., W] logits.
        """
        return table.match(self.norm(self.act(self.dense(text)))) + self.bias


class HiddenRegions(nn.Module):
    """Which class the detector would give each region.

    Source: the published `BertImagePredictionHead`; as there, its activation is the text stream's.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.v_hidden_size, config.v_hidden_size)
        self.act = ACTIVATIONS[config.hidden_act]
        self.norm = nn.LayerNorm(config.v_hidden_size, eps=config.layer_norm_eps)
        self.classify = nn.Linear(config.v_hidden_size, config.v_target_size)

    def forward(self, regions: Tensor) -> Tensor:
        """Rate each class of each region: [..., V] to [..., C] logits."""
        return self.classify(self.norm(self.act(self.dense(regions))))


class PretrainingHeads(nn.Module):
    """The heads that only pre-training reads, and the published model's rating of tokens, which nothing trained.

    Attributes:
        words: [N, T, D] text states to [N, T, W].
        regions: [N, R, V] region states to [N, R, C].
        alignment: [N, B] fused states to [N, 2]: does the text describe the picture?
        tokens: [N, T, D] text states to [N, T, 1]; the published `linguisic_logit`, kept for its weights.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.words = HiddenWords(config)
        self.regions = HiddenRegions(config)
        self.alignment = nn.Linear(config.bi_hidden_size, 2)
        self.tokens = nn.Linear(config.hidden_size, 1)
        self._spread = config.initializer_range
        self.apply(self._initialise)

    def _initialise(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=self._spread)
            nn.init.zeros_(module.bias)
