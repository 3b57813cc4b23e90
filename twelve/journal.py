"""The log of a worker: a line of JSON for each request that failed or was slow, and for whatever else is logged.

A line names the requests it is about, so that it is found from an error's body, from the proxy's log and from a trace.
Requests that went well leave no line: TorchServe's Java half reads each, and that costs more than the counting.
"""

import json
import logging
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from twelve.observer import OK, Done, Silent

SLOW_S = 2.0
"""The answer of a good server takes less: the threshold of the latency objective, see docs/operations.md."""

TRACE = "traceparent"
TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
"""W3C's header: version, trace, span, flags. ops/nginx/nginx.conf reads it likewise."""

NO_BATCH: dict[str, list[str]] = {"requests": []}

log = logging.getLogger(__name__)


class Journal(Silent):
    """Writes what failed and what was slow."""

    def __init__(self, *, slow_s: float = SLOW_S) -> None:
        self._slow_s = slow_s

    def request(self, done: Done) -> None:
        """Write a line, if the request deserves one."""
        if done.code != OK or done.seconds >= self._slow_s:
            log.warning("failed" if done.code != OK else "slow", extra={"fields": fields_of(done)})


def fields_of(done: Done) -> dict[str, Any]:
    """Give what a line says of a request: nothing that a stranger wrote into its body."""
    fields = {"request": done.request_id, "task": done.task, "code": done.code, "seconds": round(done.seconds, 4)}
    trace = trace_of(done.headers)
    return {**fields, "trace": trace} if trace else fields


def trace_of(headers: Mapping[str, str]) -> str | None:
    """Give the trace that a request belongs to, if it came with one."""
    found = TRACEPARENT.fullmatch(headers.get(TRACE, ""))
    return found and found["trace"]


class JsonLines(logging.Formatter):
    """One line a record, pure ASCII, tracebacks included.

    What is said while a batch is worked on names its requests, and their traces where they came with some.
    """

    def __init__(self) -> None:
        super().__init__()
        self._batch: dict[str, list[str]] = NO_BATCH

    @contextmanager
    def during(self, requests: Sequence[str], traces: Iterable[str | None] = ()) -> Iterator[None]:
        """Name these requests, and the traces that there are, in every line written inside."""
        named = [trace for trace in traces if trace]
        self._batch = {"requests": list(requests), **({"traces": named} if named else {})}
        try:
            yield
        finally:
            self._batch = NO_BATCH

    def format(self, record: logging.LogRecord) -> str:
        """Give a record's line."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{record.msecs:03.0f}Z"
        line: dict[str, Any] = {"at": at, "level": record.levelname.lower(), "message": record.getMessage()}
        line |= getattr(record, "fields", None) or self._batch
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True)
