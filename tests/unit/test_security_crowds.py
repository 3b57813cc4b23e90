"""Bodies of very many small values: refused before an object is made of any of them."""

import base64
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.hostile_bodies import CROWDS, MOST_BYTES, Body, as_form, as_json
from tests.checkout import ROOT
from twelve.errors import TooLarge
from twelve.schema import MOST_BOXES
from twelve.tasks.kinds.retrieving import MOST as MOST_PICTURES
from twelve.wire import MOST_MARKS, Call, read

MOST_ROOM = 3
"""So many times its own size may a body take while it is refused: a form's parts are copies. Read, it takes twenty."""


def asked(body: Body) -> Call:
    return Call(body.data, body.content_type)


def largest() -> dict[str, Any]:
    """Give a request of as many pictures and boxes as there may be, with features as narrow as can be."""
    features = base64.b64encode(bytes(4 * MOST_BOXES)).decode()
    boxes = [[1.5, 2.5, 100.25, 200.25]] * MOST_BOXES
    regions = {"regions": {"features": features, "boxes": boxes, "width": 640, "height": 480}}
    return {"task": "coco-retrieval", "caption": "a, b, [c], {d}" * 500, "images": [regions] * MOST_PICTURES}


@pytest.mark.parametrize("make", CROWDS.values(), ids=CROWDS)
def test_a_body_of_very_many_values_is_too_large_and_none_of_them_is_made(make: Callable[[], Body]) -> None:
    call = asked(make())
    tracemalloc.start()
    with pytest.raises(TooLarge, match=r"^body: its JSON has \d+ brackets, braces and commas, at most 163840 are read"):
        read(call)
    _, most_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most_bytes <= MOST_ROOM * len(call.body)


@pytest.mark.parametrize("write", [as_json, as_form])
def test_the_largest_request_has_half_as_many_as_are_read(write: Callable[[dict[str, Any]], Body]) -> None:
    body = write(largest())
    marks = sum(body.data.count(mark) for mark in (b"[", b"{", b","))
    assert 0.4 * MOST_MARKS < marks < 0.6 * MOST_MARKS
    assert len(read(asked(body)).request.images) == MOST_PICTURES


def test_a_token_of_very_many_values_is_too_large() -> None:
    with pytest.raises(TooLarge, match=r"^body: its JSON has"):
        read(asked(as_form({"task_token": [[]] * MOST_MARKS, "question": "Is it?"})))


def test_what_a_picture_or_a_text_of_a_form_holds_does_not_count() -> None:
    marks = base64.b64encode(b"[{," * MOST_MARKS).decode()
    assert read(asked(as_form({"task": "vqa-v2", "question": "Is it, or not?", "image": marks}))).task.name == "vqa-v2"


def test_crowds_are_as_large_as_a_body_may_be() -> None:
    assert f"max_request_size={MOST_BYTES}\n" in (ROOT / "config.properties").read_text(encoding="utf-8")
    assert max(len(make().data) for make in CROWDS.values()) > 0.99 * MOST_BYTES
