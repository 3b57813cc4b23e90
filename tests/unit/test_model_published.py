"""The released model's size and keys, without its weights."""

import math
from functools import cache
from pathlib import Path

import pytest
import torch

from twelve.convert.names import SERVES, Use, key_of, published_name, published_shapes, published_state, sort_out
from twelve.errors import ConfigInvalid
from twelve.heads.model import TwelveModel
from twelve.model.config import ModelConfig

LISTED = Path(__file__).parents[1] / "data" / "golden" / "published_state_dict_keys.txt"
UNIQUE, SERVING = 268_028_859, 253_689_917


@cache
def listed() -> dict[str, tuple[int, ...]]:
    lines = [line.split("\t") for line in LISTED.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return {name: tuple(int(side) for side in shape.split("x")) for name, shape, _ in lines}


@cache
def expected() -> dict[str, tuple[int, ...]]:
    return published_shapes(ModelConfig.paper())


def use_of(name: str) -> Use:
    key = key_of(name)
    assert key is not None, name
    return key.use


def numbers(*uses: Use) -> int:
    return sum(math.prod(shape) for name, shape in expected().items() if use_of(name) in uses)


def test_the_paper_configuration_has_exactly_the_published_keys_and_shapes() -> None:
    assert len(listed()) == 560
    assert expected() == listed()


def test_the_published_model_has_its_parameters_once_and_fewer_that_serve() -> None:
    assert numbers(*set(Use) - {Use.TIED}) == UNIQUE
    assert numbers(*SERVES) == SERVING
    assert numbers(Use.DEAD) == 6 * (1024 * 1024 + 1024 + 768 * 1024 + 768)


def test_a_model_carries_what_serves_and_the_pretraining_heads_only_when_asked() -> None:
    with torch.device("meta"):
        model = TwelveModel(ModelConfig.paper())
        assert sum(weight.numel() for weight in model.parameters()) == SERVING
        model.add_pretraining()
    assert sum(weight.numel() for weight in model.parameters()) == SERVING + numbers(Use.PRETRAINING)
    assert SERVING + numbers(Use.PRETRAINING, Use.DEAD) == UNIQUE


def test_every_published_key_has_one_use_and_every_name_leads_back() -> None:
    uses = {use: [name for name in listed() if use_of(name) is use] for use in Use}
    assert uses[Use.TIED] == ["cls.predictions.decoder.weight"]
    assert {name.split(".")[-2] for name in uses[Use.DEAD]} == {"q_dense1", "q_dense2"}
    assert {name.split(".")[0] for name in uses[Use.PRETRAINING]} == {"cls", "linguisic_logit"}
    for name in listed():
        key = key_of(name)
        assert key is not None
        if key.use not in (Use.TIED, Use.DEAD):
            assert published_name(key.parameter) == name


def test_a_published_state_taken_apart_goes_together_again() -> None:
    apart = sort_out(listed())
    assert list(apart.tied) == ["cls.predictions.decoder.weight"]
    assert len(apart.dead) == 24
    assert published_state(apart.parameters, apart.dead) == listed()


@pytest.mark.parametrize(
    "name",
    [
        "bert.encoder.layer.x.output.dense.weight",
        "module.vil_logit.weight",
        "vil_logit",
        "vil_prediction.logit_fc.1.weight",
        "bert.embeddings.LayerNorm.gamma",
    ],
)
def test_a_name_that_the_published_code_never_writes_is_unknown(name: str) -> None:
    assert key_of(name) is None
    assert sort_out({name: 0}).unknown == {name: 0}


def test_layers_beyond_the_published_number_have_their_names_too() -> None:
    key = key_of("bert.encoder.c_layer.17.biOutput.LayerNorm2.bias")
    assert key is not None
    assert key.parameter == "trunk.co_layers.17.text_output.norm.bias"


def test_a_form_that_the_published_model_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(ConfigInvalid, match=r"no place for \['heads\.entailment\.classify\.0\.bias'"):
        published_shapes(ModelConfig(heads="paper"))
    assert published_name("trunk.text_embedding.widen.weight") is None
