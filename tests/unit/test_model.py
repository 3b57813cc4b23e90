import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from twelve.batch import BatchBuilder, Text, Visual, pad, plan, visual
from twelve.boxes import GLOBAL_REGION, locations, overlaps
from twelve.engines.engine import Engine
from twelve.errors import ConfigInvalid, TokenClash
from twelve.features.region_set import RegionSet
from twelve.heads import HEADS
from twelve.heads.model import TwelveModel
from twelve.model.config import ModelConfig
from twelve.model.trunk import Given, Maps
from twelve.tasks.registry import TASKS, table

CLOSE = 1e-5  # of the largest value: fp32 sums in another order


def tiny(**changes: object) -> TwelveModel:
    torch.manual_seed(0)
    config = dataclasses.replace(ModelConfig.tiny(), **changes)  # type: ignore[arg-type]
    model = TwelveModel(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return model


def inputs(rows: int = 2, pieces: int = 5, regions: int = 4) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        "token_ids": torch.randint(0, 100, (rows, pieces), generator=generator),
        "text_mask": torch.ones(rows, pieces + 1, dtype=torch.bool),
        "task_tokens": torch.tensor([1, 12])[:rows],
        "features": torch.rand(rows, regions, 8, generator=generator),
        "locations": torch.rand(rows, regions, 5, generator=generator),
        "region_mask": torch.ones(rows, regions, dtype=torch.bool),
    }


def states(model: TwelveModel, given: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.inference_mode():
        text = model.trunk.encode_text(given["token_ids"], given["text_mask"], given["task_tokens"])
        regions = model.trunk.encode_regions(given["features"], given["locations"], given["region_mask"])
        fused = model.trunk.fuse(text, given["text_mask"], regions, given["region_mask"])
    return fused.fused, fused.regions


def assert_close(one: torch.Tensor, other: torch.Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=CLOSE * float(other.detach().abs().max()))


@pytest.mark.parametrize(
    "changes",
    [{}, {"dynamic_attention": True}, {"fusion_method": "sum"}, {"v_biattention_id": (1,), "t_biattention_id": (2,)}],
)
def test_whatever_stands_in_padding_changes_nothing(changes: dict[str, object]) -> None:
    model, given = tiny(**changes), inputs()
    fused, regions = states(model, given)
    generator = torch.Generator().manual_seed(2)
    padded = {
        "token_ids": torch.cat([given["token_ids"], torch.randint(0, 100, (2, 3), generator=generator)], dim=1),
        "text_mask": torch.cat([given["text_mask"], torch.zeros(2, 3, dtype=torch.bool)], dim=1),
        "task_tokens": given["task_tokens"],
        "features": torch.cat([given["features"], 100 * torch.rand(2, 2, 8, generator=generator)], dim=1),
        "locations": torch.cat([given["locations"], torch.rand(2, 2, 5, generator=generator)], dim=1),
        "region_mask": torch.cat([given["region_mask"], torch.zeros(2, 2, dtype=torch.bool)], dim=1),
    }
    padded_fused, padded_regions = states(model, padded)
    assert_close(padded_fused, fused)
    assert_close(padded_regions[:, :4], regions)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dynamic_attention": True},
        {"with_coattention": False},
        {"v_biattention_id": (1,), "t_biattention_id": (0,)},
        {"v_biattention_id": (), "t_biattention_id": ()},
        {"v_biattention_id": (), "t_biattention_id": (), "dynamic_attention": True},
        {"v_biattention_id": (1, 1, 2), "t_biattention_id": (0, 3, 3)},
    ],
)
def test_every_layer_runs_once_and_gives_its_attention_when_asked(changes: dict[str, object]) -> None:
    model, given, maps = tiny(**changes), inputs(), Maps.empty()
    with torch.inference_mode():
        found = model.trunk(Given(**given), maps=maps)
    fused, regions = states(model, given)
    assert torch.equal(found.fused, fused)
    assert torch.equal(found.regions, regions)
    assert [weights.shape for weights in maps.text] == [(2, 2, 6, 6)] * 3
    assert [weights.shape for weights in maps.regions] == [(2, 2, 4, 4)] * 2
    meetings = len(model.config.v_biattention_id) if model.config.with_coattention else 0
    assert [(one.shape, other.shape) for one, other in maps.co] == [((2, 2, 4, 6), (2, 2, 6, 4))] * meetings
    for weights in (*maps.text, *maps.regions, *(weights for both in maps.co for weights in both)):
        assert_close(weights.sum(dim=-1), torch.ones(weights.shape[:-1]))


@pytest.mark.parametrize("changes", [{}, {"dynamic_attention": True}, {"with_coattention": False}])
def test_one_text_before_several_pictures_is_as_that_text_before_each(changes: dict[str, object]) -> None:
    model, given = tiny(**changes), inputs()
    text = {name: given[name][:1] for name in ("token_ids", "text_mask", "task_tokens")}
    maps = Maps.empty()
    with torch.inference_mode():
        found = model.trunk(Given(**{**given, **text}), maps=maps)
        for row in range(2):
            picture = {name: given[name][row : row + 1] for name in ("features", "locations", "region_mask")}
            alone = model.trunk(Given(**text, **picture))
            assert_close(found.fused[row], alone.fused[0])
            assert_close(found.regions[row], alone.regions[0])
    assert len(maps.text[0]) == 1  # computed once, before any picture is met
    assert len(maps.text[-1]) == 2


def test_the_task_token_stands_after_cls_without_moving_the_words() -> None:
    model = tiny()
    embedding = model.trunk.text_embedding
    ids, tokens = torch.tensor([[7, 8, 9]]), torch.tensor([12])
    with_task = embedding(ids, tokens)
    bare = TwelveModel(dataclasses.replace(model.config, task_specific_tokens=False)).eval()
    bare.load_state_dict({name: value for name, value in model.state_dict().items() if "embedding.tasks" not in name})
    without = bare.trunk.text_embedding(ids, tokens)
    assert with_task.shape[1] == 4
    assert_close(with_task[:, [0, 2, 3]], without)
    assert_close(with_task[0, 1], embedding.norm(embedding.tasks.weight[12]))  # no position, no segment


def test_other_task_tokens_give_other_states() -> None:
    model, given = tiny(), inputs()
    one, _ = states(model, given)
    other, _ = states(model, {**given, "task_tokens": torch.tensor([2, 12])})
    assert not torch.allclose(one[0], other[0])
    assert torch.equal(one[1], other[1])


def test_the_pair_head_sees_both_rows_of_its_own_item_in_order() -> None:
    head = tiny().heads["pair"]
    rows = torch.rand(4, 16)
    arranged = head.arrange(rows)
    assert torch.equal(arranged[1], torch.cat([rows[2], rows[3]]))
    assert not torch.allclose(head(head.arrange(rows[[1, 0]])), head(head.arrange(rows[[0, 1]])))


def test_weights_stored_as_halves_come_back_as_floats(tmp_path: Path) -> None:
    model = tiny()
    model.save(tmp_path, dtype=torch.float16)
    loaded = TwelveModel.load(tmp_path)
    assert loaded.config == model.config
    for name, weight in loaded.state_dict().items():
        assert torch.equal(weight, model.state_dict()[name].half().float())


def test_weights_that_do_not_fit_the_configuration_are_refused_by_name(tmp_path: Path) -> None:
    tiny().save(tmp_path)
    dataclasses.replace(ModelConfig.tiny(), vqa_labels=9).save(tmp_path / "config.json")
    with pytest.raises(ConfigInvalid, match=r"heads\.vqa\.classify\.3\.(weight|bias) has shape"):
        TwelveModel.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"num_attention_heads": 3}, "num_attention_heads = 3 does not divide hidden_size = 16"),
        ({"v_biattention_id": (0,)}, "v_biattention_id has 1 entries, t_biattention_id 2"),
        ({"t_biattention_id": (2, 1)}, "must not descend"),
        ({"t_biattention_id": (1, 4)}, "lie in 0..3"),
    ],
)
def test_a_configuration_that_contradicts_itself_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigInvalid, match=said.replace(".", r"\.")):
        tiny(**changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fusion_method": "concat"}, "fusion_method: Input should be 'mul' or 'sum', got 'concat'"),
        ({"hidden_act": "tanh"}, "hidden_act: Input should be 'gelu', 'relu' or 'swish', got 'tanh'"),
        ({"heads": "mine"}, "heads: Input should be 'paper' or 'released', got 'mine'"),
        ({"hidden_size": "16"}, "hidden_size: Input should be a valid integer, got '16'"),
    ],
)
def test_a_configuration_with_a_value_of_another_type_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigInvalid, match=said):
        tiny(**changes)


SIZES = [name for name, value in dataclasses.asdict(ModelConfig.tiny()).items() if type(value) is int]
DROPOUTS = [field.name for field in dataclasses.fields(ModelConfig) if field.name.endswith("dropout_prob")]
NAN = float("nan")


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("value", [0, -1, 10**30])
def test_a_size_that_no_model_can_have_is_refused_by_name(name: str, value: int) -> None:
    if value == 0 and name.endswith("num_hidden_layers"):
        without = {"v_num_hidden_layers": "v_biattention_id", "num_hidden_layers": "t_biattention_id"}
        assert getattr(tiny(**{name: 0, without[name]: (0, 0)}).config, name) == 0
        return
    with pytest.raises(ConfigInvalid, match=rf"^{name}: Input should be (greater|less) than or equal .*, got {value}$"):
        tiny(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, value) for name in DROPOUTS for value in (-1.0, 1.0, 2.0, NAN)),
        *(("layer_norm_eps", value) for value in (-1.0, 0.0, 2.0, NAN)),
        *(("initializer_range", value) for value in (-1.0, float("inf"), NAN)),
    ],
)
def test_a_number_that_no_model_can_have_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ConfigInvalid, match=rf"^{name}: Input should be .*, got {value}$"):
        tiny(**{name: value})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"model": "roberta"}, r"model: is 'roberta', which is another model; only 'bert' can be computed"),
        ({"in_batch_pairs": True}, r"in_batch_pairs: is True, which is another model; only False can be computed"),
    ],
)
def test_a_published_key_that_asks_for_another_model_is_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigInvalid, match=said):
        ModelConfig.from_dict(values)


def test_published_keys_that_change_no_answer_are_accepted() -> None:
    harmless = {"model": "bert", "in_batch_pairs": False, "fast_mode": True, "visualization": True, "fixed_t_layer": 2}
    assert ModelConfig.from_dict(harmless) == ModelConfig()


@pytest.mark.parametrize("values", [{"dropout": 1}, {"vqa_labels": 0}, {"model": "roberta"}, {"heads": "mine"}])
def test_a_configuration_that_is_refused_names_its_file(tmp_path: Path, values: dict[str, object]) -> None:
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(ConfigInvalid, match=re.escape(f"{path}: ")):
        ModelConfig.load(path)


def test_a_configuration_with_an_unknown_key_is_refused_and_published_ballast_is_not() -> None:
    assert ModelConfig.from_dict({"pooling_method": "mul", "hidden_size": 768}).hidden_size == 768
    with pytest.raises(ConfigInvalid, match="hiden_size"):
        ModelConfig.from_dict({"hiden_size": 768})


def test_two_tasks_with_one_token_are_refused() -> None:
    class Other(type(TASKS["gqa"])):  # type: ignore[misc]
        name = "other"

    with pytest.raises(TokenClash, match="'other' claims 15, which task 'gqa' has"):
        table([TASKS["gqa"], Other()])


def test_tokens_are_the_published_rows() -> None:
    published = {"vqa-v2": 1, "vg-qa": 2, "visual7w": 4, "coco-retrieval": 7, "flickr30k-retrieval": 8, "refcoco": 9}
    published |= {"refcoco+": 10, "refcocog": 11, "nlvr2": 12, "snli-ve": 13, "gqa": 15, "guesswhat": 17}
    assert {name: task.token for name, task in TASKS.items()} == published
    assert {task.head for task in TASKS.values()} == set(HEADS)


lengths = st.lists(st.tuples(st.integers(2, 6), st.integers(1, 5)), min_size=1, max_size=8)


@given(lengths, st.integers(1, 4), st.sampled_from([0.0, 0.3, 0.9]))
@settings(max_examples=40, deadline=None)
def test_a_plan_holds_each_row_once_and_pads_no_more_than_it_may(
    sizes: list[tuple[int, int]], most: int, slack: float
) -> None:
    builder = BatchBuilder()
    for index, (pieces, regions) in enumerate(sizes):
        text = Text(tuple(range(index, index + pieces)), 1)
        builder.add([(text, Visual(torch.zeros(regions, 8), torch.zeros(regions, 5)))])
    batch = builder.build()
    passes = plan(batch, rows_per_pass=most, slack=slack)
    assert sorted(row for one in passes for row in one.rows) == list(range(len(sizes)))
    for one in passes:
        assert len(one.rows) <= most
        for side in (0, 1):
            longest = max(sizes[row][side] for row in one.rows)
            assert all(sizes[row][side] >= longest * (1 - slack) for row in one.rows)


@given(st.permutations(range(5)))
@settings(max_examples=10, deadline=None)
def test_rows_answer_alike_in_any_order_and_any_pass(order: list[int]) -> None:
    engine = Engine.eager(tiny())
    generator = torch.Generator().manual_seed(3)
    pairs = [
        (
            Text(tuple(range(10, 13 + index)), 1 + index),
            Visual(torch.rand(2 + index, 8, generator=generator), torch.rand(2 + index, 5, generator=generator)),
        )
        for index in range(5)
    ]

    def scores(chosen: list[int], rows_per_pass: int) -> list[torch.Tensor]:
        builder = BatchBuilder()
        spans = [builder.add([pairs[index]]) for index in chosen]
        batch = builder.build()
        passes = plan(batch, rows_per_pass=rows_per_pass, slack=0.9)
        found = engine.fuse(batch, passes, engine.text(batch.texts), engine.regions(batch.visuals))
        return [engine.head("grounding", found, span) for span in spans]

    alone = [scores([index], 1)[0] for index in order]
    for one, other in zip(alone, scores(order, 5), strict=True):
        assert_close(other, one)


def test_equal_texts_and_identical_pictures_are_encoded_once() -> None:
    seen = Visual(torch.rand(3, 8), torch.rand(3, 5))
    builder = BatchBuilder()
    builder.add([(Text((1, 2), 7), seen), (Text((1, 2), 7), Visual(torch.rand(3, 8), torch.rand(3, 5)))])
    span = builder.add([(Text((1, 2), 8), seen)])
    batch = builder.build()
    assert (len(batch.texts), len(batch.visuals), len(batch.rows)) == (2, 2, 3)
    assert span == (2, 3)


def test_the_global_region_is_the_mean_of_the_detected_ones_and_stands_first() -> None:
    features = torch.tensor([[1.0, 3.0], [3.0, 5.0], [100.0, 100.0]])
    boxes = torch.tensor([[0.0, 0.0, 5.0, 10.0], [5.0, 0.0, 10.0, 10.0], [1.0, 1.0, 2.0, 2.0]])
    seen = visual(
        RegionSet(features, boxes, torch.ones(3), torch.zeros(3, dtype=torch.long), width=10, height=10, given=1)
    )
    assert seen.features[GLOBAL_REGION].tolist() == [2.0, 4.0]
    assert seen.locations[GLOBAL_REGION].tolist() == [0.0, 0.0, 1.0, 1.0, 1.0]
    assert seen.locations[1].tolist() == [0.0, 0.0, 0.5, 1.0, 0.5]


def test_a_box_that_is_empty_inside_its_picture_is_refused_with_its_numbers() -> None:
    with pytest.raises(ValueError, match=r"box 1 is empty inside the 10x10 picture: got \[12.0, 0.0, 14.0, 5.0\]"):
        locations(torch.tensor([[0.0, 0.0, 5.0, 5.0], [12.0, 0.0, 14.0, 5.0]]), height=10, width=10)


def test_overlap_is_intersection_over_union() -> None:
    found = overlaps(torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 3.0, 2.0], [5.0, 5.0, 6.0, 6.0]]))
    assert found.tolist() == [[pytest.approx(1 / 3), 0.0]]


def test_padding_stacks_items_of_unequal_length() -> None:
    stack, mask = pad([torch.ones(2, 3), torch.ones(1, 3)])
    assert stack[1].tolist() == [[1.0] * 3, [0.0] * 3]
    assert mask.tolist() == [[True, True], [True, False]]
