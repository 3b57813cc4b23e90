"""All tasks over real HTTP, whichever way is asked: by JSON and form, by picture, ref and given regions."""

import base64
import json
from typing import Any

import numpy as np
import pytest

from tests.bundles import picture
from tests.integration.harness import encoded, example, parts
from tests.integration.ways import Way
from twelve.tasks import TASKS
from twelve.tasks.kinds.pointing import EXAMPLE_BOXES

pytestmark = pytest.mark.integration

SAME = 1e-5  # of a score in [0, 1]: fp32 sums in another order
SAME_PLACE_PX = 0.02  # of a box, which is told to a hundredth


@pytest.fixture(params=["json", "form"])
def ask(request: pytest.FixtureRequest, way: Way):
    return getattr(way, f"ask_{request.param}")


def regions(feature_width: int, seed: int = 0) -> dict[str, Any]:
    """Bring along as many regions as the examples have boxes."""
    features = np.random.default_rng(seed).random((len(EXAMPLE_BOXES), feature_width), dtype=np.float32)
    encoded_features = base64.b64encode(features.tobytes()).decode()
    return {"regions": {"features": encoded_features, "boxes": EXAMPLE_BOXES, "width": 320, "height": 240}}


def scores(answer: dict[str, Any]) -> dict[str, float]:
    return {json.dumps(candidate["answer"]): candidate["score"] for candidate in answer["candidates"]}


@pytest.mark.parametrize("name", TASKS)
def test_a_task_answers_pictures(ask, name):
    status, answer = ask(example(name))
    assert status == 200, answer
    assert answer["task"] == name
    assert answer["answer"] == answer["candidates"][0]["answer"]
    assert all(ref.startswith("sha256:") for ref in answer["images"])
    assert answer["timings_ms"]["total"] > 0


@pytest.mark.parametrize("name", TASKS)
def test_a_task_answers_refs_as_it_answers_the_pictures(ask, way, name):
    _, shown = way.ask_json(example(name, seed=20))
    status, named = ask(example(name, [{"ref": ref} for ref in shown["images"]]))
    assert status == 200, named
    assert scores(named) == pytest.approx(scores(shown), abs=SAME)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_answers_regions_brought_along(ask, feature_width, name):
    brought = [regions(feature_width, seed) for seed in range(TASKS[name].pictures_in_example)]
    status, answer = ask(example(name, brought))
    assert status == 200, answer
    assert answer["images"] == [None] * len(brought)


@pytest.mark.parametrize("name", TASKS)
def test_a_form_is_answered_as_json_is(way, name):
    (_, by_json), (_, by_form) = way.ask_json(example(name)), way.ask_form(example(name))
    assert scores(by_form) == pytest.approx(scores(by_json), abs=SAME)


def test_a_task_may_be_named_by_its_token(way):
    request = {**example("gqa"), "task_token": TASKS["gqa"].token}
    del request["task"]
    assert way.ask_json(request)[1]["task"] == "gqa"


def test_a_task_may_be_named_by_its_alias(way):
    assert way.ask_json({**example("refcoco+"), "task": "refcoco-plus"})[1]["task"] == "refcoco+"


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_asked_at_its_own_path(way, name):
    fields = {field: value for field, value in example(name).items() if field != "task"}
    for answer in (way.ask_own(name, json=fields), way.ask_own(name, files=parts(fields))):
        assert answer[0] == 200, answer
        assert answer[1]["task"] == name


def test_a_task_is_asked_at_the_path_of_its_alias(way):
    fields = {"expression": "it", "image": encoded(0)}
    assert way.ask_own("refcoco-plus", json=fields)[1]["task"] == "refcoco+"


def test_an_answer_says_that_it_is_json(way):
    response = way.client.post(way.url, json=example("vqa-v2"))
    assert response.headers["content-type"] == "application/json"


def test_a_picture_with_a_large_file_is_within_the_request_limit(way):
    large = base64.b64encode(picture(3, width=2400, height=1600, form="BMP")).decode()  # 11.5 MB
    status, answer = way.ask_json(example("vqa-v2", [large]))
    assert status == 200, answer


@pytest.mark.parametrize("name", TASKS)
def test_the_ways_answer_alike(torchserve, asgi, name):
    (_, one), (_, other) = torchserve.ask_json(example(name, seed=70)), asgi.ask_json(example(name, seed=70))
    assert one["images"] == other["images"]
    assert in_order(one, "score") == pytest.approx(in_order(other, "score"), abs=SAME)
    for mine, its in zip(in_order(one, "answer"), in_order(other, "answer"), strict=True):
        assert mine == pytest.approx(its, abs=SAME_PLACE_PX)


def in_order(answer: dict[str, Any], what: str) -> list[Any]:
    return [candidate[what] for candidate in answer["candidates"]]
