"""The TorchServe adapter: rows of a batch in, bytes with a status each out. It knows no task and looks into no request.

TorchServe fails a whole batch on any exception, and kills the worker over a reason phrase that is not plain ASCII or an
answer longer than its limit. So nothing is raised here, phrases are constants, and lengths are checked.
The file is copied into the model directory; there only the installed library stands beside it.
"""

import atexit
import contextlib
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import torch

from twelve.assembly import Settings, assemble
from twelve.errors import ConfigInvalid, EngineFailed, StartupError
from twelve.image import ImageLimits
from twelve.journal import Journal, JsonLines, trace_of
from twelve.limits import RequestLimits
from twelve.metrics import DIRECTORY_VARIABLE, ServiceMetrics
from twelve.observer import Several
from twelve.runtimes.devices import CPU
from twelve.service import Service
from twelve.tally import Tally
from twelve.tasks import TASKS
from twelve.tracing import tracers
from twelve.warming import warm_up
from twelve.wire import FORM, JSON, Call, Reply, media_type, refused, request_name

PHRASES = {status.value: status.phrase for status in HTTPStatus}
OURS = ("X-Answered-By", "twelve")
"""A header that tells a proxy in front our own errors from TorchServe's, which it may ask again about."""

SENT_TYPE = "x-content-type"
"""A body's media type, where a proxy in front calls all bodies plain bytes: TorchServe's own reader of forms answers
500 to what is none, and a proxy takes that for a worker's failure."""

BODILESS = "a request without a body"
"""TorchServe names no methods and passes all on alike. What brings neither a body nor its type is taken for a GET."""

OF_REQUESTS = {one.name for one in fields(RequestLimits)}
"""Limits that are not about pictures."""

LOST_DEVICE_EXIT_CODE = 1

log = logging.getLogger(__name__)


class TwelveHandler:
    """What a worker calls: `initialize` once, then `handle` once a batch. TorchServe wants one class in the file."""

    def __init__(self) -> None:
        self._lines = JsonLines()

    def initialize(self, context: Any) -> None:
        """Open the service, or end the worker with exit code 2 and a sentence why.

        Args:
            context: TorchServe's; names the model directory and holds the `handler:` section of model-config.yaml.
        """
        _quieten(self._lines)
        section = dict(context.model_yaml_config["handler"])
        self._most_bytes = int(section.pop("max_response_bytes"))
        try:
            folder = Path(context.system_properties["model_dir"]).resolve()
            settings = _settings(folder, section, gpu=context.system_properties.get("gpu_id"))
            _bound_threads(settings.threads)
            observer = Several([ServiceMetrics(TASKS, _tally(os.environ)), Journal(), *tracers(os.environ)])
            parts = assemble(folder / "bundle", settings)
            warm_up(parts, settings)
            self._service = Service(parts, settings, observer=observer)
        except StartupError as error:
            sys.stderr.write(f"refuses to start: {error.message}\n")
            raise SystemExit(StartupError.exit_code) from error

    def handle(self, data: Sequence[Mapping[str, Any]], context: Any) -> list[bytes]:
        """Answer a batch.

        Args:
            data: A row a request.
            context: TorchServe's; holds the requests' headers and takes the answers' statuses.

        Returns:
            A body a request, in their order.
        """
        received_s = time.monotonic()
        calls = [_call(row, context, place, received_s) for place, row in enumerate(data)]
        with self._lines.during([call.request_id for call in calls], [trace_of(call.headers) for call in calls]):
            replies = _answer(self._service, calls)
        if any(reply.is_final for reply in replies):
            _end_after_answering(context)
        return [
            self._send(reply, call, context, place)
            for place, (reply, call) in enumerate(zip(replies, calls, strict=True))
        ]

    def _send(self, reply: Reply, call: Call, context: Any, place: int) -> bytes:
        if len(reply.body) > self._most_bytes:
            sentence = f"the answer has {len(reply.body)} bytes, at most {self._most_bytes} can be sent; ask for less"
            reply = refused(EngineFailed(sentence), request_id=call.request_id, task=reply.task)
        context.set_response_status(reply.status, PHRASES[reply.status], place)
        context.set_response_content_type(place, JSON)
        context.set_response_header(place, *OURS)
        return reply.body


def _quieten(lines: JsonLines) -> None:
    """Let only warnings through: TorchServe writes lines for every batch, and Java reads each."""
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    for handler in root.handlers:
        handler.setFormatter(lines)


def _settings(folder: Path, section: Mapping[str, Any], *, gpu: int | None) -> Settings:
    try:
        limits = dict(section.get("limits", {}))
        requests = RequestLimits(**{name: limits.pop(name) for name in OF_REQUESTS & limits.keys()})
        own = {
            "graphs": folder / "graphs",
            "cache": folder / section["cache"],
            "stores": tuple(folder / path for path in section.get("stores", ())),
            "limits": ImageLimits(**limits),
            "requests": requests,
            "device": _device(section.get("device", CPU.kind), gpu),
        }
        return Settings(**{**section, **own})
    except (KeyError, TypeError) as error:
        raise ConfigInvalid(f"model-config.yaml: the section `handler` is not as it should be: {error}") from error


def _device(asked: str, gpu: int | None) -> str:
    """Give the device that was asked for; where several of them serve, the one that TorchServe gave this worker."""
    return asked if gpu is None or asked != "cuda" else f"cuda:{gpu}"


def _tally(environment: Mapping[str, str]) -> Tally:
    """Count where the launcher says, or where nobody reads if another one started the server."""
    folder = environment.get(DIRECTORY_VARIABLE)
    return Tally.open(Path(folder)) if folder else Tally.unheard()


def _bound_threads(threads: int) -> None:
    """Let torch use so many threads and no more. It takes the second number once in the life of a process."""
    torch.set_num_threads(threads)
    with contextlib.suppress(RuntimeError):
        torch.set_num_interop_threads(1)


def _end_after_answering(context: Any) -> None:
    """End this worker as soon as its answers are sent, so that TorchServe starts another.

    TorchServe's loop sends them and then reads the next batch. From a socket that receives no more it reads the end,
    and leaves. The interpreter is not taken down in order: that may wait for ever on a device that does not answer.
    """
    context.cl_socket.shutdown(socket.SHUT_RD)
    atexit.register(os._exit, LOST_DEVICE_EXIT_CODE)


def _call(row: Mapping[str, Any], context: Any, place: int, received_s: float) -> Call:
    """Read a row: a form that TorchServe has read is a mapping of its fields, anything else stands under `body`."""
    sent = context.get_all_request_header(place)
    headers = {name.lower(): value for name, value in sent.items() if isinstance(value, str)}  # a part's are a mapping
    call = Call(
        body=row,
        content_type=headers.get(SENT_TYPE, headers.get("content-type")),
        method="POST" if any(row.values()) or "content-type" in headers else BODILESS,
        headers=headers,
        request_id=request_name(headers, context.get_request_id(place) or ""),
        received_s=received_s,
    )
    is_read = media_type(call) == FORM and SENT_TYPE not in headers
    return call if is_read else replace(call, body=_body(row.get("body", b"")))


def _body(value: Any) -> bytes | Mapping[str, Any]:
    """Give bytes as bytes, and what TorchServe has parsed (unless told not to) as the JSON that it was."""
    return bytes(value) if isinstance(value, bytes | bytearray) else json.dumps(value).encode()


def _answer(service: Service, calls: Sequence[Call]) -> list[Reply]:
    """Answer a batch. The service never raises; should it do so, each request still gets its own error."""
    try:
        return service.answer_calls(calls)
    except Exception:
        log.exception("a batch of %d failed", len(calls))
        error = EngineFailed("the server failed on this request; its log says why")
        return [refused(error, request_id=call.request_id, task=None) for call in calls]
