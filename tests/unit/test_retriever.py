import base64
import json
from pathlib import Path

import pytest
import torch

from tests.bundles import make_tiny_bundle, picture
from twelve.assembly import Settings
from twelve.errors import ConfigInvalid, InvalidField
from twelve.features import RegionSet
from twelve.features.encoding import HALF, SINGLE
from twelve.image import ImageLimits, decode
from twelve.index.build import add
from twelve.index.directory import Index
from twelve.index.search import Hit, search
from twelve.retriever import BundleRetriever
from twelve.service import Service
from twelve.wire import Call

EAGER = Settings(engine="eager")
CAPTION = "A red car and a dog on a street."
PICTURES = 6
SAME = 1e-5  # of a share in [0, 1]: fp32 sums in another order
ROUNDED = 2e-3  # of a share in [0, 1]: features stored in half precision, 1 part in 2048 each; measured 1e-4


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle")).path


@pytest.fixture(scope="module")
def retriever(bundle: Path) -> BundleRetriever:
    return BundleRetriever.open(bundle, EAGER)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for seed in range(PICTURES):
        (folder / f"{seed}.png").write_bytes(picture(seed))
    return folder


def served(bundle: Path, task: str) -> torch.Tensor:
    """The scores of the served task, by picture."""
    images = [base64.b64encode(picture(seed)).decode() for seed in range(PICTURES)]
    fields = {"task": task, "caption": CAPTION, "images": images}
    reply = Service.open(bundle, EAGER).answer_calls([Call(body=fields, content_type="application/json")])[0]
    shares = {one["answer"]: one["score"] for one in json.loads(reply.body)["candidates"]}
    return torch.tensor([shares[place] for place in range(PICTURES)])


def found(retriever: BundleRetriever, folder: Path, index: Path, encoding: str) -> list[Hit]:
    add(index, folder, retriever.extractor, retriever.limits, encoding=encoding)
    return search(Index.open(index), CAPTION, PICTURES, retriever.score)


def shares(hits: list[Hit]) -> torch.Tensor:
    by_name = sorted(hits, key=lambda hit: hit.path)
    return torch.tensor([hit.score for hit in by_name]).softmax(dim=0)


def regions(retriever: BundleRetriever, seed: int) -> RegionSet:
    return retriever.extractor.extract(decode(picture(seed), limits=ImageLimits()))


@pytest.mark.parametrize("task", ["coco-retrieval", "flickr30k-retrieval"])
def test_a_search_ranks_as_the_served_task(bundle: Path, folder: Path, tmp_path: Path, task: str) -> None:
    hits = found(BundleRetriever.open(bundle, EAGER, task=task), folder, tmp_path / "index", SINGLE)
    expected = served(bundle, task)
    torch.testing.assert_close(shares(hits), expected, rtol=0, atol=SAME)
    assert hits[0].path == str(folder / f"{int(expected.argmax())}.png")


def test_features_kept_in_half_precision_move_the_scores_slightly(
    bundle: Path, retriever: BundleRetriever, folder: Path, tmp_path: Path
) -> None:
    hits = found(retriever, folder, tmp_path / "index", HALF)
    torch.testing.assert_close(shares(hits), served(bundle, "coco-retrieval"), rtol=0, atol=ROUNDED)


def test_a_picture_scores_the_same_in_any_chunk(retriever: BundleRetriever) -> None:
    sets = [regions(retriever, seed) for seed in range(4)]
    together = retriever.score(CAPTION, sets)
    alone = [retriever.score(CAPTION, [one])[0] for one in sets]
    torch.testing.assert_close(torch.tensor(together), torch.tensor(alone), rtol=0, atol=SAME)


def test_a_caption_is_read_once_for_all_chunks(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    retriever = BundleRetriever.open(bundle, EAGER)
    read: list[int] = []
    engine = retriever._parts.engine
    monkeypatch.setattr(engine, "text", lambda texts, own=engine.text: (read.append(len(texts)), own(texts))[1])
    for seed in range(3):
        retriever.score(CAPTION, [regions(retriever, seed)])
    assert read == [1]
    other, again = retriever.score("a dog", [regions(retriever, 0)]), retriever.score(CAPTION, [regions(retriever, 0)])
    assert read == [1, 1, 1]
    assert other != again


def test_no_pictures_have_no_scores(retriever: BundleRetriever) -> None:
    assert retriever.score(CAPTION, []) == []


@pytest.mark.parametrize(
    ("caption", "sentence"),
    [(" ", "caption: is empty"), ("car " * 200, "caption: has 200 word pieces, this model reads at most 62")],
)
def test_a_caption_that_the_server_would_refuse_is_refused(
    retriever: BundleRetriever, caption: str, sentence: str
) -> None:
    with pytest.raises(InvalidField, match=sentence):
        retriever.score(caption, [regions(retriever, 0)])


def test_a_bundle_without_detector_opens_no_retriever(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path, detector=False).path
    with pytest.raises(ConfigInvalid, match="model 'tiny' has no detector, and an index needs one"):
        BundleRetriever.open(bundle, EAGER)


def test_a_bundle_that_does_not_know_the_task_opens_no_retriever(tmp_path: Path) -> None:
    bundle = make_tiny_bundle(tmp_path).path
    manifest = json.loads((bundle / "manifest.json").read_text())
    del manifest["tasks"]["coco-retrieval"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ConfigInvalid, match="model 'tiny' was not trained on 'coco-retrieval'"):
        BundleRetriever.open(bundle, EAGER)
