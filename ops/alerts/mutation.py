"""Whether the alerts' tests would notice a wrong rule: `python -m ops.alerts.mutation`.

Each rule is changed in every small way, and what no test of promtool notices is told.
A rule is tried with the alerts that need it and their tests alone: what the others say of it is the same, and slower.
"""

import copy
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
RULES = HERE / "twelve.rules.yml"
TESTS = HERE / "tests"
LEAST_KILLED = 0.95
AT_ONCE = 2

Rule = dict[str, Any]

WINDOW = re.compile(r"(?<=[\[e])(\d+)([smhd])(?=\]| |$)")
"""A range, or the one that a recorded name ends in."""

NUMBER = re.compile(r'(?<![\w."])\d+(?:\.\d+)?(?![\w"])')
LABEL = re.compile(r'\b(\w+)(=~|!~|!=|=)"([^"]*)"')
COMPARISON = re.compile(r" (==|<|>) ")
LOGIC = re.compile(r" and ")
OTHERWISE = {"==": ("!=",), "<": ("<=", ">"), ">": (">=", "<")}
RECORDED = re.compile(r"twelve:\w+:rate\w+")


@dataclass(frozen=True)
class Mutant:
    """A rule with one change.

    Attributes:
        name: Of the rule.
        kind: Of the change.
        change: In words.
        rule: As changed.
    """

    name: str
    kind: str
    change: str
    rule: Rule


def mutants(rule: Rule) -> Iterator[Mutant]:
    """Give a rule in every changed form."""
    for kind, changed in (*_expressions(rule["expr"]), *_durations(rule), *_severities(rule)):
        what = changed.get("expr") or changed.get("for") or str(changed.get("labels"))
        yield Mutant(name_of(rule), kind, what, {**rule, **changed})


def name_of(rule: Rule) -> str:
    """Give a rule's name, whether it records or alerts."""
    return str(rule.get("alert") or rule.get("record"))


def _expressions(expression: str) -> Iterator[tuple[str, Rule]]:
    for found in WINDOW.finditer(expression):
        number, unit = int(found[1]), found[2]
        for window in (f"{2 * number}{unit}", f"{30 * number}{SMALLER[unit]}"):
            yield "window", _put(expression, found, window)
    for found in NUMBER.finditer(expression):
        value = float(found[0])
        for other in (0.8 * value, 1.25 * value) if value else (1.0,):
            yield "threshold", _put(expression, found, f"{other:g}")
    for found in LABEL.finditer(expression):
        for other in ("", f'{found[1]}{found[2]}"other"', f'{found[1]}{OPPOSITE[found[2]]}"{found[3]}"'):
            yield "label", _put(expression, found, other)
    for found in COMPARISON.finditer(expression):
        for other in OTHERWISE[found[1]]:
            yield "comparison", _put(expression, found, f" {other} ")
    for found in LOGIC.finditer(expression):
        yield "comparison", _put(expression, found, " or ")


SMALLER = {"d": "h", "h": "m", "m": "s"}
"""Thirty of the smaller unit: half of a minute or an hour, and a day and a quarter of three days."""

OPPOSITE = {"=~": "!~", "!~": "=~", "!=": "=", "=": "!="}


def _put(expression: str, found: re.Match[str], other: str) -> Rule:
    return {"expr": expression[: found.start()] + other + expression[found.end() :]}


def _durations(rule: Rule) -> Iterator[tuple[str, Rule]]:
    if "for" in rule:
        minutes = int(rule["for"].removesuffix("m"))
        for other in ("0m", f"{30 * minutes}s", f"{2 * minutes}m"):
            yield "for", {"for": other}


def _severities(rule: Rule) -> Iterator[tuple[str, Rule]]:
    if "labels" in rule:
        other = {"page": "ticket", "ticket": "page"}[rule["labels"]["severity"]]
        yield "severity", {"labels": {"severity": other}}


class Bench:
    """The rules and their tests, to be tried in parts."""

    def __init__(self, rules: Sequence[Rule], tests: Mapping[Path, Rule]) -> None:
        self.rules = rules
        self._tests = tests

    @classmethod
    def open(cls) -> "Bench":
        """Read the committed ones."""
        groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
        tests = {file: yaml.safe_load(file.read_text(encoding="utf-8")) for file in sorted(TESTS.glob("*.yml"))}
        return cls([rule for group in groups for rule in group["rules"]], tests)

    def is_killed(self, mutant: Mutant) -> bool:
        """Say whether a test notices a changed rule."""
        changed = [mutant.rule if name_of(rule) == mutant.name else rule for rule in self.rules]
        return any(not self._holds(alert, changed) for alert in self._concerned(mutant.name))

    def holds(self, alert: str) -> bool:
        """Say whether an alert's tests hold for the rules as they are."""
        return self._holds(alert, self.rules)

    def _concerned(self, name: str) -> list[str]:
        return [rule["alert"] for rule in self.rules if "alert" in rule and name in (rule["alert"], *needs(rule))]

    def _holds(self, alert: str, rules: Sequence[Rule]) -> bool:
        (own,) = (rule for rule in rules if rule.get("alert") == alert)
        needed = [rule for rule in rules if rule.get("record") in needs(own)]
        with tempfile.TemporaryDirectory() as folder:
            groups = {"groups": [{"name": "tried", "rules": [*needed, own]}]}
            (Path(folder) / RULES.name).write_text(yaml.safe_dump(groups), encoding="utf-8")
            return all(_passes(Path(folder), file) for file in self._tests_of(alert))

    def _tests_of(self, alert: str) -> Iterator[Rule]:
        for file in self._tests.values():
            tests = [_only(alert, test) for test in file["tests"]]
            kept = [test for test in tests if test["alert_rule_test"]]
            if kept:
                yield {**file, "rule_files": [RULES.name], "tests": kept}


def needs(rule: Rule) -> list[str]:
    """Name what a rule reads of what is recorded."""
    return RECORDED.findall(rule["expr"])


def _only(alert: str, test: Rule) -> Rule:
    kept = copy.copy(test)
    kept["alert_rule_test"] = [check for check in test["alert_rule_test"] if check["alertname"] == alert]
    return kept


def _passes(folder: Path, tests: Rule) -> bool:
    file = folder / "tests.yml"
    file.write_text(yaml.safe_dump(tests), encoding="utf-8")
    return subprocess.run(["promtool", "test", "rules", file], capture_output=True, check=False).returncode == 0


def survivors(bench: Bench) -> tuple[list[Mutant], int]:
    """Try every change of every rule.

    Args:
        bench: The rules and tests.

    Returns:
        The changes that no test notices, and the number of all.
    """
    tried = [mutant for rule in bench.rules for mutant in mutants(rule)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        killed = list(pool.map(bench.is_killed, tried))
    return [mutant for mutant, is_dead in zip(tried, killed, strict=True) if not is_dead], len(tried)


def main() -> None:
    """Print the figure and what survives."""
    left, count = survivors(Bench.open())
    for mutant in left:
        print(f"not noticed: {mutant.name} ({mutant.kind}): {mutant.change}")
    share = 1 - len(left) / count
    print(f"{count - len(left)} of {count} changed rules are noticed ({100 * share:.1f} %)")
    sys.exit(share < LEAST_KILLED)


if __name__ == "__main__":
    main()
