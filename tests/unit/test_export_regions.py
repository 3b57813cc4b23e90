"""Detectors of every family, exported from a folder of their own and opened as a server opens them."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from export import folder
from export.__main__ import app
from export.exportable import LIMIT
from export.source import DetectorFolder, graph_names, open_source
from tests.bundles import tiny_detector
from tests.rcnn import net, tiny
from twelve.engines.exported import DETECTOR, Exported
from twelve.errors import BundleMissing, ConfigInvalid
from twelve.regions.local import digest_of


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["x152-fpn", "vg-r101-c4"])
def test_a_detector_of_any_family_is_exported_from_its_folder(preset: str, tmp_path: Path) -> None:
    net(tiny(preset)).save(tmp_path / "detector")
    done = CliRunner().invoke(app, ["regions", str(tmp_path / "detector"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    record = Exported.open(tmp_path / "out", bundle=digest_of(tmp_path / "detector"))
    for kind in folder.KINDS:
        assert record.graphs[DETECTOR]["parity"][kind]["trials"] >= 4
        assert max(record.graphs[DETECTOR]["parity"][kind]["errors"].values()) <= LIMIT
        assert set(record.runtime(DETECTOR, kind, threads=1).outputs) == set(record.graphs[DETECTOR]["outputs"])


def test_one_kind_alone_is_written_and_nothing_is_written_twice(tmp_path: Path) -> None:
    tiny_detector().save(tmp_path / "detector")
    command = ["regions", str(tmp_path / "detector"), "--out", str(tmp_path / "out"), "--torchscript"]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"detector.pt", "export.json"}
    assert "1 files are up to date" in CliRunner().invoke(app, command).output


def test_another_detector_in_the_same_folder_is_exported_anew(tmp_path: Path) -> None:
    tiny_detector().save(tmp_path / "detector")
    command = ["regions", str(tmp_path / "detector"), "--out", str(tmp_path / "out"), "--torchscript"]
    CliRunner().invoke(app, command)
    tiny_detector().save(tmp_path / "detector")  # drawn anew
    assert "up to date" not in CliRunner().invoke(app, command).output


def test_a_detectors_folder_has_one_graph_and_no_model(tmp_path: Path) -> None:
    tiny_detector().save(tmp_path)
    source = open_source(tmp_path)
    assert isinstance(source, DetectorFolder)
    assert graph_names(source) == (DETECTOR,)
    with pytest.raises(ConfigInvalid, match="has no graph 'text'; it has detector"):
        folder.missing(source, tmp_path / "out", [("text", "onnx")])


def test_a_folder_with_neither_a_bundle_nor_a_detector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleMissing, match="a detector is a folder with it and its"):
        open_source(tmp_path)
