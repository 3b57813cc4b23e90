"""How a server is, for probes and for whoever asks: `/healthz` and `/readyz` on a port of their own.

TorchServe's own `/ping` is "Healthy" whatever happens. Here a thread looks every second whether a worker is ready and
whether a real request is answered; asking only reads what was found, so that nobody makes work by asking.
"""

import json
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from handlers.healthcheck import HALF_WRITTEN, NotReady, Server
from twelve.errors import NoWorker

BETWEEN_LOOKS_S = 1.0
BOUND_S = 10.0
"""A self-test that takes longer is none: whoever waits here longest, the queue included, waits too long."""

ALIVE, READY = "/healthz", "/readyz"


@dataclass(frozen=True)
class Finding:
    """What a look found.

    Attributes:
        failure: Why not, or None if all is well.
        at_s: When, by the monotonic clock.
    """

    failure: str | None
    at_s: float


class Prober:
    """Looks after one server, from a thread of its own."""

    def __init__(self, server: Server, *, between_s: float = BETWEEN_LOOKS_S, bound_s: float = BOUND_S) -> None:
        self._server = server
        self._between_s = between_s
        self._bound_s = bound_s
        nothing = Finding("nobody has looked yet", time.monotonic())
        self._found: dict[str, Finding] = {ALIVE: nothing, READY: nothing}
        self._ended = threading.Event()

    def look(self) -> None:
        """Look once."""
        self._found[ALIVE] = Finding(self._why_dead(), time.monotonic())
        self._found[READY] = Finding(self._why_not_ready(), time.monotonic())

    def keep_looking(self) -> None:
        """Look again and again until `end`."""
        while not self._ended.wait(self._between_s):
            self.look()

    def end(self) -> None:
        """Stop looking."""
        self._ended.set()

    def failure(self, what: str) -> str | None:
        """Say why the server is not alive or not ready; None if it is.

        Args:
            what: ALIVE or READY.
        """
        found = self._found[what]
        age_s = time.monotonic() - found.at_s
        if age_s > self._between_s + 2 * self._bound_s:
            return f"nobody has looked for {age_s:.0f} s"
        return found.failure

    def _why_dead(self) -> str | None:
        try:
            urllib.request.urlopen(f"{self._server.inference}/ping", timeout=self._bound_s).close()
        except HALF_WRITTEN as error:
            return f"the server does not answer: {error!r}"
        return None

    def _why_not_ready(self) -> str | None:
        try:
            self._server.check(timeout_s=self._bound_s, fewest=1)
        except NotReady as error:
            return str(error)
        return None


@contextmanager
def health(server: Server, *, host: str, port: int) -> Iterator[Prober]:
    """Look after a server and tell it at a port; leaving ends both.

    Args:
        server: To look after.
        host: Address to listen on.
        port: Likewise.

    Yields:
        The prober, which has looked once.
    """
    prober = Prober(server)
    prober.look()
    with ThreadingHTTPServer((host, port), _teller(prober)) as teller:
        threads = [threading.Thread(target=work, daemon=True) for work in (prober.keep_looking, teller.serve_forever)]
        for thread in threads:
            thread.start()
        try:
            yield prober
        finally:
            prober.end()
            teller.shutdown()


def _teller(prober: Prober) -> type[BaseHTTPRequestHandler]:
    class Teller(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path not in (ALIVE, READY):
                return self._send(HTTPStatus.NOT_FOUND, {})
            failure = prober.failure(self.path)
            if failure is None:
                return self._send(HTTPStatus.OK, {"status": "ok"})
            problem = {"code": NoWorker.code, "at": None, "message": failure, "request": ""}
            return self._send(HTTPStatus.SERVICE_UNAVAILABLE, {"error": problem})

        def _send(self, status: HTTPStatus, value: Mapping[str, object]) -> None:
            body = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Write nothing: probes come every second."""

    return Teller
