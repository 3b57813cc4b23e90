"""nginx for tests: before the real servers, started by the launcher, or before servers that do as a test tells them."""

import json
import os
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

from handlers import edge, edge_keys, edge_nginx
from handlers.edge_nginx import Backend, Limits, Nginx, Site
from handlers.healthcheck import MODEL
from tests.checkout import ROOT
from tests.integration.harness import ANSWER_TIMEOUT_S, START_TIMEOUT_S, end, free_ports

JSON = {"Content-Type": "application/json"}
PORTS_OF_A_SERVER = 7
BELOW_EPHEMERAL = (20_000, 30_000)


@dataclass
class Heard:
    """A request as a scripted server got it."""

    path: str
    headers: Mapping[str, str]
    body: bytes


Script = Callable[[Heard], tuple[int, Mapping[str, str], bytes]]
"""What a scripted server answers."""


def fine(_: Heard) -> tuple[int, Mapping[str, str], bytes]:
    return 200, {**JSON, "X-Answered-By": "twelve", "X-Request-Id": "torchserve's own"}, b'{"answer": "yes"}'


@dataclass
class Scripted:
    """A server that does as its script says, and remembers what it was asked."""

    port: int
    script: Script = fine
    heard: list[Heard] = field(default_factory=list)

    @property
    def backend(self) -> Backend:
        return Backend(f"127.0.0.1:{self.port}", f"127.0.0.1:{self.port}")


@contextmanager
def scripted() -> Iterator[Scripted]:
    own = Scripted(0)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"] or 0))
            heard = Heard(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            own.heard.append(heard)
            status, headers, answer = own.script(heard)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(answer))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        own.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield own
        server.shutdown()


@dataclass(frozen=True)
class Front:
    """nginx before scripted servers."""

    site: Site
    nginx: Nginx
    servers: list[Scripted]
    key: str
    client: httpx.Client

    @property
    def url(self) -> str:
        return f"https://localhost:{self.site.port}"

    def ask(self, path: str = "/v1/tasks/vqa-v2", content: bytes = b"{}", **headers: str) -> httpx.Response:
        own = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(self.url + path, content=content, headers={**JSON, **own})

    def log_of(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        return logged(self.site.folder / "logs" / "access.log", name, count)


@contextmanager
def fronting(folder: Path, *, count: int = 2, http_port: int | None = None, **limits: int) -> Iterator[Front]:
    """Run nginx before scripted servers; leaving ends all of it."""
    with ExitStack() as closing:
        servers = [closing.enter_context(scripted()) for _ in range(count)]
        own = folder / "nginx"
        site = Site(
            folder=own,
            listen="127.0.0.1",
            port=free_ports(1)[0],
            http_port=http_port,
            backends=tuple(server.backend for server in servers),
            certificate=own / "certificate.pem",
            private_key=own / "private-key.pem",
            keys=folder / "keys",
            limits=Limits(**{"rate": 1000, "burst": 1000, **limits}),
        )
        edge.make_certificate(site)
        key = edge_keys.add(site.keys, "tester")
        edge_nginx.write(site)
        (own / "tasks.json").write_text('{"tasks": []}')
        nginx = closing.enter_context(edge_nginx.running(site))
        client = closing.enter_context(client_of(site.certificate, key))
        yield Front(site, nginx, servers, key, client)


def logged(log: Path, name: str, count: int) -> list[dict[str, Any]]:
    """Wait for the lines of requests of this name; nginx writes a line after it has answered."""
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    while True:
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        found = [line for line in lines if line["request"] == name]
        if len(found) >= count:
            return found
        assert time.monotonic() < deadline, f"{len(found)} lines of {name}, not {count}"
        time.sleep(0.02)


def client_of(certificate: Path, key: str | None) -> httpx.Client:
    trusting = ssl.create_default_context(cafile=str(certificate))
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.Client(verify=trusting, headers=headers, timeout=ANSWER_TIMEOUT_S)


def raw(front: Front, data: bytes, *, then_wait_s: float = 5.0) -> bytes:
    """Send bytes over TLS as they are; give what comes back until the connection closes or time is up."""
    with connected(front) as wire:
        wire.sendall(data)
        wire.settimeout(then_wait_s)
        received = b""
        try:
            while part := wire.recv(65536):
                received += part
        except (TimeoutError, ConnectionError):
            pass
        return received


def connected(front: Front) -> ssl.SSLSocket:
    trusting = ssl.create_default_context(cafile=str(front.site.certificate))
    plain = socket.create_connection(("127.0.0.1", front.site.port), timeout=10)
    return trusting.wrap_socket(plain, server_hostname="localhost")


@dataclass(frozen=True)
class LiveEdge:
    """nginx and real servers, as `make serve-edge` starts them."""

    process: subprocess.Popen[bytes]
    run_dir: Path
    port: int
    first_port: int
    metrics_port: int
    key: str
    client: httpx.Client
    environment: Mapping[str, str]

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def ask(self, task: str, fields: Mapping[str, Any], **headers: str) -> httpx.Response:
        return self.client.post(f"{self.url}/v1/tasks/{task}", json=fields, headers=headers)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "handlers.edge", *arguments]
        return subprocess.run(
            command, cwd=self.run_dir.parent, env=self.environment, capture_output=True, text=True, check=False
        )

    def inference(self, server: int) -> str:
        """Give where a server itself is asked."""
        return f"http://127.0.0.1:{self.first_port + PORTS_OF_A_SERVER * server}/predictions/{MODEL}"

    def workers(self, server: int) -> list[int]:
        """Give the process ids of a server's workers."""
        management = self.first_port + PORTS_OF_A_SERVER * server + 1
        described = httpx.get(f"http://127.0.0.1:{management}/models/{MODEL}").json()[0]
        return [worker["pid"] for worker in described["workers"] if worker["pid"] > 0]  # -1 while it starts

    def log(self) -> list[dict[str, Any]]:
        lines = (self.run_dir / "nginx" / "logs" / "access.log").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def log_of(self, name: str) -> list[dict[str, Any]]:
        return logged(self.run_dir / "nginx" / "logs" / "access.log", name, 1)


@contextmanager
def edge_serving(bundle: Path, folder: Path, **settings: object) -> Iterator[LiveEdge]:
    """Start nginx and servers in an empty folder by the launcher; leaving stops them as Ctrl-C does."""
    (port, metrics_port), first_port, run_dir = free_ports(2), free_block(PORTS_OF_A_SERVER * 2), folder / "run"
    own = {"BUNDLE": bundle, "HTTPS_PORT": port, "INSTANCE_PORT": first_port, "RUN_DIR": run_dir, "PYTHONPATH": ROOT}
    own["EDGE_EXPORTER_PORT"] = metrics_port
    environment = {**os.environ, **{name: str(value) for name, value in {**own, **settings}.items()}}
    with ExitStack() as closing:
        log = closing.enter_context((folder / "edge.log").open("wb"))
        process = subprocess.Popen(
            [sys.executable, "-m", "handlers.edge", "serve"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        closing.callback(end, process)
        wait_told(process, folder / "edge.log", "The server is ready")
        (key,) = edge_keys.read(run_dir / "keys")
        client = closing.enter_context(client_of(run_dir / "nginx" / "certificate.pem", key))
        yield LiveEdge(process, run_dir, port, first_port, metrics_port, key, client, environment)


def wait_told(process: subprocess.Popen[bytes], log: Path, sentence: str) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    while sentence not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.1)
    return log.read_text()


def free_block(count: int) -> int:
    """Find the first of neighbouring ports that nobody listens on."""
    for _ in range(100):
        first = random.randrange(*BELOW_EPHEMERAL)
        try:
            with ExitStack() as held:
                for port in range(first, first + count):
                    held.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
    raise OSError(f"no {count} neighbouring ports are free")


@contextmanager
def asking(
    live: LiveEdge, ask: Callable[[httpx.Client], httpx.Response], clients: int, *, pause_s: float = 0.0
) -> Iterator[list[Any]]:
    """Ask again and again from several clients while something happens; give what came back, errors included."""
    came: list[Any] = []
    ended = threading.Event()

    def keep_asking() -> None:
        with client_of(live.run_dir / "nginx" / "certificate.pem", live.key) as client:
            while not ended.is_set():
                try:
                    came.append(ask(client))
                except httpx.HTTPError as error:
                    came.append(error)
                time.sleep(pause_s)

    threads = [threading.Thread(target=keep_asking) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield came
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
