"""The guide for operators names every metric and every alert of the code, and none that is not."""

import re
from pathlib import Path

import pytest
import yaml

from handlers import access_log, exporter
from ops.alerts.mutation import RULES
from tests.checkout import ROOT
from twelve.metrics import DETECTOR_RUNS, FAMILIES, Count
from twelve.regions.cache import MISSED, RESULTS

GUIDE = re.sub(r"^.*?^## Metrics$", "", (ROOT / "docs" / "operations.md").read_text(), flags=re.MULTILINE | re.DOTALL)
FIRST_CELLS = re.findall(r"^\| (`.+?`(?:, `.+?`)*) \|", GUIDE, re.MULTILINE)
NAMED = {name for cell in FIRST_CELLS for name in re.findall(r"`(\w+)`", cell)}
ALERTS = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text())["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
TOLD_BESIDE = re.compile(r'(Gauge|Info|Counter)MetricFamily\(\s*"(twelve_\w+)"')
ENDINGS = {"Gauge": "", "Info": "_info", "Counter": "_total"}
OURS = re.compile(r"\btwelve_\w+?(?=_bucket|_count|_sum|\b)")


def told_beside_the_workers() -> set[str]:
    sources = "".join(Path(module.__file__).read_text() for module in (exporter, access_log))
    return {name + ENDINGS[kind] for kind, name in TOLD_BESIDE.findall(sources)}


def metrics() -> set[str]:
    families = (*FAMILIES, access_log.SECONDS)
    counted = {family.name + ("_total" if isinstance(family, Count) else "") for family in families}
    return counted | told_beside_the_workers()


def test_every_metric_is_described_and_nothing_else():
    assert {name for name in NAMED if name.startswith("twelve_")} == metrics()


def test_every_alert_has_its_line_on_what_to_do_and_nothing_else_has():
    assert {name for name in NAMED if name[0].isupper()} == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_asks_for_metrics_that_exist(name):
    assert set(OURS.findall(ALERTS[name]["expr"])) <= metrics()


def test_the_alert_on_the_cache_knows_its_results():
    assert set(re.findall(r'result!="(\w+)"', ALERTS["CacheCollapses"]["expr"])) == {MISSED}
    tests = "".join(file.read_text() for file in (RULES.parent / "tests").glob("*.yml"))
    assert set(re.findall(r'feature_cache_total\{result="(\w+)"', tests)) <= set(RESULTS)


def test_the_results_of_a_look_into_the_cache_are_described():
    (line,) = (line for line in GUIDE.splitlines() if line.startswith("| `twelve_feature_cache_total`"))
    assert {result for result in RESULTS if f"`{result}`" in line} == set(RESULTS)
    assert DETECTOR_RUNS.name in GUIDE
