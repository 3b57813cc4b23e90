import gzip
import json
import random
import tracemalloc

import pytest

from training.data import streams
from training.data.faults import Fault, refuse
from training.data.streams import Element, entries, json_lines, stream

MIB = 1 << 20


def write(root, text, name="file.json"):
    (root / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return name


def flat(value):
    """What `stream` must give, from the value parsed whole."""
    if isinstance(value, list):
        return [Element("", place, item) for place, item in enumerate(value)]
    elements = []
    for key, item in value.items():
        if isinstance(item, list) and item:
            elements += [Element(key, place, inner) for place, inner in enumerate(item)]
        else:
            elements.append(Element(key, None, item))
    return elements


def some_json(random_source, depth=3):
    kinds = [
        lambda: random_source.randint(-(10**12), 10**12),
        lambda: random_source.random() * 1e6,
        lambda: random_source.choice([True, False, None]),
        lambda: "".join(random_source.choice('aé"\\\n\t☃𝄞 ') for _ in range(random_source.randint(0, 30))),
    ]
    if depth:
        kinds += [
            lambda: [some_json(random_source, depth - 1) for _ in range(random_source.randint(0, 4))],
            lambda: {str(place): some_json(random_source, depth - 1) for place in range(random_source.randint(0, 4))},
        ]
    return random_source.choice(kinds)()


@pytest.mark.parametrize("chunk", [1, 7, 64, 1 << 18])
def test_streaming_gives_what_parsing_whole_gives(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(streams, "CHUNK", chunk)
    random_source = random.Random(chunk)
    for _ in range(60):
        outer = random_source.choice(["list", "object"])
        inner = [some_json(random_source) for _ in range(random_source.randint(0, 6))]
        value = inner if outer == "list" else {f"key {place}": item for place, item in enumerate(inner)}
        text = json.dumps(value, indent=random_source.choice([None, 1]), ensure_ascii=random_source.random() < 0.5)

        assert list(stream(tmp_path, write(tmp_path, text))) == flat(value)


def test_a_number_cut_by_the_window_is_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "CHUNK", 3)

    assert [element.value for element in stream(tmp_path, write(tmp_path, "[12345,-1.5e-7,true]"))] == [
        12345,
        -1.5e-7,
        True,
    ]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("[1,\n2,\n}", "3", "Expecting value"),
        ("[1,\n2", "2", "it ends where ',' is expected"),
        ('[{"a": 1},\n{"b": ', "2", "Expecting value"),
        ('[{"a": "open]', "1", "Unterminated string"),
        ('{"a": [1]}\n{"b": [2]}', "2", "expected the end of the file, got '{'"),
        ("{1: 2}", "1", "expected a quoted name, got 1"),
        ('{"a" 1}', "1", "expected ':', got '1'"),
        ("7", "1", "expected '{', got '7'"),
        ("", "1", "it ends where '{' is expected"),
        ("[" * 100_000, "1", "nested|recursion|Expecting"),
    ],
)
def test_broken_json_is_a_fault_that_names_the_line(tmp_path, text, line, reason):
    name = write(tmp_path, text)

    with pytest.raises(Fault, match=reason) as caught:
        list(stream(tmp_path, name))

    assert (caught.value.file, caught.value.row) == (name, line)


def test_a_syntax_error_is_found_without_reading_the_rest(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "CHUNK", 1024)
    name = write(tmp_path, '[{"a": 1,, "b": 2},' + "1," * MIB)
    tracemalloc.start()
    with pytest.raises(Fault, match=r"Expecting|Illegal"):
        list(stream(tmp_path, name))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < MIB


def test_a_value_without_end_is_refused_at_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "CHUNK", 1024)
    monkeypatch.setattr(streams, "LARGEST_VALUE", 10_000)
    name = write(tmp_path, '["' + "a" * 100_000)

    with pytest.raises(Fault, match="longer than 10000 characters"):
        list(stream(tmp_path, name))


def test_memory_follows_the_largest_value_not_the_file(tmp_path):
    row = json.dumps({"id": 1, "qas": [{"question": "What is it?", "answer": "A cat."}] * 20})
    name = write(tmp_path, "[" + ",".join([row] * 12_000) + "]")  # 12 MiB
    tracemalloc.start()
    count = sum(1 for _ in stream(tmp_path, name))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert count == 12_000
    assert peak < 4 * MIB


def test_text_that_is_not_utf8_is_a_fault(tmp_path):
    with pytest.raises(Fault, match="cannot be read as UTF-8 text"):
        list(stream(tmp_path, write(tmp_path, b'["\xff\xfe"]')))


def test_a_broken_archive_is_a_fault(tmp_path):
    whole = gzip.compress(b'{"a": 1}\n' * 1000)

    with pytest.raises(Fault, match="cannot be unpacked, the archive is damaged"):
        list(json_lines(tmp_path, write(tmp_path, whole[:-20], "file.jsonl.gz"), refuse))


def test_a_missing_file_is_a_fault(tmp_path):
    with pytest.raises(Fault, match=r"^absent\.json: the file is missing$"):
        list(stream(tmp_path, "absent.json"))


def test_a_missing_list_is_a_fault_and_so_is_an_empty_one(tmp_path):
    with pytest.raises(Fault, match=r"^file\.json: questions: expected at least one row, got none$"):
        list(entries(tmp_path, write(tmp_path, '{"questions": []}'), "questions"))
    with pytest.raises(Fault, match=r"file\.json: questions: expected a list, got nothing"):
        list(entries(tmp_path, write(tmp_path, '{"answers": []}'), "questions"))


def test_a_line_without_end_is_refused_at_a_bound(tmp_path, monkeypatch):
    monkeypatch.setattr(streams, "LARGEST_VALUE", 10_000)
    name = write(tmp_path, '{"a": 1}\n{"a": "' + "b" * 20_000 + '"}\n', "rows.jsonl")

    with pytest.raises(Fault, match=r"rows\.jsonl:2: the line is longer than 10000 characters"):
        list(json_lines(tmp_path, name, refuse))


def test_a_bad_line_costs_only_itself(tmp_path):
    faults = []
    name = write(tmp_path, '{"a": 1}\n\nnot json\n{"a": 2}\n', "rows.jsonl")

    found = [entry.integer("a") for entry in json_lines(tmp_path, name, faults.append)]

    assert found == [1, 2]
    assert [(fault.file, fault.row) for fault in faults] == [(name, "3")]


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_a_file_without_any_line_is_a_fault(tmp_path, content):
    with pytest.raises(Fault, match=r"^rows\.jsonl: expected at least one row, got none$"):
        list(json_lines(tmp_path, write(tmp_path, content, "rows.jsonl"), refuse))


def test_a_bad_byte_is_reported_at_its_own_line(tmp_path):
    lines = [b'{"a": "' + b"x" * 200 + b'"}\n' for _ in range(100)]
    lines[60] = lines[60].replace(b"x", b"\xe9", 1)

    with pytest.raises(Fault, match=r"^rows\.jsonl:61: cannot be read as UTF-8 text: got the byte 0xe9$"):
        list(json_lines(tmp_path, write(tmp_path, b"".join(lines), "rows.jsonl"), refuse))
    with pytest.raises(Fault, match=r"^file\.json:62: cannot be read as UTF-8 text: got the byte 0xe9$"):
        list(stream(tmp_path, write(tmp_path, b"[\n" + b",".join(lines) + b"]")))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
def test_text_in_another_encoding_is_called_by_its_name(tmp_path, encoding):
    name = write(tmp_path, '{"a": 1}\n'.encode(encoding))

    with pytest.raises(Fault, match=rf"^file\.json: expected UTF-8 text, got {encoding[:6].upper()}$"):
        list(json_lines(tmp_path, name, refuse))


def test_a_packed_file_under_a_plain_name_is_called_an_archive(tmp_path):
    with pytest.raises(Fault, match=r"^file\.json: expected UTF-8 text, got a gzip archive"):
        list(stream(tmp_path, write(tmp_path, gzip.compress(b"[1]"))))


def test_a_folder_and_a_link_to_nothing_are_no_files(tmp_path):
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "link.json").symlink_to(tmp_path / "nothing")

    with pytest.raises(Fault, match=r"^folder\.json: expected a file, got an empty folder$"):
        list(stream(tmp_path, "folder.json"))
    with pytest.raises(Fault, match=r"^link\.json: expected a file, got a link to nothing$"):
        list(stream(tmp_path, "link.json"))


def test_a_name_that_stands_twice_in_an_object_is_a_fault_of_its_line(tmp_path):
    faults = []
    name = write(tmp_path, '{"a": 1}\n{"b": {"a": 1, "a": 2}}\n', "rows.jsonl")

    assert len(list(json_lines(tmp_path, name, faults.append))) == 1
    assert [(fault.row, "'a' twice" in fault.reason) for fault in faults] == [("2", True)]
