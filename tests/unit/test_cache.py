"""The cache of pictures seen before: whatever happens to its folder, requests are answered."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.bundles import FEATURE_WIDTH, make_tiny_bundle, picture
from twelve.assembly import Settings
from twelve.errors import ConfigInvalid, TooLarge, UnknownRef
from twelve.features import FeatureStore
from twelve.features.shard import Shard
from twelve.image import ImageLimits, Picture, decode
from twelve.pictures import Attached, PictureDesk
from twelve.regions.cache import RESULTS, RegionCache, boxes_key
from twelve.regions.cache.recent import Recent
from twelve.regions.cache.shelf import FREED_SHARE, PART_FILE, REST_S, SharedShelf
from twelve.regions.extractor import RegionSet
from twelve.schema import REF, EncodedImage, ImageRef
from twelve.service import Service

DETECTOR = "sha256:" + "0123456789abcdef" * 4
OTHER_DETECTOR = "sha256:" + "fedcba9876543210" * 4
ENCODED = b"p" * 100
LONG_AGO_S = 1000.0
BOXES = ((1.0, 2.0, 30.0, 40.0), (5.0, 6.0, 70.0, 80.0))
OTHER_BOXES = (BOXES[1], BOXES[0])
MEMORY, FOLDER, STORE, MISSED = RESULTS


def ref(number: int) -> str:
    return f"sha256:{number:064x}"


def regions(count: int = 2, *, given: int = 0) -> RegionSet:
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0]]).repeat(count, 1)
    labels = torch.arange(count) - 1
    features = torch.rand(count, FEATURE_WIDTH)
    return RegionSet(features, boxes, torch.rand(count), labels, width=320, height=240, given=given)


def are_equal(left: RegionSet, right: RegionSet) -> bool:
    tensors = ("features", "boxes_px", "scores", "labels")
    return all(torch.equal(getattr(left, name), getattr(right, name)) for name in tensors) and (
        (left.width, left.height, left.given) == (right.width, right.height, right.given)
    )


def worker(folder: Path | None, *, detector: str = DETECTOR, **more: object) -> RegionCache:
    return RegionCache(folder, detector=detector, feature_width=FEATURE_WIDTH, **more)  # type: ignore[arg-type]


def known(cache: RegionCache, key: str) -> RegionSet:
    found = cache.regions(key)
    assert found is not None
    return found.regions


def files(folder: Path, pattern: str = "*") -> list[Path]:
    return sorted(path for path in folder.glob(f"{pattern}/??/*") if path.is_file())


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("??/*"))


class OneRegion:
    """Finds other numbers at each run, and counts the runs."""

    digest = DETECTOR
    feature_width = FEATURE_WIDTH

    def __init__(self) -> None:
        self.runs = 0

    def extract(self, picture: Picture, given_px: torch.Tensor | None = None) -> RegionSet:
        self.runs += 1
        given = 0 if given_px is None else len(given_px)
        return regions(1 + given, given=given)


class Watch:
    def __init__(self) -> None:
        self.results: list[str] = []
        self.runs = 0

    def looked_up(self, result: str) -> None:
        self.results.append(result)

    def detector_ran(self) -> None:
        self.runs += 1


class Desk:
    """A worker's desk, its detector, and what it was seen to do."""

    def __init__(self, cache: RegionCache, limits: ImageLimits | None = None) -> None:
        self.extractor, self.watch, self.cache = OneRegion(), Watch(), cache
        self.desk = PictureDesk(
            self.extractor, cache, limits=limits or ImageLimits(), feature_width=FEATURE_WIDTH, watcher=self.watch
        )

    def send(self, encoded: bytes, boxes: tuple = ()) -> Attached:
        return self.desk.open(EncodedImage(data=encoded), at="image").look(self.desk, boxes, at="image")

    def name(self, given: str | None, boxes: tuple = ()) -> Attached:
        assert given is not None
        return self.desk.open(ImageRef(ref=given), at="image").look(self.desk, boxes, at="image")


@pytest.fixture
def full_disk(tmp_path: Path) -> Path:
    """Give a folder whose files go to a device that is always full."""
    for shelf in ("regions", "pictures"):
        (tmp_path / shelf).mkdir()
        (tmp_path / shelf / PART_FILE).symlink_to("/dev/full")
    return tmp_path


def test_what_one_worker_keeps_another_finds_bit_for_bit(tmp_path: Path) -> None:
    kept = regions(5)
    one = worker(tmp_path)
    one.keep(ref(1), kept)
    one.keep_encoded(ref(1), ENCODED)
    other = worker(tmp_path)
    assert are_equal(known(other, ref(1)), kept)
    assert other.encoded(ref(1)) == ENCODED


def test_an_entry_is_a_shard_of_the_feature_stores_own_format(tmp_path: Path) -> None:
    kept = regions()
    worker(tmp_path).keep(ref(1), kept)
    (path,) = files(tmp_path)
    store = FeatureStore.create(
        tmp_path / "store", feature_width=FEATURE_WIDTH, detector_digest=DETECTOR, encoding="float32"
    )
    opened = Shard.open(path, store.settings)
    assert opened.keys() == (ref(1),)
    assert are_equal(opened.regions(0), kept)


def test_a_picture_sent_again_is_looked_at_once_and_decoded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Desk(worker(tmp_path))
    first = one.send(picture())
    monkeypatch.setattr("twelve.pictures.desk.decode", None)  # would fail
    again = one.send(picture())
    assert are_equal(again.regions, first.regions)
    assert (one.watch.runs, one.extractor.runs, one.watch.results) == (1, 1, [MISSED, MEMORY])


def test_the_same_pixels_in_another_file_are_the_same_picture(tmp_path: Path) -> None:
    one = Desk(worker(tmp_path))
    assert one.send(picture(form="PNG")).ref == one.send(picture(form="BMP")).ref
    assert one.watch.runs == 1


def test_a_picture_that_is_recognised_counts_as_many_pixels_as_before() -> None:
    one = Desk(worker(None), ImageLimits(max_pixels=320 * 240 + 1))
    images = [EncodedImage(data=picture(seed)) for seed in range(2)]
    for image in images:
        one.send(image.data)
    with pytest.raises(TooLarge, match="at most 76801 are decoded for one"):
        one.desk.open_all(images, ["images[0]", "images[1]"])


def test_another_worker_needs_no_detector_whether_the_picture_is_sent_or_named(tmp_path: Path) -> None:
    first = Desk(worker(tmp_path)).send(picture())
    sent, named = Desk(worker(tmp_path)), Desk(worker(tmp_path))
    assert are_equal(sent.send(picture()).regions, first.regions)
    assert are_equal(named.name(first.ref).regions, first.regions)
    assert (sent.watch.results, named.watch.results) == ([FOLDER], [FOLDER])
    assert (sent.watch.runs, named.watch.runs) == (0, 0)


def test_boxes_asked_about_again_need_no_detector(tmp_path: Path) -> None:
    one, other = Desk(worker(tmp_path)), Desk(worker(tmp_path))
    first = one.send(picture(), BOXES)
    for desk in (one, other):
        again = desk.name(first.ref, BOXES)
        assert are_equal(again.regions, first.regions)
        assert again.candidates == first.candidates == (1, 2)
    assert (one.watch.runs, other.watch.runs) == (1, 0)


def test_other_boxes_are_looked_at_and_leave_the_detected_regions_as_they_were_found(tmp_path: Path) -> None:
    one = Desk(worker(tmp_path))
    first = one.send(picture())
    later = [one.send(picture(), boxes) for boxes in (BOXES, OTHER_BOXES)]
    assert one.watch.runs == 3
    for attached in later:
        assert torch.equal(attached.regions.features[:1], first.regions.features)
        assert attached.regions.given == 2
    assert not torch.equal(later[0].regions.features[1:], later[1].regions.features[1:])
    assert are_equal(one.send(picture()).regions, first.regions)


def test_a_key_of_boxes_cannot_be_asked_for_as_a_ref() -> None:
    assert boxes_key(ref(1), BOXES) != boxes_key(ref(2), BOXES)
    assert boxes_key(ref(1), BOXES) != boxes_key(ref(1), OTHER_BOXES)
    assert REF.fullmatch(ref(1))
    assert not REF.fullmatch(boxes_key(ref(1), BOXES))
    assert not REF.fullmatch(f"sha256:{boxes_key(ref(1), BOXES)}")


def test_detected_regions_are_kept_without_the_memory_of_given_ones() -> None:
    one = Desk(worker(None))
    kept = known(one.cache, one.send(picture(), BOXES).ref or "")
    assert kept.features.untyped_storage().nbytes() == kept.features.nbytes


def test_a_picture_sent_again_after_a_sweep_is_known_to_the_other_worker(tmp_path: Path) -> None:
    first, other = Desk(worker(tmp_path)), Desk(worker(tmp_path))
    first.send(picture())
    for path in files(tmp_path):
        path.unlink()
    given = first.send(picture()).ref
    assert other.name(given).ref == given


def test_a_ref_that_nobody_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnknownRef, match="image: no picture is kept under sha256:000000000000…; send the picture"):
        Desk(worker(tmp_path)).name(ref(1))


def test_a_kept_file_that_shows_another_picture_is_refused(tmp_path: Path) -> None:
    one = worker(tmp_path)
    one.keep_encoded(ref(1), picture())
    with pytest.raises(UnknownRef, match="send the picture itself"):
        Desk(one).name(ref(1))


def test_a_picture_at_hand_still_counts_as_used_in_the_folder(tmp_path: Path) -> None:
    one = Desk(worker(tmp_path))
    given = one.send(picture()).ref
    for path in files(tmp_path):
        os.utime(path, (time.time() - LONG_AGO_S,) * 2)
    one.name(given)
    assert len(files(tmp_path)) == 2
    assert all(path.stat().st_mtime > time.time() - LONG_AGO_S / 2 for path in files(tmp_path))


def test_a_full_disk_costs_a_warning_and_neither_the_answer_nor_a_leftover(
    full_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = Desk(worker(full_disk))
    given = one.send(picture()).ref
    assert "No space left on device" in caplog.text
    one.name(given)
    one.name(given, BOXES)
    assert (one.watch.runs, files(full_disk)) == (2, [])


def test_after_a_failed_write_the_disk_is_left_alone_for_a_while(
    full_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now_s = 0.0
    shelf = SharedShelf(full_disk / "regions", suffix=".x", most_bytes=10_000, clock_s=lambda: now_s)
    assert not shelf.put("aa", ENCODED)  # takes the full device's link away
    assert not shelf.put("aa", ENCODED)
    assert caplog.text.count("could not be kept") == 1
    now_s = REST_S
    assert shelf.put("aa", ENCODED)


def test_a_folder_that_lets_nobody_lock_is_read(tmp_path: Path) -> None:
    """As one on a disk that may only be read; this also holds for root, who may write anywhere."""
    Desk(worker(tmp_path)).send(picture())
    shutil.rmtree(tmp_path / "locks")
    (tmp_path / "locks").touch()
    for lock in tmp_path.glob("*/lock"):
        lock.unlink()
        lock.mkdir()
    one = Desk(worker(tmp_path))
    one.send(picture())
    one.send(picture(1))
    one.send(picture(1))
    assert one.watch.results == [FOLDER, MISSED, MEMORY]


def test_a_folder_that_cannot_be_made_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    one = Desk(worker(tmp_path / "file"))
    given = one.send(picture()).ref
    assert "could not be kept" in caplog.text
    one.name(given, BOXES)
    assert one.watch.runs == 2


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [cut, empty, flip])
def test_harmed_files_are_found_out_and_made_again(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    first = Desk(worker(tmp_path)).send(picture())
    for path in files(tmp_path):
        harm(path)
    other = Desk(worker(tmp_path))
    with pytest.raises(UnknownRef):
        other.name(first.ref)
    assert files(tmp_path) == []
    again = other.send(picture())
    assert (other.watch.runs, len(files(tmp_path))) == (1, 2)
    assert are_equal(known(worker(tmp_path), first.ref or ""), again.regions)


def test_regions_of_another_detector_are_none_of_ours(tmp_path: Path) -> None:
    kept, theirs = regions(), regions()
    worker(tmp_path).keep(ref(1), kept)
    worker(tmp_path, detector=OTHER_DETECTOR).keep(ref(1), theirs)
    assert are_equal(known(worker(tmp_path), ref(1)), kept)
    assert are_equal(known(worker(tmp_path, detector=OTHER_DETECTOR), ref(1)), theirs)


def test_a_file_that_states_another_detector_is_made_again_whatever_its_name_says(tmp_path: Path) -> None:
    worker(tmp_path / "theirs", detector=OTHER_DETECTOR).keep(ref(1), regions())
    worker(tmp_path).keep(ref(2), regions())
    (theirs,), (ours,) = files(tmp_path / "theirs"), files(tmp_path)
    digits = ours.name.split(".")[1].split("-")[0]
    theirs.rename(ours.with_name(f"{1:064x}.{digits}-{theirs.stem.split('-')[1]}.safetensors"))
    one = worker(tmp_path)
    assert one.regions(ref(1)) is None
    kept = regions()
    one.keep(ref(1), kept)
    assert are_equal(known(worker(tmp_path), ref(1)), kept)
    assert len(files(tmp_path)) == 2


def test_a_detector_may_have_any_name(tmp_path: Path) -> None:
    kept = regions()
    worker(tmp_path, detector="my x152-fpn/3").keep(ref(1), kept)
    assert are_equal(known(worker(tmp_path, detector="my x152-fpn/3"), ref(1)), kept)


def test_a_file_that_another_user_owns_is_read_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker(tmp_path).keep(ref(1), regions())

    def refuse(path: Path) -> None:
        raise PermissionError(path)

    monkeypatch.setattr("twelve.regions.cache.shelf.os.utime", refuse)
    assert worker(tmp_path).regions(ref(1)) is not None


def test_memory_is_bounded_by_bytes_and_the_longest_unused_go_first() -> None:
    recent: Recent[bytes] = Recent(10, len)
    recent.put("a", b"1234")
    recent.put("b", b"1234")
    recent.get("a")
    recent.put("c", b"123456")
    assert [recent.get(name) for name in "abc"] == [b"1234", None, b"123456"]


def test_a_value_put_twice_takes_its_bytes_once() -> None:
    recent: Recent[bytes] = Recent(10, len)
    for _ in range(5):
        recent.put("a", b"1234")
    recent.put("b", b"123456")
    assert recent.get("a") == b"1234"


def test_pictures_without_a_folder_are_bounded_too() -> None:
    one = worker(None, memory_bytes=4 * 3 * len(ENCODED))
    for number in range(9):
        one.keep_encoded(ref(number), ENCODED)
    assert [one.encoded(ref(number)) is not None for number in range(9)] == [False] * 6 + [True] * 3


SMALL = 20 * len(ENCODED)


def shelf(folder: Path, most_bytes: int = SMALL) -> SharedShelf:
    return SharedShelf(folder, suffix=".x", most_bytes=most_bytes)


def test_a_shelf_never_exceeds_its_bound_whoever_writes(tmp_path: Path) -> None:
    workers = [shelf(tmp_path) for _ in range(3)]
    for number in range(100):
        assert workers[number % 3].put(f"{number:03d}", ENCODED)
        assert size(tmp_path) <= SMALL
    assert workers[0].find("099") is not None


def test_a_sweep_takes_what_was_not_used_for_longest_and_leaves_room_for_more(tmp_path: Path) -> None:
    one = shelf(tmp_path)
    for number in range(20):
        one.put(f"{number:03d}", ENCODED)
        (path,) = tmp_path.glob(f"??/{number:03d}-*")
        os.utime(path, (time.time() - LONG_AGO_S + number,) * 2)
    assert one.use("000")
    one.put("020", ENCODED)
    assert size(tmp_path) <= SMALL - SMALL // FREED_SHARE
    kept = [number for number in range(21) if one.use(f"{number:03d}")]
    assert kept == [0, *range(5, 21)]


def test_listings_are_few_however_many_files_there_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, listings = shelf(tmp_path, 400 * len(ENCODED)), []
    files_of = SharedShelf._files
    monkeypatch.setattr(SharedShelf, "_files", lambda self: listings.append(1) or files_of(self))
    for number in range(1000):
        one.put(f"{number:04d}", ENCODED)
    assert len(listings) <= 1 + (1000 - 400) // (400 // FREED_SHARE) + 1


def test_a_file_larger_than_a_sweep_frees_is_not_kept(tmp_path: Path) -> None:
    assert not shelf(tmp_path).put("aa", b"x" * (SMALL // FREED_SHARE + 1))
    assert shelf(tmp_path).put("aa", b"x" * (SMALL // FREED_SHARE))


def test_a_folder_over_its_bound_is_swept_at_once(tmp_path: Path) -> None:
    for number in range(20):
        shelf(tmp_path).put(f"{number:03d}", ENCODED)
    shelf(tmp_path, 5 * len(ENCODED)).sweep()
    assert size(tmp_path) == 5 * len(ENCODED)


@pytest.mark.parametrize("harm", [Path.unlink, empty])
def test_a_lost_tally_is_counted_again(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    one = shelf(tmp_path)
    for number in range(60):
        one.put(f"{number:03d}", ENCODED)
        harm(tmp_path / "tally")
        assert size(tmp_path) <= SMALL


@pytest.fixture
def bulk(tmp_path: Path) -> FeatureStore:
    """Give a store that knows the first picture, rounded as stores do."""
    store = FeatureStore.create(tmp_path / "bulk", feature_width=FEATURE_WIDTH, detector_digest=DETECTOR)
    with store:
        store.append([(decode(picture(), limits=ImageLimits()).digest, regions(3))])
    return store


def test_what_a_feature_store_holds_is_not_looked_at(tmp_path: Path, bulk: FeatureStore) -> None:
    one = Desk(worker(tmp_path / "cache", stores=[bulk]))
    first = one.send(picture())
    one.send(picture())
    assert are_equal(first.regions, bulk[first.ref or ""])
    assert (one.watch.runs, one.watch.results) == (0, [STORE, MEMORY])


def test_a_picture_of_a_store_stays_the_same_when_boxes_are_looked_at(tmp_path: Path, bulk: FeatureStore) -> None:
    one = Desk(worker(tmp_path / "cache", stores=[bulk]))
    with_boxes = one.send(picture(), BOXES)
    assert torch.equal(with_boxes.regions.features[:3], bulk[with_boxes.ref or ""].features)
    again = Desk(worker(tmp_path / "cache", stores=[bulk])).send(picture())
    assert are_equal(again.regions, bulk[again.ref or ""])


def test_a_picture_of_a_damaged_store_is_looked_at(tmp_path: Path, bulk: FeatureStore) -> None:
    opened = FeatureStore.open(bulk.path)
    (path,) = (bulk.path / "shards").iterdir()
    path.write_bytes(path.read_bytes()[:100])
    one = Desk(worker(tmp_path / "cache", stores=[opened]))
    one.send(picture())
    assert one.watch.results == [MISSED]


def test_a_store_of_another_detector_is_refused_at_the_start(tmp_path: Path, bulk: FeatureStore) -> None:
    tiny = make_tiny_bundle(tmp_path / "tiny").path
    with pytest.raises(ConfigInvalid, match="has regions of the detector sha256:0123456789abcdef, this bundle's is"):
        Service.open(tiny, Settings(engine="eager", stores=(bulk.path,)))
    with pytest.raises(ConfigInvalid, match=r"stores: .* there is no feature store here"):
        Service.open(tiny, Settings(engine="eager", stores=(tmp_path,)))
