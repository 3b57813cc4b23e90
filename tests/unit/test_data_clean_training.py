"""Runs read through the manifest, as the recipe says; `python -m training all` writes it before anything is read."""

import dataclasses
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from tests.data_roots import write_root
from training import __main__ as program
from training import pipeline
from training.config import Recipe
from training.data import clean
from training.data.clean import MANIFEST
from twelve.errors import ConfigInvalid, DataError

RECIPE = """
[run]
name = "tiny"
version = "0"
data = "{root}/data"
out = "{root}/run"
{clean}

[model]
preset = "tiny"
minimum_answer_count = 1

[optim]
rounds = 1

[tasks]
vqa-v2 = {{ batch = 2 }}
refcoco = {{ batch = 2 }}
"""


def written(root: Path, said: str = "") -> Path:
    path = root / "recipe.toml"
    path.write_text(RECIPE.format(root=root, clean=said))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    none: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    plan = {"vqa-v2": {**none, "train": [0, 1, 2], "test": [9]}, "refcoco": {**none, "train": [0], "test": [1]}}
    write_root(tmp_path / "data", plan)
    return tmp_path


def rows(recipe: Recipe) -> int:
    return sum(1 for _ in pipeline.data_sets(recipe).read("vqa-v2", "train"))


def test_a_run_leaves_out_test_pictures_where_the_data_root_is_cleaned(root):
    recipe = Recipe.load(written(root))
    assert rows(recipe) == 3
    clean.write(recipe.run.data)
    assert rows(recipe) == 2


def test_a_recipe_may_keep_test_pictures_in(root):
    recipe = Recipe.load(written(root, 'clean = "never"'))
    clean.write(recipe.run.data)
    assert rows(recipe) == 3


def test_a_recipe_may_refuse_data_that_are_not_cleaned(root):
    with pytest.raises(DataError, match=r"clean\.json: there is none; run `python -m training data clean"):
        rows(Recipe.load(written(root, 'clean = "always"')))


@pytest.mark.parametrize(
    ("said", "answer"),
    [('"sometimes"', "'sometimes'; there are auto, always, never"), ("true", "must be text, got true or false")],
)
def test_a_recipe_that_says_anything_else_of_cleaning_is_refused(root, said, answer):
    with pytest.raises(ConfigInvalid, match=rf"\[run\] clean {answer}"):
        rows(Recipe.load(written(root, f"clean = {said}")))


def test_answers_are_listed_from_what_cleaning_leaves(root):
    recipe = Recipe.load(written(root))
    clean.write(recipe.run.data)
    few = dataclasses.replace(recipe, model=dataclasses.replace(recipe.model, minimum_answer_count=3))
    recipe.run.out.mkdir()
    assert pipeline.vocabularies(few)["vqa"].answers == ()


STAGES = ("detector", "recipe_features", "run", "evaluate", "bundle")


def run_all(root: Path, monkeypatch: pytest.MonkeyPatch, said: str = "") -> list[bool]:
    """Run all stages, empty ones but for cleaning; say for each whether the manifest was there."""
    was_there: list[bool] = []
    for name in STAGES:
        monkeypatch.setattr(program, name, lambda *_, **__: was_there.append((root / "data" / MANIFEST).is_file()))
    app = typer.Typer()
    app.command()(program.everything)
    result = CliRunner().invoke(app, [str(written(root, said))])
    assert result.exit_code == 0, result.output
    return was_there


def test_the_whole_pipeline_cleans_before_anything_is_read(root, monkeypatch):
    assert run_all(root, monkeypatch) == [True] * len(STAGES)


def test_the_whole_pipeline_leaves_data_alone_that_are_not_to_be_cleaned(root, monkeypatch):
    assert run_all(root, monkeypatch, 'clean = "never"') == [False] * len(STAGES)


def test_the_whole_pipeline_does_not_clean_again_behind_ones_back(root, monkeypatch):
    manifest = root / "data" / MANIFEST
    manifest.write_text("changed by hand")
    run_all(root, monkeypatch)
    assert manifest.read_text() == "changed by hand"
