"""TorchServe's own: batches of strangers, workers that die, bodies that it refuses itself.

What every way to the service has in common is in test_conformance_tasks.py.
"""

import base64
import socket

import pytest

from tests.integration.harness import LiveServer, encoded, example
from tests.integration.test_conformance_tasks import SAME, scores
from twelve.tasks import TASKS

pytestmark = pytest.mark.integration

BURST = 3  # requests of each task at once: enough for batches to form while the workers are busy


@pytest.fixture(scope="module")
def ref(server: LiveServer) -> str:
    _, answer = server.ask_json(example("vqa-v2", seed=40))
    return answer["images"][0]


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


def test_a_body_above_the_servers_limit_is_refused_before_it_is_read(server):
    """TorchServe itself answers, without a body; a client that still writes may see the connection closed."""
    with socket.create_connection(("127.0.0.1", server.ports["PORT"]), timeout=10) as raw:
        raw.sendall(b"POST /predictions/twelve HTTP/1.1\r\nHost: x\r\nContent-Length: 99000000\r\n\r\n")
        assert b" 413 " in raw.recv(1000).split(b"\r\n")[0]


def test_a_caller_who_hangs_up_harms_nobody(server):
    with socket.create_connection(("127.0.0.1", server.ports["PORT"]), timeout=10) as raw:
        raw.sendall(b"POST /predictions/twelve HTTP/1.1\r\nHost: x\r\nContent-Length: 5000\r\n\r\n{")
    assert server.ask_json(example("vqa-v2"))[0] == 200
