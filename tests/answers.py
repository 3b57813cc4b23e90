"""Comparing answers: equal but for the rounding of sums in another order."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

SAME = 1e-5
"""Of a score in [0, 1]: fp32 sums in another order."""


def assert_same_answer(one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """See that two bodies say the same; how long it took, and the names of requests, may differ."""
    assert _settled(one) == _settled(other)
    assert _scores(one) == pytest.approx(_scores(other), rel=0, abs=SAME)


def _settled(body: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in body.items() if name not in ("timings_ms", "candidates")}
    return {**kept, "error": {**body["error"], "request": None}} if "error" in body else kept


def _scores(body: Mapping[str, Any]) -> dict[str, float]:
    return {json.dumps(one["answer"]): one["score"] for one in body.get("candidates", ())}
