import json
import os
import pickle
from pathlib import Path

import pytest

from tests.checkout import ROOT
from twelve.convert.answers import read
from twelve.errors import WeightsInvalid

ANSWERS = ("yes", "no", "café")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "answers"


def test_a_json_list_is_read_in_its_order(path: Path) -> None:
    path.write_text(json.dumps(ANSWERS))
    assert read(path, outputs=3) == ANSWERS


@pytest.mark.parametrize("protocol", range(6))
def test_a_pickled_list_is_read_as_the_authors_wrote_it(path: Path, protocol: int) -> None:
    path.write_bytes(pickle.dumps(list(ANSWERS), protocol=protocol))
    assert read(path, outputs=3) == ANSWERS


def test_the_published_answers_of_vqa_fit_the_published_head() -> None:
    assert read(ROOT / "tests/data/official-rows/vqa_label2ans_3129.json", outputs=3129)[:2] == ("", "woods")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b'["yes", "no"]', "lists 2 answers, the head has 3 outputs; .*not swapped"),
        (b'["a", "b", "c", "d"]', "lists 4 answers, the head has 3 outputs"),
        (b'["yes", "no", "yes"]', "lists 'yes' 2 times; each output of a head is another answer"),
        (b'["yes", "no", 2]', r"\[2\] is of type int, expected a text"),
        (b'{"yes": 0, "no": 1, "2": 2}', "holds a dict, expected a list of answers"),
        (b'["yes", "no", "', "is no JSON"),
        (pickle.dumps({"yes": 0}), "holds a dict, expected a list"),
        (pickle.dumps([b"yes", b"no", b"2"]), r"\[0\] is of type bytes, expected a text"),
        (b'["yes", "no", "caf\\ud800"]', r"\[2\] is 'caf\\ud800', which has half a character at 3"),
        (pickle.dumps(["yes", "\udc80", "no"]), r"\[1\] is '\\udc80', which has half a character at 0"),
        (b"", "is neither JSON nor a plain pickle"),
        (b"yes\nno\n2\n", "is neither JSON nor a plain pickle"),
    ],
    ids=str,
)
def test_another_list_is_refused_by_what_is_wrong_with_it(path: Path, content: bytes, says: str) -> None:
    path.write_bytes(content)
    with pytest.raises(WeightsInvalid, match=says):
        read(path, outputs=3)


DEPTH = 200_000


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[" * DEPTH, "is no JSON"),
        (b"[" * DEPTH + b"]" * DEPTH, "is no JSON"),
        (b"\x80\x02]" + b"]" * DEPTH + b"a" * DEPTH + b".", r"\[0\] is of type list, expected a text"),
    ],
    ids=["open JSON", "JSON", "a pickle"],
)
def test_a_list_within_lists_without_end_is_refused(path: Path, content: bytes, says: str) -> None:
    path.write_bytes(content)
    with pytest.raises(WeightsInvalid, match=says):
        read(path, outputs=1)


def test_a_missing_list_is_refused(path: Path) -> None:
    with pytest.raises(WeightsInvalid, match="there is no such list of answers"):
        read(path, outputs=3)


class Hostile:
    """Pickles into a call that would leave a folder behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("protocol", range(6))
def test_code_in_a_list_is_not_run(path: Path, protocol: int) -> None:
    trace = path.parent / "trace"
    path.write_bytes(pickle.dumps(["yes", "no", Hostile(trace)], protocol=protocol))
    with pytest.raises(WeightsInvalid, match=r"asks for \w+\.mkdir, expected texts alone; nothing of it was run"):
        read(path, outputs=3)
    assert not trace.exists()
