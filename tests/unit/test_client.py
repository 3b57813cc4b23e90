import asyncio
import base64
import io
import json
import subprocess
import sys

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.bundles import make_tiny_bundle, picture
from twelve.assembly import Settings
from twelve.client import TASK_ROUTE, AsyncClient, Client, encoded
from twelve.errors import (
    DeadlineExceeded,
    EngineFailed,
    InvalidField,
    NoWorker,
    QueueFull,
    RequestError,
    ServerError,
    TooLarge,
    Unauthorised,
    UnknownTask,
)
from twelve.image import ImageLimits, decode
from twelve.local import client_of
from twelve.patience import FIRST_WAIT_S, LONGEST_WAIT_S, Patience
from twelve.service import Service

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


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "CMYK", "YCbCr", "HSV", "LAB", "F"])
def test_a_picture_of_any_mode_is_sent(mode):
    sent = base64.b64decode(encoded(Image.new(mode, (5, 4))))

    assert decode(sent, limits=ImageLimits()).rgb.shape == (4, 5, 3)


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


@pytest.mark.parametrize(
    ("response", "name"),
    [
        (problem(500, "engine-failed"), "r"),
        (httpx.Response(502, html="<h1>bad gateway</h1>", headers={"x-request-id": "nginx-name"}), "nginx-name"),
        (httpx.Response(502, html="<h1>bad gateway</h1>"), None),
    ],
)
def test_an_error_names_its_request_as_the_servers_log_does(client, response, name):
    with pytest.raises(ServerError) as caught:
        client(Server(response)).ask("vqa-v2", question="x")

    assert caught.value.request_id == name


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


def test_a_key_and_a_name_go_with_a_request(client):
    server = Server(httpx.Response(200, json=ANSWER))

    client(server, key="secret").ask("vqa-v2", question="x", request_id="mine")

    assert server.requests[0].headers["authorization"] == "Bearer secret"
    assert server.requests[0].headers["x-request-id"] == "mine"


def test_a_question_may_go_to_its_tasks_own_path(client):
    server = Server(httpx.Response(200, json=ANSWER))

    client(server, route=TASK_ROUTE).ask("refcoco+", expression="x")

    assert server.requests[0].url.raw_path in (b"/v1/tasks/refcoco+", b"/v1/tasks/refcoco%2B")


def test_the_server_is_told_the_time_that_is_left(client):
    server = Server(httpx.Response(200, json=ANSWER))

    client(server, timeout_s=60).ask("vqa-v2", question="x", timeout_s=2)

    assert 1000 < int(server.requests[0].headers["x-request-timeout-ms"]) <= 2000


class Clock:
    """Time that passes only while somebody waits."""

    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


def patience(clock, **changes):
    return Patience(**{"timeout_s": 10.0, "connect_timeout_s": 5.0, "retries": 100, "clock": clock, **changes})


def test_each_attempt_has_the_time_that_is_left():
    clock = Clock()
    left = patience(clock)
    clock.now_s += 7.5
    assert left.headers() == {"X-Request-Timeout-Ms": "2500"}
    assert (left.timeout().read, left.timeout().connect) == (2.5, 2.5)


def test_waits_never_reach_beyond_the_deadline():
    clock = Clock()
    left = patience(clock)
    while (wait_s := left.after_failure(httpx.ConnectError("refused"))) is not None:
        assert wait_s <= LONGEST_WAIT_S
        clock.now_s += wait_s
    assert 100.0 < clock.now_s < 110.0


@pytest.mark.parametrize(("asked", "wait_s"), [("9", 9.0), ("10", None), ("11", None)])
def test_a_busy_servers_wait_is_kept_in_full_or_not_begun(asked, wait_s):
    busy = httpx.Response(429, headers={"retry-after": asked})
    assert patience(Clock()).after(busy) == wait_s


def test_a_refusal_that_would_come_too_late_is_raised_at_once(client, slept):
    busy = httpx.Response(
        429, headers={"retry-after": "30"}, json={"error": {"code": "queue-full", "at": None, "message": "full"}}
    )

    with pytest.raises(QueueFull, match="full"):
        client(Server(busy), timeout_s=5).ask("vqa-v2", question="x")

    assert slept == []


LISTED = {
    "model": {"name": "tiny", "version": "0"},
    "tasks": [{"task": "gqa", "token": 15, "summary": "s", "path": "/v1/tasks/gqa", "request": {}}],
}


def test_the_tasks_are_listed(client):
    server = Server(httpx.Response(503, json={}), httpx.Response(200, json=LISTED))

    assert client(server).tasks().tasks[0].task == "gqa"
    assert (server.requests[1].method, server.requests[1].url.path) == ("GET", "/v1/tasks")


def test_a_wrong_key_is_told_by_its_error(client):
    with pytest.raises(Unauthorised):
        client(Server(problem(401, "unauthorised"))).tasks()


@pytest.mark.parametrize(
    ("answer", "ready"),
    [
        (httpx.Response(200, json={"status": "ok"}), True),
        (httpx.Response(503), False),
        (httpx.ConnectError("x"), False),
    ],
)
def test_a_server_is_ready_or_not(client, answer, ready):
    server = Server(answer)

    assert client(server).ready() is ready
    assert [request.url.path for request in server.requests] == ["/readyz"]


def test_whom_to_believe_may_be_named_by_a_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        Client("https://server", verify=tmp_path / "none.pem")


def test_an_unknown_option_is_refused():
    with pytest.raises(TypeError, match="timeout"):
        Client("http://server", timeout=5)


def test_a_program_that_awaits_asks_alike():
    server = Server(httpx.Response(503), httpx.ConnectError("refused"), httpx.Response(200, json=ANSWER))
    listing = Server(httpx.Response(200, json=LISTED))
    slept = []

    async def sleep(seconds):
        slept.append(seconds)

    async def asking():
        async with AsyncClient("http://server", transport=httpx.MockTransport(server), sleep=sleep) as client:
            answer = await client.ask("vqa-v2", image=b"jpeg", question="x")
        async with AsyncClient("http://server", transport=httpx.MockTransport(listing)) as client:
            return answer, await client.tasks(), await client.ready()

    answer, tasks, ready = asyncio.run(asking())

    assert (answer.answer, tasks.tasks[0].token, ready) == ("red", 15, True)
    assert (len(server.requests), len(slept)) == (3, 2)


def test_an_awaiting_program_gets_the_same_errors():
    async def asking(server):
        async with AsyncClient("http://server", transport=httpx.MockTransport(server), timeout_s=5) as client:
            await client.ask("vqa-v2", question="x")

    with pytest.raises(DeadlineExceeded, match="within 5 s"):
        asyncio.run(asking(Server(httpx.ReadTimeout("slow"))))
    with pytest.raises(UnknownTask):
        asyncio.run(asking(Server(problem(404, "unknown-task"))))


def test_a_bundle_in_this_process_lists_its_tasks_and_is_ready(tmp_path):
    service = Service.open(make_tiny_bundle(tmp_path / "tiny").path, Settings(engine="eager"))
    with client_of(service) as client:
        assert len(client.tasks().tasks) == 12
        assert client.ready()


def test_the_client_needs_no_torch():
    program = "import sys, twelve.client; assert not {'torch', 'transformers', 'onnxruntime'} & set(sys.modules)"

    subprocess.run([sys.executable, "-c", program], check=True)
