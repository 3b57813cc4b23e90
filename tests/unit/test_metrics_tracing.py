"""Traces, read back from OpenTelemetry's own exporter in memory."""

import sys
import time

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from twelve.errors import ConfigInvalid
from twelve.observer import Done, Lap
from twelve.tracing import NANO, SWITCH, Tracer, tracers

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SOON_S = 1.0


def spans_of(*requests: Done) -> list:
    exporter = InMemorySpanExporter()
    tracer = Tracer(exporter)
    for one in requests:
        tracer.request(one)
    tracer.flush()
    return list(exporter.get_finished_spans())


def done(code: str = "ok", flags: str = "01") -> Done:
    now = time.monotonic()
    laps = (Lap("decode", now - 0.5, 0.125), Lap("fuse", now - 0.25, 0.25))
    return Done("gqa", code, "r-1", {"traceparent": f"00-{TRACE}-{CALLER}-{flags}"}, now - 1, now, laps)


def test_a_request_is_a_span_and_the_stages_of_its_batch_are_its_children():
    decode, fuse, request = spans_of(done())
    assert [span.name for span in (request, decode, fuse)] == ["predict gqa", "decode", "fuse"]
    assert {decode.parent.span_id, fuse.parent.span_id} == {request.context.span_id}
    assert request.end_time - request.start_time == pytest.approx(NANO)
    assert decode.end_time - decode.start_time == pytest.approx(NANO / 8)
    assert request.end_time == pytest.approx(time.time_ns(), abs=SOON_S * NANO)


def test_a_span_names_the_request_as_the_log_does():
    assert dict(spans_of(done())[-1].attributes) == {
        "twelve.task": "gqa",
        "twelve.code": "ok",
        "twelve.request": "r-1",
    }


def test_a_request_continues_the_proxys_trace():
    request = spans_of(done())[-1]
    assert f"{request.context.trace_id:032x}" == TRACE
    assert f"{request.parent.span_id:016x}" == CALLER


def test_a_trace_that_the_caller_does_not_sample_is_not_written():
    assert spans_of(done(flags="00")) == []


def test_an_error_is_an_error_of_its_code():
    request = spans_of(done("deadline"))[-1]
    assert (request.status.is_ok, request.status.description) == (False, "deadline")


def test_tracing_is_off_unless_it_is_asked_for():
    assert tracers({}) == []
    assert [type(one) for one in tracers({SWITCH: "http://127.0.0.1:1"})] == [Tracer]


def test_a_trace_that_is_asked_for_but_not_installed_refuses_to_start(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigInvalid, match=r"OpenTelemetry is not installed; `pip install 'twelve-in-one\[otel\]'`"):
        tracers({SWITCH: "http://127.0.0.1:1"})
