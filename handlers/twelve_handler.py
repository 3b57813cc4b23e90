"""The TorchServe adapter: rows of a batch in, bytes with a status each out. It knows no task and looks into no request.

TorchServe fails a whole batch on any exception, and kills the worker over a reason phrase that is not plain ASCII or an
answer longer than its limit. So nothing is raised here, phrases are constants, and lengths are checked.
The file is copied into the model directory; there only the installed library stands beside it.
"""

import json
import logging
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from pathlib import Path
from typing import Any

import torch

from twelve.assembly import Settings
from twelve.errors import ConfigInvalid, EngineFailed, StartupError
from twelve.image import ImageLimits
from twelve.metrics import ServiceMetrics
from twelve.service import Service
from twelve.tasks import TASKS
from twelve.wire import FORM, JSON, Call, Reply, media_type, refused

PHRASES = {status.value: status.phrase for status in HTTPStatus}
BODILESS = "a request without a body"
"""TorchServe names no methods and passes all on alike. What brings neither a body nor its type is taken for a GET."""

log = logging.getLogger(__name__)


class TwelveHandler:
    """What a worker calls: `initialize` once, then `handle` once a batch. TorchServe wants one class in the file."""

    def initialize(self, context: Any) -> None:
        """Open the service, or end the worker with exit code 2 and a sentence why.

        Args:
            context: TorchServe's; names the model directory and holds the `handler:` section of model-config.yaml.
        """
        logging.getLogger().setLevel(logging.WARNING)  # TorchServe writes lines for every batch, which Java then reads
        section = dict(context.model_yaml_config["handler"])
        self._most_bytes = int(section.pop("max_response_bytes"))
        try:
            folder = Path(context.system_properties["model_dir"]).resolve()
            settings = _settings(folder, section)
            torch.set_num_threads(settings.threads)
            self._service = Service.open(folder / "bundle", settings, observer=ServiceMetrics(TASKS))
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
        replies = _answer(self._service, calls)
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
        return reply.body


def _settings(folder: Path, section: Mapping[str, Any]) -> Settings:
    try:
        limits = ImageLimits(**section.get("limits", {}))
        stores = tuple(folder / path for path in section.get("stores", ()))
        own = {"graphs": folder / "graphs", "cache": folder / section["cache"], "stores": stores, "limits": limits}
        return Settings(**{**section, **own})
    except (KeyError, TypeError) as error:
        raise ConfigInvalid(f"model-config.yaml: the section `handler` is not as it should be: {error}") from error


def _call(row: Mapping[str, Any], context: Any, place: int, received_s: float) -> Call:
    """Read a row: a form is a mapping of its fields, anything else stands under `body`."""
    sent = context.get_all_request_header(place)
    headers = {name.lower(): value for name, value in sent.items() if isinstance(value, str)}  # a part's are a mapping
    call = Call(
        body=row,
        content_type=headers.get("content-type"),
        method="POST" if any(row.values()) or "content-type" in headers else BODILESS,
        headers=headers,
        request_id=context.get_request_id(place) or "",
        received_s=received_s,
    )
    return call if media_type(call) == FORM else replace(call, body=_body(row.get("body", b"")))


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
