"""What the dashboard shows is what happened: a real Prometheus reads a real server, and nginx's clock is the judge.

Every task is asked thousands of times at a steady pace that fills most of the server. Then Prometheus evaluates the
panels' own queries, and each quantile of each task is compared with the times that nginx wrote down for the same
requests.
"""

import http.client
import json
import math
import queue
import random
import re
import ssl
import statistics
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from handlers import access_log
from ops.grafana import dashboard
from tests.checkout import ROOT
from tests.integration.conftest import DEFAULT_BUNDLE
from tests.integration.edge_harness import PORTS_OF_A_SERVER, LiveEdge, edge_serving
from tests.integration.harness import encoded, example, free_ports
from twelve.tasks import TASKS

pytestmark = [pytest.mark.integration, pytest.mark.edge, pytest.mark.slow]

CONFIG = ROOT / "ops" / "prometheus-edge.yml"
RULES = ROOT / "ops" / "alerts" / "twelve.rules.yml"
PORTS_IN_CONFIG = range(8100, 8100 + 2 * PORTS_OF_A_SERVER)

REQUESTS = 2000  # of each task
WORKERS = 2
UTILISATION = 0.8
CONNECTIONS = 32
REHEARSALS = 10  # of each task, to learn how long a request takes
A_FEW_SCRAPES_S = 3.5
START_TIMEOUT_S = 60.0
CLOSE_SHARE, CLOSE_S = 0.05, 0.003  # whichever is larger


@dataclass(frozen=True)
class Scene:
    """nginx, a server with two workers, and Prometheus, which reads both.

    Attributes:
        live: nginx and the server.
        prometheus: Where it answers.
        asked: Bodies by task; the pictures are known to the server.
    """

    live: LiveEdge
    prometheus: str
    asked: dict[str, bytes]

    def query(self, expression: str) -> list[dict[str, Any]]:
        reply = httpx.get(f"{self.prometheus}/api/v1/query", params={"query": expression}).json()
        assert reply["status"] == "success", reply
        return reply["data"]["result"]


@dataclass(frozen=True)
class Performance:
    """What became of the load.

    Attributes:
        window: A range that reaches back to its start, for Prometheus.
        seconds: Times by task, as nginx wrote them down.
        entries: Of nginx's log.
    """

    window: str
    seconds: dict[str, list[float]]
    entries: list[dict[str, Any]]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("truth")
    settings = {"INSTANCES": 1, "WORKERS": WORKERS, "THREADS": 1, "RATE": 100_000, "BURST": 100_000}
    with edge_serving(DEFAULT_BUNDLE, folder, **settings) as live:
        process, address = start_prometheus(live, folder)
        try:
            yield Scene(live, address, bodies(live))
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="module")
def performance(scene: Scene) -> Performance:
    for task in ("nlvr2", "gqa"):
        assert scene.live.ask(task, {}).status_code == 422
    pace_s = rehearse(scene) / (WORKERS * UTILISATION)
    wait_until_scraped(scene)
    time.sleep(A_FEW_SCRAPES_S)
    seen, began = len(scene.live.log()), time.monotonic()
    assert scene.live.ask("nlvr2", {}).status_code == 422
    perform(scene, pace_s)
    time.sleep(A_FEW_SCRAPES_S)
    entries = scene.live.log()[seen:]
    answered = [entry for entry in entries if entry["status"] == 200]
    seconds = {task: [entry["seconds"] for entry in answered if entry["task"] == task] for task in TASKS}
    return Performance(f"{math.ceil(time.monotonic() - began) + 1}s", seconds, entries)


def start_prometheus(live: LiveEdge, folder: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start Prometheus by our configuration, with this server's ports and a scrape a second."""
    text = (
        CONFIG.read_text().replace("5s", "1s").replace("4s", "1s").replace(str(access_log.PORT), str(live.metrics_port))
    )
    text = re.sub(r", 127\.0\.0\.1:81\d\d", "", text)  # the second server
    for offset, port in enumerate(PORTS_IN_CONFIG):
        text = text.replace(f":{port}", f":{live.first_port + offset}")
    (folder / "prometheus.yml").write_text(text)
    (folder / "alerts").mkdir()
    (folder / "alerts" / RULES.name).write_text(RULES.read_text().replace("interval: 1m", "interval: 1s"))
    address = f"127.0.0.1:{free_ports(1)[0]}"
    command = ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    process = subprocess.Popen([*command, f"--web.listen-address={address}"], stderr=subprocess.DEVNULL)
    return process, f"http://{address}"


def wait_until_scraped(scene: Scene) -> None:
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until:
        with suppress(httpx.TransportError):
            if [float(series["value"][1]) for series in scene.query("up")] == [1, 1, 1]:
                return
        time.sleep(0.2)
    raise TimeoutError(f"Prometheus has not scraped its three targets: {scene.query('up')}")


def bodies(live: LiveEdge) -> dict[str, bytes]:
    """Write a request of each task, with pictures by ref."""
    shown = {}
    for seed in range(max(task.pictures_in_example for task in TASKS.values())):
        reply = live.ask("gqa", {"question": "What is it?", "image": encoded(seed)})
        assert reply.status_code == 200, reply.text
        shown[seed] = {"ref": reply.json()["images"][0]}
    examples = {
        name: example(name, [shown[n] for n in range(task.pictures_in_example)]) for name, task in TASKS.items()
    }
    return {name: json.dumps(fields).encode() for name, fields in examples.items()}


class Wire:
    """One connection that stays open."""

    def __init__(self, live: LiveEdge) -> None:
        trusting = ssl.create_default_context(cafile=str(live.run_dir / "nginx" / "certificate.pem"))
        self._connection = http.client.HTTPSConnection("localhost", live.port, context=trusting, timeout=60)
        self._headers = {"Authorization": f"Bearer {live.key}", "Content-Type": "application/json"}

    def ask(self, task: str, body: bytes) -> int:
        self._connection.request("POST", f"/v1/tasks/{task}", body, self._headers)
        with self._connection.getresponse() as response:
            response.read()
            return response.status


def rehearse(scene: Scene) -> float:
    """Ask each task a few times, one after the other, and give how long a request takes."""
    wire, took = Wire(scene.live), []
    for task, body in REHEARSALS * list(scene.asked.items()):
        began = time.monotonic()
        assert wire.ask(task, body) == 200
        took.append(time.monotonic() - began)
    return statistics.fmean(took)


def perform(scene: Scene, pace_s: float) -> None:
    """Ask every task as often, in any order, each at its own time whether or not those before have their answers."""
    order = REQUESTS * list(scene.asked)
    random.Random(0).shuffle(order)
    waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    came: list[Sequence[int]] = []
    threads = [
        threading.Thread(target=lambda: came.append(ask_all(scene, waiting)), daemon=True) for _ in range(CONNECTIONS)
    ]
    for thread in threads:
        thread.start()
    began = time.monotonic()
    for place, task in enumerate(order):
        time.sleep(max(0.0, began + place * pace_s - time.monotonic()))
        waiting.put(task)
    for _ in threads:
        waiting.put(None)
    for thread in threads:
        thread.join()
    assert Counter(status for statuses in came for status in statuses) == {200: len(order)}


def ask_all(scene: Scene, waiting: "queue.SimpleQueue[str | None]") -> list[int]:
    wire = Wire(scene.live)
    return [wire.ask(task, scene.asked[task]) for task in iter(waiting.get, None)]


def is_close(shown_s: float, true_s: float) -> bool:
    return abs(shown_s - true_s) <= max(CLOSE_SHARE * true_s, CLOSE_S)


def panels() -> Iterator[tuple[str, list[str]]]:
    for panel in json.loads(dashboard.text())["panels"]:
        if panel["type"] != "row":
            yield panel["title"], [target["expr"] for target in panel["targets"]]


def test_the_configurations_are_sound():
    for file in (ROOT / "ops").glob("prometheus*.yml"):
        subprocess.run(["promtool", "check", "config", file], check=True, capture_output=True)


@pytest.mark.parametrize("name", dashboard.QUANTILES)
def test_each_quantile_of_each_task_is_that_of_nginxs_clock(scene, performance, name):
    ((query,),) = [queries for title, queries in panels() if title == f"{name} by task"]
    series = scene.query(query.replace("$__rate_interval", performance.window))
    shown = {one["metric"]["task"]: float(one["value"][1]) for one in series}
    true = {task: float(np.quantile(own, dashboard.QUANTILES[name])) for task, own in performance.seconds.items()}
    wrong = {task: (shown[task], true_s) for task, true_s in true.items() if not is_close(shown[task], true_s)}
    assert wrong == {}


def test_each_task_was_asked_as_often_as_it_takes(performance):
    assert {task: len(seconds) for task, seconds in performance.seconds.items()} == dict.fromkeys(TASKS, REQUESTS)


def test_every_panel_shows_something(scene, performance):
    shown = {
        title: [scene.query(query.replace("$__rate_interval", performance.window)) for query in queries]
        for title, queries in panels()
    }
    assert {title for title, answers in shown.items() if not all(answers)} == set()


def test_each_answer_of_nginx_is_counted_once(scene, performance):
    told = {
        int(one["metric"]["status"]): float(one["value"][1]) for one in scene.query("twelve_edge_requests_total > 0")
    }
    paths = [entry for entry in scene.live.log() if entry["path"].startswith("/v1/tasks/")]
    assert told == Counter(entry["status"] for entry in paths)


def test_no_alert_is_raised_where_nothing_is_wrong(scene, performance):
    assert scene.query("ALERTS") == []
