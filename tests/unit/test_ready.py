"""Health as probes see it: what was found, never work made by asking."""

import http.client
import json
import socket
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from handlers import drain, edge_fleet
from handlers.edge_nginx import Backend
from handlers.healthcheck import CONFIG, NotReady, Server
from handlers.ready import ALIVE, READY, Prober, health
from handlers.torchserve import Ports
from tests.integration.harness import free_ports

MODEL = {"minWorkers": 2, "jobQueueStatus": {"pendingRequests": 3}}


@contextmanager
def torchserve(*states: str):
    """Answer as TorchServe with workers in these states; counts the self-tests."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send({**MODEL, "workers": [{"status": state} for state in states]})

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            asked.append(self.headers["X-Self-Test"])
            self.send({})

        def send(self, value: dict) -> None:
            body = json.dumps([value]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        yield Server(address, address, b"{}"), asked
        server.shutdown()


def get(port: int, path: str) -> tuple[int, dict]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    reply = connection.getresponse()
    return reply.status, json.loads(reply.read())


def test_a_server_with_one_ready_worker_is_ready_and_told_so_without_work():
    (port,) = free_ports(1)
    with torchserve("READY", "UNLOADED") as (server, asked), health(server, host="127.0.0.1", port=port):
        assert asked == ["1"]
        assert [get(port, READY)[0] for _ in range(20)] == [200] * 20
        assert len(asked) <= 3
        assert get(port, ALIVE) == (200, {"status": "ok"})
        assert get(port, "/metrics")[0] == 404


def test_a_server_whose_workers_are_gone_is_alive_and_not_ready():
    (port,) = free_ports(1)
    with torchserve("UNLOADED", "UNLOADED") as (server, asked), health(server, host="127.0.0.1", port=port):
        status, told = get(port, READY)
        assert status == 503
        assert told["error"]["code"] == "no-worker"
        assert told["error"]["message"] == "0 of 2 workers are ready"
        assert get(port, ALIVE)[0] == 200
        assert asked == []


def test_a_server_that_is_gone_is_not_alive():
    prober = Prober(Server("http://127.0.0.1:1", "http://127.0.0.1:1", b"{}"))
    prober.look()
    assert "does not answer" in str(prober.failure(ALIVE))
    assert "does not answer" in str(prober.failure(READY))


def test_nobody_is_ready_before_the_first_look_or_long_after_the_last():
    with torchserve("READY", "READY") as (server, _):
        prober = Prober(server, between_s=0.0, bound_s=0.05)
        assert prober.failure(READY) == "nobody has looked yet"
        prober = Prober(server, between_s=0.0, bound_s=5)
        prober.look()
        assert prober.failure(READY) is None
        prober._bound_s = 0.0
        time.sleep(0.01)
        assert "nobody has looked for" in str(prober.failure(READY))


def test_the_healthcheck_still_wants_every_worker():
    with torchserve("READY", "UNLOADED") as (server, _):
        server.check(timeout_s=5, fewest=1)
        with pytest.raises(NotReady, match="1 of 2 workers are ready"):
            server.check(timeout_s=5)


def test_a_server_with_requests_waiting_is_not_drained():
    with torchserve("READY", "READY") as (server, _):
        assert drain.waiting(server) >= 3
        assert not drain.drain(server, longest_s=0.2)


def test_a_server_that_is_gone_is_drained():
    assert drain.drain(Server("http://127.0.0.1:1", "http://127.0.0.1:1", b"{}"), longest_s=5)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n"


@contextmanager
def ending(reply: bytes):
    """Answer everything with these bytes and end the connection, as a server does that is just ending."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(4096)
                    connection.sendall(reply)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()


@pytest.mark.parametrize(
    "reply",
    [b"", b"GARBAGE\r\n\r\n", HEAD + b'[{"jobQ', HEAD + b"[]" + b" " * 18, HEAD + b"{}" + b" " * 18, HEAD + b"7" * 20],
)
def test_a_reply_that_is_half_written_is_no_reason_to_end(reply):
    with ending(reply) as address:
        server = Server(f"http://{address}", f"http://{address}", b"{}")
        assert drain._pending(server) == 0
        with pytest.raises(NotReady, match="does not answer"):
            server.check(timeout_s=5)


@pytest.mark.parametrize("rest", [b"", b"5\r\nab", b"GARBAGE\r\n"])
def test_an_error_that_is_half_written_is_no_reason_to_end(rest):
    with ending(b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n" + rest) as address:
        server = Server(f"http://{address}", f"http://{address}", b"{}")
        prober = Prober(server)
        prober.look()
        assert "answers 500: half of a body, IncompleteRead" in str(prober.failure(READY))
        with pytest.raises(NotReady, match="answers 500"):
            server.check(timeout_s=5)


def test_a_server_whose_configuration_is_half_written_is_not_ready_and_drained(tmp_path):
    (tmp_path / CONFIG).write_text("inference_address=http://127.0.0.1:1\n")
    with pytest.raises(NotReady, match="has no 'management_address' yet"):
        Server.of(tmp_path)
    edge_fleet.Instance(Ports(1, 2, 3, 4, 5, 6, 7), tmp_path).drain()


def test_a_server_that_speaks_no_http_is_not_ready():
    with ending(b"GARBAGE\r\n\r\n") as address:
        assert not edge_fleet.is_ready(Backend(address, address))
