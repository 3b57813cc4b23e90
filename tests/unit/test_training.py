import dataclasses
import itertools
import json
import random
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch

from tests.tiny_runs import TINY_RECIPE, elsewhere, tiny_run, tiny_world
from training import checkpoint, pipeline, requests
from training.__main__ import main
from training.config import Recipe
from training.data import clean
from training.data.sets import DataSets
from training.evaluate import evaluate, spread, table
from training.features import Regions
from training.items import PictureShelf
from training.loading import gallery as galleries
from training.loading.gallery import Gallery, SeededDraw
from training.loading.loader import loaded
from training.loop import TrainedForward, batch_loss, step_seed
from training.schedule import rate, round_robin
from twelve.bundle import seal
from twelve.engines.engine import heads_of
from twelve.errors import ConfigInvalid, DataError, WeightsInvalid
from twelve.heads.model import TwelveModel
from twelve.model.config import ModelConfig
from twelve.tasks import TASKS
from twelve.tasks.kinds.referring import ExpressionRequest


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    world = tiny_world(tmp_path_factory.mktemp("world"))
    return tiny_run(world, tmp_path_factory.mktemp("run"), TASKS)


def quiet(_: object) -> None:
    pass


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


def test_a_model_begins_with_the_weights_of_the_bundle_that_its_recipe_names(recipe: Recipe, tmp_path: Path) -> None:
    reader = pipeline.RunItems.open(recipe)
    other = pipeline.new_model(changed(recipe, run={"seed": 5}), reader.answers)
    other.save(tmp_path / "other")
    seal(tmp_path / "other", name="other", version="1", tasks={})
    (tmp_path / "run").mkdir()
    chosen = changed(elsewhere(recipe, tmp_path / "run"), model={"start": str(tmp_path / "other")})
    assert torch.equal(weights(pipeline.new_model(chosen, reader.answers)), weights(other))
    begun = json.loads((chosen.run.out / pipeline.STARTED).read_text())
    assert begun["new"] == []
    assert set(begun["taken"]) == set(other.state_dict())


def test_a_bundle_of_another_size_is_no_beginning(recipe: Recipe, tmp_path: Path) -> None:
    TwelveModel(dataclasses.replace(ModelConfig.tiny(), intermediate_size=20)).save(tmp_path)
    seal(tmp_path, name="other", version="1", tasks={})
    chosen = changed(recipe, model={"start": str(tmp_path)})
    with pytest.raises(WeightsInvalid, match=r"has shape \[5\], in the model to begin \[\d+\]"):
        pipeline.new_model(chosen, pipeline.RunItems.open(recipe).answers)


def test_the_paper_preset_is_the_published_architecture_with_the_papers_heads() -> None:
    made = pipeline.PRESETS["paper"](vqa_labels=3129, gqa_labels=1533, feature_width=2048)
    assert made == dataclasses.replace(ModelConfig.paper(), heads="paper")


CHANGES = {
    "run": {"run": {"seed": 7}},
    "optim": {"optim": {"learning_rate": 0.5}},
    "model": {"model": {"minimum_answer_count": 2}},
}


def changed(recipe: Recipe, **sections: dict[str, object]) -> Recipe:
    fresh = {name: dataclasses.replace(getattr(recipe, name), **values) for name, values in sections.items()}
    return dataclasses.replace(recipe, **fresh)


@pytest.fixture(scope="module")
def begun(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    chosen = elsewhere(recipe, tmp_path_factory.mktemp("begun"), rounds=1)
    pipeline.run(chosen, blind=False, on_progress=quiet)
    return chosen


@pytest.mark.parametrize("section", CHANGES)
def test_a_run_goes_on_only_under_the_recipe_it_was_begun_with(begun: Recipe, section: str) -> None:
    with pytest.raises(ConfigInvalid, match=rf"^\[{section}\] .* was begun with"):
        pipeline.run(changed(begun, **CHANGES[section]), blind=False, on_progress=quiet)


def test_a_run_goes_on_only_with_the_batches_it_was_begun_with(begun: Recipe) -> None:
    tasks = {**begun.tasks, "vqa-v2": dataclasses.replace(begun.tasks["vqa-v2"], batch=4)}
    with pytest.raises(ConfigInvalid, match=r"^\[tasks\] vqa-v2: .*'batch': 3.*'batch': 4"):
        pipeline.run(dataclasses.replace(begun, tasks=tasks), blind=False, on_progress=quiet)


def test_a_run_goes_on_elsewhere_for_more_rounds_and_with_other_habits(begun: Recipe, tmp_path: Path) -> None:
    chosen = changed(elsewhere(begun, tmp_path, rounds=2), run={"version": "1"}, keep={"log_every": 1})
    shutil.copytree(begun.run.out / checkpoint.FOLDER, tmp_path / checkpoint.FOLDER)
    pipeline.run(chosen, blind=False, on_progress=quiet)
    assert json.loads((tmp_path / "checkpoint/state.json").read_text())["round"] == 2


def test_a_run_that_was_begun_before_recipes_spoke_of_cleaning_goes_on(begun: Recipe, tmp_path: Path) -> None:
    chosen = elsewhere(begun, tmp_path, rounds=2)
    shutil.copytree(begun.run.out / checkpoint.FOLDER, tmp_path / checkpoint.FOLDER)
    state = tmp_path / checkpoint.FOLDER / checkpoint.STATE
    values = json.loads(state.read_text())
    del values["recipe"]["run"]["clean"]
    state.write_text(json.dumps(values))
    with pytest.raises(ConfigInvalid, match=r"^\[run\] clean: .* was begun with auto, the recipe says never"):
        pipeline.run(changed(chosen, run={"clean": "never"}), blind=False, on_progress=quiet)
    pipeline.run(chosen, blind=False, on_progress=quiet)
    assert json.loads(state.read_text())["round"] == 2


@pytest.fixture
def manifest(begun: Recipe) -> Iterator[Path]:
    """Clean the world for one test."""
    clean.write(begun.run.data)
    yield begun.run.data / clean.MANIFEST
    (begun.run.data / clean.MANIFEST).unlink()


def copied(begun: Recipe, to: Path) -> Recipe:
    shutil.copytree(begun.run.out / checkpoint.FOLDER, to / checkpoint.FOLDER)
    return elsewhere(begun, to, rounds=2)


def test_a_run_goes_on_only_with_the_clean_split_it_was_begun_with(begun: Recipe, manifest: Path, tmp_path) -> None:
    chosen = copied(begun, tmp_path)
    with pytest.raises(
        ConfigInvalid, match=r"was begun on data sets whose clean\.json is uncleaned, and now it is \w{64};"
    ):
        pipeline.run(chosen, blind=False, on_progress=quiet)


def test_a_run_that_was_begun_before_checkpoints_spoke_of_data_goes_on_and_still_says_nothing(
    begun: Recipe, manifest: Path, tmp_path
) -> None:
    chosen = copied(begun, tmp_path)
    state = tmp_path / checkpoint.FOLDER / checkpoint.STATE
    values = json.loads(state.read_text())
    assert values.pop("read_through") == "uncleaned"
    state.write_text(json.dumps(values))
    pipeline.run(chosen, blind=False, on_progress=quiet)
    assert json.loads(state.read_text())["round"] == 2
    assert json.loads(state.read_text())["read_through"] is None


def test_a_kill_while_saving_leaves_a_run_that_is_found(begun: Recipe, tmp_path: Path) -> None:
    chosen = elsewhere(begun, tmp_path, rounds=1)
    shutil.copytree(begun.run.out / checkpoint.FOLDER, tmp_path / f"{checkpoint.FOLDER}.old")
    found = pipeline.trained(chosen, blind=False)
    assert torch.equal(weights(found), weights(pipeline.trained(begun, blind=False)))


def test_a_checkpoint_replaces_the_old_one_only_when_it_is_whole(
    begun: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / f"{checkpoint.FOLDER}.old"
    shutil.copytree(begun.run.out / checkpoint.FOLDER, old)
    model = pipeline.trained(begun, blind=False)
    steps = torch.optim.AdamW(model.parameters())

    def killed(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.save(tmp_path, model, steps, checkpoint.State(9, {}, {}))
    assert checkpoint.find(tmp_path) == old
    checkpoint.save(tmp_path, model, steps, checkpoint.State(9, {}, {}))
    assert checkpoint.find(tmp_path) == tmp_path / checkpoint.FOLDER
    assert not old.exists()


def test_each_step_draws_by_its_own_seed_within_what_torch_keeps() -> None:
    seeds = {step_seed(*place) for place in itertools.product(range(4), range(50), range(20))}
    assert len(seeds) == 4 * 50 * 20
    assert max(seeds) < 2**32


def test_rows_and_targets_go_to_the_device_of_the_model(recipe: Recipe) -> None:
    reader = pipeline.RunItems.open(recipe)
    forward = TrainedForward(pipeline.new_model(recipe, reader.answers)).to("meta")
    for name in recipe.tasks:
        source = reader.read(name, "train")
        labels = heads_of(forward.model)[source.task.head].labels
        batch = loaded(source.task, source.batch(0, 2))
        assert batch_loss(forward, batch, source.task, labels).device.type == "meta", name


def test_a_thirteenth_task_gets_a_row_of_the_task_table(monkeypatch: pytest.MonkeyPatch) -> None:
    class Thirteenth:
        token = 23

    monkeypatch.setattr(pipeline, "TASKS", {**TASKS, "thirteenth": Thirteenth()})
    assert pipeline.with_rows(ModelConfig.tiny(), ["thirteenth"]).task_embedding_rows == 24
    assert pipeline.with_rows(ModelConfig.tiny(), TASKS) == ModelConfig.tiny()


class Shelf:
    """Pictures with the given mean features; equal features are one picture."""

    def __init__(self, means: torch.Tensor) -> None:
        self.names = [f"{row:04d}.jpg" for row in range(len(means))]
        self._means = dict(zip(self.names, means, strict=True))

    def key(self, image: str) -> str:
        return str(self._means[image].tolist())

    def mean(self, image: str) -> torch.Tensor:
        return self._means[image]


def gallery(means: torch.Tensor) -> Gallery:
    shelf = Shelf(means)
    return Gallery(shelf.names, shelf, of="task 'coco-retrieval', test")


def test_near_pictures_are_the_same_however_many_rows_are_compared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    means = torch.randn(70, 8, generator=torch.Generator().manual_seed(0))
    means[30:50] = means[:20]  # pictures under two names tie
    distances = torch.cdist(means, means).fill_diagonal_(float("inf"))
    expected = distances.topk(galleries.NEAR, largest=False).indices.tolist()
    monkeypatch.setattr(galleries, "ROWS_AT_ONCE", 16)
    found = gallery(means)
    assert [[found.images.index(image) for image in near] for near in found.near.values()] == expected


def test_a_split_with_too_few_different_pictures_says_how_many_an_item_needs() -> None:
    few = gallery(torch.tensor([[0.0], [1.0], [2.0], [2.0]]))
    with pytest.raises(DataError, match=r"task 'coco-retrieval', test: an item shows 4 different .* split has 3"):
        SeededDraw(few, random.Random(0)).others("0000.jpg", 3)
    assert len(SeededDraw(few, random.Random(0)).others("0000.jpg", 2)) == 2


def test_a_shelf_keeps_only_the_pictures_last_looked_at(recipe: Recipe) -> None:
    shelf = PictureShelf(Regions.open(recipe.run.out), kept=2)
    records = pipeline.RunItems.open(recipe).read("vqa-v2", "train").records
    images = sorted({record.image for record in records})[:4]
    first = shelf.visual(images[0], shelf.look(images[0], ())[0])
    for image in images[1:]:
        shelf.visual(image, shelf.look(image, ())[0])
    again = shelf.visual(images[0], shelf.look(images[0], ())[0])
    assert again is not first
    assert torch.equal(again.features, first.features)
    assert again is shelf.visual(images[0], shelf.look(images[0], ())[0])


def prepared(recipe: Recipe, out: Path, tasks: Sequence[str]) -> Recipe:
    (out / pipeline.DETECTOR).symlink_to(recipe.run.out / pipeline.DETECTOR)
    run = dataclasses.replace(recipe.run, out=out)
    return dataclasses.replace(recipe, run=run, tasks={name: recipe.tasks[name] for name in tasks})


def find_features(recipe: Recipe) -> Regions:
    return pipeline.features(recipe, on_total=quiet, on_progress=quiet)


def test_features_that_lack_boxes_of_an_added_task_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    find_features(prepared(recipe, tmp_path, ["refcoco"]))
    added = dataclasses.replace(recipe, run=dataclasses.replace(recipe.run, out=tmp_path))
    with pytest.raises(DataError, match=r"box .* was not described when features were prepared; remove features/"):
        find_features(added)


def test_features_without_digests_of_their_boxes_still_open_and_get_them(recipe: Recipe, tmp_path: Path) -> None:
    chosen = prepared(recipe, tmp_path, ["visual7w"])
    find_features(chosen)
    digests = (tmp_path / "boxes.json").read_bytes()
    (tmp_path / "boxes.json").unlink()
    Regions.open(tmp_path)
    find_features(chosen)
    assert (tmp_path / "boxes.json").read_bytes() == digests


def test_a_picture_that_was_not_prepared_says_what_to_do(recipe: Recipe) -> None:
    with pytest.raises(DataError, match=r"new\.jpg: has no features; run `python -m training features"):
        Regions.open(recipe.run.out).key("new.jpg")


def test_an_empty_split_is_refused_with_a_sentence(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(DataSets, "read", lambda sets, name, split: iter(()))
    with pytest.raises(DataError, match=r"task 'gqa', test: the files under .* hold no item of this split"):
        pipeline.RunItems.open(recipe).read("gqa", "test")


def test_a_split_without_right_answers_cannot_be_evaluated(recipe: Recipe) -> None:
    reader = pipeline.RunItems.open(recipe)
    source = reader.read("vqa-v2", "val")
    source.records = [dataclasses.replace(record, answers=()) for record in source.records]
    model = pipeline.new_model(recipe, reader.answers).eval()
    with pytest.raises(DataError, match=r"task 'vqa-v2', val: item .* has no right answer"):
        evaluate(model, source)


def test_requests_ask_the_items_that_evaluation_asks(recipe: Recipe) -> None:
    source = pipeline.RunItems.open(recipe).read("coco-retrieval", "test")
    asked = [source.item(place, place).labelled.request for place in spread(len(source), 3)]
    bodies = requests.bodies(source, recipe.run.data, 3)
    assert [body["caption"] for body in bodies] == [request.caption for request in asked]
    assert all(len(body["images"]) == 4 for body in bodies)


def test_a_blind_model_sees_nothing_of_any_picture(recipe: Recipe) -> None:
    reader = pipeline.RunItems.open(recipe, blind=True)
    for name in recipe.tasks:
        item = reader.read(name, "train").item(0, 0)
        for _, seen in item.pairs:
            assert not seen.features.any()
            assert not seen.locations.any()


def test_every_task_has_items_whose_right_answer_rates_best(recipe: Recipe) -> None:
    reader = pipeline.RunItems.open(recipe)
    for name in recipe.tasks:
        source = reader.read(name, "train")
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
    reader = pipeline.RunItems.open(recipe)
    late = reader.read("coco-retrieval", "train").batch(7, 3)
    again = reader.read("coco-retrieval", "train")
    again.batch(0, 7)
    for one, other in zip(late, again.batch(7, 3), strict=True):
        assert one.labelled == other.labelled


def test_an_epoch_shows_each_item_once_and_the_next_in_another_order(recipe: Recipe) -> None:
    source = pipeline.RunItems.open(recipe).read("vqa-v2", "train")
    first, second = ([item.labelled for item in source.batch(epoch * len(source), len(source))] for epoch in (0, 1))
    assert sorted(map(repr, first)) == sorted(map(repr, second))
    assert first != second


def test_a_run_without_features_says_what_to_do_first(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="python -m training features"):
        Regions.open(tmp_path)


def test_a_recipe_with_an_unknown_key_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(TINY_RECIPE.format(world="w", out="o") + "vqa-v2 = { batch = 1, speed = 2 }\n")
    with pytest.raises(ConfigInvalid, match="speed"):
        Recipe.load(path)


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ("[loading]\nworkers = 1.5", r"\[loading\] workers must be a whole number, got"),
        ("[loading]\nworkers = true", r"\[loading\] workers must be a whole number, got"),
        ('[loading]\nworkers = "2"', r"\[loading\] workers must be a whole number, got"),
        ("[loading]\nworkers = 100000", r"\[loading\] workers: got 100000, takes 0 to 256"),
        ("[loading]\nahead = 0", r"\[loading\] ahead: got 0, takes 1 to 1,000"),
        ('[loading]\nright_boxes = "no"', r"\[loading\] right_boxes must be true or false, got"),
        ("[model]\nvocabulary = 3", r"\[model\] vocabulary must be text, got"),
        ("[keep]\nlog_every = [1]", r"\[keep\] log_every must be a whole number, got"),
    ],
)
def test_a_recipe_with_a_value_of_the_wrong_kind_is_refused_by_name(tmp_path: Path, section: str, said: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(f"{SHORT_RECIPE}\n{section}\n")
    with pytest.raises(ConfigInvalid, match=said):
        Recipe.load(path)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (("[optim]", "loading = 3\n[optim]"), "unknown keys"),
        (("[run]", "loading = 3\n[run]"), r"loading must be a section, \[loading\], got 3"),
        (('out = "o"', 'out = "o"\nclean = "sometimes"'), r"\[run\] clean 'sometimes'; there are auto, always, never"),
        (('name = "x"\n', ""), r"\[run\] name is missing"),
    ],
)
def test_a_recipe_that_is_no_recipe_says_why(tmp_path: Path, changes: tuple[str, str], said: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(SHORT_RECIPE.replace(*changes))
    with pytest.raises(ConfigInvalid, match=said):
        Recipe.load(path)


SHORT_RECIPE = """
[run]
name = "x"
version = "1"
data = "w"
out = "o"
[optim]
rounds = 1
learning_rate = 1
[tasks]
gqa = { batch = 1 }
"""


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


def test_an_error_is_printed_whole_brackets_and_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "[b].toml"
    path.write_text(f"{SHORT_RECIPE}\n[loading]\nahead = 0\n")
    monkeypatch.setattr("sys.argv", ["training", "run", str(path)])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == ConfigInvalid.exit_code
    assert capsys.readouterr().err == "config-invalid: [loading] ahead: got 0, takes 1 to 1,000\n"


def test_a_task_without_public_answers_is_passed_over(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    read, told = DataSets.read, {}

    def unanswered(sets: DataSets, name: str, split: str) -> Iterator[object]:
        for record in read(sets, name, split):
            yield dataclasses.replace(record, answers=()) if name == "vqa-v2" else record

    monkeypatch.setattr(DataSets, "read", unanswered)
    model = pipeline.new_model(recipe, pipeline.RunItems.open(recipe).answers).eval()
    few = dataclasses.replace(recipe, tasks={name: recipe.tasks[name] for name in ("vqa-v2", "snli-ve")})
    scores = pipeline.score(few, model, "test", most=3, on_unanswered=told.__setitem__)
    assert list(scores) == ["snli-ve"]
    assert list(told) == ["vqa-v2"]
    assert "has no right answer" in told["vqa-v2"].message
    only = dataclasses.replace(recipe, tasks={"vqa-v2": recipe.tasks["vqa-v2"]})
    with pytest.raises(DataError, match="no task of the recipe has right answers in split 'test'"):
        pipeline.score(only, model, "test", most=3)
