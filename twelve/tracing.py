"""A trace for each request, sent to an OpenTelemetry collector. Off unless OTEL_EXPORTER_OTLP_ENDPOINT is set.

One span a request, from its entry to its answer, and one child a stage of its batch. A request that comes with W3C's
`traceparent`, as one from the proxy does, continues that trace, and the caller's decision to sample is kept. Needs the
extra `otel`; everything else about it is set by OpenTelemetry's own environment variables.
"""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from twelve.errors import ConfigInvalid
from twelve.observer import OK, Done, Silent

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter

SWITCH = "OTEL_EXPORTER_OTLP_ENDPOINT"
"""OpenTelemetry's own variable: where its collector listens, for example http://127.0.0.1:4318."""

SERVICE = "twelve"
NANO = 1_000_000_000


class Tracer(Silent):
    """Writes a span a request; the stages of its batch are its children."""

    def __init__(self, exporter: "SpanExporter") -> None:
        from opentelemetry.sdk.resources import SERVICE_NAME, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = TracerProvider(resource=Resource.create({SERVICE_NAME: SERVICE}))
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer(__name__)
        self._caller = TraceContextTextMapPropagator()

    def request(self, done: Done) -> None:
        """Write a request's span and its children, unless the server asked itself."""
        if done.is_self_test:
            return
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        since_monotonic_ns = time.time_ns() - time.monotonic_ns()
        span = self._tracer.start_span(
            f"predict {done.task}",
            context=self._caller.extract(done.headers),
            kind=SpanKind.SERVER,
            attributes=_attributes(done),
            start_time=since_monotonic_ns + _ns(done.began_s),
        )
        inside = set_span_in_context(span)
        for lap in done.laps:
            child = self._tracer.start_span(lap.stage, inside, start_time=since_monotonic_ns + _ns(lap.began_s))
            child.end(since_monotonic_ns + _ns(lap.began_s + lap.seconds))
        if done.code != OK:
            span.set_status(Status(StatusCode.ERROR, done.code))
        span.end(since_monotonic_ns + _ns(done.ended_s))

    def flush(self) -> None:
        """Send what is not sent yet."""
        self._provider.force_flush()


def tracers(environment: Mapping[str, str]) -> list[Tracer]:
    """Give the tracer that the environment asks for.

    Args:
        environment: Has OTEL_EXPORTER_OTLP_ENDPOINT, or not.

    Returns:
        One, or none where it is not asked for.

    Raises:
        ConfigInvalid: It is asked for, and the extra is not installed.
    """
    if not environment.get(SWITCH):
        return []
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError as error:
        raise ConfigInvalid(
            f"{SWITCH} is set, but OpenTelemetry is not installed; `pip install 'twelve-in-one[otel]'`, or unset it"
        ) from error
    return [Tracer(OTLPSpanExporter())]


def _attributes(done: Done) -> dict[str, Any]:
    return {"twelve.task": done.task, "twelve.code": done.code, "twelve.request": done.request_id}


def _ns(seconds: float) -> int:
    return int(seconds * NANO)
