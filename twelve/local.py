"""A bundle that answers in this process, through the client's own interface: one way to ask, server or none."""

import os
from pathlib import Path
from typing import Unpack

import httpx

from twelve.assembly import Settings
from twelve.client import READY_ROUTE, TASKS_ROUTE, Client
from twelve.hub import Access, fetch
from twelve.roster import roster
from twelve.service import Service
from twelve.wire import Call

HERE = "http://this-process"
JSON = {"content-type": "application/json"}


class ServiceTransport(httpx.BaseTransport):
    """Hands requests to a service in place of a network."""

    def __init__(self, service: Service) -> None:
        self._service = service
        tasks = roster(service.knowledge.model, service.knowledge.tasks)
        self._looked_at = {TASKS_ROUTE: tasks.model_dump_json(), READY_ROUTE: '{"status": "ok"}'}

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request: a list of the tasks, whether all is well, or else a question."""
        looked_at = self._looked_at.get(request.url.path)
        if looked_at is not None:
            return httpx.Response(200, content=looked_at, headers=JSON)
        call = Call(
            body=request.read(),
            content_type=request.headers.get("content-type"),
            method=request.method,
            headers=dict(request.headers),
        )
        reply = self._service.answer_calls([call])[0]
        return httpx.Response(reply.status, content=reply.body, headers=JSON)


def client_of(service: Service) -> Client:
    """Give a client that asks a service of this process."""
    return Client(HERE, transport=ServiceTransport(service), retries=0)


def load(
    path_or_hub_id: str | Path, *, engine: str, graphs: str | Path | None, threads: int | None, **access: Unpack[Access]
) -> Client:
    """Give a client that asks a bundle in this process; see `twelve.load`."""
    settings = Settings(
        engine=engine,
        graphs=None if graphs is None else Path(graphs),
        threads=os.cpu_count() or 1 if threads is None else threads,
    )
    return client_of(Service.open(fetch(path_or_hub_id, **access), settings))
