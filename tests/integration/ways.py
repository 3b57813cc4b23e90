"""The ways to one service over HTTP: TorchServe itself, the small adapter behind uvicorn, and nginx before TorchServe.

What the contract says, each of them keeps; `tests/integration/test_conformance_*.py` ask all of them alike.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.checkout import ROOT
from tests.integration.edge_harness import LiveEdge
from tests.integration.harness import (
    ANSWER_TIMEOUT_S,
    START_TIMEOUT_S,
    Answered,
    LiveServer,
    answered,
    end,
    free_ports,
    parts,
)

COMMON = "/predictions/twelve"


@dataclass(frozen=True)
class Way:
    """How the service is reached.

    Attributes:
        client: Knows whom to trust, and a key where one is needed.
        url: Where any task is asked.
        own: Gives the URL and the headers that ask one task, whose name the body leaves out.
        processes: Gives the ids of those that answer.
    """

    client: httpx.Client
    url: str
    own: Callable[[str], tuple[str, Mapping[str, str]]]
    processes: Callable[[], Sequence[int]]

    def ask_json(self, fields: Mapping[str, Any]) -> Answered:
        return answered(self.client.post(self.url, json=fields))

    def ask_form(self, fields: Mapping[str, Any]) -> Answered:
        return answered(self.client.post(self.url, files=parts(fields)))

    def ask_own(self, task: str, **request: Any) -> Answered:
        url, headers = self.own(task)
        return answered(self.client.post(url, headers=headers, **request))


def through_torchserve(live: LiveServer) -> Way:
    """Ask TorchServe as nginx does: the task of a path is a header."""
    return Way(live.client, live.url, lambda task: (live.url, {"X-Task": task}), live.workers)


def through_nginx(live: LiveEdge) -> Way:
    return Way(
        live.client,
        live.url + COMMON,
        lambda task: (f"{live.url}/v1/tasks/{task}", {}),
        lambda: live.workers(0),
    )


@contextmanager
def through_uvicorn(bundle: Path, folder: Path) -> Iterator[Way]:
    """Run the small adapter; leaving ends it."""
    port = free_ports(1)[0]
    command = ["uvicorn", "--factory", "dev.asgi:create", "--port", str(port), "--log-level", "warning"]
    with (folder / "uvicorn.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=ROOT,
            env={**os.environ, "BUNDLE": str(bundle), "PYTHONPATH": str(ROOT)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        with httpx.Client(timeout=ANSWER_TIMEOUT_S) as client:
            wait_until_answered(client, f"{url}/readyz", process, folder / "uvicorn.log")
            yield Way(client, url + COMMON, lambda task: (f"{url}/v1/tasks/{task}", {}), lambda: [process.pid])
            assert process.poll() is None, (folder / "uvicorn.log").read_text()
    finally:
        end(process)


def wait_until_answered(client: httpx.Client, url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text()
        try:
            client.get(url).raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.1)
    raise TimeoutError(log.read_text())
