"""`python -m training features` of pictures: exit codes and the last line."""

import errno
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from training.__main__ import app
from twelve.errors import ConfigInvalid, DataError
from twelve.features import FeatureStore
from twelve.regions.config import DetectorConfig
from twelve.regions.detector import Detector

TINY = DetectorConfig(
    class_names=("car", "cat"),
    widths=(8, 8, 16),
    blocks=1,
    candidates=40,
    proposals=16,
    max_regions=6,
    feature_width=12,
)


@pytest.fixture
def detector(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    Detector(TINY).save(tmp_path / "detector")
    return tmp_path / "detector"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def features(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["features", *map(str, arguments)])


def test_a_folder_without_faults_leaves_with_0(folder: Path, detector: Path, tmp_path: Path) -> None:
    done = features(folder, "--out", tmp_path / "store", "--detector", detector)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1] == "done=3 duplicate=0 rejected=0"
    again = features(folder, "--out", tmp_path / "store", "--detector", detector)
    assert again.stdout == "3 inputs were known already\ndone=3 duplicate=0 rejected=0\n"


def test_rejected_inputs_are_told_and_leave_with_3(folder: Path, detector: Path, tmp_path: Path) -> None:
    (folder / "text.jpg").write_text("no picture")
    done = features(folder, "--out", tmp_path / "store", "--detector", detector, "--max-side", 50)
    assert done.exit_code == 3
    assert done.stdout.splitlines()[-1] == "done=0 duplicate=0 rejected=4"
    assert f"rejected {folder}/text.jpg: unreadable-image: the bytes are no picture" in done.stderr


def test_a_list_goes_by_its_suffix(folder: Path, detector: Path, tmp_path: Path) -> None:
    (folder / "list.jsonl").write_text('{"image": "1.png"}\n{"image": "1.png"}\n')
    done = features(folder / "list.jsonl", "--out", tmp_path / "store", "--detector", detector)
    assert done.stdout.splitlines()[-1] == "done=1 duplicate=1 rejected=0"


def test_a_folder_may_be_called_as_a_recipe_is(folder: Path, detector: Path, tmp_path: Path) -> None:
    folder = folder.rename(tmp_path / "pictures.toml")
    assert features(folder, "--out", tmp_path / "store", "--detector", detector).exit_code == 0


def test_a_full_disk_is_told_and_leaves_with_75_and_then_all_goes_on(
    folder: Path, detector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(store: FeatureStore, items: list[object]) -> None:
        if items:
            raise OSError(errno.ENOSPC, "No space left on device", str(store.path / "shards"))

    with monkeypatch.context() as full:
        full.setattr(FeatureStore, "append", refuse)
        stopped = features(folder, "--out", tmp_path / "store", "--detector", detector)
    assert stopped.exit_code == 75
    assert f"{tmp_path}/store/shards: the disk is full; make room" in stopped.stderr
    after = features(folder, "--out", tmp_path / "store", "--detector", detector)
    assert after.stdout == "done=3 duplicate=0 rejected=0\n"


def test_what_else_a_disk_refuses_is_told(
    folder: Path, detector: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(store: FeatureStore, items: list[object]) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(store.path))

    monkeypatch.setattr(FeatureStore, "append", refuse)
    error = features(folder, "--out", tmp_path / "store", "--detector", detector).exception
    assert isinstance(error, DataError)
    assert error.message == f"{tmp_path}/store: cannot be read or written: Permission denied"


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"exif": "yes"}'])
def test_a_damaged_note_of_how_pictures_are_read_is_told(
    folder: Path, detector: Path, tmp_path: Path, content: str
) -> None:
    features(folder, "--out", tmp_path / "store", "--detector", detector)
    (tmp_path / "store" / "extraction.json").write_text(content)
    error = features(folder, "--out", tmp_path / "store", "--detector", detector).exception
    assert isinstance(error, DataError)
    assert "extraction.json: is damaged: it does not say whether" in error.message


def test_what_was_asked_wrongly_is_told(folder: Path, detector: Path, tmp_path: Path) -> None:
    (tmp_path / "words.csv").write_text("a,b\n")
    to = ("--out", tmp_path / "store", "--detector", detector)
    for arguments, kind, sentence in (
        ((tmp_path / "words.csv", *to), DataError, "got no source of pictures"),
        ((folder, *to, "--engine", "spark"), ConfigInvalid, "runs on one of local, ray"),
        ((folder,), ConfigInvalid, "name the folder of the store"),
        ((folder, *to[2:], "--out", tmp_path / "words.csv"), DataError, "words.csv: is no folder"),
    ):
        error = features(*arguments).exception
        assert isinstance(error, kind)
        assert sentence in error.message
