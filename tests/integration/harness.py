"""A real server for tests: started by the launcher in an empty folder on free ports, stopped by its own process id."""

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from handlers.healthcheck import MODEL, NotReady, Server
from tests.bundles import picture
from tests.checkout import ROOT
from twelve.tasks import TASKS

PORTS = ("PORT", "MANAGEMENT_PORT", "METRICS_PORT", "EXPORTER_PORT", "GRPC_PORT", "GRPC_MANAGEMENT_PORT", "HEALTH_PORT")
START_TIMEOUT_S, STOP_TIMEOUT_S, ANSWER_TIMEOUT_S = 600, 30, 60

Answered = tuple[int, dict[str, Any]]


@dataclass(frozen=True)
class LiveServer:
    """A server that answers."""

    process: subprocess.Popen[bytes]
    run_dir: Path
    ports: Mapping[str, int]
    client: httpx.Client

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['PORT']}/predictions/{MODEL}"

    def ask_json(self, fields: Mapping[str, Any]) -> Answered:
        return answered(self.client.post(self.url, json=fields))

    def ask_form(self, fields: Mapping[str, Any]) -> Answered:
        return answered(self.client.post(self.url, files=parts(fields)))

    def ask_together(self, requests: Sequence[Mapping[str, Any]]) -> list[Answered]:
        with ThreadPoolExecutor(len(requests)) as pool:
            return list(pool.map(self.ask_json, requests))

    def workers(self) -> list[int]:
        """Give the workers' process ids."""
        address = f"http://127.0.0.1:{self.ports['MANAGEMENT_PORT']}/models/{MODEL}"
        found = (worker["pid"] for worker in self.client.get(address).json()[0]["workers"])
        return sorted(pid for pid in found if pid > 0)  # -1 while it starts, which to kill would be to kill everything

    def kill_worker(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        wait_until_ready(self.process, self.run_dir, before=lambda: pid not in self.workers())

    def metrics(self) -> dict[tuple[str, ...], float]:
        """Give our exporter's samples by name and label values."""
        text = self.client.get(f"http://127.0.0.1:{self.ports['EXPORTER_PORT']}/metrics").text
        samples = (sample for family in text_string_to_metric_families(text) for sample in family.samples)
        return {(sample.name, *sample.labels.values()): sample.value for sample in samples}


def answered(response: httpx.Response) -> Answered:
    return response.status_code, response.json() if response.content else {}


def parts(fields: Mapping[str, Any]) -> dict[str, tuple[str | None, bytes]]:
    """Write a request as a form: pictures as files, what is no text as JSON text."""
    named = {name: value for name, value in fields.items() if name != "images"}
    pictures = {f"image_{place}": picture for place, picture in enumerate(fields.get("images", ()))}
    return {name: part(name, value) for name, value in {**named, **pictures}.items()}


def part(name: str, value: Any) -> tuple[str | None, bytes]:
    if name.startswith("image") and isinstance(value, str):
        return ("picture", base64.b64decode(value))
    return (None, (value if isinstance(value, str) else json.dumps(value)).encode())


@contextmanager
def serving(bundle: Path, folder: Path, **environment: str) -> Iterator[LiveServer]:
    """Start a server in a folder by the launcher; leaving stops it as Ctrl-C does.

    Args:
        bundle: To serve.
        folder: The working directory; empty, or with what an earlier server of this bundle exported.
        **environment: As `make serve` takes it: ENGINE, WORKERS, …
    """
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    run_dir = folder / f"run-{ports['PORT']}"
    settings = {"BUNDLE": bundle, "RUN_DIR": run_dir, "PYTHONPATH": ROOT, **ports, **environment}
    with ExitStack() as closing:
        log = closing.enter_context((folder / "serve.log").open("wb"))
        process = subprocess.Popen(
            [sys.executable, "-m", "handlers.serve"],
            cwd=folder,
            env={**os.environ, **{name: str(value) for name, value in settings.items()}},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        closing.callback(end, process)
        wait_until_ready(process, run_dir, before=lambda: b"server is ready" in (folder / "serve.log").read_bytes())
        client = closing.enter_context(httpx.Client(timeout=ANSWER_TIMEOUT_S))
        yield LiveServer(process, run_dir, ports, client)


def wait_until_ready(process: subprocess.Popen[bytes], run_dir: Path, *, before: Any) -> None:
    """Wait until something has come true and the server is ready."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, (run_dir.parent / "serve.log").read_text()
        try:
            if before():
                return Server.of(run_dir).check(timeout_s=ANSWER_TIMEOUT_S)
        except NotReady:
            pass
        time.sleep(0.2)
    raise TimeoutError((run_dir.parent / "serve.log").read_text())


def end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(STOP_TIMEOUT_S)
    finally:
        process.kill()


def free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on; all are held until all are found, so that they differ."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def encoded(seed: int) -> str:
    return base64.b64encode(picture(seed)).decode()


def example(name: str, images: list[Any] | None = None, *, seed: int = 0) -> dict[str, Any]:
    """Give the example request of a task, with these pictures or noisy ones."""
    task = TASKS[name]
    shown = images or [encoded(seed + place) for place in range(task.pictures_in_example)]
    return {"task": name, **task.example(shown)}
