"""What is read of a bundle is what its manifest names, and it names nothing outside the bundle."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.bundles import make_tiny_bundle
from twelve.bundle import (
    CONFIG_FILE,
    DETECTOR_CONFIG,
    DETECTOR_WEIGHTS,
    MANIFEST,
    PRETRAINING_FILE,
    TOKENIZER_SETTINGS,
    VOCABULARY,
    WEIGHTS_FILE,
    Bundle,
    json_object,
    sha256_of,
)
from twelve.errors import BundleMissing, ConfigInvalid
from twelve.heads.model import TwelveModel

ANSWERS = "answers/vqa.json"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make_tiny_bundle(tmp_path / "tiny").path


def manifest_of(bundle: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((bundle / MANIFEST).read_text())
    return values


def rewrite(bundle: Path, **changes: Any) -> None:
    (bundle / MANIFEST).write_text(json.dumps({**manifest_of(bundle), **changes}))


def name_too(bundle: Path, name: str, file: Path) -> None:
    """Name a file in the manifest, with its right hash."""
    entry = {"sha256": sha256_of(file), "bytes": file.stat().st_size}
    rewrite(bundle, files={**manifest_of(bundle)["files"], name: entry})


def drop(bundle: Path, name: str) -> None:
    rewrite(bundle, files={kept: entry for kept, entry in manifest_of(bundle)["files"].items() if kept != name})


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    file = tmp_path / "secret.txt"
    file.write_text("s")
    return file


@pytest.mark.parametrize(
    "name", ["../secret.txt", "answers/../../secret.txt", "..\\secret.txt", "C:secret.txt", "./vocab.txt", ""]
)
def test_a_name_that_is_no_plain_path_inside_the_bundle_is_refused(bundle: Path, secret: Path, name: str) -> None:
    name_too(bundle, name, secret)
    with pytest.raises(ConfigInvalid) as refused:
        Bundle.open(bundle)
    assert f"{MANIFEST} names the file {name!r}, which is no plain path inside the bundle" in refused.value.message


def test_an_absolute_name_is_refused(bundle: Path, secret: Path) -> None:
    name_too(bundle, str(secret), secret)
    with pytest.raises(ConfigInvalid, match=r"secret\.txt', which is no plain path inside the bundle"):
        Bundle.open(bundle)


def test_a_link_out_of_the_bundle_is_refused(bundle: Path, secret: Path) -> None:
    (bundle / "notes.txt").symlink_to(secret)
    name_too(bundle, "notes.txt", secret)
    with pytest.raises(ConfigInvalid, match=r"notes\.txt is a link that leads out of the bundle"):
        Bundle.open(bundle)


def test_a_folder_that_is_a_link_out_of_the_bundle_is_refused(bundle: Path, tmp_path: Path) -> None:
    (bundle / "answers").rename(tmp_path / "elsewhere")
    (bundle / "answers").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    with pytest.raises(ConfigInvalid, match=r"answers/gqa\.json is a link that leads out of the bundle"):
        Bundle.open(bundle)


def test_links_inside_the_bundle_and_to_it_are_followed(bundle: Path, tmp_path: Path) -> None:
    (bundle / "again.txt").symlink_to(VOCABULARY)
    name_too(bundle, "again.txt", bundle / VOCABULARY)
    (tmp_path / "link").symlink_to(bundle, target_is_directory=True)
    Bundle.open(tmp_path / "link").verify()


@pytest.mark.parametrize(
    "name", [WEIGHTS_FILE, CONFIG_FILE, VOCABULARY, ANSWERS, DETECTOR_CONFIG, DETECTOR_WEIGHTS, PRETRAINING_FILE]
)
def test_a_file_that_is_read_and_not_named_is_refused(bundle: Path, name: str) -> None:
    (bundle / name).touch()
    drop(bundle, name)
    with pytest.raises(ConfigInvalid, match=f"{name} is not named in {MANIFEST}, so nothing says that it is the right"):
        Bundle.open(bundle)


@pytest.mark.parametrize("name", [WEIGHTS_FILE, CONFIG_FILE, DETECTOR_WEIGHTS, DETECTOR_CONFIG])
def test_a_bundle_without_weights_or_configuration_or_with_half_a_detector_is_refused(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    drop(bundle, name)
    with pytest.raises(BundleMissing, match=f"{name} is not there, and nothing replaces it"):
        Bundle.open(bundle)


def test_what_others_lay_beside_a_bundle_is_no_part_of_it(bundle: Path) -> None:
    for name in ("README.md", TOKENIZER_SETTINGS, "pytorch_model.bin", ".gitattributes"):
        (bundle / name).write_text("{}")
    TwelveModel.from_pretrained(bundle)


@pytest.mark.parametrize(
    ("entry", "value", "said"),
    [
        ("name", 3, "name is 3 and must be text"),
        ("version", 1.0, r"version is 1\.0 and must be text"),
        ("version", None, "version is None and must be text"),
        ("notes", "none", "notes must be an object"),
    ],
)
def test_an_entry_of_another_type_is_refused_on_opening(bundle: Path, entry: str, value: object, said: str) -> None:
    rewrite(bundle, **{entry: value})
    with pytest.raises(ConfigInvalid, match=said):
        Bundle.open(bundle)


def test_json_nested_without_end_is_told_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text("[" * 100_000)
    with pytest.raises(ConfigInvalid, match=r"config\.json: is no JSON \(maximum recursion"):
        json_object(path)
