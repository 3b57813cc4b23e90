"""The six heads of 12-in-1 (section 3.1, and the released code where it differs) and those of pre-training, by item.

Shapes: T tokens · R regions · D text width · V image width · B fused width · A answers · W words
        C classes of regions.
"""

from collections.abc import Callable, Mapping

import numpy as np

from tests.oracle.algebra import ACTIVATIONS, Array, Weights, affine, gelu, layer_norm, sigmoid, softmax
from tests.oracle.trunk import Config, States


class Heads:
    """Logits of the heads that answer tasks, and what they mean."""

    def __init__(self, weights: Weights, config: Config) -> None:
        self._weights = weights
        self._config = config

    def logits(self, states: States, following: States) -> Mapping[str, Array]:
        """Rate a row; the pair head rates it together with the following one.

        Returns:
            [A] of "vqa" and "gqa" · "alignment" [1]: does the caption describe the picture · "grounding" [R]: is this
            region meant · "pair" [2]: false, true · "entailment" [3]: in the released code, one layer.
        """
        weights, fused = self._weights, states.fused
        entailment = {"paper": self._classify, "released": affine}[self._config["heads"]]
        return {
            "vqa": self._classify(fused, weights.below("vqa", "classify")),
            "gqa": self._classify(fused, weights.below("gqa", "classify")),
            "alignment": affine(fused, weights.below("alignment", "rate")),
            "grounding": affine(states.regions, weights.below("grounding", "rate"))[:, 0],
            "pair": self._classify(np.concatenate([fused, following.fused]), weights.below("pair", "classify")),
            "entailment": entailment(fused, weights.below("entailment", "classify")),
        }

    def scores(self, head: str, logits: Array) -> Array:
        """Give one request's logits as shares, where the loss was a softmax's, or as a probability each."""
        verdicts: Callable[[Array], Array] = {"paper": softmax, "released": sigmoid}[self._config["heads"]]
        alike = {"vqa": sigmoid, "gqa": sigmoid, "grounding": sigmoid, "alignment": softmax}
        return alike.get(head, verdicts)(logits)

    def _classify(self, x: Array, weights: Weights) -> Array:
        inner = gelu(affine(x, weights.below(0)))
        return affine(layer_norm(inner, weights.below(2), eps=self._config["layer_norm_eps"]), weights.below(3))


class PretrainingHeads:
    """Logits of what pre-training asks (ViLBERT, arXiv:1908.02265, section 3.1)."""

    def __init__(self, weights: Weights, words: Array, config: Config) -> None:
        """Take the heads' weights, and the [W, D] words that hidden ones are compared with."""
        self._weights = weights
        self._words = words
        self._config = config

    def logits(self, states: States) -> Mapping[str, Array]:
        """Rate a row.

        Returns:
            "words" [T, W]: which word is hidden here · "regions" [R, C]: which thing is hidden here · "alignment" [2]:
            aligned, not aligned · "tokens" [T, 1], which nothing reads.
        """
        weights = self._weights
        words = self._transform(states.text, weights.below("words")) @ self._words.T + weights["words.bias"]
        regions = self._transform(states.regions, weights.below("regions"))
        return {
            "words": words,
            "regions": affine(regions, weights.below("regions", "classify")),
            "alignment": affine(states.fused, weights.below("alignment")),
            "tokens": affine(states.text, weights.below("tokens")),
        }

    def _transform(self, x: Array, weights: Weights) -> Array:
        """Both streams take the text's activation here, as the published code does."""
        inner = ACTIVATIONS[self._config["hidden_act"]](affine(x, weights.below("dense")))
        return layer_norm(inner, weights.below("norm"), eps=self._config["layer_norm_eps"])
