"""The log of a worker: a line of JSON for each request that failed or was slow, and for whatever else is logged.

A line names the requests it is about, so that it is found from an error's body, from the proxy's log and from a trace.
Requests that went well leave no line: TorchServe's Java half reads each, and that costs more than the counting.
"""

import json
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from twelve.observer import OK, Done, Silent

SLOW_S = 2.0
"""The answer of a good server takes less: the threshold of the latency objective, see docs/operations.md."""

TRACE = "traceparent"
"""W3C's header: version, trace, span, flags."""

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
    return {**fields, "trace": done.headers[TRACE].split("-")[1]} if _is_traced(done) else fields


class JsonLines(logging.Formatter):
    """One line a record, pure ASCII, tracebacks included.

    What is said while a batch is worked on names its requests.
    """

    def __init__(self) -> None:
        super().__init__()
        self._requests: tuple[str, ...] = ()

    @contextmanager
    def during(self, requests: Sequence[str]) -> Iterator[None]:
        """Name these requests in every line written inside."""
        self._requests = tuple(requests)
        try:
            yield
        finally:
            self._requests = ()

    def format(self, record: logging.LogRecord) -> str:
        """Give a record's line."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{record.msecs:03.0f}Z"
        line = {"at": at, "level": record.levelname.lower(), "message": record.getMessage()}
        line |= getattr(record, "fields", None) or {"requests": self._requests}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=True)


def _is_traced(done: Done) -> bool:
    return done.headers.get(TRACE, "").count("-") >= 3
