"""What the exporter tells of the server itself, asked of a management port that answers what a test wants."""

import http.server
import json
import threading
import time

import pytest
from prometheus_client import CollectorRegistry

from handlers.exporter import ModelInfo, ServerState
from tests.bundles import make_tiny_bundle

PATIENCE_S = 0.2


class Management:
    """A management port."""

    def __init__(self) -> None:
        self.answer: object = [version("READY", "READY")]
        self.delay_s = 0.0
        own = self

        class Page(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                time.sleep(own.delay_s)
                known = self.path == "/models/twelve/all"
                self.send_response(200 if known else 404)
                self.end_headers()
                self.wfile.write(json.dumps(own.answer).encode())

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def version(*states: str, waiting: int = 3, room: int = 61, wanted: int = 2) -> dict:
    workers = [{"status": state} for state in states]
    queue = {"pendingRequests": waiting, "remainingCapacity": room}
    return {"minWorkers": wanted, "workers": workers, "jobQueueStatus": queue}


@pytest.fixture
def management():
    made = Management()
    yield made
    made.stop()


def told(address: str) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(ServerState(address, timeout_s=PATIENCE_S))
    return {sample.name: sample.value for family in registry.collect() for sample in family.samples}


def figures(depth: float, capacity: float, ready: float, wanted: float) -> dict[str, float]:
    return {
        "twelve_server_up": 1,
        "twelve_queue_depth": depth,
        "twelve_queue_capacity": capacity,
        "twelve_workers_ready": ready,
        "twelve_workers_wanted": wanted,
    }


def test_the_queue_and_the_workers_are_told(management):
    assert told(management.address) == figures(3, 64, 2, 2)


def test_only_workers_that_take_requests_are_ready(management):
    management.answer = [version("READY", "LOADING")]
    assert told(management.address) == figures(3, 64, 1, 2)


def test_versions_that_serve_side_by_side_are_summed_up(management):
    management.answer = [version("READY", wanted=1), version("READY", "UNLOADING", waiting=5, room=5)]
    assert told(management.address) == figures(8, 74, 2, 3)


def test_a_server_without_an_answer_is_down_and_tells_no_figures(management):
    management.stop()
    assert told(management.address) == {"twelve_server_up": 0}


def test_a_server_that_answers_too_late_is_down(management):
    management.delay_s = 3 * PATIENCE_S
    assert told(management.address) == {"twelve_server_up": 0}


def test_an_address_that_knows_no_such_model_is_down(management):
    assert told(f"{management.address}/elsewhere") == {"twelve_server_up": 0}


def test_nobody_is_asked_before_the_first_scrape(management):
    management.stop()
    CollectorRegistry(auto_describe=True).register(ServerState(management.address))


def test_the_model_is_named_with_its_bundle(tmp_path):
    bundle = make_tiny_bundle(tmp_path)
    registry = CollectorRegistry()
    registry.register(ModelInfo(bundle))
    named = {"name": "tiny", "version": "0", "bundle": bundle.digest()}
    assert registry.get_sample_value("twelve_model_info", named) == 1
