"""A guest from detectron2, where detectron2 is not installed; with it, `make test-detectron2` tries the real thing."""

import subprocess
import sys
from pathlib import Path

import pytest

from twelve.errors import BundleMissing, ConfigInvalid
from twelve.regions.guest import INSTALL, Detectron2Extractor, GuestConfig


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text("VERSION: 2\n", encoding="utf-8")
    return path


def test_where_detectron2_is_missing_the_error_says_how_to_install_it(
    settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "detectron2", None)  # as if it were not there, though it be
    with pytest.raises(ConfigInvalid) as caught:
        Detectron2Extractor.open(settings, {})
    assert "detectron2 cannot be imported" in caught.value.message
    assert caught.value.message.endswith(INSTALL)


def test_missing_settings_are_said_before_anything_is_imported(tmp_path: Path) -> None:
    with pytest.raises(BundleMissing, match=r"settings\.yaml: there is no such file"):
        Detectron2Extractor.open(tmp_path / "settings.yaml", {})


def test_regions_are_one_of_two_kinds() -> None:
    with pytest.raises(ConfigInvalid, match="regions: got 'boxes', want proposals or refined"):
        GuestConfig(regions="boxes")


def test_importing_the_library_imports_no_detectron2() -> None:
    asked = "import sys, twelve.regions.guest, export.to_guest; print('detectron2' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
