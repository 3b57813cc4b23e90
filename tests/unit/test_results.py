"""What a run is measured by beyond its scores, on a tiny world and an untrained model."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.bundles import tiny_detector
from training import checkpoint, pipeline, ranking, results
from training.__main__ import evaluate as evaluate_command
from training.__main__ import predict as predict_command
from training.config import Recipe
from training.data import clean
from training.evaluate import evaluate, spread
from training.items import padded
from training.loop import TrainedForward
from training.world.assembly import assemble
from training.world.profiles import PROFILES
from twelve.errors import DataError

TASKS = ("vqa-v2", "coco-retrieval", "refcoco", "refcoco+", "nlvr2", "gqa")
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
rounds = 1
precision = "no"

[tasks]
"""
CLOSE = 1e-4  # of logits: other pads, and text and pictures each alone


def quiet(number: int) -> None:
    del number


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    assemble(PROFILES["tiny"], 0, out / "world", stage=lambda name, steps: lambda done: None, processes=1)
    tasks = "\n".join(f'"{name}" = {{ batch = 2 }}' for name in TASKS)
    (out / "recipe.toml").write_text(RECIPE.format(world=out / "world", out=out) + tasks)
    recipe = Recipe.load(out / "recipe.toml")
    tiny_detector().save(out / pipeline.DETECTOR)
    pipeline.features(recipe, on_total=quiet, on_progress=quiet)
    pipeline.run(recipe, blind=False, on_progress=lambda progress: None)
    return out / "recipe.toml"


@pytest.fixture(scope="module")
def recipe(path: Path) -> Recipe:
    return Recipe.load(path)


@pytest.fixture(scope="module")
def model(recipe: Recipe):
    return pipeline.trained(recipe, blind=False)


@pytest.fixture(scope="module")
def reader(recipe: Recipe):
    return pipeline.RunItems.open(recipe)


def test_evaluation_writes_official_figures_beside_scores_of_the_same_answers(path: Path, recipe: Recipe) -> None:
    evaluate_command(path, most=6, gallery=4, paired=2)

    scores = json.loads((recipe.run.out / pipeline.SCORES).read_text())
    metrics = json.loads((recipe.run.out / results.METRICS).read_text())
    assert set(scores) == {"model", "novel"}
    assert set(metrics["model"]) == set(scores["model"]) == set(TASKS)
    for name in ("refcoco", "nlvr2", "gqa", "coco-retrieval"):
        assert metrics["model"][name]["accuracy"] == {key: scores["model"][name][key] for key in ("score", "items")}
    assert set(metrics["retrieval"]["coco-retrieval"]["4"]) == {
        "pictures",
        "galleries",
        "image retrieval",
        "text retrieval",
    }
    assert {"consistency", "excess", "pairs"} <= set(metrics["grounding consistency"])


def test_an_unasked_gallery_is_not_ranked(path: Path, recipe: Recipe) -> None:
    evaluate_command(path, most=2, gallery=0, paired=0)

    assert set(json.loads((recipe.run.out / results.METRICS).read_text())) == {"model", "novel"}


def test_predictions_are_the_answers_that_evaluation_rates(path: Path, recipe: Recipe, model, reader, tmp_path) -> None:
    predict_command(path, task="vqa-v2", to=tmp_path / "vqa.json")

    source = reader.read("vqa-v2", "test", most_tokens=model.config.max_position_embeddings)
    rated = evaluate(model, source, most=len(source)).rated
    assert json.loads((tmp_path / "vqa.json").read_text()) == [
        {"question_id": int(one.record.id), "answer": one.answer} for one in rated
    ]


def test_predictions_go_on_where_they_stopped(recipe: Recipe, model, tmp_path, monkeypatch) -> None:
    whole, cut = tmp_path / "whole.csv", tmp_path / "cut.csv"
    results.predict(recipe, model, "nlvr2", "test", whole, on_total=quiet, on_progress=quiet)
    draft = tmp_path / "cut.csv.part"

    def killed(draft, chosen, path):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(results.submissions, "write", killed)
        with pytest.raises(KeyboardInterrupt):
            results.predict(recipe, model, "nlvr2", "test", cut, on_total=quiet, on_progress=quiet)
    draft.write_text("".join(draft.read_text().splitlines(keepends=True)[:3]) + "test1-")
    asked: list[int] = []
    rows = results.predict(recipe, model, "nlvr2", "test", cut, on_total=quiet, on_progress=asked.append)

    assert cut.read_bytes() == whole.read_bytes()
    assert asked[0] == 2
    assert sum(asked) == rows


def test_predictions_for_a_task_that_the_recipe_lacks_are_refused(recipe: Recipe, model, tmp_path) -> None:
    with pytest.raises(DataError, match="task 'snli-ve' is not in this recipe; it has vqa-v2, "):
        results.predict(recipe, model, "snli-ve", "test", tmp_path / "x", on_total=quiet, on_progress=quiet)


def test_a_gallery_holds_the_first_pictures_and_at_most_five_captions_of_each(reader) -> None:
    source = reader.read("coco-retrieval", "test")
    source.records = [one for one in source.records for _ in range(2)]
    pictures = list(dict.fromkeys(one.image for one in source.records))[:3]

    asked = ranking.gallery(source, 3)

    assert asked.pictures == pictures
    assert [source.records[place].image for place in asked.captions] == [
        pictures[column] for column in asked.picture_of.tolist()
    ]
    assert np.bincount(asked.picture_of.numpy()).tolist() == [5, 5, 5]


def test_a_gallery_is_scored_as_training_scores_its_items(recipe: Recipe, model, reader, tmp_path) -> None:
    source = reader.read("coco-retrieval", "test", most_tokens=model.config.max_position_embeddings)
    place = spread(len(source), 3)[1]
    item = source.item(place, place)
    shown = [image.key for image in item.labelled.request.images]
    with torch.inference_mode():
        logits = TrainedForward(model)(padded([item]), source.task.head, 1)[0]

    scorer = ranking.Scorer(model, source, reader.shelf, shown)

    assert scorer.row(place).tolist() == pytest.approx(logits.tolist(), abs=CLOSE)


def test_a_ranking_cut_short_goes_on_and_another_models_is_begun_anew(model, reader, tmp_path) -> None:
    source = reader.read("coco-retrieval", "test", most_tokens=model.config.max_position_embeddings)
    asked = ranking.gallery(source, 2)
    scorer = ranking.Scorer(model, source, reader.shelf, asked.pictures)
    kept = tmp_path / "kept"
    whole = ranking.scores(scorer, asked, kept, of="one")
    written = kept.read_bytes()
    kept.write_bytes(written[:-11])  # two rows lost, one of them in its middle

    done: list[int] = []
    again = ranking.scores(scorer, asked, kept, of="one", on_progress=done.append)
    other: list[int] = []
    ranking.scores(scorer, asked, kept, of="another", on_progress=other.append)

    assert torch.equal(again, whole)
    assert done == [len(asked.captions) - 2, 1, 1]
    assert other[0] == 0


def test_grounding_consistency_refuses_a_model_that_was_trained_on_its_pictures(
    recipe: Recipe, model, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = pipeline.RunItems.read

    def dirty(self, name, split, **more):
        return read(self, name, "test", **more)

    monkeypatch.setattr(pipeline.RunItems, "read", dirty)

    with pytest.raises(DataError, match=r"2 of its 2 pictures are in the train split of task 'vqa-v2'"):
        results.grounding(recipe, model, pictures=2, on_total=quiet, on_progress=quiet)


@pytest.fixture
def state(recipe: Recipe) -> Iterator[Path]:
    """Lend the checkpoint's state for one test."""
    path = recipe.run.out / checkpoint.FOLDER / checkpoint.STATE
    kept = path.read_bytes()
    yield path
    path.write_bytes(kept)


@pytest.fixture
def leaky(recipe: Recipe, state: Path) -> Iterator[Recipe]:
    """Clean the data sets after a model was trained on them."""
    clean.write(recipe.run.data)
    yield recipe
    (recipe.run.data / clean.MANIFEST).unlink()


def test_cleaning_after_training_makes_no_clean_model(leaky: Recipe, model) -> None:
    found = results.grounding_or_why_not(leaky, model, pictures=200, on_total=quiet, on_progress=quiet)
    assert found["consistency"] is None
    assert "are in the train split of task 'vqa-v2'" in found["reason"]


def test_a_model_that_was_trained_under_another_manifest_has_no_grounding_consistency(
    leaky: Recipe, model, state: Path
) -> None:
    state.write_text(json.dumps({**json.loads(state.read_text()), "read_through": "of-old"}))
    found = results.grounding_or_why_not(leaky, model, pictures=2, on_total=quiet, on_progress=quiet)
    assert found["consistency"] is None
    assert "was trained under clean.json of-old, and now it is" in found["reason"]


def test_a_model_of_which_nobody_noted_the_data_has_no_grounding_consistency(recipe: Recipe, model, state) -> None:
    values = json.loads(state.read_text())
    del values["read_through"]
    state.write_text(json.dumps(values))
    found = results.grounding_or_why_not(recipe, model, pictures=2, on_total=quiet, on_progress=quiet)
    assert found["consistency"] is None
    assert "does not say which clean.json it was trained under" in found["reason"]


def test_grounding_consistency_says_which_task_a_recipe_lacks(recipe: Recipe, model) -> None:
    lacking = dataclasses.replace(recipe, tasks={"vqa-v2": recipe.tasks["vqa-v2"]})

    found = results.grounding_or_why_not(lacking, model, pictures=2, on_total=quiet, on_progress=quiet)

    assert found["consistency"] is None
    assert found["reason"].endswith("this recipe lacks refcoco, refcoco+")
