import json
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.numpy import load_file, save

from twelve.errors import DataError
from twelve.features import FeatureStore, RegionSet, listing
from twelve.features.disk import Busy
from twelve.features.encoding import ENCODINGS, INT8, LEVELS, SINGLE
from twelve.features.shard import file_name

WIDTH = 16
HALF_ROUNDING = 2**-11
"""Half a unit in the last of float16's 11 binary places."""

ARITHMETIC = 1e-6
"""Of the spread of a region: three roundings in float32, a few parts in 10^7."""


def regions(seed: int, count: int = 3, width: int = WIDTH) -> RegionSet:
    draw = torch.Generator().manual_seed(seed)
    return RegionSet(
        features=torch.randn(count, width, generator=draw),
        boxes_px=torch.rand(count, 4, generator=draw) * 100,
        scores=torch.rand(count, generator=draw),
        labels=torch.arange(count) - 1,
        width=640 + seed,
        height=480,
        given=min(count, 1),
    )


def created(path: Path, encoding: str = "float16") -> FeatureStore:
    return FeatureStore.create(path, feature_width=WIDTH, detector_digest="sha256:d", encoding=encoding)


def shard_files(path: Path) -> list[Path]:
    return sorted((path / "shards").iterdir())


def assert_equal(got: RegionSet, expected: RegionSet) -> None:
    assert torch.equal(got.features, expected.features)
    assert torch.equal(got.boxes_px, expected.boxes_px)
    assert torch.equal(got.scores, expected.scores)
    assert torch.equal(got.labels, expected.labels)
    assert (got.width, got.height, got.given) == (expected.width, expected.height, expected.given)


def test_regions_read_back_as_they_were_kept(tmp_path):
    kept = {f"picture {n}": regions(n, count) for n, count in enumerate([3, 0, 24, 1])}
    created(tmp_path, SINGLE).append(list(kept.items()))

    store = FeatureStore.open(tmp_path)

    assert store.keys() == tuple(kept)
    for key, expected in kept.items():
        assert_equal(store[key], expected)
        assert len(store[key]) == len(expected)


def test_half_precision_rounds_features_by_one_part_in_2048_and_nothing_else(tmp_path):
    expected = regions(1)
    created(tmp_path).append([("a", expected)])

    got = FeatureStore.open(tmp_path)["a"]

    assert got.features.dtype == torch.float32
    assert torch.equal(got.features, expected.features.half().float())
    assert ((got.features - expected.features).abs() <= HALF_ROUNDING * expected.features.abs() + 2**-25).all()
    assert torch.equal(got.boxes_px, expected.boxes_px)


def test_a_byte_rounds_a_number_by_half_a_level_of_its_regions_spread(tmp_path):
    expected = regions(1, count=50, width=WIDTH)
    created(tmp_path, INT8).append([("a", expected)])

    got = FeatureStore.open(tmp_path)["a"]

    spread = expected.features.amax(dim=1, keepdim=True) - expected.features.amin(dim=1, keepdim=True)
    assert ((got.features - expected.features).abs() <= spread * (0.5 / LEVELS + ARITHMETIC)).all()
    assert torch.equal(got.boxes_px, expected.boxes_px)
    assert torch.equal(got.scores, expected.scores)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 1e4, 1e30])
@pytest.mark.parametrize("offset", [0, 1, -300, 1e4, 1e7])
def test_a_byte_far_from_zero_is_off_by_half_a_level_and_a_millionth_of_the_largest_number(offset, scale):
    features = (torch.randn(200, 64, generator=torch.Generator().manual_seed(1)) + offset) * scale
    byte = ENCODINGS[INT8]

    got = byte.decode(byte.encode(features), slice(None)).double()

    exact = features.double()
    spread = exact.amax(dim=1, keepdim=True) - exact.amin(dim=1, keepdim=True)
    assert ((got - exact).abs() <= spread * (0.5 / LEVELS) + exact.abs().amax(dim=1, keepdim=True) * 2**-20).all()


def test_a_byte_of_the_smallest_numbers_is_off_by_no_more_than_their_spread():
    features = torch.tensor([[0, 1e-42, 5e-42], [1e-37, 2e-36, 3e-36], [-1e-45, 0, 1e-45]])
    byte = ENCODINGS[INT8]

    got = byte.decode(byte.encode(features), slice(None))

    spread = features.amax(dim=1, keepdim=True) - features.amin(dim=1, keepdim=True)
    assert ((got - features).abs() <= spread).all()


def test_a_byte_keeps_zeros_and_regions_of_one_number_exactly(tmp_path):
    expected = regions(1, count=4)
    expected.features[0].clamp_(min=0)
    expected.features[1:] = torch.tensor([[0.0], [3.7], [-1e30]])
    created(tmp_path, INT8).append([("a", expected)])

    got = FeatureStore.open(tmp_path)["a"].features

    assert torch.equal(got[0] == 0, expected.features[0] == 0)
    assert torch.equal(got[1:], expected.features[1:])


def test_bytes_of_a_picture_do_not_depend_on_its_neighbours(tmp_path):
    huge, tiny = regions(2), regions(3)
    huge.features.mul_(1e20)
    tiny.features.mul_(1e-20)
    created(tmp_path / "alone", INT8).append([("a", regions(1))])
    created(tmp_path / "among", INT8).append(
        [("huge", huge), ("a", regions(1)), ("tiny", tiny), ("none", regions(4, 0))]
    )

    alone, among = (FeatureStore.open(tmp_path / name)["a"] for name in ("alone", "among"))

    assert_equal(among, alone)


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_is_refused_by_bytes_too(tmp_path, number):
    bad = regions(1)
    bad.features[1, 1] = number

    with pytest.raises(DataError, match="a: a feature or box is no finite number, or exceeds int8"):
        created(tmp_path, INT8).append([("a", bad)])


def test_half_precision_rounds_to_even_and_keeps_the_smallest_numbers(tmp_path):
    ties = torch.tensor([1 + 2**-11, 1 + 3 * 2**-11, 2**-25, 3 * 2**-25, 2**-24, 65504, 65519, -0.0] * 2)[None]
    expected = torch.tensor([1, 1 + 2**-9, 0, 2**-23, 2**-24, 65504, 65504, -0.0] * 2)[None]
    one = regions(1, count=1)
    created(tmp_path).append([("a", RegionSet(ties, one.boxes_px, one.scores, one.labels, 9, 9))])

    assert torch.equal(FeatureStore.open(tmp_path)["a"].features, expected)


def test_what_is_read_may_be_written_to_without_changing_the_store(tmp_path):
    created(tmp_path, SINGLE).append([("a", regions(1))])
    store = FeatureStore.open(tmp_path)

    for tensor in (store["a"].features, store["a"].boxes_px, store["a"].scores, store["a"].labels):
        tensor.zero_()

    assert_equal(store["a"], regions(1))


def test_an_unknown_key_is_no_member_and_no_item(tmp_path):
    store = created(tmp_path)

    assert "a" not in store
    with pytest.raises(KeyError, match="no regions are kept under 'a'"):
        store["a"]


def test_equal_items_make_equal_files(tmp_path):
    for name in ("one", "two"):
        created(tmp_path / name).append([("a", regions(1)), ("b", regions(2))])

    one, two = (shard_files(tmp_path / name)[0] for name in ("one", "two"))

    assert one.name == two.name
    assert one.read_bytes() == two.read_bytes()


def test_a_shard_is_a_safetensors_file_that_other_programs_read(tmp_path):
    created(tmp_path, SINGLE).append([("a", regions(1)), ("b", regions(2, 5))])

    arrays = load_file(shard_files(tmp_path)[0])

    assert arrays["offsets"].tolist() == [0, 3, 8]
    assert torch.equal(torch.from_numpy(arrays["features"][3:]), regions(2, 5).features)


def test_a_reader_sees_what_was_appended_only_after_it_refreshes(tmp_path):
    writer = created(tmp_path)
    reader = FeatureStore.open(tmp_path)
    writer.append([("a", regions(1))])

    before = "a" in reader
    reader.refresh()

    assert (before, "a" in reader) == (False, True)


def test_a_second_writer_is_refused_until_the_first_has_closed(tmp_path):
    first = created(tmp_path)
    first.append([("a", regions(1))])
    second = FeatureStore.open(tmp_path)

    with pytest.raises(Busy, match="another process is writing here"):
        second.append([("b", regions(2))])
    first.close()
    second.append([("b", regions(2))])

    assert FeatureStore.open(tmp_path).keys() == ("a", "b")


def test_a_writer_takes_in_what_was_appended_since_it_opened(tmp_path):
    late = created(tmp_path)
    with FeatureStore.open(tmp_path) as early:
        early.append([("a", regions(1))])

    late.append([("b", regions(2))])

    assert late.keys() == ("a", "b")


def test_appending_nothing_makes_no_shard(tmp_path):
    store = created(tmp_path)

    store.append([])

    assert shard_files(tmp_path) == []


@pytest.mark.parametrize("again", [[("a", regions(2))], [("b", regions(2)), ("b", regions(3))]])
def test_a_key_is_written_once(tmp_path, again):
    store = created(tmp_path)
    store.append([("a", regions(1))])

    with pytest.raises(DataError, match="a key is written once"):
        store.append(again)

    assert store.keys() == ("a",)


def test_features_of_another_width_are_refused_with_both_widths(tmp_path):
    with pytest.raises(DataError, match="b: features are 8 wide, the store keeps 16"):
        created(tmp_path).append([("a", regions(1)), ("b", regions(2, width=8))])

    assert len(FeatureStore.open(tmp_path)) == 0


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 70_000.0])
def test_a_feature_that_float16_cannot_hold_is_refused(tmp_path, number):
    bad = regions(1)
    bad.features[1, 1] = number

    with pytest.raises(DataError, match="a: a feature or box is no finite number, or exceeds float16"):
        created(tmp_path).append([("a", bad)])


UNFIT = {
    "boxes of three corners": ({"boxes_px": torch.ones(3, 3)}, r"boxes have shape \[3, 3\], expected \[3, 4\]"),
    "fewer boxes": ({"boxes_px": torch.ones(2, 4)}, r"boxes have shape \[2, 4\], expected \[3, 4\]"),
    "scores in a table": ({"scores": torch.ones(3, 1)}, r"scores have shape \[3, 1\], expected \[3\]"),
    "a score that is none": ({"scores": torch.tensor([1, float("nan"), 1])}, "a score is no finite number"),
    "labels in a table": ({"labels": torch.ones(3, 1).long()}, r"labels have shape \[3, 1\], expected \[3\]"),
    "a label too large": (
        {"labels": torch.tensor([0, 1, 2**31])},
        "a label is no whole number, or beyond 2,147,483,647",
    ),
    "half a label": ({"labels": torch.tensor([0, 1, 0.5])}, "a label is no whole number"),
    "no width": ({"width": 0}, "width is 0, expected a whole number from 1 to"),
    "a height below none": ({"height": -3}, "height is -3, expected a whole number from 1 to"),
    "a width too large": ({"width": 2**31}, "width is 2147483648, expected"),
    "half a pixel": ({"width": 7.5}, "width is 7.5, expected"),
    "more given than there are": ({"given": 4}, "given is 4, expected a whole number from 0 to 3"),
    "less than none given": ({"given": -1}, "given is -1, expected"),
    "features of one axis": ({"features": torch.ones(16)}, "features are no table, the store keeps rows of 16"),
    "features of three axes": ({"features": torch.ones(3, 16, 1)}, "features are no table, the store keeps rows of 16"),
}


@pytest.mark.parametrize(("change", "says"), UNFIT.values(), ids=UNFIT)
def test_regions_that_no_shard_can_hold_are_refused_by_their_key(tmp_path, change, says):
    with pytest.raises(DataError, match=f"^b: {says}"):
        created(tmp_path).append([("a", regions(1)), ("b", replace(regions(2), **change))])

    assert shard_files(tmp_path) == []


@pytest.mark.parametrize(("key", "says"), [(5, "5: this key is no text"), ("\ud800", "this key has half a character")])
def test_a_key_that_is_no_text_is_refused(tmp_path, key, says):
    with pytest.raises(DataError, match=says):
        created(tmp_path).append([(key, regions(1))])


def test_a_store_is_not_created_over_another(tmp_path):
    created(tmp_path)

    with pytest.raises(DataError, match="a feature store is here already"):
        created(tmp_path)


def test_opening_a_folder_without_a_store_says_so(tmp_path):
    with pytest.raises(DataError, match=r"there is no feature store here, store\.json is missing"):
        FeatureStore.open(tmp_path)


def test_a_store_of_a_later_format_is_refused(tmp_path):
    created(tmp_path)
    settings = tmp_path / "store.json"
    settings.write_text(settings.read_text().replace('"version": 1', '"version": 2'))

    with pytest.raises(DataError, match=r"version 2 .* this library reads twelve-features version 1"):
        FeatureStore.open(tmp_path)


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_a_shard_that_is_cut_short_is_found_on_opening(tmp_path, length):
    created(tmp_path).append([("a", regions(1))])
    shard = shard_files(tmp_path)[0]
    shard.write_bytes(shard.read_bytes()[:length])

    with pytest.raises(DataError, match="the shard is damaged or cut short"):
        FeatureStore.open(tmp_path)


def test_one_flipped_bit_is_found_by_verify(tmp_path):
    store = created(tmp_path)
    store.append([("a", regions(1))])
    store.verify()
    shard = shard_files(tmp_path)[0]
    data = bytearray(shard.read_bytes())
    data[-50] ^= 1  # of a feature
    shard.write_bytes(data)

    with pytest.raises(DataError, match=r"0-.*the file has sha256 .*its name states"):
        FeatureStore.open(tmp_path).verify()


DESCRIPTIONS = {
    "another detector": ('"sha256:d"', '"sha256:e"', "detector_digest is 'sha256:d' here and 'sha256:e' in the store"),
    "another width": (": 16", ": 17", "feature_width is 16 here and 17 in the store"),
    "single": ('"float16"', '"float32"', "encoding is 'float16' here and 'float32' in the store"),
    "bytes": ('"float16"', '"int8"', "encoding is 'float16' here and 'int8' in the store"),
    "a text as the width": (": 16", ': "16"', "store.json: feature_width: got '16', expected a count of numbers"),
    "a width below 1": (": 16", ": -1", "store.json: feature_width: got -1, expected a count"),
    "a width that is a fact": (": 16", ": true", "store.json: feature_width: got True, expected a count"),
    "a number as the detector": ('"sha256:d"', "7", "store.json: detector_digest: got 7, expected a text"),
    "a list as the encoding": ('"float16"', "[]", r"store.json: encoding: got \[\], features are kept as one of"),
    "depth": ('"float16"', "[" * 100_000, "store.json: this is not a description of a feature store"),
}


@pytest.mark.parametrize(("old", "new", "says"), DESCRIPTIONS.values(), ids=DESCRIPTIONS)
def test_a_description_that_was_altered_is_found_on_opening(tmp_path, old, new, says):
    created(tmp_path).append([("a", regions(1))])
    description = (tmp_path / "store.json").read_text()
    (tmp_path / "store.json").write_text(description.replace(old, new))

    with pytest.raises(DataError, match=says):
        FeatureStore.open(tmp_path)


def without_statement(path: Path) -> None:
    """Write a store's only shard as it was written before shards stated their store's settings."""
    (shard,) = shard_files(path)
    data = save(load_file(shard))
    shard.unlink()
    (path / "shards" / file_name(0, data)).write_bytes(data)


def test_a_shard_that_states_nothing_reads_as_before(tmp_path):
    created(tmp_path, SINGLE).append([("a", regions(1))])
    without_statement(tmp_path)

    store = FeatureStore.open(tmp_path)

    store.verify()
    assert_equal(store["a"], regions(1))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (": 16", ": 17", r"features are float16 \[3, 16\], the store keeps float16 \[3, 17\]"),
        ('"float16"', '"float32"', r"features are float16 \[3, 16\], the store keeps float32 \[3, 16\]"),
        ('"float16"', '"int8"', r"features are float16 \[3, 16\], the store keeps uint8 \[3, 16\]"),
    ],
)
def test_a_shard_that_states_nothing_is_held_to_its_arrays(tmp_path, old, new, says):
    created(tmp_path).append([("a", regions(1))])
    without_statement(tmp_path)
    description = (tmp_path / "store.json").read_text()
    (tmp_path / "store.json").write_text(description.replace(old, new))

    with pytest.raises(DataError, match=says):
        FeatureStore.open(tmp_path)


def test_every_flipped_bit_of_a_header_ends_in_a_sentence_or_changes_nothing(tmp_path):
    created(tmp_path, SINGLE).append([("a", regions(1))])
    (shard,) = shard_files(tmp_path)
    whole = shard.read_bytes()
    found = 0
    for place in range(8 + int.from_bytes(whole[:8], "little")):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        shard.write_bytes(data)
        try:
            store = FeatureStore.open(tmp_path)
            assert [len(store[key]) for key in store] == [3]
        except DataError:
            found += 1
    assert found > 0


@pytest.mark.parametrize("options", [{"feature_width": 0}, {"detector_digest": 7}, {"encoding": "float8"}])
def test_a_store_of_impossible_features_is_not_created(tmp_path, options):
    with pytest.raises(DataError, match=rf"^{next(iter(options))}: got "):
        FeatureStore.create(tmp_path / "store", **{"feature_width": WIDTH, "detector_digest": "d", **options})
    assert not (tmp_path / "store").exists()


def test_a_shard_that_is_missing_is_named(tmp_path):
    store = created(tmp_path)
    for n in range(3):
        store.append([(str(n), regions(n))])
    shard_files(tmp_path)[1].unlink()

    with pytest.raises(DataError, match="shard 1 is missing"):
        FeatureStore.open(tmp_path)


def test_shards_that_are_missing_at_the_end_are_counted(tmp_path):
    with created(tmp_path) as store:
        for n in range(3):
            store.append([(str(n), regions(n))])
        for shard in shard_files(tmp_path)[1:]:
            shard.unlink()

        for look in (store.verify, lambda: FeatureStore.open(tmp_path)):
            with pytest.raises(DataError, match="had 3 shards, 1 are there; restore the last ones"):
                look()


def test_a_folder_of_shards_that_is_missing_is_named(tmp_path):
    created(tmp_path)
    (tmp_path / "shards").rmdir()

    with pytest.raises(DataError, match="the folder shards is missing; restore it"):
        FeatureStore.open(tmp_path)


def test_a_store_that_nobody_counted_opens_and_is_counted_when_it_grows(tmp_path):
    with created(tmp_path) as store:
        store.append([("a", regions(1))])
    (tmp_path / "count").unlink()

    with FeatureStore.open(tmp_path) as store:
        store.append([("b", regions(2))])

    assert (tmp_path / "count").read_text() == "2\n"


@pytest.mark.parametrize("content", [b"", b"x", b"-1", b"true", b"[1]", b"\xff", b"1.5", b"[" * 100_000])
def test_a_damaged_count_is_refused_with_what_to_do(tmp_path, content):
    created(tmp_path)
    (tmp_path / "count").write_bytes(content)

    with pytest.raises(DataError, match=r"count: is damaged .*; see that the last shard is there, then remove it"):
        FeatureStore.open(tmp_path)


def test_info_counts_pictures_regions_shards_and_bytes(tmp_path):
    store = created(tmp_path)
    store.append([("a", regions(1, 3)), ("b", regions(2, 5))])
    store.append([("c", regions(3, 1))])

    info = store.info()

    assert (info.pictures, info.regions, info.shards) == (3, 9, 2)
    assert info.bytes == sum(path.stat().st_size for path in shard_files(tmp_path))
    assert info.settings.detector_digest == "sha256:d"


def test_a_store_that_is_sent_to_another_process_opens_there(tmp_path):
    with created(tmp_path) as store:
        store.append([("a", regions(1))])

        sent = pickle.loads(pickle.dumps(store))

        assert_equal(sent["a"], store["a"])
        with pytest.raises(Busy):
            sent.append([("b", regions(2))])


def test_a_shard_that_was_copied_under_another_number_is_refused(tmp_path):
    created(tmp_path).append([("a", regions(1))])
    (shard,) = shard_files(tmp_path)
    shutil.copy(shard, shard.with_name(shard.name.replace("00000000-", "00000001-")))

    with pytest.raises(DataError, match=r"00000001-.*: a key of this shard is in the store already"):
        FeatureStore.open(tmp_path)


def test_reading_many_shards_holds_no_file_open(tmp_path):
    store = created(tmp_path)
    for n in range(30):
        store.append([(str(n), regions(n))])
    store.close()
    reader, before = FeatureStore.open(tmp_path), len(os.listdir("/proc/self/fd"))

    for n in range(30):
        reader[str(n)]

    assert len(os.listdir("/proc/self/fd")) == before


SHARDS, PICTURES = 12, 3


@pytest.fixture
def listed(tmp_path, monkeypatch) -> Path:
    """A store whose first 9 shards, or more, are named by keys.json."""
    monkeypatch.setattr(listing, "FEW", 6)
    with created(tmp_path, SINGLE) as store:
        for n in range(SHARDS):
            store.append([(f"{n} {k}", regions(n * PICTURES + k)) for k in range(PICTURES)])
    assert len(json.loads((tmp_path / "keys.json").read_text())) >= 9
    return tmp_path


def test_a_store_reads_the_same_with_its_list_of_keys_and_without(listed):
    with_list = FeatureStore.open(listed)
    (listed / "keys.json").unlink()
    without = FeatureStore.open(listed)

    assert with_list.keys() == without.keys() == tuple(f"{n} {k}" for n in range(SHARDS) for k in range(PICTURES))
    for seed, key in enumerate(with_list):
        assert_equal(with_list[key], regions(seed))
        assert_equal(without[key], regions(seed))
    assert with_list.info() == without.info()


def test_a_shard_whose_keys_are_listed_is_opened_when_it_is_read(listed):
    second = shard_files(listed)[1]
    second.write_bytes(b"x" * second.stat().st_size)

    store = FeatureStore.open(listed)

    assert_equal(store["0 0"], regions(0))
    with pytest.raises(DataError, match=r"00000001-.*the shard is damaged or cut short"):
        store["1 0"]


def test_a_listed_shard_that_is_cut_short_is_found_on_opening(listed):
    shard = shard_files(listed)[1]
    shard.write_bytes(shard.read_bytes()[:-1])

    with pytest.raises(DataError, match=r"00000001-.*the shard is damaged or cut short"):
        FeatureStore.open(listed)


def test_a_list_of_other_shards_is_not_used(listed):
    names = json.loads((listed / "keys.json").read_text())
    names[3][0] = "00000003-of another store.safetensors"
    names[4][2] = ["x", "y", "z"]
    (listed / "keys.json").write_text(json.dumps(names))

    assert "4 0" in FeatureStore.open(listed)


def test_shards_that_the_list_names_and_nobody_finds_are_counted(listed):
    (listed / "count").unlink()
    for shard in shard_files(listed)[2:]:
        shard.unlink()

    with pytest.raises(DataError, match=r"had \d+ shards, 2 are there; restore the last ones"):
        FeatureStore.open(listed)


def test_a_list_that_contradicts_a_shard_is_found_by_verify(listed):
    names = json.loads((listed / "keys.json").read_text())
    names[4][2].reverse()
    (listed / "keys.json").write_text(json.dumps(names))

    with pytest.raises(DataError, match=r"keys\.json: does not name the keys of 00000004-.*; remove it"):
        FeatureStore.open(listed).verify()


@pytest.mark.parametrize("content", ["", "[1", "[[1]]", "{}x", "7"])
def test_a_damaged_list_is_refused_with_what_to_do(listed, content):
    (listed / "keys.json").write_text(content)

    with pytest.raises(DataError, match=r"keys\.json: is damaged .*; remove it, the shards hold all that it says"):
        FeatureStore.open(listed)


def test_verify_tells_the_bytes_of_each_shard(listed):
    sizes: list[int] = []

    FeatureStore.open(listed).verify(sizes.append)

    assert sizes == [path.stat().st_size for path in shard_files(listed)]
