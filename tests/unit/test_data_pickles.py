import contextlib
import os
import pickle
import pickletools
import random
import re
import resource
import shutil

import pytest

from training.data import READERS, pickles
from training.data.faults import Fault
from training.data.pickles import load_plain
from twelve.convert.opcodes import MOST_CONTAINERS

NAME = "refs(unc).p"
MIB = 1 << 20
PLAIN_OPCODES = frozenset(
    [
        *("PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "DUP", "NONE", "NEWTRUE", "NEWFALSE"),
        *("INT", "LONG", "FLOAT", "BININT", "BININT1", "BININT2", "BINFLOAT", "LONG1", "LONG4"),
        *("STRING", "UNICODE", "SHORT_BINSTRING", "BINSTRING", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_DICT", "DICT", "SETITEM", "SETITEMS"),
        *("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET"),
    ]
)


class Hostile:
    """Pickles into a call that would leave a file behind."""

    def __init__(self, call, *arguments):
        self.reduced = (call, arguments)

    def __reduce__(self):
        return self.reduced


def write(root, content):
    (root / NAME).write_bytes(content)


@pytest.mark.parametrize("protocol", range(6))
def test_plain_containers_are_read_in_every_protocol(tmp_path, protocol):
    value = [{"ref_id": 0, "box": [1.5, -2], "raw": "THE LADY", "none": None, "flag": True, "big": 2**70}]
    write(tmp_path, pickle.dumps(value, protocol=protocol))

    assert load_plain(tmp_path, NAME) == value


def test_byte_strings_of_python_2_are_read_as_latin_1(tmp_path):
    write(tmp_path, b"(dp0\nS'raw'\np1\nS'caf\\xe9'\np2\ns.")

    assert load_plain(tmp_path, NAME) == {"raw": "café"}


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("function", [os.mkdir, eval, os.system, getattr])
def test_a_hostile_pickle_runs_nothing(tmp_path, protocol, function):
    trace = tmp_path / "trace"
    arguments = {
        os.mkdir: (str(trace),),
        eval: (f"__import__('os').mkdir({str(trace)!r})",),
        os.system: (f"mkdir '{trace}'",),
        getattr: ("", "join"),
    }
    write(tmp_path, pickle.dumps([{"ref_id": Hostile(function, *arguments[function])}], protocol=protocol))

    with pytest.raises(Fault, match=r"asks for .*nothing of it was run"):
        load_plain(tmp_path, NAME)

    assert not trace.exists()


TOUCH = b"S'touch TRACE'\n"
HOSTILE = {
    "GLOBAL": b"cos\nsystem\n.",
    "REDUCE": b"(" + TOUCH + b"tR.",
    "REDUCE of a name": b"cos\nsystem\n(" + TOUCH + b"tR.",
    "INST": b"(" + TOUCH + b"ios\nsystem\n.",
    "OBJ": b"(cos\nsystem\n" + TOUCH + b"o.",
    "OBJ alone": b"(" + TOUCH + b"o.",
    "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
    "NEWOBJ": b"\x80\x02cbuiltins\nobject\n)\x81.",
    "NEWOBJ alone": b"]]\x81.",
    "NEWOBJ_EX": b"]]}\x92.",
    "BUILD": b"}}S'a'\nI1\nsb.",
    "EXT1": b"\x80\x02\x82\x01.",
    "EXT2": b"\x80\x02\x83\x01\x00.",
    "EXT4": b"\x80\x02\x84\x01\x00\x00\x00.",
    "PERSID": b"Poutside\n.",
    "BINPERSID": b"S'outside'\nQ.",
    "NEXT_BUFFER": b"\x80\x05\x97.",
    "a harmless class": b"ccollections\nOrderedDict\n.",
    "a name behind the end of a text": b"S'x'\ncos\nsystem\n.",
    "a name behind a frame": b"\x80\x04\x95\x01\x00\x00\x00\x00\x00\x00\x00]cos\nsystem\n.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_opcode_that_asks_for_code_is_refused_before_anything_runs(tmp_path, monkeypatch, name):
    started = []
    monkeypatch.setattr(pickles, "_PlainUnpickler", lambda *arguments, **options: started.append(arguments))
    write(tmp_path, HOSTILE[name].replace(b"TRACE", bytes(tmp_path / "trace")))

    with pytest.raises(
        Fault, match=r"cannot be read as a plain pickle: at byte \d+ it asks for .*nothing of it was run"
    ):
        load_plain(tmp_path, NAME)

    assert started == []
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("name", [name for name in HOSTILE if b"cos\n" in HOSTILE[name] or "STACK" in name])
def test_the_unpickler_itself_refuses_every_name_as_well(tmp_path, monkeypatch, name):
    monkeypatch.setattr(pickles, "look_through", lambda content, allowed: None)
    write(tmp_path, HOSTILE[name].replace(b"TRACE", bytes(tmp_path / "trace")))

    with pytest.raises(Fault, match=r"it asks for os\.system; nothing of it was run"):
        load_plain(tmp_path, NAME)

    assert not (tmp_path / "trace").exists()


def test_no_opcode_is_let_through_that_is_not_plain(tmp_path):
    plain = {opcode.code for opcode in pickletools.opcodes if opcode.name in PLAIN_OPCODES}
    asking = {opcode.code for opcode in pickletools.opcodes} - plain

    for code in asking:
        write(tmp_path, code.encode("latin1") + b"1\n1\n.")
        with pytest.raises(Fault, match="byte 0"):
            load_plain(tmp_path, NAME)
    assert len(plain) + len(asking) == 68


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is cut short"),
        (b"(lp0", "it is cut short"),
        (b"S'open", "it is cut short"),
        (b"no pickle at all", "cut short|expected an opcode|asks for"),
        (b"\xff.", r"byte 0 is b'\\xff', expected an opcode"),
        (b".", "underflow|empty"),
        (b"]a.", "underflow"),
        (b"]].extra", "expected its end at byte 3, got 5 more"),
        (b"Ixyz\n.", "invalid literal|could not convert"),
        (b"g7\n.", "Memo value not found"),
        (b"}]I1\ns.", "unhashable"),
    ],
)
def test_what_is_no_pickle_is_a_fault_that_says_why(tmp_path, content, reason):
    write(tmp_path, content)

    with pytest.raises(Fault, match=f"cannot be read as a plain pickle: .*({reason})"):
        load_plain(tmp_path, NAME)


HUGE = {
    "a text of 2**62 bytes": b"\x80\x04\x8d" + (2**62).to_bytes(8, "little") + b"x.",
    "a text of 4 GB": b"X\xff\xff\xff\xffx.",
    "a byte string of 2 GB": b"T\xff\xff\xff\x7fx.",
    "a number of 2 GB": b"\x80\x02\x8b\xff\xff\xff\x7fx.",
    "a frame of 2**62 bytes": b"\x80\x04\x95" + (2**62).to_bytes(8, "little") + b"].",
    "memo place 2**31": b"]r\xff\xff\xff\x7f.",
    "memo place 2**40, in writing": b"]p1099511627776\n.",
    "memo place 100 of 3 opcodes": b"]q\x64.",
    "a number of a million digits": b"I" + b"9" * 1_000_000 + b"\n.",
    "two million lists": b"(" + b"]" * (MOST_CONTAINERS + 1) + b"l.",
    "two million dicts": b"(" + b"}" * (MOST_CONTAINERS + 1) + b"l.",
    "tuples in tuples, as a key": b"})" + b"\x85" * 1_000_000 + b"Ns.",
    "frozen sets in frozen sets": b"\x80\x04(" + b"(" * 100_000 + b"\x91" * 100_000 + b".",
}


@pytest.mark.parametrize("name", HUGE)
def test_a_pickle_that_asks_for_more_than_it_holds_ends_in_a_fault_at_little_memory(tmp_path, name):
    write(tmp_path, HUGE[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    with pytest.raises(Fault, match="cannot be read as a plain pickle"):
        load_plain(tmp_path, NAME)

    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 100 * MIB


def test_a_pickle_larger_than_any_published_one_is_not_opened(tmp_path):
    with (tmp_path / NAME).open("wb") as file:
        file.truncate(pickles.LARGEST_FILE + 1)  # a hole: takes no room on the disk

    with pytest.raises(Fault, match=r"expected at most 134,217,728 bytes, got 134,217,729"):
        load_plain(tmp_path, NAME)


NESTED = b"]" * 60_000 + b"a" * 59_999


def laughs():
    """Give 8**40 lists in 41."""
    value = []
    for _ in range(40):
        value = [value] * 8
    return value


def endless():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize("value", [NESTED, laughs(), endless()], ids=["nested", "laughs", "endless"])
@pytest.mark.parametrize("field", ["split", "ann_id", "image_id", "sentences"])
def test_a_value_without_bottom_is_a_fault_of_its_field(tmp_path, request, value, field):
    shutil.copytree(request.config.rootpath / "tests/data/hand-made-rows/refcoco", tmp_path / "refcoco")
    path = tmp_path / "refcoco/refs(unc).p"
    refs = pickle.loads(path.read_bytes(), encoding="latin1")  # our own fixture
    refs[0][field] = "VALUE" if value is NESTED else value
    path.write_bytes(re.sub(rb"VVALUE\np\d+\n", NESTED, pickle.dumps(refs, protocol=0)))
    faults = []

    list(READERS["refcoco"].read(tmp_path, "train", faults.append))

    assert any((fault.row, fault.field.partition("[")[0]) == ("[0]", field) for fault in faults)
    assert all(len(fault.message) < 200 for fault in faults)


def test_a_damaged_pickle_is_a_fault_or_plain_data(tmp_path):
    whole = pickle.dumps([{"ref_id": place, "raw": "blue shirt"} for place in range(20)], protocol=0)
    random_source = random.Random(3)
    for _ in range(500):
        damaged = bytearray(whole)
        for _ in range(random_source.randint(1, 4)):
            damaged[random_source.randrange(len(damaged))] = random_source.randrange(256)
        write(tmp_path, bytes(damaged))
        with contextlib.suppress(Fault):
            load_plain(tmp_path, NAME)  # anything else that it raises fails the test


def test_a_missing_pickle_is_a_fault(tmp_path):
    with pytest.raises(Fault, match="the file is missing"):
        load_plain(tmp_path, NAME)


@pytest.mark.parametrize("name", ["refcoco/refs(unc).p", "refcoco+/refs(unc).p", "refcocog/refs(umd).p"])
def test_the_fixtures_are_what_python_2_writes(request, name):
    content = (request.config.rootpath / "tests/data/hand-made-rows" / name).read_bytes()

    opcodes = {opcode.name for opcode, _, _ in pickletools.genops(content)}

    assert opcodes <= {"MARK", "LIST", "DICT", "PUT", "STRING", "INT", "APPEND", "SETITEM", "STOP"}
