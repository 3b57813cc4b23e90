"""The model against the published code's own outputs (tests/data/golden/PROVENANCE.md)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from twelve.convert.names import sort_out
from twelve.convert.restoring import keep_dead, published_checkpoint
from twelve.errors import BundleMissing
from twelve.heads.model import TwelveModel
from twelve.model.config import ModelConfig
from twelve.model.trunk import Given, Maps, States

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
SETS = sorted(path.name[len("golden_") : -len("_config.json")] for path in GOLDEN.glob("golden_*_config.json"))
CLOSE = 2e-4  # absolute: the published fp32 outputs lie up to 8e-5 from float64
TRUNK_STATES = 6
DECODER = "cls.predictions.decoder.weight"
ARGUMENTS = {"input_txt", "input_imgs", "image_loc", "token_type_ids", "attention_mask", "image_attention_mask"}
ARGUMENTS |= {"task_ids", "co_attention_mask"}  # the last one is read by nothing in the published code


@dataclass(frozen=True)
class Golden:
    """A golden set: what its JSON tells, its weights by published name, its tensors by case."""

    about: dict[str, Any]
    weights: Mapping[str, Tensor]
    tensors: Mapping[str, Tensor]

    def config(self, case: str) -> ModelConfig:
        labels = {f"{head}_labels": count for head, count in self.about["labels"].items()}
        rest = {name: self.about[name] for name in ("task_embedding_rows", "layer_norm_eps")}
        changed = self.about["cases"][case]["config_overrides"]
        return ModelConfig.from_dict({**self.about["config"], **changed, **labels, **rest, "heads": "released"})

    def of(self, case: str, *kinds: str) -> dict[str, Tensor]:
        """Give a case's tensors of some kinds, named as in the file but for the case."""
        cut = len(case) + 1
        named = {name[cut:]: tensor for name, tensor in self.tensors.items() if name.startswith(f"{case}/")}
        return {name: tensor for name, tensor in named.items() if name.split("/")[0] in kinds}


@cache
def golden(name: str) -> Golden:
    about = json.loads((GOLDEN / f"golden_{name}_config.json").read_text(encoding="utf-8"))
    weights = load_file(GOLDEN / f"golden_{name}.safetensors")
    return Golden(about, weights, load_file(GOLDEN / f"golden_{name}_io.safetensors"))


def model_of(one: Golden, case: str) -> TwelveModel:
    with torch.device("meta"):
        model = TwelveModel(one.config(case))
        model.add_pretraining()
    model.load_state_dict(sort_out(one.weights).parameters, assign=True)
    return model.eval()


def given(one: Golden, case: str) -> Given:
    """Turn the published arguments into ours; what a case leaves out is all ones, or all zero."""
    inputs = {name.split("/")[1]: tensor for name, tensor in one.of(case, "in").items()}
    assert set(inputs) <= ARGUMENTS
    ids, features = inputs["input_txt"].long(), inputs["input_imgs"]
    text_mask = inputs.get("attention_mask", torch.ones_like(ids)).bool()
    if one.config(case).task_specific_tokens:
        text_mask = torch.cat([text_mask[:, :1], text_mask], dim=1)
    region_mask = inputs.get("image_attention_mask", torch.ones(features.shape[:2])).bool()
    tokens = inputs.get("task_ids", torch.zeros(len(ids), 1)).long()[:, 0]
    segments = inputs["token_type_ids"].long() if "token_type_ids" in inputs else None
    return Given(ids, text_mask, tokens, features, inputs["image_loc"], region_mask, segments)


def slots(model: TwelveModel, states: States) -> dict[str, Tensor]:
    """Fill the published model's output slots from our heads."""
    heads, beside = model.heads, model.pretraining
    assert beside is not None
    pairs = len(states.fused) % 2 == 0  # of an odd batch, the published code rates alignment in the pair's slot
    return {
        "vil_prediction": heads["vqa"](states.fused),
        "vil_prediction_gqa": heads["gqa"](states.fused),
        "vil_logit": heads["alignment"](states.fused),
        "vil_binary_prediction": (
            heads["pair"](heads["pair"].arrange(states.fused)) if pairs else beside.alignment(states.fused)
        ),
        "vil_tri_prediction": heads["entailment"](states.fused),
        "vision_prediction": beside.regions(states.regions),
        "vision_logit": heads["grounding"](states.regions)[..., None],
        "linguisic_prediction": beside.words(states.text, model.trunk.text_embedding),
        "linguisic_logit": beside.tokens(states.text),
    }


def computed(model: TwelveModel, inputs: Given) -> dict[str, Tensor]:
    """Compute everything that a golden file may hold, under the names it has there."""
    trunk, maps = model.trunk, Maps.empty()
    with torch.inference_mode():
        states = trunk(inputs, maps=maps)
        found = {f"out/{slot}": value for slot, value in slots(model, states).items()}
        embedded = trunk.text_embedding(inputs.token_ids, inputs.task_tokens, inputs.segments)
        found |= {
            "trunk/embedding_t": embedded,
            "trunk/embedding_v": trunk.region_embedding(inputs.features, inputs.locations),
            "trunk/sequence_output_t": states.text,
            "trunk/sequence_output_v": states.regions,
            "trunk/pooled_output_t": states.pooled_text,
            "trunk/pooled_output_v": states.pooled_regions,
        }
    found |= {f"attn/t.{layer}": weights for layer, weights in enumerate(maps.text)}
    found |= {f"attn/v.{layer}": weights for layer, weights in enumerate(maps.regions)}
    for layer, (image_to_text, text_to_image) in enumerate(maps.co):
        found |= {f"attn/c.{layer}.image_to_text": image_to_text, f"attn/c.{layer}.text_to_image": text_to_image}
    return found


def compare(one: Golden, case: str) -> tuple[int, dict[str, float]]:
    """Give how many tensors of a case were compared, and those that are too far off with their distances."""
    inputs, expected = given(one, case), one.of(case, "out", "trunk", "attn")
    found = computed(model_of(one, case), inputs)
    if not one.of(case, "attn"):
        found = {name: value for name, value in found.items() if not name.startswith("attn/")}
    assert found.keys() == expected.keys()
    distances = {}
    for name, value in found.items():
        assert value.shape == expected[name].shape, name
        counts = inputs.region_mask if name == "out/vision_logit" else slice(None)  # -10000 is added to padding
        distances[name] = float((value[counts] - expected[name][counts]).abs().max())
    return len(distances), {name: distance for name, distance in distances.items() if not distance <= CLOSE}


def promised(one: Golden, case: str) -> int:
    """Count from the set's JSON, not from its tensors, what a case must hold."""
    config, told = one.config(case), one.about["cases"][case]
    meetings = len(config.v_biattention_id) if config.with_coattention else 0
    maps = config.num_hidden_layers + config.v_num_hidden_layers + 2 * meetings
    shown = {**one.about["config"], **told["config_overrides"]}.get("visualization", False)
    return len(told["outputs"]) + TRUNK_STATES + maps * shown


CASES = [(name, case) for name in SETS for case in golden(name).about["cases"]]


def test_the_golden_sets_are_there() -> None:
    assert {"tiny", "b"} <= set(SETS)
    assert len(CASES) >= 20


@pytest.mark.parametrize(("name", "case"), CASES)
def test_every_head_state_and_map_is_the_published_one(name: str, case: str) -> None:
    one = golden(name)
    count, far = compare(one, case)
    assert far == {}
    assert count == promised(one, case)


@pytest.mark.parametrize("name", SETS)
def test_no_case_and_no_slot_of_a_golden_set_is_left_out(name: str) -> None:
    one = golden(name)
    held = {tensor.split("/")[0] for tensor in one.tensors}
    assert held == set(one.about["cases"])
    outputs = [tensor for tensor in one.tensors if tensor.split("/")[1] != "in"]
    assert len(outputs) == sum(promised(one, case) for case in one.about["cases"])
    assert all(list(told["outputs"]) == one.about["heads_in_order"] for told in one.about["cases"].values())


@pytest.mark.parametrize("name", SETS)
def test_published_weights_go_into_a_folder_whole_and_come_out_again(name: str, tmp_path: Path) -> None:
    one = golden(name)
    apart = sort_out(one.weights)
    model_of(one, next(iter(one.about["cases"]))).save(tmp_path)
    keep_dead(apart.dead, tmp_path)
    again = published_checkpoint(tmp_path)
    table = again.pop(DECODER)
    assert torch.equal(table, one.weights["bert.embeddings.word_embeddings.weight"])
    assert again.keys() == one.weights.keys()
    assert all(torch.equal(again[key], weight) for key, weight in one.weights.items())
    assert (apart.tied, apart.unknown) == ({}, {})
    assert sum(weight.numel() for weight in one.weights.values()) == one.about["n_parameters"]


def test_a_folder_that_did_not_keep_the_dead_parameters_makes_no_published_checkpoint(tmp_path: Path) -> None:
    model_of(golden("tiny"), "single").save(tmp_path)
    with pytest.raises(BundleMissing, match=r"dead\.safetensors is not there; import the checkpoint again"):
        published_checkpoint(tmp_path)
