"""The dashboard that is committed is the one that its code gives, and it asks for series that exist."""

import json
import re
from pathlib import Path

import pytest

from handlers import exporter
from ops.alerts.mutation import RULES
from ops.grafana import dashboard
from twelve.metrics import ServiceMetrics, collected
from twelve.observer import Done
from twelve.tally import Tally

TORCHSERVES = {"ts_queue_latency_microseconds", "ts_inference_requests_total", "Requests5XX"}
EXPORTERS = set(re.findall(r'"(twelve_\w+)"', Path(exporter.__file__).read_text())) | {
    "twelve_edge_requests_total",
    "twelve_edge_request_seconds_bucket",
}
RECORDED = set(re.findall(r"record: (\S+)", RULES.read_text()))
SERIES = re.compile(r"\b((?:twelve[:_]|ts_|Requests)[\w:]+)")


def our_series(folder: Path) -> set[str]:
    metrics = ServiceMetrics(["nlvr2"], Tally.open(folder))
    metrics.stage("fuse", 1)
    metrics.batch(1)
    metrics.looked_up("memory")
    metrics.request(Done("nlvr2", "ok", "", {}, 0.0, 1.0))
    return {sample.name for family in collected(folder).collect() for sample in family.samples}


def panels() -> list[dict]:
    return [panel for panel in json.loads(dashboard.text())["panels"] if panel["type"] != "row"]


def test_the_committed_dashboard_is_what_its_code_gives():
    assert dashboard.FILE.read_text(encoding="utf-8") == dashboard.text(), "run `python -m ops.grafana.dashboard`"


def test_every_panel_asks_for_series_that_exist(tmp_path):
    asked = {name for panel in panels() for target in panel["targets"] for name in SERIES.findall(target["expr"])}
    assert asked - our_series(tmp_path) - TORCHSERVES - EXPORTERS - RECORDED == set()


def test_the_allowed_shares_are_those_of_the_alerts():
    rules = RULES.read_text()
    assert f"twelve:failed_share:rate1h > 14.4 * {dashboard.FAILURES_ALLOWED} " in rules
    assert f"twelve:slow_share:rate1h > 14.4 * {dashboard.SLOW_ALLOWED} " in rules


@pytest.mark.parametrize("quantile", ["p50", "p95", "p99"])
def test_each_quantile_is_shown_by_task(quantile):
    assert f"{quantile} by task" in {panel["title"] for panel in panels()}
