"""The first user does not pay: every head and the detector have run before."""

from pathlib import Path

import pytest

from tests.bundles import make_tiny_bundle
from twelve.assembly import Parts, Settings, assemble
from twelve.errors import ConfigInvalid
from twelve.heads import HEADS
from twelve.warming import REGIONS, ROUNDS, warm_up

EAGER = Settings(engine="eager")


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return assemble(make_tiny_bundle(tmp_path / "tiny").path, EAGER)


def test_every_head_runs_with_few_and_many_regions_and_the_detector_runs(parts, monkeypatch):
    heads, sizes, looked = [], set(), []
    head, regions, extract = parts.engine.head, parts.engine.regions, parts.extractor.extract
    monkeypatch.setattr(parts.engine, "head", lambda name, *rest: heads.append(name) or head(name, *rest))
    monkeypatch.setattr(parts.engine, "regions", lambda all: sizes.update(map(len, all)) or regions(all))
    monkeypatch.setattr(parts.extractor, "extract", lambda *rest: looked.append(rest) or extract(*rest))
    warm_up(parts, EAGER)
    assert set(heads) == set(HEADS)
    assert {count + 1 for count in REGIONS} <= sizes
    assert len(looked) == ROUNDS


def test_warming_leaves_no_picture_in_the_cache(tmp_path):
    settings = Settings(engine="eager", cache=tmp_path / "cache")
    warm_up(assemble(make_tiny_bundle(tmp_path / "tiny").path, settings), settings)
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]


def test_a_bundle_without_a_detector_is_warmed_too(tmp_path):
    warm_up(assemble(make_tiny_bundle(tmp_path / "tiny", detector=False).path, EAGER), EAGER)


def test_a_model_that_cannot_answer_its_own_examples_does_not_start(parts, monkeypatch):
    def broken(*_):
        raise RuntimeError("no kernel")

    monkeypatch.setattr(parts.engine, "fuse", broken)
    with pytest.raises(ConfigInvalid, match="the model cannot answer an example of"):
        warm_up(parts, EAGER)
