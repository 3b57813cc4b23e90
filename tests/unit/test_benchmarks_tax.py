"""The engines that measure a server: one costs nothing and answers as before, the other notes its CPU."""

import base64
import json
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.server_tax import introductions, questions
from benchmarks.tax_engine import NOTE, Drawing, Recalling, effortless, noted_ns, noting
from tests.bundles import make_tiny_bundle, picture
from twelve.assembly import Settings
from twelve.image import ImageLimits, decode
from twelve.service import Service
from twelve.wire import JSON, Call


class Doubling:
    def __init__(self) -> None:
        self.runs = 0

    def run(self, **inputs: Tensor) -> dict[str, Tensor]:
        self.runs += 1
        return {name: 2 * tensor for name, tensor in inputs.items()}


def answered(service: Service, body: bytes) -> dict[str, list[str]]:
    (reply,) = service.answer_calls([Call(body, JSON)])
    assert reply.status == 200, reply.body
    return dict(json.loads(reply.body))


def test_a_recalled_graph_runs_once_for_each_shape() -> None:
    inside = Doubling()
    graph = Recalling(inside)
    first = graph.run(states=torch.ones(2))
    assert graph.run(states=torch.zeros(2))["states"].tolist() == first["states"].tolist() == [2, 2]
    assert graph.run(states=torch.ones(3))["states"].tolist() == [2, 2, 2]
    assert inside.runs == 2


def test_an_effortless_service_answers_every_task(tmp_path: Path) -> None:
    settings = Settings(engine="eager", cache=tmp_path / "cache")
    service = Service(effortless(make_tiny_bundle(tmp_path / "tiny").path, settings), settings)
    introduced = [json.dumps(answered(service, body)).encode() for body in introductions()]
    assert len([answered(service, body) for body in questions(introduced)]) == 60


def test_a_noting_service_notes_no_more_cpu_than_it_used(tmp_path: Path) -> None:
    settings = Settings(engine="eager", cache=tmp_path / "cache")
    bundle = make_tiny_bundle(tmp_path / "tiny", detector=False).path
    service = Service(noting(bundle, settings), settings)
    began_ns = time.process_time_ns()
    image = base64.b64encode(picture(0)).decode()
    answered(service, json.dumps({"task": "gqa", "question": "What is it?", "image": image}).encode())
    assert 0 < noted_ns(tmp_path / "cache" / NOTE) < time.process_time_ns() - began_ns


@pytest.mark.parametrize("given", [None, torch.tensor([[8.0, 8.0, 64.0, 64.0]])])
def test_drawn_regions_are_those_of_the_picture(given: Tensor | None) -> None:
    seen = decode(picture(0), limits=ImageLimits())
    one, again = (Drawing(8).extract(seen, given) for _ in range(2))
    assert torch.equal(one.features, again.features)
    assert len(one) - one.given == 100
    assert one.given == (0 if given is None else 1)
    assert not torch.equal(one.features[0], Drawing(8).extract(decode(picture(1), limits=ImageLimits())).features[0])
