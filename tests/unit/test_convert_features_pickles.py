"""A pickle may hold arrays and plain containers; whatever else it asks for is refused and nothing of it is run."""

import copyreg
import os
import pickle
import resource
from pathlib import Path

import numpy as np
import pytest

from twelve.convert.opcodes import MOST_CALLS, MOST_TUPLES
from twelve.convert.pickles import Refused, load_fields, load_plain

KINDS = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "b1", ">f4", ">i8")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", KINDS)
def test_arrays_of_every_kind_of_number_and_every_protocol_are_read_as_numpy_reads_them(kind: str, protocol: int):
    array = np.arange(6).reshape(2, 3).astype(kind)
    fields = {
        "rows": array,
        "columns": np.asfortranarray(array),
        "one": array[1, 2],
        "name": "é",
        "size": [1, 2.5, None],
    }

    got = load_fields(pickle.dumps(fields, protocol=protocol))

    for name in ("rows", "columns"):
        assert type(got[name]) is np.ndarray
        assert got[name].dtype == array.dtype
        assert np.array_equal(got[name], array)
    assert got["one"] == array[1, 2]
    assert (got["name"], got["size"]) == ("é", [1, 2.5, None])


def test_names_of_numpy_before_its_version_2_are_known():
    content = pickle.dumps({"rows": np.ones((2, 3))}, protocol=2)
    assert b"numpy._core.multiarray" in content

    got = load_fields(content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))

    assert np.array_equal(got["rows"], np.ones((2, 3)))


def test_the_array_that_numpy_saves_around_a_dict_is_read_as_the_dict():
    array = np.array({"rows": np.ones((2, 3))}, dtype=object)
    assert np.array_equal(load_fields(pickle.dumps(array))["rows"], np.ones((2, 3)))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([1, 2], "holds a list, expected a dict of fields"),
        (np.ones(3), "holds an array, expected a dict"),
        (np.array([{}, {}], dtype=object), "holds an array, expected a dict"),
        ({"a": np.array(["text"])}, "an array holds <U4, expected numbers"),
        ({"a": np.array([1j])}, "an array holds <c16, expected numbers"),
        ({"a": np.array(["2020"], dtype="M8[Y]")}, "an array holds <M8, expected numbers"),
        ({"a": np.ones(2, dtype=[("x", "f4")])}, "an array holds .*V4, expected numbers"),
        ({"a": np.ma.ones(3)}, "asks for numpy.ma.core._mareconstruct, expected numbers"),
        ({"a": Path("x")}, "asks for pathlib.PosixPath, expected numbers"),
        ({"a": {1, 2}}, "asks for a set .*, expected nothing but lists"),
        ({"a": [1, 2], "b": os.mkdir}, r"asks for \w+\.mkdir, expected numbers"),
    ],
    ids=str,
)
def test_anything_but_a_dict_of_plain_things_and_numbers_is_refused(value: object, says: str):
    with pytest.raises(Refused, match=says):
        load_fields(pickle.dumps(value))


@pytest.mark.parametrize("kept", [0, 1, 2, 20, 100, -1, -20])
def test_a_pickle_that_is_cut_short_is_refused(kept: int):
    content = pickle.dumps({"rows": np.ones((20, 3))})
    with pytest.raises(Refused):
        load_fields(content[:kept])


@pytest.mark.parametrize(
    "state",
    [
        b"(I1\n(I9\ntcnumpy\ndtype\n(S'f8'\ntR",  # too few parts, and a shape that nothing fills
        b"(I1\n(I3\nt(lI00\nS'aaaaaaaa'\nt",  # a list in place of a kind
        b"(I1\n(I999999999999\ntcnumpy\ndtype\n(S'f8'\ntRI00\nS'aaaaaaaa'\nt",  # a shape that its bytes do not fill
        b"(I1\n(I1\ntcnumpy\ndtype\n(S'O8'\ntRI00\nS'aaaaaaaa'\nt",  # addresses in place of objects
        b"(I1\n(I1\ntcnumpy\ndtype\n((ltRI00\nS'aaaaaaaa'\nt",  # a kind that is no text
        b"(I1\n(I1\ntcnumpy\ndtype\n(S'f8'\ntR(I3\nS'|O,'\ntbI00\nS'aaaaaaaa'\nt",  # an order that is a kind
    ],
)
def test_an_array_whose_parts_do_not_fit_is_refused(state: bytes):
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    with pytest.raises(Refused):
        load_fields(b"(dS'rows'\n" + array + state + b"bs.")


TRACE = "trace"
CALLABLES = (("os", "mkdir"), ("pathlib", "Path.mkdir"), ("subprocess", "Popen"), ("builtins", "eval"))
CALLS = {
    "REDUCE": "c{module}\n{name}\n(S'trace'\ntR.",
    "INST": "(S'trace'\ni{module}\n{name}\n.",
    "OBJ": "(c{module}\n{name}\nS'trace'\no.",
    "NEWOBJ": "c{module}\n{name}\n(S'trace'\nt\x81.",
    "NEWOBJ_EX": "c{module}\n{name}\n(S'trace'\nt}}\x92.",
    "STACK_GLOBAL": "S'{module}'\nS'{name}'\n\x93(S'trace'\ntR.",
}
"""The ways in which a pickle names and calls what it wants, each with the text of TRACE."""


def hostile(call: str, module: str = "os", name: str = "mkdir") -> bytes:
    return CALLS[call].format(module=module, name=name).encode("latin1")


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("load", [load_plain, load_fields])
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(("module", "name"), CALLABLES)
def test_no_opcode_calls_a_function_or_a_class(load, call: str, module: str, name: str, empty_folder: Path):
    with pytest.raises(Refused, match=f"asks for {module}.{name}, expected .* nothing of it was run"):
        load(hostile(call, module, name))
    assert not list(empty_folder.iterdir())


@pytest.mark.parametrize("call", sorted(CALLS.keys() - {"NEWOBJ", "NEWOBJ_EX"}))  # those two call classes alone
def test_the_hostile_pickles_do_run_where_nobody_refuses_them(call: str, empty_folder: Path):
    pickle.loads(hostile(call))
    assert (empty_folder / TRACE).is_dir()


class Unpickled:
    """Leaves a folder behind wherever its state is restored."""

    def __setstate__(self, state: object) -> None:
        os.mkdir(TRACE)


def test_no_state_is_restored_into_a_class_of_ours(empty_folder: Path):
    victim = Unpickled()
    victim.x = 1
    with pytest.raises(Refused, match=r"asks for .*Unpickled"):
        load_fields(pickle.dumps(victim))
    assert not list(empty_folder.iterdir())


@pytest.mark.parametrize("opcode", [b"\x82\x01", b"\x83\x01\x00", b"\x84\x01\x00\x00\x00"])
def test_no_registered_extension_is_called(opcode: bytes, empty_folder: Path):
    copyreg.add_extension("os", "mkdir", 1)
    try:
        with pytest.raises(Refused, match=r"asks for os\.mkdir"):
            load_fields(b"\x80\x02" + opcode + b"(S'trace'\ntR.")
    finally:
        copyreg.remove_extension("os", "mkdir", 1)
    assert not list(empty_folder.iterdir())


@pytest.mark.parametrize("content", [b"Pos.mkdir\n.", b"S'x'\nQ.", b"\x80\x05\x97."])
def test_nothing_is_asked_of_persistent_ids_and_of_buffers_beside_the_pickle(content: bytes):
    with pytest.raises(Refused):
        load_fields(content)


MISUSES = {
    "attributes of a name": (b"cnumpy\ndtype\n(dS'make'\nI1\nsb.", "it changes a name"),
    "slots of a name": (b"cnumpy\ndtype\n(N(dS'_make'\nI1\nstb.", "it changes a name"),
    "the call of a name": (b"cnumpy.core.multiarray\n_reconstruct\n(N(dS'__call__'\nI1\nstb.", "it changes a name"),
    "an array by its class": (b"cnumpy\nndarray\n(I3\ntR.", "in another way than numpy writes one"),
    "an array as an object": (b"cnumpy\nndarray\n(I3\nt\x81.", "NEWOBJ"),
    "an item of a name": (b"cnumpy\ndtype\nS'x'\nI1\ns.", "does not support item assignment"),
    "more of a name": (b"cnumpy\ndtype\nS'x'\na.", "no attribute"),
    "another codec": (b"c_codecs\nencode\n(S'x'\nS'zlib'\ntR.", "bytes are written as 'zlib', expected 'latin1'"),
    "a part of a name": (b"cnumpy.core.multiarray\n_reconstruct.__globals__\n.", "asks for .*__globals__"),
}


@pytest.mark.parametrize(("content", "says"), MISUSES.values(), ids=MISUSES)
def test_what_stands_in_for_numpy_is_neither_changed_nor_used_otherwise(content: bytes, says: str):
    with pytest.raises(Refused, match=says):
        load_fields(content)
    assert np.array_equal(load_fields(pickle.dumps({"rows": np.ones((2, 3))}))["rows"], np.ones((2, 3)))


MIB = 1 << 20
HUGE = {
    "tuples in tuples, as a key": (b"})" + b"\x85" * 1_000_000 + b"Ns.", "at most 4,096 tuples, got 1,000,001"),
    "the same, with marks": (b"}" + b"(" * 500_000 + b"t" * 500_000 + b"Ns.", "at most 4,096 tuples"),
    "calls without end": (b"(" + b"NNR" * (MOST_CALLS + 1) + b"l.", "at most 4,096 calls"),
    "memo place 2**31": (b"]r\xff\xff\xff\x7f.", "at a place that only fills memory"),
    "memo place 2**40, in writing": (b"]p1099511627776\n.", "at a place that only fills memory"),
    "a text of 4 GB": (b"X\xff\xff\xff\xffx.", "cut short"),
    "an array of 2**62 bytes": (b"\x80\x05\x96" + (2**62).to_bytes(8, "little") + b"x.", "cut short"),
    "a text of 1 MB, encoded a thousand times": (
        b"\x80\x02(c_codecs\nencode\nq\x00X" + MIB.to_bytes(4, "little") + b"x" * MIB
        + b"X\x06\x00\x00\x00latin1\x86q\x01" + b"h\x00h\x01R" * 1_000 + b"l.",
        "more bytes than it has text",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "says"), HUGE.values(), ids=HUGE)
def test_a_pickle_that_asks_for_more_than_it_holds_is_refused_at_little_memory(content: bytes, says: str):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with pytest.raises(Refused, match=says):
        load_fields(content)

    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 100 * MIB


def test_texts_alone_are_looked_through_as_well():
    with pytest.raises(Refused, match="at most 4,096 tuples"):
        load_plain(b"})" + b"\x85" * 1_000_000 + b"Ns.")


def test_as_many_tuples_as_are_let_through_can_be_hashed_inside_each_other():
    content = b"})" + b"\x85" * (MOST_TUPLES - 1) + b"Ns."

    assert len(load_fields(content)) == 1
