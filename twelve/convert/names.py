"""The published checkpoint's keys and our parameters: one table, read both ways, for any number of layers.

A key is a module's path and the parameter's own name, `weight` or `bias`; the table pairs the paths. `{n}` stands for
a layer's number. The table knows every key that the published code can write, whatever the configuration; which of
them a given configuration has is for `published_shapes` to say.

Nothing of a checkpoint is lost on the way in: `sort_out` gives the tensors that our model takes and, as data under
their published names, those that are dead; `published_state` puts both together again.

Source: the state dict of `VILBertForVLTasks`, 560 entries for the released model (vilbert/vilbert.py of
facebookresearch/vilbert-multi-task).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Generic, NamedTuple, TypeVar

import torch

from twelve.errors import ConfigInvalid
from twelve.heads.model import TwelveModel
from twelve.model.config import ModelConfig

Value = TypeVar("Value")
"""What stands under a name: a tensor, its shape, a place in a file."""


class Use(StrEnum):
    """What becomes of a published key."""

    TRUNK = "trunk"
    """Read by every task."""
    HEAD = "head"
    """Read by the tasks of one head."""
    PRETRAINING = "pretraining"
    """Read in pre-training only, or by nothing that was trained; no task needs it."""
    TIED = "tied"
    """A second copy of another key: the decoder of masked words is the word table."""
    DEAD = "dead"
    """In the checkpoint, and in no computation of the published code."""


SERVES = frozenset({Use.TRUNK, Use.HEAD})
"""Uses without which a task cannot be answered."""

ASIDE = frozenset({Use.TIED, Use.DEAD})
"""Uses that no parameter of ours stands for."""


@dataclass(frozen=True)
class Key:
    """One entry of the published checkpoint.

    Attributes:
        name: As published.
        use: What becomes of it.
        parameter: Ours that takes its values. For a tied key the one that both stand for; for a dead key, which has
            none, the living one of the same shape.
    """

    name: str
    use: Use
    parameter: str


@dataclass(frozen=True)
class Row:
    """One line of the table: a module's path in the published code, ours, and what becomes of its parameters."""

    published: str
    ours: str
    use: Use

    def __post_init__(self) -> None:
        assert self.published.count("{n}") == self.ours.count("{n}"), "a layer's number must survive both ways"


def _layers(published: str, ours: str) -> Iterator[Row]:
    """Pair the parts of one stream's transformer layers."""
    for theirs, mine in (
        ("attention.self.query", "attention.project.query"),
        ("attention.self.key", "attention.project.key"),
        ("attention.self.value", "attention.project.value"),
        ("attention.self.dyLinear_q", "attention.query_gate"),  # where text gates the visual stream
        ("attention.self.dyLinear_k", "attention.key_gate"),
        ("attention.output.dense", "output.dense"),
        ("attention.output.LayerNorm", "output.norm"),
        ("intermediate.dense", "feed_forward.expand"),
        ("output.dense", "feed_forward.contract.dense"),
        ("output.LayerNorm", "feed_forward.contract.norm"),
    ):
        yield Row(f"{published}.{{n}}.{theirs}", f"{ours}.{{n}}.{mine}", Use.TRUNK)


def _co_layers(published: str, ours: str) -> Iterator[Row]:
    """Pair the parts of the co-attention layers; there, 1 is the visual stream and 2 the text."""
    for theirs, mine, use in (
        ("biattention.query1", "attention.image.query", Use.TRUNK),
        ("biattention.key1", "attention.image.key", Use.TRUNK),
        ("biattention.value1", "attention.image.value", Use.TRUNK),
        ("biattention.query2", "attention.text.query", Use.TRUNK),
        ("biattention.key2", "attention.text.key", Use.TRUNK),
        ("biattention.value2", "attention.text.value", Use.TRUNK),
        ("biOutput.dense1", "image_output.dense", Use.TRUNK),
        ("biOutput.LayerNorm1", "image_output.norm", Use.TRUNK),
        ("biOutput.q_dense1", "image_output.dense", Use.DEAD),
        ("biOutput.dense2", "text_output.dense", Use.TRUNK),
        ("biOutput.LayerNorm2", "text_output.norm", Use.TRUNK),
        ("biOutput.q_dense2", "text_output.dense", Use.DEAD),
        ("v_intermediate.dense", "image_feed_forward.expand", Use.TRUNK),
        ("v_output.dense", "image_feed_forward.contract.dense", Use.TRUNK),
        ("v_output.LayerNorm", "image_feed_forward.contract.norm", Use.TRUNK),
        ("t_intermediate.dense", "text_feed_forward.expand", Use.TRUNK),
        ("t_output.dense", "text_feed_forward.contract.dense", Use.TRUNK),
        ("t_output.LayerNorm", "text_feed_forward.contract.norm", Use.TRUNK),
    ):
        yield Row(f"{published}.{{n}}.{theirs}", f"{ours}.{{n}}.{mine}", use)


def _classifier(published: str, ours: str) -> Iterator[Row]:
    """Pair the layers of a two-layer classifier; the activation between, number 1, has no parameters."""
    for number in (0, 2, 3):
        yield Row(f"{published}.logit_fc.{number}", f"{ours}.classify.{number}", Use.HEAD)


TABLE: tuple[Row, ...] = (
    Row("bert.embeddings.word_embeddings", "trunk.text_embedding.words", Use.TRUNK),
    Row("bert.embeddings.position_embeddings", "trunk.text_embedding.positions", Use.TRUNK),
    Row("bert.embeddings.token_type_embeddings", "trunk.text_embedding.segments", Use.TRUNK),
    Row("bert.embeddings.task_embeddings", "trunk.text_embedding.tasks", Use.TRUNK),
    Row("bert.embeddings.LayerNorm", "trunk.text_embedding.norm", Use.TRUNK),
    Row("bert.v_embeddings.image_embeddings", "trunk.region_embedding.features", Use.TRUNK),
    Row("bert.v_embeddings.image_location_embeddings", "trunk.region_embedding.locations", Use.TRUNK),
    Row("bert.v_embeddings.LayerNorm", "trunk.region_embedding.norm", Use.TRUNK),
    *_layers("bert.encoder.layer", "trunk.text_layers"),
    *_layers("bert.encoder.v_layer", "trunk.image_layers"),
    *_co_layers("bert.encoder.c_layer", "trunk.co_layers"),
    Row("bert.t_pooler.dense", "trunk.text_pooler", Use.TRUNK),
    Row("bert.v_pooler.dense", "trunk.region_pooler", Use.TRUNK),
    *_classifier("vil_prediction", "heads.vqa"),
    *_classifier("vil_prediction_gqa", "heads.gqa"),
    *_classifier("vil_binary_prediction", "heads.pair"),
    Row("vil_logit", "heads.alignment.rate", Use.HEAD),
    Row("vil_tri_prediction", "heads.entailment.classify", Use.HEAD),
    Row("vision_logit", "heads.grounding.rate", Use.HEAD),
    Row("cls.predictions.transform.dense", "pretraining.words.dense", Use.PRETRAINING),
    Row("cls.predictions.transform.LayerNorm", "pretraining.words.norm", Use.PRETRAINING),
    Row("cls.predictions", "pretraining.words", Use.PRETRAINING),  # its bias alone, one a word
    Row("cls.predictions.decoder", "trunk.text_embedding.words", Use.TIED),
    Row("cls.imagePredictions.transform.dense", "pretraining.regions.dense", Use.PRETRAINING),
    Row("cls.imagePredictions.transform.LayerNorm", "pretraining.regions.norm", Use.PRETRAINING),
    Row("cls.imagePredictions.decoder", "pretraining.regions.classify", Use.PRETRAINING),
    Row("cls.bi_seq_relationship", "pretraining.alignment", Use.PRETRAINING),
    Row("linguisic_logit", "pretraining.tokens", Use.PRETRAINING),  # rates each token; none of the tasks trained it
)
"""Modules by their published path and ours. Two of ours have no published path: the projection of a factorised word
table, and the paper's two-layer form of the entailment head."""


def key_of(name: str) -> Key | None:
    """Say what a published key is.

    Args:
        name: As in the checkpoint, without "module." before it.

    Returns:
        The key, or None for a name that the published code does not write.
    """
    for pattern, row in _by_published():
        if found := pattern.fullmatch(name):
            return Key(name, row.use, _fill(row.ours, found))
    return None


class SortedOut(NamedTuple, Generic[Value]):
    """A published checkpoint's contents, taken apart.

    Attributes:
        parameters: By our names: trunk, heads and pre-training heads.
        tied: Second copies, by their published names; they must equal what they are tied to.
        dead: By their published names.
        unknown: What the published code never wrote, by the names that were found.
    """

    parameters: dict[str, Value]
    tied: dict[str, Value]
    dead: dict[str, Value]
    unknown: dict[str, Value]


def sort_out(published: Mapping[str, Value]) -> SortedOut[Value]:
    """Take a published checkpoint apart by use.

    Args:
        published: By published name, without "module." before it.

    Returns:
        Each entry once; values are passed on, never copied.
    """
    found: SortedOut[Value] = SortedOut({}, {}, {}, {})
    for name, value in published.items():
        key = key_of(name)
        if key is None:
            found.unknown[name] = value
        elif key.use in ASIDE:
            {Use.TIED: found.tied, Use.DEAD: found.dead}[key.use][name] = value
        else:
            found.parameters[key.parameter] = value
    return found


def published_state(parameters: Mapping[str, Value], dead: Mapping[str, Value]) -> dict[str, Value]:
    """Put a published checkpoint together: the inverse of `sort_out`, tied copies included.

    Args:
        parameters: By our names.
        dead: By published names.

    Returns:
        By published names, in the order of `parameters`, the dead ones last.

    Raises:
        ConfigInvalid: The published model has no place for a parameter; names it.
    """
    names = {parameter: published_name(parameter) for parameter in parameters}
    if homeless := sorted(parameter for parameter, name in names.items() if name is None):
        raise ConfigInvalid(
            f"the published model has no place for {homeless[:5]}; "
            "its heads are `released`, and it has no `embedding_size`"
        )
    state = {name: parameters[parameter] for parameter, name in names.items() if name is not None}
    copies = {key.name: parameters[key.parameter] for key in _aside(parameters, Use.TIED)}
    return state | copies | dict(dead)


def published_shapes(config: ModelConfig) -> dict[str, tuple[int, ...]]:
    """List the keys and shapes that a published checkpoint of a configuration has, pre-training heads included.

    Args:
        config: Of a model with the released heads and a whole word table.

    Returns:
        Shapes by published name.

    Raises:
        ConfigInvalid: The published model has no such form.
    """
    with torch.device("meta"):
        model = TwelveModel(config)
        model.add_pretraining()
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    return published_state(shapes, {key.name: shapes[key.parameter] for key in _aside(shapes, Use.DEAD)})


def published_name(parameter: str) -> str | None:
    """Name the published key that holds one of our parameters.

    Args:
        parameter: A name in the state dict of `TwelveModel`.

    Returns:
        The key, or None for a parameter that the published model does not have.
    """
    for pattern, row in _by_ours():
        if found := pattern.fullmatch(parameter):
            return _fill(row.published, found)
    return None


def _aside(parameters: Mapping[str, object], use: Use) -> Iterator[Key]:
    """Name the keys that stand beside our parameters: copies of them, or dead ones of their shape."""
    for parameter in parameters:
        for row in TABLE:
            if row.use is use and (found := _pattern(row.ours).fullmatch(parameter)):
                yield Key(_fill(row.published, found), use, parameter)


@cache
def _by_published() -> list[tuple[re.Pattern[str], Row]]:
    return [(_pattern(row.published), row) for row in TABLE]


@cache
def _by_ours() -> list[tuple[re.Pattern[str], Row]]:
    return [(_pattern(row.ours), row) for row in TABLE if row.use not in ASIDE]


@cache
def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.escape(path).replace(re.escape("{n}"), r"(?P<n>\d+)") + r"\.(?P<leaf>weight|bias)")


def _fill(path: str, found: re.Match[str]) -> str:
    layer = found.groupdict().get("n", "")
    return f"{path.replace('{n}', layer)}.{found['leaf']}"
