"""A real nginx before servers that do as they are told: what it answers itself, what it passes on, and to whom."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest
from prometheus_client import CollectorRegistry

from handlers import edge_keys, edge_nginx
from handlers.access_log import AccessLog
from tests.integration.edge_harness import JSON, Front, Heard, connected, fine, fronting, raw
from tests.integration.harness import free_ports
from twelve.tasks import TASKS

pytestmark = [pytest.mark.integration, pytest.mark.edge]

SECURITY = ("content-security-policy", "referrer-policy", "strict-transport-security", "x-content-type-options")
LONG = "a" * 9000
RELOADED_S = 60.0  # by then nginx has read its configuration anew, on a busy machine as well


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory):
    with fronting(tmp_path_factory.mktemp("front"), http_port=free_ports(1)[0]) as front:
        yield front


@pytest.fixture
def front(running: Front):
    for server in running.servers:
        server.script = fine
        server.heard.clear()
    return running


def torchserves(status: int):
    """Answer as TorchServe does when it cannot."""
    body = json.dumps({"code": status, "type": "InternalServerException", "message": "Worker died."}).encode()
    return lambda _: (status, JSON, body)


def ours(status: int, code: str):
    body = json.dumps({"error": {"code": code, "at": "image", "message": "the service's own", "request": "r"}}).encode()
    return lambda _: (status, {**JSON, "X-Answered-By": "twelve"}, body)


def slow(seconds: float):
    def script(heard: Heard):
        time.sleep(seconds)
        return fine(heard)

    return script


def heard(front: Front) -> list[Heard]:
    return [one for server in front.servers for one in server.heard]


def wait_until_answered(front: Front, key: str, status: int) -> None:
    """Ask with a key until nginx answers so; while it reads its keys anew it closes connections that are idle."""
    deadline = time.monotonic() + RELOADED_S
    while True:
        with suppress(httpx.RemoteProtocolError):
            if front.ask(Authorization=f"Bearer {key}").status_code == status:
                return
        assert time.monotonic() < deadline
        time.sleep(0.1)


def check(response: httpx.Response, status: int, code: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert error["code"] == code
    assert error.keys() == {"code", "at", "message", "request"}
    assert len(error["message"]) > 20
    assert error["request"] == response.headers["x-request-id"]
    assert all(name in response.headers for name in SECURITY)
    assert response.headers["server"] == "nginx"


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data; boundary=b"])
def test_bodies_are_plain_bytes_to_torchserve_and_their_type_goes_beside(front: Front, kind: str):
    front.ask(Content_Type=kind)
    [one] = heard(front)
    assert (one.headers["content-type"], one.headers["x-content-type"]) == ("application/octet-stream", kind)


OWN = {
    "no key": ("POST", "/v1/tasks/vqa-v2", {"Authorization": ""}, 401, "unauthorised"),
    "a wrong key": ("POST", "/v1/tasks/vqa-v2", {"Authorization": "Bearer x"}, 401, "unauthorised"),
    "a wrong key for the list": ("GET", "/v1/tasks", {"Authorization": "Bearer x"}, 401, "unauthorised"),
    "another path": ("POST", "/nowhere", {}, 404, "unknown-path"),
    "TorchServe's management": ("GET", "/models", {}, 404, "unknown-path"),
    "TorchServe's registration": ("POST", "/models?url=x.mar", {}, 404, "unknown-path"),
    "TorchServe's metrics": ("GET", "/metrics", {}, 404, "unknown-path"),
    "another model": ("POST", "/predictions/other", {}, 404, "unknown-path"),
    "a version of the model": ("POST", "/predictions/twelve/1.0", {}, 404, "unknown-path"),
    "a path of nginx's own": ("POST", "/-/within/5s", {}, 404, "unknown-path"),
    "an error page": ("GET", "/-/error/401", {}, 404, "unknown-path"),
    "a task that climbs": ("POST", "/v1/tasks/..%2f..%2fmodels", {}, 404, "unknown-path"),
    "a method": ("GET", "/v1/tasks/vqa-v2", {}, 405, "method"),
    "a method of the list": ("DELETE", "/v1/tasks", {}, 405, "method"),
    "a method of whether it is alive": ("POST", "/healthz", {}, 405, "method"),
    "a method of whether it is ready": ("DELETE", "/readyz", {}, 405, "method"),
    "a long address": ("POST", f"/v1/tasks/{LONG}", {}, 414, "too-large"),
    "a long header": ("POST", "/v1/tasks/vqa-v2", {"X-Long": LONG}, 431, "too-large"),
    "another media type": ("POST", "/predictions/twelve", {"Content-Type": "text/plain"}, 415, "media-type"),
    "a media type that only begins so": (
        "POST",
        "/predictions/twelve",
        {"Content-Type": "application/jsonx"},
        415,
        "media-type",
    ),
    "a deadline in words": ("POST", "/v1/tasks/vqa-v2", {"X-Request-Timeout-Ms": "soon"}, 400, "malformed"),
    "a deadline of nothing": ("POST", "/v1/tasks/vqa-v2", {"X-Request-Timeout-Ms": "0"}, 400, "malformed"),
}


@pytest.mark.parametrize("kind", OWN)
def test_what_nginx_refuses_it_refuses_in_the_contracts_words(front, kind):
    method, path, headers, status, code = OWN[kind]
    content = b"{}" if method == "POST" else None
    check(front.client.request(method, front.url + path, content=content, headers={**JSON, **headers}), status, code)
    assert heard(front) == []


def test_a_missing_key_and_a_wrong_method_say_what_would_do(front):
    assert front.ask(Authorization="").headers["www-authenticate"] == 'Bearer realm="twelve"'
    assert front.client.get(f"{front.url}/predictions/twelve").headers["allow"] == "POST"
    assert front.client.delete(f"{front.url}/v1/tasks").headers["allow"] == "GET, HEAD"


def test_a_body_that_is_too_long_is_refused_by_its_length_alone(front):
    most = edge_nginx.most_bytes(edge_nginx.TEMPLATE)
    head = f"POST /v1/tasks/vqa-v2 HTTP/1.1\r\nHost: x\r\nContent-Length: {most + 1}\r\n\r\n"
    answer = raw(front, head.encode(), then_wait_s=1)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b'"code": "too-large"' in answer


def test_a_body_in_chunks_is_refused_for_nobody_knows_its_length(front):
    def chunks():
        yield b"{}"

    response = front.client.post(f"{front.url}/predictions/twelve", content=chunks(), headers=JSON)
    check(response, 411, "malformed")


@pytest.mark.parametrize(
    "sent", [b"GARBAGE\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"POST / HTTP/1.1\r\nHost: a b\r\n\r\n"]
)
def test_what_is_no_http_is_answered_in_the_contracts_words(front, sent):
    answer = raw(front, sent)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b'"code": "malformed"' in answer


def test_plain_http_is_told_so_on_the_port_of_https_and_sent_there_from_its_own(front):
    plain = httpx.get(f"http://localhost:{front.site.port}/v1/tasks")
    check(plain, 400, "malformed")
    sent_on = httpx.post(f"http://localhost:{front.site.http_port}/v1/tasks/gqa")
    assert sent_on.status_code == 308
    assert sent_on.headers["location"] == f"{front.url}/v1/tasks/gqa"


@pytest.mark.parametrize("header", ["Authorization", "X-Api-Key"])
def test_either_header_takes_the_key_and_neither_is_passed_on(front, header):
    value = {"Authorization": f"bearer {front.key}", "X-Api-Key": front.key}
    response = front.client.post(
        f"{front.url}/predictions/twelve", content=b"{}", headers={**JSON, "Authorization": "", header: value[header]}
    )
    assert response.status_code == 200
    (request,) = heard(front)
    assert front.key not in str(request.headers)
    assert request.headers["x-api-client"] == "tester"


def test_a_request_is_passed_on_with_its_task_its_name_its_time_and_its_deadline(front):
    before = time.time()
    response = front.ask("/v1/tasks/refcoco+?a=b", b'{"a": 1}', X_Request_Id="my-1", X_Request_Timeout_Ms="1500")
    (request,) = heard(front)
    assert (request.path, request.body) == ("/predictions/twelve", b'{"a": 1}')
    told = {name: request.headers[name] for name in ("x-task", "x-request-id", "x-request-timeout-ms")}
    assert told == {"x-task": "refcoco+", "x-request-id": "my-1", "x-request-timeout-ms": "1500"}
    assert before - 0.1 <= float(request.headers["x-request-start"].removeprefix("t=")) <= time.time()
    assert response.headers["x-request-id"] == "my-1"
    assert "x-answered-by" not in response.headers


def test_a_client_cannot_say_what_nginx_says(front):
    front.ask("/predictions/twelve", X_Task="gqa", X_Api_Client="boss", X_Self_Test="1", X_Request_Start="t=1")
    (request,) = heard(front)
    assert "x-task" not in request.headers
    assert "x-self-test" not in request.headers
    assert request.headers["x-api-client"] == "tester"
    assert request.headers["x-request-start"] != "t=1"


@pytest.mark.parametrize("sent", ["with space", "x" * 65, "<script>"])
def test_a_request_whose_name_is_not_plain_gets_another(front, sent):
    given = front.ask(X_Request_Id=sent).headers["x-request-id"]
    assert given != sent
    assert heard(front)[0].headers["x-request-id"] == given


@pytest.mark.parametrize(
    ("sent", "passed"), [(None, "30000"), ("60000", "60000"), ("60001", "60000"), ("9" * 12, "60000")]
)
def test_a_deadline_has_a_default_and_a_longest(front, sent, passed):
    front.ask(**({"X_Request_Timeout_Ms": sent} if sent else {}))
    assert heard(front)[0].headers["x-request-timeout-ms"] == passed


@pytest.mark.parametrize("status", [400, 404, 409, 413, 415, 422])
def test_what_the_service_says_of_a_bad_request_passes_untouched(front, status):
    for server in front.servers:
        server.script = ours(status, "some-code")
    response = front.ask()
    assert response.status_code == status
    assert response.json()["error"]["message"] == "the service's own"
    assert len(heard(front)) == 1


@pytest.mark.parametrize("status", [500, 503, 507])
def test_what_torchserve_could_not_answer_is_asked_once_more(front, status):
    scripts = [torchserves(status), fine]
    for server in front.servers:
        server.script = lambda request: scripts.pop(0)(request)
    assert front.ask(content=b'{"q": 1}').status_code == 200
    assert [request.body for request in heard(front)] == [b'{"q": 1}'] * 2


@pytest.mark.parametrize("status", [500, 503, 507])
def test_what_torchserve_cannot_answer_twice_is_told_in_the_contracts_words(front, status):
    for server in front.servers:
        server.script = torchserves(status)
    response = front.ask()
    check(response, 503, "no-worker")
    assert int(response.headers["retry-after"]) > 0
    assert len(heard(front)) == 2


@pytest.mark.parametrize(("status", "code"), [(500, "engine-failed"), (507, "out-of-memory"), (504, "deadline")])
def test_the_services_own_failures_keep_their_code_and_are_not_repeated(front, status, code):
    for server in front.servers:
        server.script = ours(status, code)
    check(front.ask(), status, code)
    assert len(heard(front)) == 1


def test_a_connection_that_breaks_is_asked_again_elsewhere(front):
    def die(_: Heard):
        raise ConnectionError

    front.servers[0].script = die
    assert {front.ask().status_code for _ in range(4)} == {200}


def test_an_answer_that_never_comes_ends_as_a_deadline(front):
    for server in front.servers:
        server.script = slow(4)
    response = front.ask(X_Request_Timeout_Ms="900")
    check(response, 504, "deadline")
    assert "900 ms" in response.json()["error"]["message"]


def trickle(front: Front, name: str, parts: list[str], *, between_s: float, deadline_ms: int = 2000) -> bytes:
    """Ask with the key in parts, the headers that every request has before the first; give the answer."""
    head = f"POST /v1/tasks/gqa HTTP/1.1\r\nX-Request-Id: {name}\r\nX-Request-Timeout-Ms: {deadline_ms}\r\n"
    with connected(front) as wire:
        wire.sendall(f"{head}Content-Type: application/json\r\nConnection: close\r\n".encode())
        for part in parts:
            time.sleep(between_s)
            wire.sendall(part.encode())
        return wire.recv(4096)


def rest_of_head(front: Front) -> str:
    return f"Host: x\r\nX-Api-Key: {front.key}\r\nContent-Length: 2\r\n\r\n"


def test_a_servers_deadline_counts_from_the_first_byte_of_a_slow_head(front):
    trickle(front, "slow-head", [rest_of_head(front) + "{}"], between_s=0.7)
    (request,) = heard(front)
    assert 0.6 < float(request.headers["x-request-head-seconds"]) < 2


def test_nginx_itself_waits_no_longer_because_a_body_came_slowly(front):
    for server in front.servers:
        server.script = slow(4)
    answer = trickle(front, "slow-body", [rest_of_head(front) + "{", "}"], between_s=0.7)
    assert b'"code": "deadline"' in answer
    (line,) = front.log_of("slow-body")
    assert float(line["upstream_seconds"]) < 1.3, "of 2 s and a little, 1.4 s were gone"


def test_a_body_that_is_whole_after_its_deadline_is_refused_and_nobody_is_asked(front):
    answer = trickle(front, "too-slow", [rest_of_head(front) + "{", "}"], between_s=0.7, deadline_ms=1000)
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert b'"code": "deadline"' in answer
    assert heard(front) == []


def test_the_second_try_has_only_what_the_first_left(front):
    def fails_late(_: Heard):
        time.sleep(1.5)
        return torchserves(503)(_)

    scripts = [fails_late, slow(4)]
    for server in front.servers:
        server.script = lambda request: scripts.pop(0)(request)
    check(front.ask(X_Request_Id="second", X_Request_Timeout_Ms="2000"), 504, "deadline")
    (line,) = front.log_of("second")
    assert len(heard(front)) == 2
    assert line["seconds"] < 3, "2 s and a little"


def test_the_one_pool_that_is_in_service_is_asked_from_the_next_request_on(front):
    everything, first, second = edge_nginx.pools(2)
    for members, asked in ((first, [True, False]), (second, [False, True]), (everything, [True, True])):
        edge_nginx.choose(front.site, members)
        for server in front.servers:
            server.heard.clear()
        with ThreadPoolExecutor(4) as pool:
            assert {reply.status_code for reply in pool.map(lambda _: front.ask(), range(12))} == {200}
        assert [bool(server.heard) for server in front.servers] == asked


def test_a_server_that_goes_while_a_body_comes_is_not_asked(front):
    """A body may take long: its request must not hang on a server that was there when it began."""
    everything, first, second = edge_nginx.pools(2)
    edge_nginx.choose(front.site, second)

    def gone(_: Heard):
        raise ConnectionError

    front.servers[1].script = gone
    with connected(front) as wire:
        key = front.key.encode()
        wire.sendall(
            b"POST /v1/tasks/gqa HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Api-Key: " + key + b"\r\n"
            b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{"
        )
        time.sleep(0.2)
        edge_nginx.choose(front.site, first)
        wire.sendall(b"}")
        assert wire.recv(100).startswith(b"HTTP/1.1 200 ")
    assert front.servers[1].heard == []
    edge_nginx.choose(front.site, everything)


def test_the_list_of_tasks_and_the_health_are_read_by_get(front):
    assert front.client.get(f"{front.url}/v1/tasks").json() == {"tasks": []}
    for path in ("/healthz", "/readyz"):
        assert httpx.get(front.url + path, verify=False).status_code == 200


def test_an_address_that_asks_too_much_at_once_is_told_so_of_the_health_too(tmp_path):
    go = threading.Event()

    def wait(request: Heard):
        go.wait(20)
        return fine(request)

    with fronting(tmp_path, count=1, per_address=1) as front, ThreadPoolExecutor(1) as pool:
        front.servers[0].script = wait
        waiting = pool.submit(front.ask)
        while not heard(front):
            time.sleep(0.01)
        check(front.client.get(f"{front.url}/readyz"), 429, "queue-full")
        go.set()
        assert waiting.result().status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
@pytest.mark.parametrize("ill", ["breaks", "hangs"])
def test_servers_that_do_not_say_how_they_are_are_not_well(tmp_path, path, ill):
    def breaks(_: Heard):
        raise ConnectionError

    with fronting(tmp_path, count=1) as front:
        front.servers[0].script = {"breaks": breaks, "hangs": slow(3)}[ill]
        check(front.client.get(front.url + path), 503, "no-worker")


def test_asking_for_the_health_makes_no_work_however_often(front):
    time.sleep(1.2)
    for _ in range(50):
        front.client.get(f"{front.url}/readyz")
    assert len(heard(front)) <= 3


def test_each_request_leaves_a_line_without_its_secrets(front):
    front.ask("/v1/tasks/gqa?token=secret", X_Request_Id="line-1")
    front.ask("/v1/tasks/gqa", X_Request_Id="line-2", Authorization="Bearer wrong")
    (asked,), (refused,) = front.log_of("line-1"), front.log_of("line-2")
    assert (asked["client"], asked["task"], asked["status"], asked["path"]) == ("tester", "gqa", 200, "/v1/tasks/gqa")
    assert asked["seconds"] >= 0
    assert float(asked["upstream_seconds"]) >= 0
    assert (refused["client"], refused["status"], refused["upstream"]) == ("", 401, "")
    written = (front.site.folder / "logs" / "access.log").read_text()
    assert "secret" not in written
    assert front.key not in written


ALIASES = [(alias, task.name) for task in TASKS.values() for alias in task.aliases]


@pytest.mark.parametrize(("asked", "named"), [*ALIASES, ("gqa", "gqa"), ("unheard-of", "unheard-of")])
def test_a_line_names_a_task_by_its_first_name_and_the_server_hears_what_was_asked(front, asked, named):
    front.ask(f"/v1/tasks/{asked}", X_Request_Id=f"alias-{asked}")
    (line,) = front.log_of(f"alias-{asked}")
    assert (line["task"], line["path"]) == (named, f"/v1/tasks/{asked}")
    assert heard(front)[0].headers["x-task"] == asked


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("sent", "logged"), [(f"00-{TRACE}-{SPAN}-01", TRACE), (f"00-{TRACE}", ""), (f"00-{TRACE}-{SPAN}-01x", "")]
)
def test_a_line_names_the_trace_that_a_request_came_with(front, sent, logged):
    front.ask(X_Request_Id=sent, traceparent=sent)
    (line,) = front.log_of(sent)
    assert line["trace"] == logged
    assert heard(front)[0].headers["traceparent"] == sent


def test_a_log_that_grows_long_is_moved_away_and_no_line_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(edge_nginx, "LOG_BYTES", 10_000)
    with fronting(tmp_path) as front:
        log = front.site.folder / "logs" / "access.log"
        registry = CollectorRegistry()
        registry.register(AccessLog(log))
        sizes = []
        for asked in range(1, 101):
            front.ask(X_Request_Id=str(asked))
            if asked % 10 == 0:
                front.nginx.rotate()
                registry.get_sample_value("twelve_edge_requests_total", {"status": "200"})
                sizes += [path.stat().st_size for path in log.parent.glob("access.log*")]
        front.log_of("100")
        assert registry.get_sample_value("twelve_edge_requests_total", {"status": "200"}) == 100
        assert edge_nginx.former(log).exists()
        assert max(sizes) < 2 * 10_000


def test_a_key_counts_as_soon_as_nginx_has_read_it_and_no_longer_than_it_is_there(front):
    key = edge_keys.add(front.site.keys, "late")
    assert front.ask(Authorization=f"Bearer {key}").status_code == 401
    for status, change in ((200, lambda: None), (401, lambda: edge_keys.remove(front.site.keys, "late"))):
        change()
        front.nginx.reload()
        wait_until_answered(front, key, status)


def test_a_key_may_ask_only_so_often(tmp_path):
    with fronting(tmp_path, count=1, rate=1, burst=3) as front:
        assert front.ask().status_code == 200
        with ThreadPoolExecutor(8) as pool:
            replies = list(pool.map(lambda _: front.ask(), range(40)))
        refused = [reply for reply in replies if reply.status_code != 200]
        assert len(refused) > 20
        for reply in refused:
            check(reply, 429, "queue-full")
            assert int(reply.headers["retry-after"]) > 0
        other = edge_keys.add(front.site.keys, "other")
        front.nginx.reload()
        wait_until_answered(front, other, 200)


def test_servers_that_hold_all_they_may_refuse_at_once_and_a_vanished_client_keeps_its_place(tmp_path):
    go = threading.Event()

    def wait(request: Heard):
        go.wait(20)
        return fine(request)

    with fronting(tmp_path, in_flight=2) as front:
        for server in front.servers:
            server.script = wait
        with ThreadPoolExecutor(3) as pool:
            waiting = [pool.submit(front.ask) for _ in range(3)]
            vanish(front)
            while len(heard(front)) < 4:
                time.sleep(0.01)
            time.sleep(0.2)  # for nginx to see that one client is gone
            refused = front.ask()
            check(refused, 429, "queue-full")
            assert int(refused.headers["retry-after"]) > 0
            assert len(heard(front)) == 4
            go.set()
            assert [one.result().status_code for one in waiting] == [200] * 3
        assert front.ask().status_code == 200


def vanish(front: Front) -> None:
    with connected(front) as wire:
        head = f"POST /v1/tasks/gqa HTTP/1.1\r\nHost: x\r\nX-Api-Key: {front.key}\r\n"
        wire.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        before = len(heard(front))
        while len(heard(front)) == before:
            time.sleep(0.01)
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")


@pytest.mark.slow
def test_clients_that_stop_in_the_middle_are_cut_off_and_hold_up_nobody(front):
    head = f"POST /v1/tasks/gqa HTTP/1.1\r\nHost: x\r\nX-Api-Key: {front.key}\r\nX-Request-Id: stuck\r\n"
    sent = f"{head}Content-Type: application/json\r\nContent-Length: 9\r\n\r\n{{".encode()
    with ThreadPoolExecutor(40) as pool:
        since = time.monotonic()
        stuck = [pool.submit(raw, front, sent, then_wait_s=40) for _ in range(40)]
        assert {front.ask().status_code for _ in range(20)} == {200}
        assert [one.result() for one in stuck] == [b""] * 40
        assert time.monotonic() - since < 30
    assert [line["status"] for line in front.log_of("stuck", 40)] == [408] * 40
