"""A worker whose device is lost ends when it has answered: TorchServe's own worker process, asked as Java asks it."""

import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.checkout import ROOT

HANDLER = '''
"""The adapter around an engine whose device is lost when it is told so."""
from handlers.twelve_handler import TwelveHandler
from twelve.stages import each
from twelve.wire import Reply, refused


class Faulty(TwelveHandler):
    def initialize(self, context):
        self._service, self._most_bytes = self, 10_000_000

    def answer_calls(self, calls):
        found = each(self.answer, calls)
        return [one if isinstance(one, Reply) else refused(one, request_id="r", task=None) for one in found]

    def answer(self, call):
        if b"fault" in call.body:
            raise RuntimeError("CUDA error: device-side assert triggered")
        return Reply(200, b"x" * 1_000_000, None)
'''
START_TIMEOUT_S, ANSWER_TIMEOUT_S = 60, 30
NONE = struct.pack("!i", -1)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], socket.socket]]:
    """Start a worker as TorchServe does, and let it load the handler."""
    ts = Path(str(find_spec("ts").origin)).parent  # type: ignore[union-attr]
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "faulty.py").write_text(HANDLER)
    address = tmp_path / "ts.sock.9000"
    process = subprocess.Popen(
        [
            *(sys.executable, str(ts / "model_service_worker.py"), "--sock-type", "unix", "--sock-name", str(address)),
            *("--metrics-config", str(ts / "configs" / "metrics.yaml")),
        ],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path / 'model'}:{ROOT}", "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
    )
    try:
        with connected(address) as java:
            java.settimeout(ANSWER_TIMEOUT_S)
            java.sendall(load(tmp_path / "model", "faulty.py"))
            assert number(java) == 200
            assert b"loaded" in received(java, number(java))
            assert number(java) == -1
            yield process, java
    finally:
        process.kill()
        process.wait()


def connected(address: Path) -> socket.socket:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        java = socket.socket(socket.AF_UNIX)
        try:
            java.connect(str(address))
            return java
        except OSError:
            java.close()
            assert time.monotonic() < deadline, "the worker does not listen"
            time.sleep(0.05)


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("!i", len(raw)) + raw


def load(folder: Path, handler: str) -> bytes:
    """Write the frame that loads a model: its name, path, batch size, handler, GPU, envelope, and a limit."""
    head = b"L" + text("twelve") + text(str(folder)) + struct.pack("!i", 8)
    return head + text(handler) + NONE + text("") + b"\x01"


def ask(*bodies: bytes) -> bytes:
    """Write the frame of a batch: a request has its name, its headers, its parameters; each list has an end."""
    requests = (
        text(f"r{place}")
        + (text("Content-Type") + text("application/json") + NONE)
        + (text("body") + text("application/json") + text(body) + NONE)
        for place, body in enumerate(bodies)
    )
    return b"I" + b"".join(requests) + NONE


def received(java: socket.socket, length: int) -> bytes:
    found = b""
    while len(found) < length:
        piece = java.recv(length - len(found))
        assert piece, "the worker left in the middle of its answer"
        found += piece
    return found


def number(java: socket.socket) -> int:
    return int(struct.unpack("!i", received(java, 4))[0])


def answers(java: socket.socket) -> list[tuple[int, bytes]]:
    """Read the frame of a batch's answers: status and body each."""
    assert number(java) == 200
    received(java, number(java))
    found = []
    while (length := number(java)) != -1:
        received(java, length)
        received(java, number(java))
        status = number(java)
        received(java, number(java))
        for _ in range(2 * number(java)):
            received(java, number(java))
        found.append((status, received(java, number(java))))
    return found


def test_a_worker_answers_the_whole_batch_of_a_lost_device_and_then_ends(worker) -> None:
    process, java = worker
    java.sendall(ask(b"good"))
    assert [status for status, _ in answers(java)] == [200]
    assert process.poll() is None
    java.sendall(ask(b"good", b"fault", b"good"))
    found = answers(java)
    assert [status for status, _ in found] == [200, 500, 200]
    assert json.loads(found[1][1])["error"]["code"] == "engine-failed"
    assert len(found[0][1]) == len(found[2][1]) == 1_000_000
    assert process.wait(ANSWER_TIMEOUT_S) == 1
