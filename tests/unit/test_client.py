import base64
import io
import json
import subprocess
import sys

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.bundles import picture
from twelve.client import FIRST_WAIT_S, Client, encoded
from twelve.errors import (
    DeadlineExceeded,
    EngineFailed,
    InvalidField,
    NoWorker,
    QueueFull,
    RequestError,
    ServerError,
    TooLarge,
    UnknownTask,
)

REF = "sha256:" + "0" * 64
ANSWER = {
    "task": "vqa-v2",
    "answer": "red",
    "candidates": [{"answer": "red", "score": 0.9}, {"answer": "blue", "score": 0.2}],
    "images": [REF],
    "model": {"name": "tiny", "version": "0"},
    "timings_ms": {"total": 1.0},
}


class Server:
    """Answers with the given responses, one a request, the last one again and again; keeps what it was sent."""

    def __init__(self, *responses):
        self.responses = list(responses)
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        response = self.responses.pop(0) if len(self.responses) > 1 else self.responses[0]
        if isinstance(response, Exception):
            raise response
        return response

    @property
    def bodies(self):
        return [json.loads(request.content) for request in self.requests]


def problem(status, code, message="a sentence", at=None):
    return httpx.Response(status, json={"error": {"code": code, "at": at, "message": message, "request": "r"}})


@pytest.fixture
def slept():
    return []


@pytest.fixture
def client(slept):
    def make(server, **options):
        return Client("http://server:8080/", transport=httpx.MockTransport(server), sleep=slept.append, **options)

    return make


def test_a_question_is_sent_as_the_contract_says_and_its_answer_read(client):
    server = Server(httpx.Response(200, json=ANSWER))

    answer = client(server).ask("vqa-v2", image=b"jpeg", question="What color is the car?")

    assert (answer.answer, answer.candidates[1].score, answer.images) == ("red", 0.2, (REF,))
    assert str(server.requests[0].url) == "http://server:8080/predictions/twelve"
    assert server.requests[0].headers["content-type"] == "application/json"
    assert server.bodies == [
        {
            "task": "vqa-v2",
            "question": "What color is the car?",
            "image": base64.b64encode(b"jpeg").decode(),
        }
    ]


def test_several_pictures_keep_their_order_and_forms(client, tmp_path):
    server = Server(httpx.Response(200, json=ANSWER))
    (tmp_path / "p.png").write_bytes(picture())

    client(server).ask("nlvr2", images=[tmp_path / "p.png", str(tmp_path / "p.png"), {"ref": REF}], statement="x")

    file = base64.b64encode(picture()).decode()
    assert server.bodies[0]["images"] == [file, file, {"ref": REF}]


def test_a_drawn_picture_is_sent_without_loss():
    drawn = Image.open(io.BytesIO(picture(3)))

    sent = Image.open(io.BytesIO(base64.b64decode(encoded(drawn))))

    assert np.array_equal(np.asarray(sent), np.asarray(drawn))


def test_features_brought_along_are_sent_as_float32():
    features = np.arange(6, dtype=np.float64).reshape(2, 3)

    sent = encoded({"regions": {"features": features, "boxes": [[0, 0, 1, 1]], "width": 4, "height": 3}})["regions"]

    assert np.frombuffer(base64.b64decode(sent["features"]), "<f4").tolist() == [0, 1, 2, 3, 4, 5]
    assert (sent["boxes"], sent["width"]) == ([[0, 0, 1, 1]], 4)


def test_what_is_no_picture_is_refused_with_a_sentence():
    with pytest.raises(TypeError, match=r"a picture is a path, bytes, a PIL image, .* got int"):
        encoded(3)


def test_a_missing_file_is_found_before_anything_is_sent(client, tmp_path):
    server = Server(httpx.Response(200, json=ANSWER))

    with pytest.raises(FileNotFoundError):
        client(server).ask("vqa-v2", image=tmp_path / "none.jpg", question="x")

    assert server.requests == []


@pytest.mark.parametrize(
    ("response", "kind", "at"),
    [
        (problem(422, "invalid-field", at="images[1]"), InvalidField, "images[1]"),
        (problem(404, "unknown-task", at="task"), UnknownTask, "task"),
        (problem(500, "engine-failed"), EngineFailed, None),
        (problem(504, "deadline"), DeadlineExceeded, None),
    ],
)
def test_an_error_of_the_contract_is_raised_by_its_code(client, response, kind, at):
    with pytest.raises(kind) as caught:
        client(Server(response)).ask("vqa-v2", question="x")

    assert (caught.value.message, caught.value.at) == ("a sentence", at)


@pytest.mark.parametrize(
    ("response", "kind"),
    [
        (httpx.Response(413, html="<h1>too large</h1>"), TooLarge),
        (httpx.Response(404, json={"code": 404, "type": "ModelNotFoundException", "message": "m"}), RequestError),
        (httpx.Response(502, html="<h1>bad gateway</h1>"), ServerError),
        (httpx.Response(500, json={"error": "text"}), ServerError),
        (httpx.Response(500, json=[]), ServerError),
    ],
)
def test_an_error_of_somebody_else_is_raised_by_its_status_and_quoted(client, response, kind):
    with pytest.raises(kind, match=rf"server:8080/predictions/twelve answered {response.status_code}.*: \S") as caught:
        client(Server(response)).ask("vqa-v2", question="x")

    assert type(caught.value) is kind


def test_an_answer_that_is_none_is_an_error(client):
    with pytest.raises(EngineFailed, match="not as the contract says: welcome"):
        client(Server(httpx.Response(200, text="welcome"))).ask("vqa-v2", question="x")


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.RemoteProtocolError("closed"),
        problem(503, "no-worker"),
        problem(429, "queue-full"),
        httpx.Response(503, text="busy"),
    ],
)
def test_a_failed_connection_or_a_busy_server_is_asked_again(client, slept, failure):
    server = Server(failure, failure, httpx.Response(200, json=ANSWER))

    assert client(server).ask("vqa-v2", question="x").answer == "red"
    assert len(server.requests) == 3
    assert FIRST_WAIT_S / 2 <= slept[0] <= FIRST_WAIT_S
    assert FIRST_WAIT_S <= slept[1] <= 2 * FIRST_WAIT_S


def test_the_wait_that_a_busy_server_asks_for_is_kept(client, slept):
    busy = httpx.Response(429, headers={"retry-after": "5"}, json={})

    client(Server(busy, httpx.Response(200, json=ANSWER))).ask("vqa-v2", question="x")

    assert slept == [5.0]


@pytest.mark.parametrize(
    ("failure", "kind"),
    [(problem(429, "queue-full"), QueueFull), (problem(503, "no-worker"), NoWorker)],
)
def test_after_the_last_retry_the_error_stands(client, slept, failure, kind):
    server = Server(failure)

    with pytest.raises(kind, match="a sentence"):
        client(server, retries=2).ask("vqa-v2", question="x")

    assert (len(server.requests), len(slept)) == (3, 2)


def test_a_server_that_is_not_there_is_named(client):
    with pytest.raises(NoWorker, match=r"http://server:8080 does not answer \(refused\); is a server running there\?"):
        client(Server(httpx.ConnectError("refused")), retries=1).ask("vqa-v2", question="x")


@pytest.mark.parametrize("retries", [0, 2])
def test_a_slow_server_is_asked_once(client, retries):
    server = Server(httpx.ReadTimeout("slow"))

    with pytest.raises(DeadlineExceeded, match="gave no answer within 5 s"):
        client(server, retries=retries, timeout_s=5).ask("vqa-v2", question="x")

    assert len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 404, 422, 500, 504])
def test_an_error_that_would_come_again_is_not_asked_for_again(client, status):
    server = Server(httpx.Response(status, json={}))

    with pytest.raises((RequestError, ServerError)):
        client(server).ask("vqa-v2", question="x")

    assert len(server.requests) == 1


def test_headers_go_with_each_request(client):
    server = Server(httpx.Response(200, json=ANSWER))

    client(server, headers={"authorization": "Bearer key"}).ask("vqa-v2", question="x")

    assert server.requests[0].headers["authorization"] == "Bearer key"


def test_the_client_needs_no_torch():
    program = "import sys, twelve.client; assert not {'torch', 'transformers', 'onnxruntime'} & set(sys.modules)"

    subprocess.run([sys.executable, "-c", program], check=True)
