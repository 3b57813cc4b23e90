"""The cache of pictures seen before: whatever happens to its folder, requests are answered."""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.bundles import FEATURE_WIDTH, picture
from twelve.image import ImageLimits, Picture, decode
from twelve.pictures import NamedPicture, PictureDesk, SentPicture
from twelve.regions import cache as module
from twelve.regions.cache import ABANDONED_S, Recent, RegionCache
from twelve.regions.extractor import RegionSet

DETECTOR = "sha256:" + "0123456789abcdef" * 4
ENCODED = b"p" * 100
LONG_AGO_S = 10 * ABANDONED_S


def ref(number: int) -> str:
    return f"sha256:{number:064x}"


def regions(count: int = 2) -> RegionSet:
    boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0]]).expand(count, 4)
    labels = torch.zeros(count, dtype=torch.int64)
    return RegionSet(torch.rand(count, FEATURE_WIDTH), boxes, torch.ones(count), labels, width=320, height=240)


def worker(folder: Path | None, *, detector: str = DETECTOR, **bounds: int) -> RegionCache:
    return RegionCache(folder, detector=detector, **bounds)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*/*") if path.is_file())


def age(folder: Path) -> None:
    for path in files(folder):
        os.utime(path, (time.time() - LONG_AGO_S,) * 2)


def is_fresh(path: Path) -> bool:
    return path.stat().st_mtime > time.time() - ABANDONED_S


class OneRegion:
    """Finds the same everywhere and counts how often it was asked."""

    digest = DETECTOR
    feature_width = FEATURE_WIDTH

    def __init__(self) -> None:
        self.runs = 0

    def extract(self, picture: Picture, given_px: torch.Tensor | None = None) -> RegionSet:
        self.runs += 1
        return regions(1)


def desk(cache: RegionCache) -> PictureDesk:
    return PictureDesk(OneRegion(), cache, limits=ImageLimits(), feature_width=FEATURE_WIDTH)


def sent(seed: int = 0) -> SentPicture:
    encoded = picture(seed)
    return SentPicture(decode(encoded, limits=ImageLimits()), encoded)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    class NoSpace:
        def __enter__(self) -> "NoSpace":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def write(self, content: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    def closed(handle: int, mode: str) -> NoSpace:
        os.close(handle)
        return NoSpace()

    monkeypatch.setattr(module.os, "fdopen", closed)


def test_what_one_worker_keeps_another_finds(tmp_path: Path) -> None:
    kept = regions()
    worker(tmp_path).keep(ref(1), ENCODED, kept)
    other = worker(tmp_path)
    found = other.regions(ref(1))
    assert found is not None
    assert torch.equal(found.features, kept.features)
    assert other.encoded(ref(1)) == ENCODED


def test_a_picture_sent_again_after_a_sweep_is_known_to_the_other_worker(tmp_path: Path) -> None:
    first, other = desk(worker(tmp_path)), desk(worker(tmp_path))
    given = sent().look(first, (), at="image").ref
    for path in files(tmp_path):
        path.unlink()
    assert sent().look(first, (), at="image").ref == given
    assert given is not None
    assert NamedPicture(given).look(other, (), at="image").ref == given
    assert other.cache.encoded(given) == sent().encoded


def test_a_picture_sent_again_is_not_looked_at_again(tmp_path: Path) -> None:
    extractor = OneRegion()
    one = PictureDesk(extractor, worker(tmp_path), limits=ImageLimits(), feature_width=FEATURE_WIDTH)
    for _ in range(3):
        sent().look(one, (), at="image")
    assert extractor.runs == 1


def test_a_picture_at_hand_still_counts_as_used_in_the_folder(tmp_path: Path) -> None:
    one = worker(tmp_path)
    one.keep(ref(1), ENCODED, regions())
    age(tmp_path)
    assert one.regions(ref(1)) is not None
    assert len(files(tmp_path)) == 2
    assert all(is_fresh(path) for path in files(tmp_path))


def test_a_picture_at_hand_is_known_when_its_files_are_gone(tmp_path: Path) -> None:
    one = worker(tmp_path)
    one.keep(ref(1), ENCODED, regions())
    for path in files(tmp_path):
        path.unlink()
    assert one.regions(ref(1)) is not None


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_costs_a_warning_and_neither_the_answer_nor_a_leftover(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = worker(tmp_path)
    one.keep(ref(1), ENCODED, regions())
    assert "No space left on device" in caplog.text
    assert one.regions(ref(1)) is not None
    assert one.encoded(ref(1)) == ENCODED
    assert files(tmp_path) == []


def test_a_folder_that_cannot_be_made_costs_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    one = worker(tmp_path / "file")
    one.keep(ref(1), ENCODED, regions())
    assert "could not be kept" in caplog.text
    assert one.regions(ref(1)) is not None
    assert one.regions(ref(2)) is None


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("harm", [cut, empty])
def test_harmed_files_are_unknown_until_the_picture_comes_again(tmp_path: Path, harm: Callable[[Path], None]) -> None:
    worker(tmp_path).keep(ref(1), ENCODED, regions())
    for path in files(tmp_path):
        harm(path)
    other = worker(tmp_path)
    assert other.regions(ref(1)) is None
    assert [path.suffix for path in files(tmp_path)] == [".picture"]
    other.keep(ref(1), ENCODED, regions())
    assert worker(tmp_path).encoded(ref(1)) == ENCODED
    assert worker(tmp_path).regions(ref(1)) is not None


def test_an_empty_picture_file_is_no_picture(tmp_path: Path) -> None:
    worker(tmp_path).keep(ref(1), ENCODED, regions())
    for path in files(tmp_path):
        empty(path)
    assert worker(tmp_path).encoded(ref(1)) is None


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


def test_pictures_in_memory_are_bounded_like_regions() -> None:
    one = worker(None, memory_bytes=3 * len(ENCODED))
    for number in range(9):
        one.keep(ref(number), ENCODED, regions())
    assert [one.encoded(ref(number)) is not None for number in range(9)] == [False] * 6 + [True] * 3


def test_the_folder_stays_near_its_bound_while_it_is_written(tmp_path: Path) -> None:
    one = worker(tmp_path, most_bytes=5000)
    for number in range(40):
        one.keep(ref(number), ENCODED, regions())
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 5000 + 1000
    assert one.encoded(ref(39)) == ENCODED


def test_a_folder_over_its_bound_is_swept_at_once(tmp_path: Path) -> None:
    worker(tmp_path).keep(ref(1), ENCODED, regions())
    worker(tmp_path, most_bytes=0)
    assert files(tmp_path) == []


def test_only_abandoned_parts_are_swept(tmp_path: Path) -> None:
    (tmp_path / "00").mkdir()
    young, old = tmp_path / "00" / "young.part", tmp_path / "00" / "old.part"
    for path in (young, old):
        path.write_bytes(ENCODED)
    os.utime(old, (time.time() - LONG_AGO_S,) * 2)
    worker(tmp_path, most_bytes=0)
    assert files(tmp_path) == [young]


def test_a_file_that_another_worker_owns_is_read_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker(tmp_path).keep(ref(1), ENCODED, regions())

    def refuse(path: Path) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(module.os, "utime", refuse)
    assert worker(tmp_path).encoded(ref(1)) == ENCODED
    assert worker(tmp_path).regions(ref(1)) is not None


def test_detectors_are_told_apart_by_sixteen_digits(tmp_path: Path) -> None:
    worker(tmp_path).keep(ref(1), ENCODED, regions())
    assert (tmp_path / "00" / f"{1:064x}.0123456789abcdef.regions").is_file()
    other = "sha256:" + "012345678fedcba9" * 4
    assert worker(tmp_path, detector=other).regions(ref(1)) is None
