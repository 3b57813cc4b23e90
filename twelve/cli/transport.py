"""The service of this process behind the client's own interface: one way to ask, with or without a server."""

import httpx

from twelve.service import Service
from twelve.wire import Call

HERE = "http://this-process"


class ServiceTransport(httpx.BaseTransport):
    """Hands requests to a service in place of a network."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request."""
        call = Call(
            body=request.read(),
            content_type=request.headers.get("content-type"),
            method=request.method,
            headers=dict(request.headers),
        )
        reply = self._service.answer_calls([call])[0]
        return httpx.Response(reply.status, content=reply.body, headers={"content-type": "application/json"})
