"""The verbs of a model hub over bundles: nothing is lost on the way, nothing is unpickled, nothing is claimed."""

import json
import pickle
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote, urlsplit

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants

import twelve
from tests.bundles import ANSWERS, make_tiny_bundle, picture
from twelve.bundle import MANIFEST, TOKENIZER_SETTINGS, VOCABULARY, Bundle, seal
from twelve.card import CARD
from twelve.errors import BundleMissing, ChecksumMismatch, ConfigInvalid
from twelve.heads.model import PRETRAINING_FILE, WEIGHTS_FILE, TwelveModel
from twelve.hub import fetch
from twelve.model.config import ModelConfig

NAME = "someone/tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
SCORES = {"model": {"gqa": {"items": 10, "score": 0.5, "chance": 0.2}}}
QUESTION = {"image": picture(), "question": "Is there a car?"}


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    made = make_tiny_bundle(tmp_path / "tiny")
    return seal(made.path, name="tiny", version="3", tasks=made.manifest.tasks, scores=SCORES, notes={"kind": "noise"})


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def put(folder: Path, cache: Path, name: str = NAME, revision: str = "main") -> None:
    """Lay a folder into a cache as huggingface_hub does when it has downloaded it."""
    kept = cache / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, kept / "snapshots" / COMMIT, dirs_exist_ok=True)
    (kept / "refs").mkdir(exist_ok=True)
    (kept / "refs" / revision).write_text(COMMIT)


def altered(model: TwelveModel) -> TwelveModel:
    with torch.no_grad():
        model.heads["alignment"].rate.bias.add_(1.0)
    return model


def assert_same_weights(one: TwelveModel, other: TwelveModel) -> None:
    assert one.config == other.config
    assert one.state_dict().keys() == other.state_dict().keys()
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


def test_a_saved_model_is_the_bundle_that_it_came_from(bundle: Bundle, tmp_path: Path) -> None:
    saved = TwelveModel.from_pretrained(bundle.path).save_pretrained(tmp_path / "copy")
    assert saved.manifest == bundle.manifest
    assert saved.digest() == bundle.digest()
    saved.verify()


def test_a_changed_model_keeps_what_it_came_with_and_claims_no_scores(bundle: Bundle, tmp_path: Path) -> None:
    model = altered(TwelveModel.from_pretrained(bundle.path))
    saved = model.save_pretrained(tmp_path / "changed")
    assert (saved.manifest.version, saved.manifest.scores) == ("3+changed", {})
    assert saved.manifest.notes["changed_from"].startswith(f"tiny 3, digest {bundle.digest()}")
    assert saved.manifest.files.keys() == bundle.manifest.files.keys()
    assert_same_weights(TwelveModel.from_pretrained(saved.path), model)
    with twelve.load(saved.path) as client:
        assert client.ask("gqa", **QUESTION).answer in ANSWERS["gqa"]


def test_name_and_version_can_be_chosen(bundle: Bundle, tmp_path: Path) -> None:
    saved = TwelveModel.from_pretrained(bundle.path).save_pretrained(tmp_path / "x", name="mine", version="4")
    assert (saved.manifest.name, saved.manifest.version, saved.manifest.scores) == ("mine", "4", SCORES)


def test_a_model_from_no_bundle_becomes_one_that_knows_no_task(tmp_path: Path) -> None:
    model = TwelveModel(ModelConfig.tiny())
    saved = model.save_pretrained(str(tmp_path / "new"))
    assert (saved.manifest.name, saved.manifest.tasks) == ("new", {})
    assert_same_weights(TwelveModel.from_pretrained(str(saved.path)), model)


def test_pretraining_heads_go_with_the_model_that_has_them(bundle: Bundle, tmp_path: Path) -> None:
    model = TwelveModel.from_pretrained(bundle.path)
    model.add_pretraining()
    first = model.save_pretrained(tmp_path / "first")
    assert PRETRAINING_FILE in first.manifest.files
    again = TwelveModel.from_pretrained(first.path)
    assert again.save_pretrained(tmp_path / "second").digest() == first.digest()
    again.load_pretraining(first.path)
    assert again.save_pretrained(tmp_path / "third").digest() == first.digest()


def test_a_changed_model_leaves_pretraining_heads_of_other_weights_behind(bundle: Bundle, tmp_path: Path) -> None:
    model = TwelveModel.from_pretrained(bundle.path)
    model.add_pretraining()
    first = model.save_pretrained(tmp_path / "first")
    changed = altered(TwelveModel.from_pretrained(first.path)).save_pretrained(tmp_path / "changed")
    assert PRETRAINING_FILE not in changed.manifest.files


def test_a_bundle_is_never_saved_over(bundle: Bundle) -> None:
    model = TwelveModel.from_pretrained(bundle.path)
    with pytest.raises(ConfigInvalid, match="is there already, and a bundle is never changed"):
        model.save_pretrained(bundle.path)
    bundle.verify()


def test_a_file_that_is_not_the_one_in_the_manifest_is_not_loaded(bundle: Bundle) -> None:
    altered(TwelveModel.load(bundle.path)).save(bundle.path, dtype=torch.float16)
    with pytest.raises(ChecksumMismatch, match=r"model\.safetensors has sha256"):
        TwelveModel.from_pretrained(bundle.path)


def test_what_was_fetched_before_is_had_by_name_without_a_network(bundle: Bundle, cache: Path) -> None:
    put(bundle.path, cache)
    model = TwelveModel.from_pretrained(NAME, cache_dir=cache, local_files_only=True)
    assert_same_weights(model, TwelveModel.load(bundle.path))
    with twelve.load(NAME, cache_dir=cache, local_files_only=True) as client:
        assert client.ask("gqa", **QUESTION).model.name == "tiny"


def test_a_revision_is_had_by_its_name(bundle: Bundle, cache: Path) -> None:
    put(bundle.path, cache, revision="v3")
    assert fetch(NAME, cache_dir=cache, local_files_only=True, revision="v3").name == COMMIT
    with pytest.raises(BundleMissing, match="is no folder here, and the hub does not give it"):
        fetch(NAME, cache_dir=cache, local_files_only=True)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/no/such/folder", "/no/such/folder: is no folder; name one that holds a bundle"),
        (Path("no/such"), "no/such: is no folder; name one that holds a bundle"),
        ("https://example.org/x", "is no folder; name one"),
        ("someone/else", "someone/else: is no folder here, and the hub does not give it"),
    ],
)
def test_what_is_neither_a_folder_nor_on_a_hub_is_refused_by_a_sentence(
    name: str | Path, said: str, cache: Path
) -> None:
    with pytest.raises(BundleMissing, match=said):
        TwelveModel.from_pretrained(name, cache_dir=cache, local_files_only=True)


def test_an_unknown_engine_is_refused_by_a_sentence(bundle: Bundle) -> None:
    with pytest.raises(ConfigInvalid, match="there is no 'tensorrt'; choose one of"):
        twelve.load(bundle.path, engine="tensorrt")


@pytest.mark.parametrize("verb", [twelve.load, TwelveModel.from_pretrained, fetch])
def test_an_argument_that_nobody_knows_is_refused_and_not_swallowed(
    bundle: Bundle, verb: Callable[..., object]
) -> None:
    with pytest.raises(TypeError, match="there is no argument 'engin'; a hub is asked with revision, token"):
        verb(bundle.path, engin="onnxruntime")


def test_an_empty_name_is_not_the_working_directory(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(bundle.path)
    with pytest.raises(BundleMissing, match="the name of the bundle is empty"):
        twelve.load("")
    assert fetch(".") == Path()


@pytest.mark.parametrize("threads", [0, -1, "2"])
def test_threads_that_are_no_number_of_threads_are_refused_by_a_sentence(bundle: Bundle, threads: Any) -> None:
    with pytest.raises(ConfigInvalid, match=f"threads: is {threads!r}; give a whole number from 1"):
        twelve.load(bundle.path, threads=threads)


def test_the_folder_of_graphs_may_be_text(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleMissing, match="none holds no exported graphs"):
        twelve.load(bundle.path, engine="onnxruntime", graphs=str(tmp_path / "none"))


@pytest.mark.parametrize("label", ["name", "version"])
def test_a_name_or_version_that_is_no_text_is_refused_before_anything_is_written(
    bundle: Bundle, tmp_path: Path, label: str
) -> None:
    odd: dict[str, Any] = {label: 3}
    with pytest.raises(ConfigInvalid, match=f"{label} is 3; it must be text"):
        TwelveModel.from_pretrained(bundle.path).save_pretrained(tmp_path / "out", **odd)
    assert not (tmp_path / "out").exists()


def with_another_head(model: TwelveModel) -> None:
    model.heads["extra"] = torch.nn.Linear(2, 2)


def with_a_module_beside_the_heads(model: TwelveModel) -> None:
    model.probe = torch.nn.Linear(2, 2)


def with_fewer_heads(model: TwelveModel) -> None:
    del model.heads["pair"]


def with_more_answers(model: TwelveModel) -> None:
    model.heads["vqa"].classify[3] = torch.nn.Linear(32, 20)


def with_nan(model: TwelveModel) -> None:
    model.heads["alignment"].rate.weight.data[0, 0] = torch.nan


def with_infinity(model: TwelveModel) -> None:
    model.trunk.text_pooler.bias.data[0] = torch.inf


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            with_another_head,
            r"missing tensors \[\], unexpected tensors \['heads\.extra\.bias', 'heads\.extra\.weight'\]",
        ),
        (with_a_module_beside_the_heads, r"unexpected tensors \['probe\.bias', 'probe\.weight'\]"),
        (with_fewer_heads, r"missing tensors \['heads\.pair\..*outside the model"),
        (with_more_answers, r"heads\.vqa\.classify\.3\.weight has shape \(20, 32\), config\.json asks \(7, 32\)"),
        (with_nan, r"NaN or infinity stands in 1 of \d+ tensors, \['heads\.alignment\.rate\.weight'\] first"),
        (with_infinity, r"NaN or infinity stands in 1 of \d+ tensors, \['trunk\.text_pooler\.bias'\] first"),
    ],
)
@pytest.mark.parametrize("from_bundle", [True, False])
def test_a_model_that_could_not_be_loaded_or_served_again_is_refused_before_anything_is_written(
    change: Callable[[TwelveModel], None], said: str, from_bundle: bool, bundle: Bundle, tmp_path: Path
) -> None:
    model = TwelveModel.from_pretrained(bundle.path) if from_bundle else TwelveModel(ModelConfig.tiny())
    change(model)
    with pytest.raises(ConfigInvalid, match=said):
        model.save_pretrained(tmp_path / "out")
    assert not (tmp_path / "out").exists()


class FakeApi:
    """What `push_to_hub` asks of a hub; an upload lands in the cache, as if it had been downloaded again."""

    cache: Path
    uploads: list[dict[str, Any]]

    def __init__(self, token: str | None = None) -> None:
        self.token = token

    def create_repo(self, repo_id: str, *, private: bool | None, exist_ok: bool) -> SimpleNamespace:
        assert exist_ok
        return SimpleNamespace(repo_id=repo_id if "/" in repo_id else f"someone/{repo_id}")

    def upload_folder(self, *, repo_id: str, folder_path: Path, **options: Any) -> str:
        put(folder_path, self.cache, repo_id)
        self.uploads.append({"token": self.token, **options})
        return f"https://hub.example/{repo_id}/commit/{COMMIT}"


@pytest.fixture
def uploads(cache: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    FakeApi.cache, FakeApi.uploads = cache, []
    monkeypatch.setattr(huggingface_hub, "HfApi", FakeApi)
    return FakeApi.uploads


def test_a_pushed_model_is_a_whole_bundle_on_the_hub(
    bundle: Bundle, cache: Path, uploads: list[dict[str, Any]]
) -> None:
    model = TwelveModel.from_pretrained(bundle.path)
    address = model.push_to_hub("tiny", token="t", branch="next", commit_message="Say more")
    assert address == f"https://hub.example/{NAME}/commit/{COMMIT}"
    assert uploads == [{"token": "t", "revision": "next", "commit_message": "Say more", "create_pr": None}]
    folder = fetch(NAME, cache_dir=cache, local_files_only=True)
    assert Bundle.open(folder).digest() == bundle.digest()
    assert {file.name for file in folder.iterdir()} >= {CARD, TOKENIZER_SETTINGS, VOCABULARY, MANIFEST}
    assert f'twelve.load("{NAME}")' in (folder / CARD).read_text()


def test_a_model_that_cannot_be_saved_makes_no_repository(
    bundle: Bundle, cache: Path, uploads: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(FakeApi, "create_repo")
    model = TwelveModel.from_pretrained(bundle.path)
    with_nan(model)
    with pytest.raises(ConfigInvalid, match="NaN"):
        model.push_to_hub("tiny")
    assert not uploads


@dataclass
class FakeHub:
    """A hub on this machine: one repository, its files, and what was asked for."""

    folder: Path
    asked: list[str] = field(default_factory=list)

    def content(self, path: str) -> bytes | None:
        """Answer a request; None where there is nothing of that name."""
        answers = {f"/api/models/{NAME}/revision/main": self.about, f"/api/models/{NAME}/tree/{COMMIT}": self.files}
        asked = urlsplit(path).path
        if asked in answers:
            return json.dumps(answers[asked]()).encode()
        name = unquote(asked).removeprefix(f"/{NAME}/resolve/{COMMIT}/")
        if name == asked:
            return None
        self.asked.append(name)
        return (self.folder / name).read_bytes()

    def about(self) -> dict[str, Any]:
        return {"id": NAME, "sha": COMMIT, "siblings": [{"rfilename": one["path"]} for one in self.files()]}

    def files(self) -> list[dict[str, Any]]:
        files = [file for file in self.folder.rglob("*") if file.is_file()]
        return [
            {"type": "file", "path": file.relative_to(self.folder).as_posix(), "size": file.stat().st_size, "oid": "0"}
            for file in files
        ]


def handler_of(hub: FakeHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = hub.content(self.path)
            if content is None:
                return self.send_error(404)
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", f'"{hash(content):x}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815  # the name that http.server looks for

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture
def hub(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    made = FakeHub(bundle.path)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler_of(made))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield made
    server.shutdown()
    server.server_close()


def test_a_model_is_downloaded_by_its_name(bundle: Bundle, hub: FakeHub, cache: Path) -> None:
    model = TwelveModel.from_pretrained(NAME, cache_dir=cache)
    assert_same_weights(model, TwelveModel.load(bundle.path))
    assert set(hub.asked) == {MANIFEST, *bundle.manifest.files}
    assert (fetch(NAME, cache_dir=cache) / WEIGHTS_FILE).is_symlink()  # into the hub's own store, and no way out


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Path]]:
        return Path.touch, (self.mark,)


def test_pickles_and_code_on_a_hub_are_neither_fetched_nor_read(bundle: Bundle, hub: FakeHub, cache: Path) -> None:
    mark = cache / "mark"
    (bundle.path / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(mark)))
    (bundle.path / "modeling.py").write_text("raise SystemExit")
    (bundle.path / WEIGHTS_FILE).unlink()
    with pytest.raises(BundleMissing, match=rf"{WEIGHTS_FILE} is named in {MANIFEST} and is not there"):
        TwelveModel.from_pretrained(NAME, cache_dir=cache)
    assert not {"pytorch_model.bin", "modeling.py"} & set(hub.asked)
    assert not mark.exists()
