"""The alerts fire when they should and are silent when they should, and their tests would notice a wrong rule."""

import re
import subprocess

import pytest

from ops.alerts.mutation import LEAST_KILLED, RULES, TESTS, Bench, Mutant, mutants, survivors
from tests.checkout import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.edge]

ALERTS = re.findall(r"- alert: (\w+)", RULES.read_text())
GUIDE = ROOT / "docs" / "operations.md"


def test_the_rules_are_sound():
    subprocess.run(["promtool", "check", "rules", RULES], check=True, capture_output=True)


@pytest.mark.parametrize("file", sorted(TESTS.glob("*.yml")), ids=lambda file: file.stem)
def test_the_alerts_fire_and_are_silent_when_they_should(file):
    done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS)
def test_each_alert_is_seen_to_fire_and_to_be_silent(alert):
    text = "".join(file.read_text() for file in TESTS.glob("*.yml"))
    assert f"alertname: {alert}, exp_alerts: []" in text
    assert re.search(rf"alertname: {alert}\n +exp_alerts:\n +- exp_labels", text)


@pytest.mark.parametrize("alert", ALERTS)
def test_what_to_do_about_each_alert_is_written_down(alert):
    assert f"| `{alert}` |" in GUIDE.read_text()


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alerts_own_tests_hold_without_the_other_alerts(alert):
    assert Bench.open().holds(alert)


def test_a_rule_that_says_the_same_in_other_words_is_not_called_wrong():
    bench = Bench.open()
    (rule,) = (rule for rule in bench.rules if rule.get("alert") == "QueueFills")
    assert not bench.is_killed(Mutant("QueueFills", "none", "", {**rule, "expr": f"({rule['expr']})"}))


def test_a_rule_is_changed_in_threshold_window_label_comparison_and_duration():
    (rule,) = (rule for rule in Bench.open().rules if rule.get("alert") == "RefusalsSurge")
    kinds = {mutant.kind for mutant in mutants(rule)}
    assert kinds == {"threshold", "window", "label", "comparison", "for", "severity"}


@pytest.mark.slow
def test_nearly_every_wrong_rule_is_noticed():
    left, count = survivors(Bench.open())
    assert 1 - len(left) / count >= LEAST_KILLED, [f"{one.name}: {one.change}" for one in left]
