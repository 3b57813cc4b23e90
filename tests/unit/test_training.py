import dataclasses
import itertools
import json
from pathlib import Path

import pytest
import torch

from tests.bundles import tiny_detector
from training import pipeline
from training.config import Recipe
from training.evaluate import spread, table
from training.features import Regions
from training.items import PictureShelf
from training.schedule import rate, round_robin
from training.world.assembly import assemble
from training.world.profiles import PROFILES
from twelve.errors import ConfigInvalid, DataError
from twelve.tasks import TASKS
from twelve.tasks.kinds.referring import ExpressionRequest

RECIPE = """
[run]
name = "tiny"
version = "0"
data = "{world}"
out = "{out}"
threads = 1

[model]
preset = "tiny"
minimum_answer_count = 1

[optim]
rounds = 4
precision = "no"

[keep]
checkpoint_every = 2
log_every = 2

[tasks]
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    assemble(PROFILES["tiny"], 0, root, stage=lambda name, steps: lambda done: None, processes=1)
    return root


@pytest.fixture(scope="module")
def recipe(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    out = tmp_path_factory.mktemp("run")
    path = out / "recipe.toml"
    tasks = "\n".join(f'"{name}" = {{ batch = 3 }}' for name in TASKS)
    path.write_text(RECIPE.format(world=world, out=out) + tasks)
    chosen = Recipe.load(path)
    tiny_detector().save(out / pipeline.DETECTOR)
    pipeline.features(chosen, on_total=lambda total: None, on_progress=lambda done: None)
    return chosen


def elsewhere(recipe: Recipe, out: Path, *, rounds: int = 4) -> Recipe:
    for name in (pipeline.DETECTOR, pipeline.ANSWERS, "features", "pictures.json"):
        source = recipe.run.out / name
        if source.exists():
            (out / name).symlink_to(source)
    return dataclasses.replace(
        recipe,
        run=dataclasses.replace(recipe.run, out=out),
        optim=dataclasses.replace(recipe.optim, rounds=rounds),
    )


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([weight.detach().flatten() for weight in model.parameters()])


def test_a_run_cut_short_goes_on_as_if_it_had_not_been(recipe: Recipe, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir()
    cut.mkdir()
    undisturbed = pipeline.run(elsewhere(recipe, whole), blind=False, on_progress=lambda progress: None)
    chosen = elsewhere(recipe, cut)

    class Killed(Exception):
        pass

    def kill(progress: object) -> None:
        raise Killed

    early = dataclasses.replace(chosen, keep=dataclasses.replace(chosen.keep, checkpoint_every=1, log_every=3))
    with pytest.raises(Killed):
        pipeline.run(early, blind=False, on_progress=kill)
    assert json.loads((cut / "checkpoint/state.json").read_text())["round"] == 2
    resumed = pipeline.run(chosen, blind=False, on_progress=lambda progress: None)
    assert torch.equal(weights(undisturbed), weights(resumed))


def test_equal_seeds_train_equal_weights_and_other_seeds_others(recipe: Recipe, tmp_path: Path) -> None:
    trained = []
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        (tmp_path / name).mkdir()
        chosen = elsewhere(recipe, tmp_path / name, rounds=1)
        seeded = dataclasses.replace(chosen, run=dataclasses.replace(chosen.run, seed=seed))
        trained.append(weights(pipeline.run(seeded, blind=False, on_progress=lambda progress: None)))
    assert torch.equal(trained[0], trained[1])
    assert not torch.equal(trained[0], trained[2])


def test_a_blind_model_sees_nothing_of_any_picture(recipe: Recipe) -> None:
    shelf = PictureShelf(Regions.open(recipe.run.out), blind=True)
    config = pipeline.new_model(recipe, pipeline.vocabularies(recipe)).config
    for name in recipe.tasks:
        item = pipeline.items(recipe, shelf, name, "train", config).item(0, 0)
        for _, seen in item.pairs:
            assert not seen.features.any()
            assert not seen.locations.any()


def test_every_task_has_items_whose_right_answer_rates_best(recipe: Recipe) -> None:
    shelf = PictureShelf(Regions.open(recipe.run.out))
    config = pipeline.new_model(recipe, pipeline.vocabularies(recipe)).config
    for name in recipe.tasks:
        source = pipeline.items(recipe, shelf, name, "train", config)
        rated = []
        for place in range(min(20, len(source))):
            item = source.item(place, place)
            target = source.task.target(item.labelled.target, item.seen)
            if float(target.max()) > 0:  # a referred thing that the detector missed has no right region
                answer = source.task.decode(target, item.seen).answer
                rated.append(source.task.metric(answer, item.labelled.target))
        assert rated or source.task.request is ExpressionRequest, name  # an untrained detector may miss all 20 things
        assert min(rated, default=1.0) > 0.2, name


def test_the_stream_of_items_depends_on_its_place_alone(recipe: Recipe) -> None:
    shelf = PictureShelf(Regions.open(recipe.run.out))
    config = pipeline.new_model(recipe, pipeline.vocabularies(recipe)).config
    source = pipeline.items(recipe, shelf, "coco-retrieval", "train", config)
    late = source.batch(7, 3)
    again = pipeline.items(recipe, shelf, "coco-retrieval", "train", config)
    again.batch(0, 7)
    for one, other in zip(late, again.batch(7, 3), strict=True):
        assert one.labelled == other.labelled


def test_an_epoch_shows_each_item_once_and_the_next_in_another_order(recipe: Recipe) -> None:
    shelf = PictureShelf(Regions.open(recipe.run.out))
    config = pipeline.new_model(recipe, pipeline.vocabularies(recipe)).config
    source = pipeline.items(recipe, shelf, "vqa-v2", "train", config)
    first, second = ([item.labelled for item in source.batch(epoch * len(source), len(source))] for epoch in (0, 1))
    assert sorted(map(repr, first)) == sorted(map(repr, second))
    assert first != second


def test_a_run_without_features_says_what_to_do_first(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="python -m training features"):
        Regions.open(tmp_path)


def test_a_recipe_with_an_unknown_key_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(RECIPE.format(world="w", out="o") + "vqa-v2 = { batch = 1, speed = 2 }\n")
    with pytest.raises(ConfigInvalid, match="speed"):
        Recipe.load(path)


def test_every_committed_recipe_loads() -> None:
    for path in Path("training/recipes").glob("*.toml"):
        assert set(Recipe.load(path).tasks) == set(TASKS)


def test_each_round_gives_every_task_one_step() -> None:
    assert list(round_robin(["a", "b"], range(2, 4))) == [(2, "a"), (2, "b"), (3, "a"), (3, "b")]


def test_the_rate_rises_to_its_peak_and_falls_to_nothing() -> None:
    rates = [rate(number, rounds=100, warmup=0.1) for number in range(101)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert rates[10] == 1.0
    assert rates[100] == 0.0
    assert all(later <= earlier for earlier, later in itertools.pairwise(rates[10:]))


def test_items_are_spread_evenly_over_a_split() -> None:
    assert spread(5, 10) == [0, 1, 2, 3, 4]
    assert spread(10, 4) == [0, 2, 5, 7]


def test_the_table_of_scores_states_what_was_measured_and_leaves_the_rest_empty() -> None:
    entry = {"items": 2000, "score": 0.875, "chance": 0.25, "kinds": {}}
    rows = table({"model": {"visual7w": entry}}).splitlines()
    assert rows[2] == "| `visual7w` | 2,000 | 25.0 |  | **87.5** |  |"
