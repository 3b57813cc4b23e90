"""The formulas that layers are made of, in float64, one sequence at a time.

Shapes: L positions of a sequence · Q queries · K keys · E head width · the last dimension is the width.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

error_function = np.vectorize(math.erf, otypes=[np.float64])


class Weights:
    """Arrays by name, seen from below a prefix, so that a formula says `weights["bias"]` of whichever layer it is."""

    def __init__(self, arrays: Mapping[str, NDArray[np.generic]], prefix: str = "") -> None:
        self._arrays = arrays
        self._prefix = prefix

    def __getitem__(self, name: str) -> Array:
        return np.asarray(self._arrays[self._prefix + name], dtype=np.float64)

    def below(self, *names: str | int) -> "Weights":
        """Step down: `weights.below("text_layers", 0)`."""
        return Weights(self._arrays, self._prefix + "".join(f"{name}." for name in names))


def affine(x: Array, weights: Weights) -> Array:
    """W x + b for each position."""
    return x @ weights["weight"].T + weights["bias"]


def layer_norm(x: Array, weights: Weights, *, eps: float) -> Array:
    """Each position to mean 0 and variance 1, then scale and shift (arXiv:1607.06450).

    The variance is the population's, and eps stands inside the root.
    """
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred**2).mean(axis=-1, keepdims=True)
    return centred / np.sqrt(variance + eps) * weights["weight"] + weights["bias"]


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x)."""
    return 1 / (1 + np.exp(-x))


def softmax(x: Array) -> Array:
    """e^x over its sum along the last dimension."""
    powers = np.exp(x - x.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def gelu(x: Array) -> Array:
    """X times the chance that a standard normal number is below x (arXiv:1606.08415); no tanh in its place."""
    return x * (1 + error_function(x / math.sqrt(2))) / 2


def relu(x: Array) -> Array:
    """The larger of x and 0."""
    return np.maximum(x, 0)


def swish(x: Array) -> Array:
    """X times its sigmoid (arXiv:1710.05941)."""
    return x * sigmoid(x)


ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {"gelu": gelu, "relu": relu, "swish": swish}


class Attended(NamedTuple):
    """[Q, width] what the queries took, and [heads, Q, K] how they weighed it."""

    context: Array
    weights: Array


def attention(query: Array, key: Array, value: Array, *, heads: int) -> Attended:
    """softmax(q k^T / sqrt(E)) v in each head, the heads' results side by side (arXiv:1706.03762, section 3.2).

    Args:
        query: [Q, width].
        key: [K, width].
        value: [K, width].
        heads: Each takes the next E = width / heads columns.
    """
    columns = np.split(np.arange(query.shape[-1]), heads)
    weights = [softmax(query[:, own] @ key[:, own].T / math.sqrt(len(own))) for own in columns]
    context = [weight @ value[:, own] for weight, own in zip(weights, columns, strict=True)]
    return Attended(np.concatenate(context, axis=-1), np.stack(weights))
