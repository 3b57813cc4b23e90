"""Extraction: every input ends in one outcome, and what is known is not looked at again."""

import os
import shutil
import signal
import tarfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import odd_pictures
from benchmarks.extraction import digest_of, state_of
from twelve.errors import ConfigInvalid, DataError, EngineFailed
from twelve.features import FeatureStore, RegionSet
from twelve.features.disk import Busy
from twelve.image import ImageLimits, Picture
from twelve.regions.extraction.cluster import LEG_BYTES, RayEngine, Worker, leg_of, parcels_table, seen_in
from twelve.regions.extraction.engine import READ_AHEAD, EntryId, LocalEngine
from twelve.regions.extraction.ledger import Ledger, Outcome
from twelve.regions.extraction.looking import Fault, Reading
from twelve.regions.extraction.run import LEDGER_FOLDER, Extracted, Progress, extract
from twelve.regions.extraction.showing import described
from twelve.regions.extraction.sources import Archive, Entry, FileEntry, Folder, Parcel, TextList
from twelve.regions.extraction.stopping import wish_to_stop

WIDTH = 4
CUT = 4


class Extractor:
    """Features follow from the pixels; counts how often it is asked."""

    feature_width = WIDTH

    def __init__(self, digest: str = "sha256:test") -> None:
        self.digest = digest
        self.runs = 0

    def extract(self, picture: Picture, given_px: torch.Tensor | None = None) -> RegionSet:
        self.runs += 1
        count = 1 + int(picture.rgb[0, 0, 0]) % 3
        return RegionSet(
            features=torch.full((count, WIDTH), float(picture.rgb.mean())),
            boxes_px=torch.tensor([[0.0, 0.0, 1.0, 1.0]]).repeat(count, 1),
            scores=torch.ones(count),
            labels=torch.arange(count),
            width=picture.width,
            height=picture.height,
        )


class Failing(Extractor):
    """Fails on pictures of a width."""

    def __init__(self, width: int, error: Exception) -> None:
        super().__init__()
        self.width, self.error = width, error

    def extract(self, picture: Picture, given_px: torch.Tensor | None = None) -> RegionSet:
        found = super().extract(picture)
        if picture.width == self.width:
            raise self.error
        return found


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are decoded."""
    names: list[str] = []
    real = Reading.picture

    def picture(self: Reading, parcel: Parcel) -> Picture | Fault:
        names.append(Path(parcel.path or "").name)
        return real(self, parcel)

    monkeypatch.setattr(Reading, "picture", picture)
    return names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten pictures in two albums, a copy, and a text."""
    folder = tmp_path / "pictures"
    for number in range(10):
        write_png(folder / f"album {number % 2}" / f"{number}.png", number)
    shutil.copy(folder / "album 0" / "0.png", folder / "album 1" / "copy.png")
    (folder / "text.jpg").write_text("no picture")
    (folder / "readme.txt").write_text("not looked at")
    return folder


def write_png(path: Path, seed: int, size: tuple[int, int] = (6, 5)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def run(folder: Path, store: Path, extractor: Extractor | None = None, **options: object) -> Extracted:
    source = options.pop("source", Folder(folder))
    reading = options.pop("reading", Reading())
    return extract(source, store, LocalEngine(extractor or Extractor()), reading=reading, cut_inputs=CUT, **options)


def records(store: Path) -> dict[str, Outcome]:
    return {Path(record.name).name: record.outcome for record in Ledger(store / LEDGER_FOLDER).records()}


def test_every_input_ends_in_one_outcome_and_the_counts_add_up(folder: Path, tmp_path: Path) -> None:
    outcome = run(folder, tmp_path / "store")
    assert outcome == Extracted(done=10, duplicate=1, rejected=1, known=0, is_whole=True)
    assert len(FeatureStore.open(tmp_path / "store")) == 10
    found = records(tmp_path / "store")
    assert len(found) == 12
    assert (found["0.png"], found["copy.png"], found["text.jpg"]) == ("done", "duplicate", "rejected")


def test_names_lead_to_the_regions_of_their_pictures(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "store")
    store = FeatureStore.open(tmp_path / "store")
    keys = {Path(record.name).name: record.key for record in Ledger(tmp_path / "store" / LEDGER_FOLDER).records()}
    seven = np.asarray(Image.open(folder / "album 1" / "7.png"))
    assert store[keys["7.png"]].features[0, 0] == pytest.approx(seven.mean(), abs=0.1)
    assert keys["copy.png"] == keys["0.png"]
    assert keys["7.png"] == Picture.of(seven).digest


def test_a_second_run_decodes_nothing_detects_nothing_and_writes_nothing(
    folder: Path, tmp_path: Path, decoded: list[str]
) -> None:
    first = run(folder, tmp_path / "store")
    before, again = state_of(tmp_path / "store"), Extractor()
    decoded.clear()
    second = run(folder, tmp_path / "store", again)
    assert second == replace(first, known=12)
    assert (again.runs, decoded) == (0, [])
    assert state_of(tmp_path / "store") == before


def test_a_new_file_is_the_only_one_looked_at(folder: Path, tmp_path: Path, decoded: list[str]) -> None:
    run(folder, tmp_path / "store")
    write_png(folder / "album 0" / "new.png", 99)
    again = Extractor()
    decoded.clear()
    outcome = run(folder, tmp_path / "store", again)
    assert (outcome.done, outcome.known, again.runs, decoded) == (11, 12, 1, ["new.png"])


def test_a_file_with_new_content_is_looked_at_again_and_one_that_was_only_touched_not_detected(
    folder: Path, tmp_path: Path
) -> None:
    run(folder, tmp_path / "store")
    write_png(folder / "album 1" / "7.png", 77, (9, 9))
    os.utime(folder / "album 0" / "4.png")
    again = Extractor()
    outcome = run(folder, tmp_path / "store", again)
    assert (outcome.done, outcome.duplicate, outcome.rejected, again.runs) == (10, 1, 1, 1)


def test_a_kill_between_a_shard_and_its_lines_costs_no_detection_and_no_byte(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "killed")
    max((tmp_path / "killed" / LEDGER_FOLDER).iterdir()).unlink()
    (tmp_path / "killed" / "count").write_text("2\n")  # the count is written after the shard as well
    (tmp_path / "killed" / LEDGER_FOLDER / "00000002.jsonl.part").write_text('{"name": ')
    again = Extractor()
    run(folder, tmp_path / "killed", again)
    assert again.runs == 0
    assert digest_of(tmp_path / "killed") == digest_of(tmp_path / "whole")


@pytest.mark.parametrize("stops_after", [1, 3, 4, 6, 9])
def test_a_run_that_is_stopped_finishes_its_cut_and_goes_on_to_the_same_bytes(
    folder: Path, tmp_path: Path, stops_after: int
) -> None:
    run(folder, tmp_path / "whole")
    looked: list[Progress] = []
    stopped = run(folder, tmp_path / "store", on_progress=looked.append, should_stop=lambda: len(looked) >= stops_after)
    assert not stopped.is_whole
    assert len(looked) == -(-stops_after // CUT) * CUT
    rest = Extractor()
    outcome = run(folder, tmp_path / "store", rest)
    assert outcome.is_whole
    assert outcome.known == len(looked)
    assert digest_of(tmp_path / "store") == digest_of(tmp_path / "whole")


def test_a_file_that_is_gone_is_tried_again_after_the_others_and_said_once(tmp_path: Path) -> None:
    write_png(tmp_path / "there.png", 1)
    listed = tmp_path / "list.txt"
    listed.write_text("gone.png\nthere.png\n")
    first = run(tmp_path, tmp_path / "store", source=TextList(listed))
    before = state_of(tmp_path / "store")
    assert run(tmp_path, tmp_path / "store", source=TextList(listed)) == replace(first, known=1)
    assert state_of(tmp_path / "store") == before
    write_png(tmp_path / "gone.png", 2)
    later = run(tmp_path, tmp_path / "store", source=TextList(listed))
    assert (first.done, first.rejected, later.done, later.rejected) == (1, 1, 2, 0)


def test_rejected_pictures_are_looked_at_again_when_other_limits_are_given(folder: Path, tmp_path: Path) -> None:
    write_png(folder / "wide.png", 50, (60, 5))
    narrow, wide = Reading(ImageLimits(max_side=50)), Reading(ImageLimits(max_side=70))
    assert run(folder, tmp_path / "store", reading=narrow).rejected == 2
    again = Extractor()
    assert run(folder, tmp_path / "store", again, reading=wide).rejected == 1
    assert again.runs == 1
    before = state_of(tmp_path / "store")
    assert run(folder, tmp_path / "store", reading=wide).known == 13
    assert state_of(tmp_path / "store") == before


def test_a_store_of_another_detector_or_reading_is_refused(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "store")
    with pytest.raises(DataError, match="holds another detector's features"):
        run(folder, tmp_path / "store", Extractor("sha256:other"))
    with pytest.raises(DataError, match="its pictures were turned as EXIF says; do the same"):
        run(folder, tmp_path / "store", reading=Reading(exif=False))


def test_exif_that_is_not_heeded_leaves_the_picture_lying(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "rotated.jpg").write_bytes(odd_pictures.ODD["rotated.jpg"](0))
    run(tmp_path / "in", tmp_path / "upright")
    run(tmp_path / "in", tmp_path / "lying", reading=Reading(exif=False))
    (upright,), (lying,) = (FeatureStore.open(tmp_path / name) for name in ("upright", "lying"))
    wide = FeatureStore.open(tmp_path / "lying")[lying]
    tall = FeatureStore.open(tmp_path / "upright")[upright]
    assert (wide.width, wide.height) == (tall.height, tall.width) == odd_pictures.SIDES


@pytest.mark.parametrize(
    "error", [RuntimeError("out of memory"), MemoryError("so too"), EngineFailed("a graph failed")]
)
def test_a_picture_that_the_detector_fails_on_is_rejected_alone_and_tried_again(
    folder: Path, tmp_path: Path, error: Exception
) -> None:
    write_png(folder / "album 1" / "odd.png", 50, (31, 5))
    outcome = run(folder, tmp_path / "store", Failing(31, error))
    (fault,) = (each for each in Ledger(tmp_path / "store" / LEDGER_FOLDER).records() if "odd" in each.name)
    assert (outcome.done, outcome.rejected) == (10, 2)
    assert (fault.code, fault.may_pass) == ("engine-failed", True)
    assert str(error) in fault.reason
    assert run(folder, tmp_path / "store").done == 11


def test_regions_that_no_store_can_hold_are_rejected_alone(folder: Path, tmp_path: Path) -> None:
    class Infinite(Extractor):
        def extract(self, picture: Picture, given_px: torch.Tensor | None = None) -> RegionSet:
            found = super().extract(picture)
            return replace(found, features=found.features / (picture.width != 31))

    write_png(folder / "album 1" / "odd.png", 50, (31, 5))
    outcome = run(folder, tmp_path / "store", Infinite())
    assert (outcome.done, outcome.rejected) == (10, 2)


def test_odd_pictures_are_extracted_and_bad_ones_rejected_each_with_a_sentence(tmp_path: Path) -> None:
    odd, bad = odd_pictures.write(tmp_path / "in", each=1)
    outcome = run(tmp_path / "in", tmp_path / "store")
    assert (outcome.done, outcome.duplicate, outcome.rejected) == (odd, 0, bad)
    rejected = [each for each in Ledger(tmp_path / "store" / LEDGER_FOLDER).records() if each.key is None]
    assert {each.code for each in rejected} == {"unreadable-image", "too-large", "unreadable-file"}
    assert all(len(each.reason or "") > 20 for each in rejected)


def test_only_one_process_writes_to_a_store(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "store")
    with FeatureStore.open(tmp_path / "store") as other:
        other.append([])
        with pytest.raises(Busy, match="another process is writing here"):
            run(folder, tmp_path / "store")


def test_a_damaged_line_of_the_ledger_names_its_file(folder: Path, tmp_path: Path) -> None:
    run(folder, tmp_path / "store")
    (tmp_path / "store" / LEDGER_FOLDER / "00000001.jsonl").write_text('{"name": "x"')
    with pytest.raises(DataError, match=r"00000001.jsonl: is damaged .*; remove it, its pictures"):
        run(folder, tmp_path / "store")


def test_the_listing_is_read_only_a_little_ahead_of_the_detector(tmp_path: Path) -> None:
    for number in range(3 * READ_AHEAD):
        write_png(tmp_path / f"{number:02d}.png", number)
    asked: list[str] = []

    def entries() -> Iterator[Entry]:
        for entry in Folder(tmp_path):
            asked.append(entry.name)
            yield entry

    engine = LocalEngine(Extractor())
    with closing(engine.look(entries(), Reading(), lambda key: False)) as seen:
        names = [next(seen).name for _ in range(3)]
        assert names == asked[:3]
        assert len(asked) <= READ_AHEAD + 3


def test_progress_tells_speed_rejects_and_the_time_left() -> None:
    stand = Progress(looked=100, known=400, rejected=12, total=5000)
    assert described(stand, 2.5) == "500 of 5,000, 2.5 pictures/s, 12 rejected, 0:30:00 left"
    assert described(replace(stand, total=None), 2.5) == "500 looked at, 2.5 pictures/s, 12 rejected"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_wish_and_the_second_one_is_what_it_was(
    number: signal.Signals, capsys: pytest.CaptureFixture[str]
) -> None:
    before = signal.getsignal(number)
    with wish_to_stop("stopping soon") as should_stop:
        assert not should_stop()
        signal.raise_signal(number)
        assert should_stop()
        assert signal.getsignal(number) == before
    assert capsys.readouterr().err == "stopping soon\n"


def test_an_actor_answers_as_the_local_engine_does(folder: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "all.tar", "w") as archive:
        archive.add(folder, "in")
    for source in (Folder(folder), Archive(tmp_path / "all.tar")):
        local = list(LocalEngine(Extractor()).look(source, Reading(), lambda key: False))
        sent = [(EntryId(entry.name, entry.stamp), entry.parcel(ImageLimits())) for entry in source]
        rows = Worker(Extractor, Reading())(parcels_table([parcel for _, parcel in sent])).to_pylist()
        answered = [seen_in(entry, row) for (entry, _), row in zip(sent, rows, strict=True)]
        assert [each[:3] for each in answered] == [each[:3] for each in local]
        assert [each.fault for each in answered] == [each.fault for each in local]
        for here, there in zip(local, answered, strict=True):
            if here.regions is not None:
                assert torch.equal(here.regions.features, there.regions.features)
                assert torch.equal(here.regions.labels, there.regions.labels)
                assert (here.regions.width, here.regions.given) == (there.regions.width, there.regions.given)


def test_a_worker_of_ray_is_told_of_names_that_are_no_utf_8(folder: Path) -> None:
    odd = os.fsdecode(os.fsencode(folder) + b"/\xff.png")
    os.rename(next(folder.rglob("*.png")), odd)
    row = Worker(Extractor, Reading())(parcels_table([Parcel(path=odd)])).to_pylist()[0]
    assert row["key"] is not None, row["reason"]


class Heavy:
    """An archive's picture of a third of what a leg may weigh."""

    name, stamp = "heavy", (1,)
    data = bytes(LEG_BYTES // 3 + 1)

    def parcel(self, limits: ImageLimits) -> Parcel:
        return Parcel(data=self.data)


def test_what_is_sent_to_ray_at_once_is_bounded_by_count_and_by_bytes(folder: Path) -> None:
    heavy = iter([Heavy()] * 8)
    assert [len(leg_of(heavy, 4, Reading())) for _ in range(3)] == [3, 3, 2]
    assert len(leg_of(iter([FileEntry(str(folder / "none.png"))] * 8), 4, Reading())) == 4


def test_ray_that_is_missing_is_told_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigInvalid, match=r"pip install 'twelve-in-one\[ray\]'; or take engine 'local'"):
        RayEngine(Extractor, "sha256:test", WIDTH, workers=1)
