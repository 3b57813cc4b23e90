import os
import re
import signal
from pathlib import Path

import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from twelve.errors import ConfigInvalid
from twelve.features import RegionSet
from twelve.image import ImageLimits
from twelve.index.command import commands

COLORS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


class ColorExtractor:
    """One region: the colour of the first pixel."""

    def __init__(self, digest):
        self.digest = digest
        self.feature_width = 3

    def extract(self, picture, given_px=None):
        color = torch.tensor(picture.rgb[:1, 0].tolist(), dtype=torch.float32)
        box = torch.tensor([[0.0, 0.0, picture.width, picture.height]])
        return RegionSet(color, box, torch.ones(1), torch.zeros(1, dtype=torch.int64), picture.width, picture.height)


class ColorRetriever:
    """Scores a picture by how much of the caption's colour it has."""

    limits = ImageLimits()

    def __init__(self, digest="sha256:colors"):
        self.extractor = ColorExtractor(digest)

    def score(self, caption, region_sets):
        wanted = torch.tensor(COLORS[caption], dtype=torch.float32) / 255
        return [float(regions.features[0] @ wanted) / 255 for regions in region_sets]


def open_retriever(bundle: Path) -> ColorRetriever:
    return ColorRetriever(f"sha256:{bundle}")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "pictures [old]"
    folder.mkdir()
    for name, color in COLORS.items():
        Image.new("RGB", (4, 4), color).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def run(tmp_path):
    app = commands(open_retriever, Path("colors"))
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_add_ends_with_the_counts_and_code_0(run, folder, tmp_path):
    result = run("add", tmp_path / "index", folder)

    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "done=3 duplicate=0 rejected=0"


def test_add_lists_the_rejected_with_reasons_and_leaves_with_code_3(run, folder, tmp_path):
    (folder / "broken.png").touch()

    for _ in range(2):
        result = run("add", tmp_path / "index", folder)

        assert result.exit_code == 3
        assert f"rejected {folder}/broken.png: unreadable-image: the picture is empty" in result.stdout
        assert result.stdout.splitlines()[-1] == "done=3 duplicate=0 rejected=1"


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on(run, folder, tmp_path, monkeypatch):
    extract = ColorExtractor.extract

    def interrupted(self, picture, given_px=None):
        os.kill(os.getpid(), signal.SIGINT)
        return extract(self, picture)

    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(ColorExtractor, "extract", interrupted)
    stopped = run("add", tmp_path / "index", folder)
    monkeypatch.setattr(ColorExtractor, "extract", extract)
    resumed = run("add", tmp_path / "index", folder)

    assert stopped.exit_code == 75
    assert "stopped with 2 files left; the same command goes on from here" in stopped.stdout
    assert stopped.stdout.splitlines()[-1] == "done=1 duplicate=0 rejected=0"
    assert resumed.exit_code == 0
    assert resumed.stdout.splitlines()[-1] == "done=3 duplicate=0 rejected=0"
    assert signal.getsignal(signal.SIGINT) is before


def test_search_prints_score_and_path_best_first(run, folder, tmp_path):
    run("add", tmp_path / "index", folder)

    result = run("search", tmp_path / "index", "green", "-k", 2)

    assert result.exit_code == 0
    assert result.stdout.splitlines() == [f"1.000000\t{folder}/green.png", f"0.000000\t{folder}/blue.png"]


@pytest.mark.parametrize(("command", "rest"), [("info", []), ("search", ["red"]), ("verify", []), ("prune", [])])
def test_a_folder_that_is_no_index_leaves_with_code_65(run, folder, command, rest):
    result = run(command, folder, *rest)

    assert result.exit_code == 65
    assert "there is no index here; make one with `twelve index add`" in result.stderr


@pytest.mark.parametrize(("command", "rest"), [("add", ["{folder}"]), ("search", ["red"])])
def test_another_detector_leaves_with_code_65(run, folder, tmp_path, command, rest):
    run("add", tmp_path / "index", folder)

    result = run(command, tmp_path / "index", *(each.format(folder=folder) for each in rest), "--bundle", "other")

    assert result.exit_code == 65
    assert "built with detector sha256:colors, this bundle has sha256:other" in result.stderr


def test_info_counts_and_identifies(run, folder, tmp_path):
    (folder / "broken.png").touch()
    run("add", tmp_path / "index", folder)

    result = run("info", tmp_path / "index", "--rejected", "--digest")

    assert result.exit_code == 0
    assert "features  3 wide, float16" in result.stdout
    assert "stored    3 pictures, 3 regions, 1 shards" in result.stdout
    assert f"rejected {folder}/broken.png: unreadable-image" in result.stdout
    assert re.search(r"^digest    sha256:[0-9a-f]{64}$", result.stdout, re.MULTILINE)
    assert result.stdout.splitlines()[-1] == "done=3 duplicate=0 rejected=1"


def test_verify_finds_an_altered_shard(run, folder, tmp_path):
    run("add", tmp_path / "index", folder)
    whole = run("verify", tmp_path / "index")
    (shard,) = (tmp_path / "index" / "features" / "shards").iterdir()
    data = bytearray(shard.read_bytes())
    data[-100] ^= 1
    shard.write_bytes(data)

    altered = run("verify", tmp_path / "index")

    assert (whole.exit_code, altered.exit_code) == (0, 65)
    assert "its name states" in altered.stderr


def test_prune_forgets_what_is_gone(run, folder, tmp_path):
    run("add", tmp_path / "index", folder)
    (folder / "red.png").unlink()

    result = run("prune", tmp_path / "index")

    assert result.stdout == "forgotten=1\n"


def test_a_bundle_that_cannot_be_opened_is_left_to_the_caller(folder, tmp_path):
    def refuse(bundle):
        raise ConfigInvalid("no detector in this bundle")

    result = CliRunner().invoke(commands(refuse, Path("x")), ["add", str(tmp_path / "index"), str(folder)])

    assert isinstance(result.exception, ConfigInvalid)
