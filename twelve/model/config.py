"""The model's configuration, under the names of the published `bert_base_6layer_6conect.json`."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError

from twelve.bundle import json_object
from twelve.errors import ConfigInvalid

Activation = Literal["gelu", "relu", "swish"]
Fusion = Literal["mul", "sum"]
Classifier = Literal["two-layer", "linear"]
Labels = Literal["exclusive", "independent"]
"""Whether one of a head's outputs is right (softmax), or each on its own is right or wrong (sigmoid)."""

HeadPreset = Literal["paper", "released"]

MOST_WIDE, MOST_LAYERS = 1_000_000, 1_000
"""Beyond these a number is a mistake: the published model's largest are 30,522 rows and 12 layers."""

Width = Annotated[int, Field(ge=1, le=MOST_WIDE)]
Layers = Annotated[int, Field(ge=0, le=MOST_LAYERS)]
Dropout = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]
Spread = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Epsilon = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


@dataclass(frozen=True, kw_only=True)
class HeadSwitches:
    """Where the released code's heads are not the paper's, one switch a difference (docs/fidelity.md, 1 to 3).

    Attributes:
        entailment_classifier: Form of the head of SNLI-VE.
        entailment_labels: How its three labels are trained, and so what its scores mean.
        pair_labels: Likewise for the two verdicts of NLVR2.
    """

    entailment_classifier: Classifier
    entailment_labels: Labels
    pair_labels: Labels


HEAD_PRESETS: Mapping[HeadPreset, HeadSwitches] = {
    "paper": HeadSwitches(entailment_classifier="two-layer", entailment_labels="exclusive", pair_labels="exclusive"),
    "released": HeadSwitches(
        entailment_classifier="linear", entailment_labels="independent", pair_labels="independent"
    ),
}

IGNORED_KEYS = frozenset(
    {
        "bi_attention_type",
        "bi_hidden_act",
        "bi_intermediate_size",
        "fast_mode",
        "fixed_t_layer",
        "fixed_v_layer",
        "num_negative",
        "objective",
        "pooling_method",
        "v_initializer_range",
        "visual_target",
        "visualization",
    }
)
"""Keys of published configuration files that change nothing in the twelve tasks' forward pass, whatever they hold."""

ONLY: Mapping[str, object] = {"model": "bert", "in_batch_pairs": False}
"""Keys likewise whose other values make another model: RoBERTa's embedding, each text with each picture of a batch."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes and switches of trunk and heads.

    Attributes:
        vocab_size: Rows of the word table.
        embedding_size: Width of the word table where it is factorised (ALBERT, arXiv:1909.11942); None = hidden_size.
        hidden_size: D, width of the text stream.
        num_hidden_layers: Of the text stream.
        num_attention_heads: Likewise.
        intermediate_size: Width inside its feed-forward blocks.
        hidden_act: Its activation.
        max_position_embeddings: Most tokens a text may have, [CLS] and [SEP] included, the task token not.
        type_vocab_size: Segments.
        v_feature_size: F, width of a region feature.
        v_hidden_size: V, width of the visual stream.
        v_num_hidden_layers: Of the visual stream.
        v_num_attention_heads: Likewise.
        v_intermediate_size: Likewise.
        v_hidden_act: Likewise.
        v_target_size: Classes of the masked-region pre-training head.
        bi_hidden_size: B, width of co-attention and of the pooled states.
        bi_num_attention_heads: Of co-attention.
        v_biattention_id: Visual layers that co-attention stands before, in order; their number = after the last.
        t_biattention_id: Text layers likewise, one for each of the visual ones.
        fusion_method: How the pooled states join: element-wise product or sum.
        with_coattention: False leaves the co-attention layers out.
        dynamic_attention: Text gates the queries and keys of the visual stream.
        task_specific_tokens: Whether a task token is inserted after [CLS].
        task_embedding_rows: Rows of the task table; a token number is a row.
        hidden_dropout_prob: Text stream.
        attention_probs_dropout_prob: Text stream.
        v_hidden_dropout_prob: Visual stream.
        v_attention_probs_dropout_prob: Visual stream.
        initializer_range: Standard deviation of new weights.
        layer_norm_eps: Inside the root.
        vqa_labels: Answers of the head of VQAv2 and Visual Genome QA.
        gqa_labels: Answers of the head of GQA.
        heads: The paper's heads, the released code's, or each switch on its own.
    """

    vocab_size: Width = 30522
    embedding_size: Width | None = None
    hidden_size: Width = 768
    num_hidden_layers: Layers = 12
    num_attention_heads: Width = 12
    intermediate_size: Width = 3072
    hidden_act: Activation = "gelu"
    max_position_embeddings: Width = 512
    type_vocab_size: Width = 2
    v_feature_size: Width = 2048
    v_hidden_size: Width = 1024
    v_num_hidden_layers: Layers = 6
    v_num_attention_heads: Width = 8
    v_intermediate_size: Width = 1024
    v_hidden_act: Activation = "gelu"
    v_target_size: Width = 1601
    bi_hidden_size: Width = 1024
    bi_num_attention_heads: Width = 8
    v_biattention_id: tuple[int, ...] = (0, 1, 2, 3, 4, 5)
    t_biattention_id: tuple[int, ...] = (6, 7, 8, 9, 10, 11)
    fusion_method: Fusion = "mul"
    with_coattention: bool = True
    dynamic_attention: bool = False
    task_specific_tokens: bool = True
    task_embedding_rows: Width = 20
    hidden_dropout_prob: Dropout = 0.1
    attention_probs_dropout_prob: Dropout = 0.1
    v_hidden_dropout_prob: Dropout = 0.1
    v_attention_probs_dropout_prob: Dropout = 0.1
    initializer_range: Spread = 0.02
    layer_norm_eps: Epsilon = 1e-12
    vqa_labels: Width = 3129
    gqa_labels: Width = 1533
    heads: HeadPreset | HeadSwitches = "paper"

    def __post_init__(self) -> None:
        """Refuse values of another type, values that no model can have, and contradictions.

        Raises:
            ConfigInvalid: Names the field whose value does not fit, or those that contradict each other.
        """
        _check_fields(self)
        _check_fields(self.head_switches, "heads.")
        _divides(self.num_attention_heads, self.hidden_size, "num_attention_heads", "hidden_size")
        _divides(self.v_num_attention_heads, self.v_hidden_size, "v_num_attention_heads", "v_hidden_size")
        _divides(self.bi_num_attention_heads, self.bi_hidden_size, "bi_num_attention_heads", "bi_hidden_size")
        if len(self.v_biattention_id) != len(self.t_biattention_id):
            raise ConfigInvalid(
                f"v_biattention_id has {len(self.v_biattention_id)} entries, t_biattention_id "
                f"{len(self.t_biattention_id)}; each co-attention layer needs one of both"
            )
        _in_order(self.v_biattention_id, self.v_num_hidden_layers, "v_biattention_id")
        _in_order(self.t_biattention_id, self.num_hidden_layers, "t_biattention_id")

    @property
    def head_switches(self) -> HeadSwitches:
        """Give the switches of the heads, those of the preset where one is named."""
        return self.heads if isinstance(self.heads, HeadSwitches) else HEAD_PRESETS[self.heads]

    @classmethod
    def paper(cls) -> "ModelConfig":
        """Give the published model's configuration: 268 M parameters, 20 task rows, the released heads."""
        return cls(heads="released")

    @classmethod
    def small(cls, *, vqa_labels: int, gqa_labels: int, feature_width: int = 256) -> "ModelConfig":
        """Give the default bundle's configuration, which two cores can train."""
        return cls(
            embedding_size=64,
            hidden_size=192,
            num_hidden_layers=4,
            num_attention_heads=6,
            intermediate_size=384,
            max_position_embeddings=128,
            v_feature_size=feature_width,
            v_hidden_size=192,
            v_num_hidden_layers=3,
            v_num_attention_heads=6,
            v_intermediate_size=192,
            bi_hidden_size=192,
            bi_num_attention_heads=6,
            v_biattention_id=(0, 1, 2),
            t_biattention_id=(1, 2, 3),
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            v_hidden_dropout_prob=0.0,
            v_attention_probs_dropout_prob=0.0,
            initializer_range=0.05,  # 0.02 suits a width of 768; a spread of about 0.7 / sqrt(width) suits any
            vqa_labels=vqa_labels,
            gqa_labels=gqa_labels,
        )

    @classmethod
    def tiny(cls, *, vqa_labels: int = 7, gqa_labels: int = 5, feature_width: int = 8) -> "ModelConfig":
        """Give a configuration for tests: every part present, nothing larger than it must be."""
        return cls(
            embedding_size=8,
            hidden_size=16,
            num_hidden_layers=3,
            num_attention_heads=2,
            intermediate_size=24,
            max_position_embeddings=64,
            v_feature_size=feature_width,
            v_hidden_size=12,
            v_num_hidden_layers=2,
            v_num_attention_heads=2,
            v_intermediate_size=12,
            v_target_size=5,
            bi_hidden_size=16,
            bi_num_attention_heads=2,
            v_biattention_id=(0, 1),
            t_biattention_id=(1, 2),
            vqa_labels=vqa_labels,
            gqa_labels=gqa_labels,
        )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelConfig":
        """Read a configuration; unknown keys are refused, keys that change nothing are dropped.

        Args:
            values: As parsed from JSON.

        Returns:
            The configuration.

        Raises:
            ConfigInvalid: A key is unknown, a value does not fit or asks for another model; names it.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known - IGNORED_KEYS - ONLY.keys())
        if unknown:
            raise ConfigInvalid(f"unknown keys {unknown}; known are {sorted(known)}")
        for key, only in ONLY.items():
            if values.get(key, only) != only:
                raise ConfigInvalid(f"{key}: is {values[key]!r}, which is another model; only {only!r} can be computed")
        chosen: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items() if key in known
        }
        if isinstance(chosen.get("heads"), dict):
            chosen["heads"] = _switches(chosen["heads"])
        return cls(**chosen)

    @classmethod
    def load(cls, path: Path) -> "ModelConfig":
        """Read `config.json`.

        Raises:
            ConfigInvalid: It is no JSON object, or as for `from_dict`; names the file.
        """
        values = json_object(path)
        try:
            return cls.from_dict(values)
        except ConfigInvalid as error:
            raise ConfigInvalid(f"{path}: {error.message}") from error

    def save(self, path: Path) -> None:
        """Write `config.json`."""
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")


def _check_fields(values: object, prefix: str = "") -> None:
    for name, adapter in _adapters()[type(values)].items():
        _fits(adapter, getattr(values, name), prefix + name)


@cache
def _adapters() -> Mapping[type, Mapping[str, TypeAdapter[Any]]]:
    """Give what checks each field's value against its annotation, one of the words of a `Literal` among them."""
    return {
        kind: {name: TypeAdapter(hint) for name, hint in get_type_hints(kind, include_extras=True).items()}
        for kind in (ModelConfig, HeadSwitches)
    }


def _switches(values: dict[str, Any]) -> HeadSwitches:
    try:
        return HeadSwitches(**values)
    except TypeError as error:
        known = [field.name for field in dataclasses.fields(HeadSwitches)]
        raise ConfigInvalid(f"heads: has switches {sorted(values)}, needs {known}, or 'paper' or 'released'") from error


def _fits(adapter: TypeAdapter[Any], value: object, name: str) -> None:
    try:
        adapter.validate_python(value, strict=True)
    except ValidationError as error:
        raise ConfigInvalid(f"{name}: {error.errors()[0]['msg']}, got {value!r}") from error


def _divides(part: int, whole: int, part_name: str, whole_name: str) -> None:
    if part < 1 or whole % part:
        raise ConfigInvalid(f"{part_name} = {part} does not divide {whole_name} = {whole}")


def _in_order(ids: tuple[int, ...], layers: int, name: str) -> None:
    if list(ids) != sorted(ids) or any(not 0 <= layer <= layers for layer in ids):
        raise ConfigInvalid(f"{name} = {list(ids)} must not descend and must lie in 0..{layers}")
