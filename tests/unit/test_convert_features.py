"""Features that others published, from each of their layouts into a store."""

import base64
import os
import pickle
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from twelve.batch import visual
from twelve.boxes import GLOBAL_REGION
from twelve.cli import main
from twelve.convert.features_entry import Source
from twelve.convert.features_import import Outcome, import_features, open_target, recognise
from twelve.errors import DataError
from twelve.features import FeatureStore
from twelve.features.disk import Busy

GOLDEN = Path(__file__).parents[1] / "data" / "golden"
IMAGES = ("17", "391895", "COCO_val2014_000000000042", "dev-850-0-img0")
WIDTH = 8
SUMMED_OTHERWISE = 1e-6  # of a value: numpy adds the rows one by one, torch in blocks; 4 units in the last place here

Fields = dict[str, Any]


@cache
def published() -> dict[str, Tensor]:
    return load_file(GOLDEN / "golden_features_io.safetensors")


def fields(seed: int = 0, rows: int = 3, width: int = WIDTH) -> Fields:
    """Give a picture as the published LMDB keeps one."""
    draw = np.random.default_rng(seed)
    return {
        "image_id": str(seed),
        "image_h": 480,
        "image_w": 640,
        "num_boxes": rows,
        "boxes": draw.random((rows, 4), dtype=np.float32) * 100,
        "features": draw.random((rows, width), dtype=np.float32),
    }


def write_lmdb(path: Path, pictures: dict[str, Fields | bytes], keys: bytes | None = None) -> Path:
    """Write pictures as the published converter does; bytes go in as they are."""
    listed = pickle.dumps([key.encode() for key in pictures]) if keys is None else keys
    with lmdb.open(str(path), map_size=2**26) as database, database.begin(write=True) as writing:
        writing.put(b"keys", listed)
        for key, picture in pictures.items():
            writing.put(key.encode(), picture if isinstance(picture, bytes) else pickle.dumps(picture))
    return path


def write_npy(path: Path, pictures: dict[str, Fields | bytes]) -> Path:
    """Write pictures as the published extractor does; bytes go in as they are."""
    path.mkdir(exist_ok=True)
    names = {"boxes": "bbox", "image_w": "image_width", "image_h": "image_height"}
    for key, picture in pictures.items():
        if isinstance(picture, bytes):
            (path / f"{key}.npy").write_bytes(picture)
        else:
            np.save(path / f"{key}.npy", {names.get(name, name): value for name, value in picture.items()})
    return path


def line(picture: Fields) -> bytes:
    """Give a picture as a line of the table of bottom-up attention."""
    numbers = [str(picture[name]).encode() for name in ("image_id", "image_w", "image_h", "num_boxes")]
    arrays = [base64.b64encode(np.ascontiguousarray(picture[name]).tobytes()) for name in ("boxes", "features")]
    return b"\t".join([*numbers, *arrays])


def write_tsv(path: Path, pictures: dict[str, Fields | bytes]) -> Path:
    """Write pictures as bottom-up attention does; bytes go in as they are."""
    table = path.with_suffix(".tsv")
    lines = [picture if isinstance(picture, bytes) else line(picture) for picture in pictures.values()]
    table.write_bytes(b"\r\n".join(lines) + b"\r\n")
    return table


LAYOUTS = {"lmdb": write_lmdb, "npy": write_npy, "tsv": write_tsv}
Write = Callable[[Path, dict[str, Fields | bytes]], Path]


@pytest.fixture(params=LAYOUTS.values(), ids=LAYOUTS)
def write(request: pytest.FixtureRequest) -> Write:
    written: Write = request.param
    return written


@contextmanager
def unwatched(name: str, *, length: int | None = None, start: int = 0):
    yield lambda count: None


def imported(source: Path | Source, store: Path, refused: list[str] | None = None, **options: Any) -> Outcome:
    """Import into a store of small features; without a list for them, damaged pictures are raised."""

    def on_refused(error: DataError) -> None:
        if refused is None:
            raise error
        refused.append(error.message)

    target = open_target(store, **{"detector": "d", "feature_width": WIDTH, "encoding": "float32", **options})
    found = recognise(source) if isinstance(source, Path) else source
    return import_features(found, target, watch=unwatched, on_refused=on_refused)


@pytest.fixture(scope="module", params=["features.lmdb", "npy"])
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """The golden pictures, imported from a layout at full precision."""
    folder = tmp_path_factory.mktemp("golden")
    outcome = imported(GOLDEN / "features" / request.param, folder / "store", feature_width=2048)
    assert outcome == Outcome(imported=len(IMAGES), known=0, refused=0)
    return FeatureStore.open(folder / "store")


def test_every_published_picture_is_in_the_store(golden: FeatureStore):
    assert sorted(golden.keys()) == sorted(IMAGES)


@pytest.mark.parametrize("image", IMAGES)
def test_rows_locations_and_boxes_read_from_the_store_are_exactly_the_published_ones(golden: FeatureStore, image: str):
    regions = golden[image]
    seen = visual(regions)
    rows, pixels = published()[f"{image}/features"], published()[f"{image}/spatials_pixels"].float()

    assert len(seen) == int(published()[f"{image}/num_boxes"]) == len(rows)
    assert torch.equal(seen.features[GLOBAL_REGION + 1 :], rows[GLOBAL_REGION + 1 :])
    torch.testing.assert_close(seen.features[GLOBAL_REGION], rows[GLOBAL_REGION], rtol=SUMMED_OTHERWISE, atol=0)
    assert torch.equal(seen.locations.double(), published()[f"{image}/spatials"])
    assert torch.equal(regions.boxes_px, pixels[GLOBAL_REGION + 1 :, :4])
    assert [regions.width, regions.height] == pixels[GLOBAL_REGION, 2:4].tolist()


def test_both_published_layouts_give_equal_shards_of_equal_pictures(tmp_path: Path):
    pictures = {str(n): fields(n) for n in range(5)}
    for name, write in LAYOUTS.items():
        imported(write(tmp_path / f"{name}-source", pictures), tmp_path / name)

    shards = {name: [path.name for path in (tmp_path / name / "shards").iterdir()] for name in LAYOUTS}

    assert shards["lmdb"] == shards["npy"] == shards["tsv"]


@pytest.mark.parametrize("write", [write_lmdb, write_npy])
def test_an_id_that_is_a_number_names_the_same_picture_as_its_digits(tmp_path: Path, write: Write):
    picture = {**fields(1), "image_id": 1, "image_w": np.int64(640), "image_h": np.float64(480)}
    imported(write(tmp_path / "source", {"1": picture}), tmp_path / "store")

    got = FeatureStore.open(tmp_path / "store")["1"]

    assert (got.width, got.height) == (640, 480)


def test_a_table_of_bottom_up_attention_reads_back_as_it_was_written(tmp_path: Path):
    picture = fields(7, rows=36)
    imported(write_tsv(tmp_path / "36", {"7": picture}), tmp_path / "store")

    got = FeatureStore.open(tmp_path / "store")["7"]

    assert np.array_equal(got.features.numpy(), picture["features"])
    assert np.array_equal(got.boxes_px.numpy(), picture["boxes"])
    assert (got.width, got.height, got.given) == (640, 480, 0)


DAMAGED: dict[str, tuple[Fields, str]] = {
    "no features": ({"features": None}, "features is a NoneType, expected a table of floats"),
    "whole numbers": ({"features": np.ones((3, WIDTH), dtype=np.int64)}, "features is an array of int64"),
    "flat features": (
        {"features": np.ones(3 * WIDTH, dtype=np.float32)},
        r"features is an array of float32, shape \[24\]",
    ),
    "no region": (
        {"features": np.ones((0, WIDTH), dtype=np.float32), "boxes": np.ones((0, 4), dtype=np.float32)},
        "features holds no region",
    ),
    "other width": ({"features": np.ones((3, 4), dtype=np.float32)}, "features are 4 wide, the store keeps 8"),
    "no number": ({"features": np.full((3, WIDTH), np.nan, dtype=np.float32)}, "is no finite number"),
    "too large": ({"features": np.full((3, WIDTH), 1e300)}, "is no finite number"),
    "a box too few": (
        {"boxes": np.ones((2, 4), dtype=np.float32)},
        r"(boxes|bbox) has shape \[2, 4\], expected \[3, 4\]",
    ),
    "five corners": (
        {"boxes": np.ones((3, 5), dtype=np.float32)},
        r"(boxes|bbox) has shape \[3, 5\], expected \[3, 4\]",
    ),
    "an infinite box": ({"boxes": np.full((3, 4), np.inf, dtype=np.float32)}, "is no finite number"),
    "no width": ({"image_w": 0}, "image_w(idth)? is 0, expected a count of pixels"),
    "half a pixel": ({"image_h": 10.5}, "image_h(eight)? is 10.5, expected a count of pixels"),
    "a height in words": ({"image_h": "tall"}, "image_h(eight)? is 'tall', expected a count of pixels"),
    "no number of pixels": ({"image_h": float("nan")}, "image_h(eight)? is nan, expected a count of pixels"),
    "endless": ({"image_h": float("inf")}, "image_h(eight)? is inf, expected a count of pixels"),
    "beyond int32": ({"image_w": 2**31}, "image_w(idth)? is 2147483648, expected a count of pixels"),
    "beyond what Python shows": ({"image_w": 10**5000}, "image_w(idth)? is a int, expected a count of pixels"),
    "no key": ({"image_id": np.ones(3)}, "image_id is array.*; the entry stands under another picture's key"),
    "another key": ({"image_id": "99"}, "image_id is '99'; the entry stands under another picture's key"),
}


@pytest.mark.parametrize("write", [write_lmdb, write_npy])
@pytest.mark.parametrize(("change", "says"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_picture_is_refused_by_its_key_and_its_neighbours_are_kept(
    tmp_path: Path, write: Write, change: Fields, says: str
):
    pictures: dict[str, Fields | bytes] = {str(n): fields(n) for n in range(3)}
    pictures["1"] = {**fields(1), **change}
    refused: list[str] = []

    outcome = imported(write(tmp_path / "source", pictures), tmp_path / "store", refused)

    assert outcome == Outcome(imported=2, known=0, refused=1)
    assert FeatureStore.open(tmp_path / "store").keys() == ("0", "2")
    assert re.match(f"1: .*{says}", refused[0]), refused[0]


class Hostile:
    """Pickles into a call that leaves a folder behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("field", [b"(" * 4_000 + b"t" * 4_000, pickle.dumps(10**5_000)[:-1]], ids=["deep", "long"])
def test_a_field_whose_name_cannot_be_shown_is_refused(tmp_path: Path, field: bytes):
    picture = b"}" + field.removeprefix(pickle.PROTO + b"\x04") + b"Ns."

    with pytest.raises(DataError, match=r"^1: lacks features, boxes, image_w, image_h; got a (tuple|int)"):
        imported(write_lmdb(tmp_path / "features", {"1": picture}), tmp_path / "store")


def test_code_in_a_picture_is_not_run(tmp_path: Path):
    trace = tmp_path / "trace"
    picture = {**fields(1), "num_boxes": Hostile(trace)}
    for write in (write_lmdb, write_npy):
        refused: list[str] = []
        source = write(tmp_path / f"{write.__name__}-source", {"1": picture, "2": fields(2)})

        assert imported(source, tmp_path / write.__name__, refused).imported == 1

        assert [message[: message.index(":")] for message in refused] == ["1"]
        assert "mkdir, expected numbers, texts and arrays of them; nothing of it was run" in refused[0]
        assert not trace.exists()


def test_code_in_the_list_of_keys_is_not_run(tmp_path: Path):
    source = write_lmdb(tmp_path / "source", {"1": fields(1)}, keys=pickle.dumps(Hostile(tmp_path / "trace")))

    with pytest.raises(DataError, match=r"the list of all keys cannot be read: it asks for \w+\.mkdir"):
        imported(source, tmp_path / "store")

    assert not (tmp_path / "trace").exists()


BROKEN_NPY = {
    "empty": (b"", "EOF"),
    "no array": (b"hello, world", "the magic string is not correct"),
    "version 9": (b"\x93NUMPY\x09\x00", r"version \(9, 0\)"),
    "numbers": ("ones", "holds an array of float32, shape \\[3\\], expected one dict of fields"),
}


@pytest.mark.parametrize(("content", "says"), BROKEN_NPY.values(), ids=BROKEN_NPY)
def test_a_file_that_holds_no_picture_is_refused_by_its_name(tmp_path: Path, content: bytes | str, says: str):
    source = write_npy(tmp_path / "source", {"1": fields(1)})
    if isinstance(content, bytes):
        (source / "1.npy").write_bytes(content)
    else:
        np.save(source / "1.npy", np.ones(3, dtype=np.float32))

    with pytest.raises(DataError, match=f"^1: 1.npy cannot be read .*{says}"):
        imported(source, tmp_path / "store")


@pytest.mark.parametrize("kept", [0, 10, 200, -1])
def test_a_picture_of_an_lmdb_that_is_cut_short_is_refused_by_its_key(tmp_path: Path, kept: int):
    source = write_lmdb(tmp_path / "source", {"1": pickle.dumps(fields(1))[:kept]})
    with pytest.raises(DataError, match=r"^1: cannot be read as a plain pickle"):
        imported(source, tmp_path / "store")


def test_a_picture_that_is_promised_and_missing_is_refused_by_its_key(tmp_path: Path):
    source = write_lmdb(tmp_path / "source", {"1": fields(1)}, keys=pickle.dumps([b"1", b"2"]))
    refused: list[str] = []

    imported(source, tmp_path / "store", refused)

    assert refused == ["2: stands in the list of all keys and nowhere else; download the file again"]


@pytest.mark.parametrize("kept", [4096, 20_000])
def test_an_lmdb_that_is_cut_short_is_refused_before_it_is_read(tmp_path: Path, kept: int):
    source = write_lmdb(tmp_path / "source", {str(n): fields(n, rows=100) for n in range(9)})
    data = source / "data.mdb"
    data.write_bytes(data.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"cut short|cannot be opened as an LMDB"):
        imported(source, tmp_path / "store")


def test_a_file_that_is_no_lmdb_is_refused(tmp_path: Path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "data.mdb").write_bytes(b"x" * 9999)
    with pytest.raises(DataError, match="cannot be opened as an LMDB"):
        imported(tmp_path / "source", tmp_path / "store")


def replaced(column: int, by: bytes) -> bytes:
    """Give a line of a table with one column replaced."""
    columns = line(fields(1)).split(b"\t")
    columns[column] = by
    return b"\t".join(columns)


BROKEN_LINES = {
    "five columns": (line(fields(1)).rsplit(b"\t", 1)[0], "line 2: has 5 columns, expected 6: image_id, image_w"),
    "no line": (b"", "line 2: has 1 columns"),
    "width in words": (replaced(1, b"wide"), "1: image_w is b'wide', expected a count"),
    "no width": (replaced(1, b"0"), "1: image_w is 0, expected a count of pixels"),
    "wider than any": (replaced(1, b"9" * 5000), "1: image_w is b'999"),
    "a box too many": (replaced(3, b"4"), "1: boxes has shape"),
    "no region": (replaced(3, b"0"), "1: boxes is no base64 of float32 for 0 regions"),
    "fewer than none": (replaced(3, b"-3"), "1: num_boxes is b'-3', expected a count"),
    "no base64": (replaced(5, b"?" * 128), "1: features is no base64 of float32 for 3 regions"),
    "cut short": (line(fields(1))[:-3], "1: features is no base64 of float32 for 3 regions"),
    "a number too few": (replaced(5, base64.b64encode(bytes(4 * 23))), "1: features is no base64 of float32"),
    "bytes too few": (replaced(5, base64.b64encode(bytes(95))), "1: features is no base64 of float32"),
}


@pytest.mark.parametrize(("broken", "says"), BROKEN_LINES.values(), ids=BROKEN_LINES)
def test_a_damaged_line_is_refused_by_its_picture_or_its_number(tmp_path: Path, broken: bytes, says: str):
    source = write_tsv(tmp_path / "source", {"0": fields(0), "1": broken, "2": fields(2)})
    refused: list[str] = []

    outcome = imported(source, tmp_path / "store", refused)

    assert outcome == Outcome(imported=2, known=0, refused=1)
    assert refused[0].startswith(says)


def test_an_import_goes_on_where_an_earlier_one_ended(tmp_path: Path, write: Write):
    first = write(tmp_path / "first", {str(n): fields(n) for n in range(3)})
    both = write(tmp_path / "both", {str(n): fields(n) for n in range(5)})
    imported(first, tmp_path / "store")

    outcome = imported(both, tmp_path / "store")

    assert outcome == Outcome(imported=2, known=3, refused=0)
    assert FeatureStore.open(tmp_path / "store").keys() == ("0", "1", "2", "3", "4")


def test_a_picture_that_a_table_lists_twice_is_kept_as_it_came_first(tmp_path: Path):
    again = {**fields(2), "image_id": "1"}
    outcome = imported(write_tsv(tmp_path / "source", {"1": fields(1), "2": again}), tmp_path / "store")

    assert outcome == Outcome(imported=1, known=1, refused=0)
    assert np.array_equal(FeatureStore.open(tmp_path / "store")["1"].features.numpy(), fields(1)["features"])


KILLED_IMPORT = """
import os, signal, sys
from contextlib import contextmanager
from pathlib import Path
from twelve.convert import features_import
from twelve.convert.features_import import import_features, open_target, recognise

features_import.SHARD = 4
left = int(sys.argv[3])

@contextmanager
def watch(name, *, length=None, start=0):
    def advance(count):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    yield advance

store = open_target(Path(sys.argv[2]), detector="d", feature_width=8, encoding="float32")
import_features(recognise(Path(sys.argv[1])), store, watch=watch, on_refused=print)
"""


def test_an_import_that_is_killed_keeps_its_shards_and_the_next_ends_with_every_picture_once(tmp_path: Path):
    source = write_lmdb(tmp_path / "source", {f"{n:02}": {**fields(n), "image_id": f"{n:02}"} for n in range(20)})
    command = [sys.executable, "-c", KILLED_IMPORT, str(source), str(tmp_path / "store"), "15"]
    killed = subprocess.run(command, capture_output=True, text=True, cwd=os.getcwd(), check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr

    kept = len(FeatureStore.open(tmp_path / "store"))
    outcome = imported(source, tmp_path / "store")

    assert kept == 12
    assert outcome == Outcome(imported=8, known=12, refused=0)


def test_an_import_does_not_begin_while_another_process_writes(tmp_path: Path):
    source = write_npy(tmp_path / "source", {"1": fields(1)})
    with open_target(tmp_path / "store", detector="d", feature_width=WIDTH, encoding="float32") as other:
        other.append([])
        with pytest.raises(Busy):
            imported(source, tmp_path / "store")


@pytest.mark.parametrize("other", [{"detector": "e"}, {"feature_width": 9}, {"encoding": "int8"}])
def test_a_store_of_something_else_is_not_imported_into(tmp_path: Path, other: Fields):
    source = write_npy(tmp_path / "source", {"1": fields(1)})
    imported(source, tmp_path / "store")

    with pytest.raises(DataError, match=r"keeps features 8 wide of detector d in float32; got .*name another folder"):
        imported(source, tmp_path / "store", **other)


def empty_table(path: Path, pictures: dict[str, Fields | bytes]) -> Path:
    table = path.with_suffix(".tsv")
    table.touch()
    return table


@pytest.mark.parametrize("layout", [write_lmdb, empty_table], ids=["lmdb", "tsv"])
def test_a_source_without_a_picture_is_refused_and_no_store_is_made(tmp_path: Path, layout: Write, run):
    source = layout(tmp_path / "features", {})

    code, _, said = run("features", "import", source, tmp_path / "store", "--detector", "d")

    assert code == 65
    assert "holds no picture; expected features of at least one" in said
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("name", ["nothing", "empty", "table.csv"])
def test_what_holds_no_known_layout_is_refused_with_the_known_ones(tmp_path: Path, name: str):
    (tmp_path / "empty").mkdir()
    (tmp_path / "table.csv").write_text("1,2\n")
    with pytest.raises(DataError, match=r"holds no features of a known layout; expected a folder with data\.mdb"):
        recognise(tmp_path / name)


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command; give its exit code, stdout and stderr."""

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return int(left.value.code or 0), shown.out, shown.err

    return call


def test_the_command_imports_verifies_and_tells_what_is_there(tmp_path: Path, run):
    source, store = write_npy(tmp_path / "source", {"1": fields(1), "2": fields(2)}), tmp_path / "store"

    made = run("features", "import", source, store, "--detector", "d", "--width", WIDTH, "--encoding", "int8")
    whole = run("features", "verify", store)
    told = run("features", "info", store)

    assert made[:2] == (0, "imported=2 known=0 refused=0\n")
    assert "source" in made[2]  # the bar
    assert whole[:2] == (0, "whole: 2 pictures in 1 shards\n")
    size = FeatureStore.open(store).info().bytes
    assert told[:2] == (
        0,
        "detector  d\nfeatures  8 wide, int8\nstored    2 pictures, 6 regions, 1 shards\n"
        f"on disk   {size / 1e6:.1f} MB, {size / 2:.0f} bytes a picture\n",
    )


def test_the_command_tells_of_each_damaged_picture_and_goes_on_unless_told_to_stop(tmp_path: Path, run):
    source = write_npy(tmp_path / "source", {"1": b"", "2": fields(2), "3": b""})
    command = ("features", "import", source, tmp_path / "store", "--detector", "d", "--width", WIDTH)

    stopped = run(*command, "--stop")
    went_on = run(*command)

    assert stopped[0] == 65
    assert "data: 1: 1.npy cannot be read" in stopped[2]
    assert went_on[0] == 3
    assert [text[:9] for text in went_on[1].splitlines()] == ["refused 1", "refused 3", "imported="]
    assert FeatureStore.open(tmp_path / "store").keys() == ("2",)


def test_the_command_finds_a_store_that_was_altered(tmp_path: Path, run):
    store = tmp_path / "store"
    imported(write_npy(tmp_path / "source", {"1": fields(1)}), store)
    (shard,) = (store / "shards").iterdir()
    data = bytearray(shard.read_bytes())
    data[-50] ^= 1  # of a feature
    shard.write_bytes(data)

    code, _, said = run("features", "verify", store)

    assert code == 65
    assert "its name states" in said
