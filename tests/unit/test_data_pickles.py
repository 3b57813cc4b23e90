import contextlib
import os
import pickle
import pickletools
import random

import pytest

from training.data.faults import Fault
from training.data.pickles import load_plain

NAME = "refs(unc).p"


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


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'true'\ntR.",  # GLOBAL, REDUCE
        b"(S'true'\nios\nsystem\n.",  # INST
        b"(cos\nsystem\nS'true'\no.",  # OBJ
        b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.",  # STACK_GLOBAL
        b"\x80\x02cbuiltins\nobject\n)\x81.",  # NEWOBJ
        b"\x80\x02\x82\x01.",  # EXT1
        b"S'outside'\nQ.",  # BINPERSID
        b"Poutside\n.",  # PERSID
        b"ccollections\nOrderedDict\n(tR.",  # even a harmless class
        b"(dp0\n(dp1\nS'a'\nI1\nsb.",  # BUILD on a dict
        b"S'text'\n(I1\ntR.",  # REDUCE on what is no function
        b"",
        b"(lp0",
        b"no pickle at all",
        b".",
    ],
)
def test_every_opcode_that_could_build_more_is_refused(tmp_path, content):
    write(tmp_path, content)

    with pytest.raises(Fault, match="cannot be read as a plain pickle"):
        load_plain(tmp_path, NAME)


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
