import hashlib
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from twelve.errors import DataError, EngineFailed
from twelve.features import RegionSet
from twelve.features.disk import Busy
from twelve.image import ImageLimits, Picture
from twelve.index.build import Outcome, add, prune
from twelve.index.directory import Index, writing
from twelve.index.search import Hit, search

LIMITS = ImageLimits(max_pixels=10_000)


class PixelExtractor:
    """Takes the picture's first pixels for features; counts what it was asked."""

    def __init__(self, digest: str = "sha256:pixels", feature_width: int = 4) -> None:
        self.digest = digest
        self.feature_width = feature_width
        self.asked = 0

    def extract(self, picture: Picture, given_px: torch.Tensor | None = None) -> RegionSet:
        self.asked += 1
        count = 1 + int(picture.rgb[0, 0, 0]) % 3
        features = torch.from_numpy(picture.rgb.reshape(-1)[: count * self.feature_width].copy()).float()
        return RegionSet(
            features=features.reshape(count, self.feature_width),
            boxes_px=torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(count, 4),
            scores=torch.ones(count),
            labels=torch.zeros(count, dtype=torch.int64),
            width=picture.width,
            height=picture.height,
        )


class FailingExtractor(PixelExtractor):
    def extract(self, picture: Picture, given_px: torch.Tensor | None = None) -> RegionSet:
        raise EngineFailed("the engine is down")


def paint(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rgb = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(path, format="png")
    return path


@pytest.fixture
def folder(tmp_path):
    for n in range(6):
        paint(tmp_path / "pictures" / f"album {n % 2}" / f"{n}.png", n)
    return tmp_path / "pictures"


@pytest.fixture
def index_dir(tmp_path):
    return tmp_path / "index"


def counts(outcome: Outcome) -> tuple[int, int, int]:
    return (outcome.done, outcome.duplicate, outcome.rejected)


def digest(index_dir: Path) -> str:
    return Index.open(index_dir).digest()


def brightness(caption: str, region_sets) -> list[float]:
    return [float(regions.features.mean()) for regions in region_sets]


# Adding


def test_every_file_ends_as_done_duplicate_or_rejected(folder, index_dir):
    shutil.copy(folder / "album 0" / "2.png", folder / "album 1" / "copy of 2.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (folder / "notes.txt").write_text("not looked at")

    outcome = add(index_dir, folder, PixelExtractor(), LIMITS)

    assert counts(outcome) == (6, 1, 1)
    tally = Index.open(index_dir).tally()
    assert tally.duplicate == ((f"{folder}/album 1/copy of 2.png", f"{folder}/album 0/2.png"),)
    assert [(reject.path, reject.code) for reject in tally.rejected] == [(f"{folder}/broken.jpg", "unreadable-image")]


def test_each_kind_of_bad_file_is_rejected_with_its_reason(folder, index_dir):
    (folder / "empty.png").touch()
    (folder / "page.jpg").write_text("<html>")
    (folder / "cut.png").write_bytes(paint(folder / "whole.png", 9).read_bytes()[:60])
    Image.new("RGB", (200, 200)).save(folder / "huge.png")
    (folder / "nowhere.png").symlink_to(folder / "removed.png")
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    Path(os.fsdecode(bytes(folder) + b"/\xff.png")).write_bytes((folder / "whole.png").read_bytes())

    outcome = add(index_dir, folder, PixelExtractor(), LIMITS)

    reasons = {Path(reject.path).name: f"{reject.code}: {reject.reason}" for reject in outcome.rejects}
    assert sorted(reasons) == ["\\xff.png", "cut.png", "empty.png", "huge.png", "nowhere.png", "page.jpg", "pipe.png"]
    assert reasons["empty.png"].startswith("unreadable-image: the picture is empty")
    assert reasons["page.jpg"].startswith("unreadable-image: the bytes are no picture")
    assert reasons["cut.png"].startswith("unreadable-image: the picture cannot be decoded")
    assert reasons["huge.png"].startswith("too-large: the picture is too large")
    assert reasons["nowhere.png"].startswith("unreadable-file: the file cannot be read: No such file")
    assert reasons["pipe.png"].startswith("unreadable-image: this is no regular file")
    assert reasons["\\xff.png"].startswith("unreadable-image: the file's name is no UTF-8")
    assert outcome.done == 7


def test_a_loop_of_linked_folders_is_not_followed(folder, index_dir):
    (folder / "album 0" / "up").symlink_to(folder, target_is_directory=True)

    assert counts(add(index_dir, folder, PixelExtractor(), LIMITS)) == (6, 0, 0)


def test_the_same_folder_again_reads_and_writes_nothing(folder, index_dir, monkeypatch):
    (folder / "broken.jpg").touch()
    before = add(index_dir, folder, PixelExtractor(), LIMITS)
    files = {path: path.stat().st_mtime_ns for path in index_dir.rglob("*") if path.is_file()}
    monkeypatch.setattr("twelve.index.build.read", lambda *_, **__: pytest.fail("a known file was read"))

    after = add(index_dir, folder, PixelExtractor(), LIMITS)

    assert (counts(after), after.unchanged) == (counts(before), 7)
    assert {path: path.stat().st_mtime_ns for path in index_dir.rglob("*") if path.is_file()} == files


def test_only_new_and_changed_files_meet_the_detector(folder, index_dir):
    extractor = PixelExtractor()
    add(index_dir, folder, extractor, LIMITS)
    paint(folder / "new.png", 20)
    paint(folder / "album 0" / "0.png", 21)

    outcome = add(index_dir, folder, extractor, LIMITS)

    assert (counts(outcome), outcome.unchanged, extractor.asked) == ((7, 0, 0), 5, 8)


def test_a_file_that_moved_is_decoded_but_not_detected_again(folder, index_dir):
    extractor = PixelExtractor()
    add(index_dir, folder, extractor, LIMITS)
    (folder / "album 0" / "0.png").rename(folder / "moved.png")

    add(index_dir, folder, extractor, LIMITS)

    assert extractor.asked == 6


def test_an_index_that_grew_equals_one_made_at_once(folder, index_dir, tmp_path):
    add(index_dir, folder, PixelExtractor(), LIMITS)
    shutil.copy(folder / "album 1" / "3.png", folder / "album 0" / "a copy that sorts before.png")
    paint(folder / "album 1" / "1.png", 30)
    (folder / "broken.gif").touch()
    add(index_dir, folder, PixelExtractor(), LIMITS)

    add(tmp_path / "other", folder, PixelExtractor(), LIMITS, cut_files=2)

    assert digest(index_dir) == digest(tmp_path / "other")


def test_a_duplicate_takes_the_place_of_a_picture_that_changed(folder, index_dir):
    shutil.copy(folder / "album 0" / "0.png", folder / "copy.png")
    add(index_dir, folder, PixelExtractor(), LIMITS)
    paint(folder / "album 0" / "0.png", 40)

    outcome = add(index_dir, folder, PixelExtractor(), LIMITS)

    assert counts(outcome) == (7, 0, 0)
    assert len(search(Index.open(index_dir), "all", 100, brightness)) == 7


def test_two_folders_share_one_index(folder, index_dir, tmp_path):
    shutil.copytree(folder, tmp_path / "second")
    paint(tmp_path / "second" / "own.png", 50)
    add(index_dir, folder, PixelExtractor(), LIMITS)

    outcome = add(index_dir, tmp_path / "second", PixelExtractor(), LIMITS)

    assert counts(outcome) == (1, 6, 0)
    assert len(Index.open(index_dir).tally().done) == 7


def test_removed_files_stay_until_prune(folder, index_dir):
    add(index_dir, folder, PixelExtractor(), LIMITS)
    (folder / "album 0" / "0.png").unlink()

    add(index_dir, folder, PixelExtractor(), LIMITS)
    before = len(Index.open(index_dir).tally().done)

    assert (before, prune(index_dir), len(Index.open(index_dir).tally().done)) == (6, 1, 5)


def test_a_failing_engine_rejects_for_now_and_the_next_run_tries_again(folder, index_dir, tmp_path):
    assert counts(add(index_dir, folder, FailingExtractor(), LIMITS)) == (0, 0, 6)

    assert counts(add(index_dir, folder, PixelExtractor(), LIMITS)) == (6, 0, 0)
    add(tmp_path / "other", folder, PixelExtractor(), LIMITS)
    assert digest(index_dir) == digest(tmp_path / "other")


def test_features_that_are_no_numbers_reject_only_their_picture(folder, index_dir):
    class SometimesNan(PixelExtractor):
        def extract(self, picture, given_px=None):
            found = super().extract(picture)
            if self.asked == 3:
                found.features[0, 0] = float("nan")
            return found

    outcome = add(index_dir, folder, SometimesNan(), LIMITS)

    assert counts(outcome) == (5, 0, 1)
    assert "no finite number" in outcome.rejects[0].reason


def test_progress_is_told_about_each_file_it_looks_at(folder, index_dir):
    (folder / "broken.jpg").touch()
    told = []

    add(index_dir, folder, PixelExtractor(), LIMITS, told.append)

    assert [(each.finished, each.total) for each in told] == [(n + 1, 7) for n in range(7)]
    assert [each.path for each in told if each.reject] == [f"{folder}/broken.jpg"]


@pytest.mark.parametrize("looked_at", [0, 1, 3, 4, 6])
def test_a_stopped_run_keeps_what_it_finished_and_the_next_one_goes_on(folder, index_dir, tmp_path, looked_at):
    first, second, whole = PixelExtractor(), PixelExtractor(), tmp_path / "whole"

    stopped = add(index_dir, folder, first, LIMITS, should_stop=lambda: first.asked >= looked_at, cut_files=2)
    resumed = add(index_dir, folder, second, LIMITS, cut_files=2)

    add(whole, folder, PixelExtractor(), LIMITS, cut_files=2)
    assert (stopped.done, stopped.left) == (looked_at, 6 - looked_at)
    assert (resumed.done, resumed.left, second.asked) == (6, 0, 6 - looked_at)
    assert digest(index_dir) == digest(whole)


def test_counts_of_a_stopped_run_leave_out_changed_files_not_looked_at(folder, index_dir):
    add(index_dir, folder, PixelExtractor(), LIMITS)
    paint(folder / "album 0" / "0.png", 60)

    outcome = add(index_dir, folder, PixelExtractor(), LIMITS, should_stop=lambda: True)

    assert (outcome.done, outcome.left) == (5, 1)


# Refusing


def test_an_index_of_another_detector_is_refused_with_both_digests(folder, index_dir):
    add(index_dir, folder, PixelExtractor(), LIMITS)

    with pytest.raises(DataError, match="built with detector sha256:pixels, this bundle has sha256:other"):
        add(index_dir, folder, PixelExtractor("sha256:other"), LIMITS)


def test_an_index_of_another_feature_width_is_refused_with_both_widths(folder, index_dir):
    add(index_dir, folder, PixelExtractor(), LIMITS)

    with pytest.raises(DataError, match="keeps features 4 wide, this bundle's detector gives 8"):
        add(index_dir, folder, PixelExtractor(feature_width=8), LIMITS)


def test_a_folder_that_holds_something_else_is_not_made_an_index(folder, tmp_path):
    with pytest.raises(DataError, match=r"this is no index, and holds 'album 0'"):
        add(folder, folder, PixelExtractor(), LIMITS)

    assert sorted(path.name for path in folder.iterdir()) == ["album 0", "album 1"]


def test_a_folder_that_is_not_there_is_refused(index_dir, tmp_path):
    with pytest.raises(DataError, match="got no folder"):
        add(index_dir, tmp_path / "missing", PixelExtractor(), LIMITS)


def test_opening_what_is_no_index_says_how_to_make_one(tmp_path):
    with pytest.raises(DataError, match="there is no index here; make one with `twelve index add`"):
        Index.open(tmp_path)


def test_an_index_of_a_later_format_is_refused(folder, index_dir):
    add(index_dir, folder, PixelExtractor(), LIMITS)
    (index_dir / "index.json").write_text('{"format": "twelve-index", "version": 2}')

    with pytest.raises(DataError, match="'version': 2}, this library reads"):
        Index.open(index_dir)


def test_a_second_writer_is_refused_while_the_first_is_at_work(folder, index_dir):
    add(index_dir, folder, PixelExtractor(), LIMITS)

    with writing(index_dir), pytest.raises(Busy, match="another process is writing here"):
        add(index_dir, folder, PixelExtractor(), LIMITS)


def test_missing_features_are_named_and_never_passed_over(folder, index_dir):
    add(index_dir, folder, PixelExtractor(), LIMITS)
    for shard in (index_dir / "features" / "shards").iterdir():
        shard.unlink()
    (index_dir / "features" / "count").unlink()  # with it the store itself says so

    with pytest.raises(DataError, match=r"the features of .*album 0/0\.png are missing"):
        Index.open(index_dir).verify()


# Searching


def test_search_gives_the_best_pictures_best_first(folder, index_dir):
    add(index_dir, folder, PixelExtractor(), LIMITS, cut_files=2)
    index = Index.open(index_dir)
    expected = sorted((-float(index.features[ref].features.mean()), path) for ref, path in index.pictures().items())

    hits = search(index, "bright", 4, brightness)

    assert hits == [Hit(path, -score) for score, path in expected[:4]]


def test_equal_scores_come_in_the_order_of_paths(folder, index_dir):
    add(index_dir, folder, PixelExtractor(), LIMITS)

    hits = search(Index.open(index_dir), "any", 3, lambda caption, sets: [0.5 for _ in sets])

    assert [hit.path for hit in hits] == [f"{folder}/album 0/{n}.png" for n in (0, 2, 4)]


def test_search_scores_each_picture_once_with_few_of_them_in_memory(folder, index_dir, monkeypatch):
    shutil.copy(folder / "album 0" / "0.png", folder / "copy.png")
    add(index_dir, folder, PixelExtractor(), LIMITS)
    monkeypatch.setattr("twelve.index.search.SCORED_AT_ONCE", 4)
    batches, told = [], []

    def score(caption, region_sets):
        batches.append((caption, len(region_sets)))
        return brightness(caption, region_sets)

    hits = search(Index.open(index_dir), "a cat", 100, score, lambda *progress: told.append(progress))

    assert batches == [("a cat", 4), ("a cat", 2)]
    assert told == [(4, 6), (6, 6)]
    assert len(hits) == 6


def test_a_scorer_that_gives_no_number_fails_and_names_the_picture(folder, index_dir):
    add(index_dir, folder, PixelExtractor(), LIMITS)

    with pytest.raises(EngineFailed, match=r"\.png: the scorer gave nan"):
        search(Index.open(index_dir), "any", 3, lambda caption, sets: [float("nan")] * len(sets))


def test_a_scorer_that_leaves_pictures_out_fails(folder, index_dir):
    add(index_dir, folder, PixelExtractor(), LIMITS)

    with pytest.raises(EngineFailed, match="the scorer gave 1 scores for 6 pictures"):
        search(Index.open(index_dir), "any", 3, lambda caption, sets: [0.0])


def test_an_index_opened_before_an_addition_finds_what_was_added(folder, index_dir):
    add(index_dir, folder, PixelExtractor(), LIMITS)
    reader = Index.open(index_dir)
    paint(folder / "new.png", 70)
    add(index_dir, folder, PixelExtractor(), LIMITS)

    assert len(search(reader, "any", 100, brightness)) == 7


def test_an_empty_folder_makes_an_index_that_finds_nothing(index_dir, tmp_path):
    (tmp_path / "empty").mkdir()

    outcome = add(index_dir, tmp_path / "empty", PixelExtractor(), LIMITS)

    assert counts(outcome) == (0, 0, 0)
    assert search(Index.open(index_dir), "any", 10, brightness) == []


# The digest


def test_the_digest_tells_another_picture_a_renamed_file_and_another_detector(folder, tmp_path):
    def built(name: str, extractor: PixelExtractor) -> str:
        add(tmp_path / name, folder, extractor, LIMITS)
        return digest(tmp_path / name)

    digests = [built("first", PixelExtractor()), built("detector", PixelExtractor("sha256:other"))]
    (folder / "album 0" / "0.png").rename(folder / "album 0" / "00.png")
    digests.append(built("renamed", PixelExtractor()))
    paint(folder / "album 0" / "2.png", 80)
    digests.append(built("painted", PixelExtractor()))

    assert len(set(digests)) == 4
    assert all(len(each) == len("sha256:") + 2 * hashlib.sha256().digest_size for each in digests)
