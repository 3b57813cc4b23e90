"""The same service behind any ASGI server, for debugging without Java: `BUNDLE=DIR uvicorn --factory dev.asgi:create`.

One request at a time, no batches and no metrics: what is served to the world is served by TorchServe.
"""

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import replace
from email.parser import BytesParser
from email.policy import HTTP
from pathlib import Path
from typing import Any

from twelve.assembly import Settings
from twelve.errors import TooLarge
from twelve.service import Service
from twelve.wire import FORM, JSON, Call, Reply, media_type, refused

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PATH = "/predictions/twelve"
MOST_BYTES = 32 << 20
"""Of a request; as `max_request_size` of config.properties."""


class Adapter:
    """An ASGI application over a service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._one_at_a_time = asyncio.Lock()

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request; anything but HTTP and the one path is left alone."""
        if scope["type"] != "http":
            raise NotImplementedError(f"this application speaks HTTP, not {scope['type']}")
        if scope["path"] != PATH:
            return await _send(send, Reply(404, b"{}", None))
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        call = Call(b"", headers.get("content-type"), scope["method"], headers, str(uuid.uuid4()))
        body = await _body(receive)
        if len(body) > MOST_BYTES:
            error = TooLarge(f"body: has more than {MOST_BYTES} bytes, which is the most; send smaller pictures")
            return await _send(send, refused(error, request_id=call.request_id, task=None))
        call = replace(call, body=form(call, body) if media_type(call) == FORM else body)
        async with self._one_at_a_time:
            (reply,) = await asyncio.to_thread(self._service.answer_calls, [call])
        await _send(send, reply)


def form(call: Call, body: bytes) -> dict[str, bytes]:
    """Read a multipart form: fields by name, of equal names the last, as TorchServe has it."""
    head = f"Content-Type: {call.content_type}\r\n\r\n".encode("latin-1")
    parts = BytesParser(policy=HTTP).parsebytes(head + body).iter_parts()
    named = ((part.get_param("name", header="content-disposition"), part.get_payload(decode=True)) for part in parts)
    return {str(name): bytes(content) for name, content in named if name is not None}


async def _body(receive: Receive) -> bytes:
    body = bytearray()
    while len(body) <= MOST_BYTES:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return bytes(body)


async def _send(send: Send, reply: Reply) -> None:
    headers = [(b"content-type", JSON.encode()), (b"content-length", str(len(reply.body)).encode())]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


def create() -> Adapter:
    """Serve the bundle that BUNDLE names, by the engine that ENGINE names."""
    return Adapter(Service.open(Path(os.environ["BUNDLE"]), Settings(engine=os.environ.get("ENGINE", "eager"))))
