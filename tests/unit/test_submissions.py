"""Prediction files: each challenge's format, and drafts that survive a kill."""

import json

import pytest

from training.metrics.prediction import Prediction
from training.submissions import FORMATS, Draft, format_of, write
from twelve.errors import DataError
from twelve.tasks.records import (
    AnsweredQuestion,
    ComparedImages,
    EntailedStatement,
    GuessedObject,
    PointedBox,
    ReferredBox,
)
from twelve.tasks.registry import TASKS

IMAGE = "p.jpg"
BOXES = ((0, 0, 10, 10), (5, 5, 20, 20), (1, 1, 3, 3))
OF = {"model": "abc", "task": "vqa-v2"}

ROWS = [
    ("vqa-v2", AnsweredQuestion("458752000", IMAGE, "What?", ()), "net", {"question_id": 458752000, "answer": "net"}),
    ("vg-qa", AnsweredQuestion("987278", IMAGE, "What?", ()), "a café", {"qa_id": 987278, "answer": "a café"}),
    ("gqa", AnsweredQuestion("0218", IMAGE, "What?", ()), "red", {"questionId": "0218", "prediction": "red"}),
    (
        "visual7w",
        PointedBox("650", IMAGE, "Which?", BOXES, 0, (701, 702, 703)),
        1,
        {"qa_id": 650, "question": "Which?", "candidates": [{"answer": 702}, {"answer": 701}, {"answer": 703}]},
    ),
    ("guesswhat", GuessedObject("2416", IMAGE, (), BOXES, 0, (48, 71, 99)), 1, {"id": 2416, "object_id": 71}),
    (
        "refcoco",
        ReferredBox("7", IMAGE, "it", BOXES[0]),
        [1.25, 2.0, 4.5, 8.1],
        {"sent_id": 7, "bbox": [1.25, 2.0, 3.25, 6.1]},
    ),
    (
        "snli-ve",
        EntailedStatement("22.jpg#2r1c", IMAGE, "It.", "neutral"),
        "entailment",
        {"pairID": "22.jpg#2r1c", "prediction": "entailment"},
    ),
]


def handed_in(tmp_path, task, predictions):
    path, chosen = tmp_path / "file", format_of(task)
    draft = Draft(path, OF)
    draft.done()
    draft.append(chosen.row(one) for one in predictions)
    write(draft, chosen, path)
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("task", "record", "answer", "row"), ROWS, ids=[row[0] for row in ROWS])
def test_a_file_is_the_list_that_the_challenge_takes(tmp_path, task, record, answer, row):
    predictions = [Prediction(record, answer, (1, 0, 2))] * 2

    assert json.loads(handed_in(tmp_path, task, predictions)) == [row, row]


def test_nlvr2_takes_lines_of_identifier_and_verdict(tmp_path):
    predictions = [
        Prediction(ComparedImages(identifier, (IMAGE, IMAGE), "Two.", True), verdict)
        for identifier, verdict in [("dev-850-0-0", True), ("dev-850-1-0", False)]
    ]

    assert handed_in(tmp_path, "nlvr2", predictions) == "dev-850-0-0,True\ndev-850-1-0,False\n"


def test_every_task_but_retrieval_has_a_format():
    assert set(TASKS) - set(FORMATS) == {"coco-retrieval", "flickr30k-retrieval"}


def test_a_task_without_a_format_is_refused_with_what_to_do_instead():
    with pytest.raises(DataError, match=r"task 'coco-retrieval': nobody takes .* evaluate RECIPE --gallery 1000"):
        format_of("coco-retrieval")


def test_an_empty_split_gives_an_empty_list(tmp_path):
    assert json.loads(handed_in(tmp_path, "gqa", [])) == []


def test_a_draft_goes_on_after_its_last_whole_row(tmp_path):
    Draft(tmp_path / "file", OF).done()
    Draft(tmp_path / "file", OF).append(["one", "two"])
    with (tmp_path / "file.part").open("a") as part:
        part.write("thr")  # killed here

    again = Draft(tmp_path / "file", OF)
    assert again.done() == 2
    again.append(["three"])

    assert list(again.rows()) == ["one", "two", "three"]


@pytest.mark.parametrize("left", ["", "[", '{"model"', '{"model": "another"}\none\n', "\n\n"])
def test_a_draft_of_something_else_is_begun_anew(tmp_path, left):
    (tmp_path / "file.part").write_text(left)

    draft = Draft(tmp_path / "file", OF)

    assert draft.done() == 0
    assert list(draft.rows()) == []


def test_the_file_is_there_only_once_it_is_whole_and_the_draft_is_gone(tmp_path):
    path = tmp_path / "folder" / "file.json"
    draft = Draft(path, OF)
    draft.done()
    draft.append(["1"])
    assert not path.exists()

    write(draft, format_of("gqa"), path)

    assert [one.name for one in path.parent.iterdir()] == ["file.json"]
