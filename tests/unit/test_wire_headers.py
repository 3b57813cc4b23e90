"""What a proxy in front adds to a request: the task that the path names, and the request's own name."""

import json
from typing import Any

import pytest

from tests.bundles import picture
from twelve.errors import InvalidField, UnknownTask
from twelve.wire import Call, read, request_name

QUESTION = {"question": "Is there a dog?", "image": {"ref": f"sha256:{'0' * 64}"}}


def call(fields: dict[str, Any], path: str) -> Call:
    return Call(json.dumps(fields).encode(), "application/json", headers={"x-task": path})


def test_the_task_may_stand_in_the_path_alone():
    assert read(call(QUESTION, "vqa-v2")).task.name == "vqa-v2"


def test_a_form_may_leave_the_task_to_the_path():
    form = {"expression": b"the dog", "image": picture()}
    sent = Call(form, "multipart/form-data; boundary=x", headers={"x-task": "refcoco-plus"})
    assert read(sent).task.name == "refcoco+"


@pytest.mark.parametrize("body", [{"task": "vqa-v2"}, {"task_token": 1}, {"task": "vqa-v2", "task_token": 1}])
def test_a_body_that_agrees_with_the_path_is_read(body):
    assert read(call({**QUESTION, **body}, "vqa-v2")).task.name == "vqa-v2"


@pytest.mark.parametrize("body", [{"task": "gqa"}, {"task_token": 15}])
def test_a_body_that_contradicts_the_path_is_refused(body):
    with pytest.raises(InvalidField, match=r"task: the body asks for 'gqa', the path for 'vqa-v2'; send one of both"):
        read(call({**QUESTION, **body}, "vqa-v2"))


def test_a_path_that_names_no_task_is_refused_as_a_body_would_be():
    with pytest.raises(UnknownTask):
        read(call(QUESTION, "vqa-v3"))


@pytest.mark.parametrize(
    ("sent", "name"), [("a-1.B_2", "a-1.B_2"), ("x" * 65, "own"), ("a b", "own"), ('a"', "own"), ("", "own")]
)
def test_a_request_keeps_a_plain_name_that_it_came_with(sent, name):
    assert request_name({"x-request-id": sent}, "own") == name


def test_a_request_without_a_name_gets_one():
    assert request_name({}, "own") == "own"
