"""Hostile pictures and bodies against the service in this process; benchmarks/hostile.py asks a real server."""

import base64
import gc
import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import pytest

from benchmarks.hostile_bodies import Body, hostile_bodies
from benchmarks.hostile_pictures import hostile_pictures
from benchmarks.hostile_replies import MOST_GROWTH_BYTES, fault_of
from tests.bundles import make_tiny_bundle
from twelve.assembly import Settings
from twelve.image import FORMATS
from twelve.service import Service
from twelve.wire import JSON, Call, Reply

BODIES, WARMING = 1500, 300
LEAK_BYTES = 128 << 10


class Leaky:
    """A service that keeps something of every call."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._kept: list[bytes] = []

    def answer_calls(self, calls: Sequence[Call]) -> list[Reply]:
        self._kept.append(b"\1" * LEAK_BYTES)
        return self._service.answer_calls(calls)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    return Service.open(make_tiny_bundle(tmp_path_factory.mktemp("bundle")).path, Settings(engine="eager"))


def post(service: Service | Leaky, body: Body) -> str | None:
    """Ask as the adapters do; give what is wrong with the reply."""
    call = Call(body.data, body.content_type, request_id="r")
    [reply] = service.answer_calls([call])
    return fault_of(reply.status, reply.body)


def held_bytes() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


def grown_bytes(service: Service | Leaky, bodies: Iterator[Body]) -> int:
    """Ask the first ones to warm up, then the others; give what the process has grown by."""
    for body in islice(bodies, WARMING):
        post(service, body)
    before = held_bytes()
    for body in islice(bodies, BODIES):
        assert post(service, body) is None, body
    return held_bytes() - before


@pytest.mark.slow
def test_thousands_of_hostile_bodies_get_typed_replies_and_memory_stays(service: Service) -> None:
    assert grown_bytes(service, hostile_bodies(seed=0)) <= MOST_GROWTH_BYTES


@pytest.mark.slow
def test_a_leak_is_seen(service: Service) -> None:
    assert grown_bytes(Leaky(service), hostile_bodies(seed=1_000_000)) > MOST_GROWTH_BYTES


@pytest.mark.slow
def test_every_hostile_picture_gets_a_typed_reply(service: Service) -> None:
    pictures = hostile_pictures()
    assert len(pictures) >= 200
    assert {name.split(":")[0] for name in pictures} >= set(FORMATS)
    faults = {name: post(service, asked(picture)) for name, picture in pictures.items()}
    assert {name: fault for name, fault in faults.items() if fault} == {}


def asked(picture: bytes) -> Body:
    fields: dict[str, Any] = {"task": "vqa-v2", "question": "What is it?", "image": base64.b64encode(picture).decode()}
    return Body(JSON, json.dumps(fields).encode())


def test_an_untyped_reply_is_seen() -> None:
    assert fault_of(500, b'{"code": 500, "type": "InternalServerException", "message": "x"}')
    assert fault_of(422, b'{"error": {"code": "oh", "at": null, "message": "x", "request": "r"}}')
    assert fault_of(502, b"<html>Bad Gateway</html>")
    assert fault_of(500, b'{"error": {"code": "engine-failed", "at": null, "message": "x", "request": "r"}}')
    assert fault_of(422, b'{"error": {"code": "invalid-field", "at": null, "message": "x", "request": "r"}}') is None


def test_a_seed_gives_the_same_bodies(tmp_path: Path) -> None:
    one, other = (list(islice(hostile_bodies(seed=7), 20)) for _ in range(2))
    assert one == other
