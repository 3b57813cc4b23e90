"""The same service behind any ASGI server, to debug without Java: `BUNDLE=DIR uvicorn --factory dev.asgi:create`."""

import asyncio
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from twelve.assembly import Settings
from twelve.errors import MethodNotAllowed, RequestError, TooLarge, UnknownPath
from twelve.openapi import document
from twelve.roster import roster
from twelve.service import Service
from twelve.wire import JSON, REQUEST_HEADER, TASK_HEADER, Call, Reply, refused, request_name

ASKED = re.compile(r"/predictions/twelve|/v1/tasks/(?P<task>[a-z0-9][a-z0-9+.-]{0,63})")
MOST_BYTES = 32 << 20  # of a request, as `max_request_size` of config.properties


class Adapter:
    """An ASGI application over a service, at nginx's paths: one request at a time; no keys, batches or metrics."""

    def __init__(self, service: Service) -> None:
        self._service, self._one_at_a_time = service, asyncio.Lock()
        tasks, well = roster(service.knowledge.model, service.knowledge.tasks).model_dump(mode="json"), {"status": "ok"}
        pages = {"/v1/tasks": tasks, "/openapi.json": document(), "/healthz": well, "/readyz": well}
        self._pages = {path: Reply(200, json.dumps(page).encode(), None) for path, page in pages.items()}

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Answer one request of HTTP; other protocols are not spoken."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        name = request_name(headers, otherwise=os.urandom(16).hex())
        call = Call(b"", headers.get("content-type"), scope["method"], headers, name)
        try:
            reply = await self._answer(scope["path"], call, await _body(receive))
        except RequestError as error:
            reply = refused(error, request_id=name, task=None)
        allowed = "GET, HEAD" if scope["path"] in self._pages else "POST"
        sent = {"content-type": JSON, "content-length": len(reply.body), REQUEST_HEADER: name, "allow": allowed}
        lines = [(key.encode(), str(value).encode()) for key, value in sent.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": lines})
        await send({"type": "http.response.body", "body": reply.body})

    async def _answer(self, path: str, call: Call, body: bytes) -> Reply:
        if path in self._pages and call.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(f"method: {path} is asked for by GET, got {call.method}")
        if path in self._pages:
            return self._pages[path]
        if (asked := ASKED.fullmatch(path)) is None:
            raise UnknownPath("nothing is served here; ask by POST /v1/tasks/TASK, GET /v1/tasks lists the tasks")
        if len(body) > MOST_BYTES:
            raise TooLarge(f"body: has more than {MOST_BYTES} bytes, which is the most; send smaller pictures")
        call = replace(call, body=body, headers={**call.headers, TASK_HEADER: asked["task"] or ""})
        async with self._one_at_a_time:
            return (await asyncio.to_thread(self._service.answer_calls, [call]))[0]


async def _body(receive: Any) -> bytes:
    body, message = bytearray(), {"more_body": True}
    while message.get("more_body") and len(body) <= MOST_BYTES:
        message = await receive()
        body += message.get("body", b"")
    return bytes(body)


def create() -> Adapter:
    """Serve the bundle that BUNDLE names, by the engine that ENGINE names."""
    return Adapter(Service.open(Path(os.environ["BUNDLE"]), Settings(engine=os.environ.get("ENGINE", "eager"))))
