"""A real Prometheus scrapes a real server by our configuration, and every panel of the dashboard shows something."""

import contextlib
import json
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from ops.grafana import dashboard
from tests.checkout import ROOT
from tests.integration.harness import LiveServer, example, free_ports
from twelve.tasks import TASKS

pytestmark = [pytest.mark.integration, pytest.mark.edge]

CONFIG = ROOT / "ops" / "prometheus.yml"
WINDOW = "6s"
ASKING_S = 5.0
START_TIMEOUT_S = 30.0


@pytest.fixture
def prometheus(server: LiveServer, tmp_path: Path):
    text = CONFIG.read_text().replace("8083", str(server.ports["EXPORTER_PORT"]))
    text = text.replace("8082", str(server.ports["METRICS_PORT"])).replace("5s", "1s").replace("4s", "1s")
    (tmp_path / "prometheus.yml").write_text(text)
    address = f"127.0.0.1:{free_ports(1)[0]}"
    command = ["prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data"]
    process = subprocess.Popen([*command, f"--web.listen-address={address}"], stderr=subprocess.DEVNULL)
    try:
        wait_until_scraped(f"http://{address}")
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait(20)


def ask(prometheus: str, query: str) -> list[dict]:
    return httpx.get(f"{prometheus}/api/v1/query", params={"query": query}).json()["data"]["result"]


def wait_until_scraped(prometheus: str) -> None:
    until = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < until:
        with contextlib.suppress(httpx.TransportError):
            if [float(series["value"][1]) for series in ask(prometheus, "up")] == [1, 1]:
                return
        time.sleep(0.2)
    raise TimeoutError("Prometheus has not scraped both of its targets")


def test_the_configuration_is_sound():
    subprocess.run(["promtool", "check", "config", CONFIG], check=True, capture_output=True)


def test_every_panel_shows_something(server, prometheus):
    until = time.monotonic() + ASKING_S
    while time.monotonic() < until:
        for name in TASKS:
            assert server.ask_json(example(name))[0] == 200
        server.ask_json({"task": "nlvr2"})
    shown = {}
    for panel in json.loads(dashboard.text())["panels"]:
        for target in panel.get("targets", ()):
            shown[panel["title"]] = ask(prometheus, target["expr"].replace("$__rate_interval", WINDOW))
    assert [title for title, series in shown.items() if not series] == []
    for quantile in dashboard.QUANTILES:
        assert {series["metric"]["task"] for series in shown[f"{quantile} by task"]} >= set(TASKS)
