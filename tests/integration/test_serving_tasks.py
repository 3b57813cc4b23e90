"""All tasks over real HTTP: by JSON and by form, by picture, by ref and by given regions, alone and in company."""

import base64
import json
from typing import Any

import numpy as np
import pytest

from tests.bundles import picture
from tests.integration.harness import LiveServer, encoded, example
from twelve.tasks import TASKS
from twelve.tasks.kinds.pointing import EXAMPLE_BOXES

pytestmark = pytest.mark.integration

SAME = 1e-5  # of a score in [0, 1]: fp32 sums in another order
BURST = 3  # requests of each task at once: enough for batches to form while the workers are busy


@pytest.fixture(params=["json", "form"])
def ask(request: pytest.FixtureRequest, server: LiveServer):
    return getattr(server, f"ask_{request.param}")


@pytest.fixture(scope="module")
def ref(server: LiveServer) -> str:
    _, answer = server.ask_json(example("vqa-v2", seed=40))
    return answer["images"][0]


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
def test_a_task_answers_refs_as_it_answers_the_pictures(ask, server, name):
    _, shown = server.ask_json(example(name, seed=20))
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
def test_a_form_is_answered_as_json_is(server, name):
    (_, by_json), (_, by_form) = server.ask_json(example(name)), server.ask_form(example(name))
    assert scores(by_form) == pytest.approx(scores(by_json), abs=SAME)


def test_a_task_may_be_named_by_its_token(server):
    request = {**example("gqa"), "task_token": TASKS["gqa"].token}
    del request["task"]
    assert server.ask_json(request)[1]["task"] == "gqa"


def test_a_task_may_be_named_by_its_alias(server):
    assert server.ask_json({**example("refcoco+"), "task": "refcoco-plus"})[1]["task"] == "refcoco+"


def test_poisoned_requests_change_no_neighbour(server):
    good = [example(name, seed=60) for name in TASKS]
    alone = [server.ask_json(request)[1] for request in good]
    poison = [
        {"task": "nlvr2", "statement": "x", "images": [encoded(1)]},
        {"task": "vqa-v2", "question": "x", "image": base64.b64encode(b"no picture").decode()},
        {"task": "no such task"},
    ]
    before = server.metrics()["twelve_stage_seconds_count", "decode"]
    asked = [*poison, *good] * BURST
    together = server.ask_together(asked)
    batches = server.metrics()["twelve_stage_seconds_count", "decode"] - before
    assert batches < len(asked), "nothing ran together, so nothing was tried"
    expected = [*[None] * len(poison), *alone] * BURST
    assert [status for status, _ in together] == [422, 422, 404, *[200] * len(good)] * BURST
    for one, (_, answer) in zip(expected, together, strict=True):
        if one is not None:
            assert answer["answer"] == one["answer"]
            assert scores(answer) == pytest.approx(scores(one), abs=SAME)


def test_a_ref_is_answered_by_whichever_worker_is_asked(server, ref):
    request = {**example("vqa-v2", [{"ref": ref}])}
    replies = server.ask_together([request] * 24)
    assert {status for status, _ in replies} == {200}
    assert len({reply["answer"] for _, reply in replies}) == 1


def test_a_ref_outlives_the_workers_that_saw_its_picture(server, ref):
    for pid in server.workers():
        server.kill_worker(pid)
    status, answer = server.ask_json(example("visual7w", [{"ref": ref}]))
    assert status == 200, answer


def test_a_request_names_its_own_id_in_an_error(server):
    response = server.client.post(server.url, json={})
    assert response.json()["error"]["request"] == response.headers["x-request-id"]


def test_an_answer_says_that_it_is_json(server):
    response = server.client.post(server.url, json=example("vqa-v2"))
    assert response.headers["content-type"] == "application/json"


def test_a_picture_with_a_large_file_is_within_the_request_limit(server):
    large = base64.b64encode(picture(3, width=2400, height=1600, form="BMP")).decode()  # 11.5 MB
    status, answer = server.ask_json(example("vqa-v2", [large]))
    assert status == 200, answer
