"""Limits of a server: each is kept, none is beyond the contract's, and the file that sets them reaches the service."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from export.archive import Serving, model_config
from handlers import twelve_handler
from handlers.twelve_handler import OF_REQUESTS
from tests.bundles import make_tiny_bundle
from tests.integration.harness import example
from twelve.assembly import Settings
from twelve.errors import ConfigInvalid
from twelve.image import ImageLimits
from twelve.limits import RequestLimits
from twelve.service import Service
from twelve.wire import JSON, Call


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny").path


def settings_of(section: dict[str, Any]) -> Settings:
    return twelve_handler._settings(Path("/models/twelve"), section, gpu=None)


def refused(service: Service, fields: dict[str, Any]) -> tuple[int, str, str]:
    reply = service.answer_calls([Call(body=fields, content_type=JSON)])[0]
    error = json.loads(reply.body)["error"]
    return reply.status, error["at"], error["message"]


def test_a_server_may_read_shorter_texts(bundle: Path) -> None:
    service = Service.open(bundle, Settings(engine="eager", requests=RequestLimits(max_characters=20)))
    assert refused(service, {**example("vqa-v2"), "question": "a" * 21}) == (
        413,
        "question",
        "question: has 21 characters in all, at most 20 are read",
    )


def test_a_server_may_look_at_fewer_candidates(bundle: Path) -> None:
    service = Service.open(bundle, Settings(engine="eager", requests=RequestLimits(max_boxes=2)))
    boxes = [[1, 1, 9, 9]] * 3
    assert refused(service, {**example("visual7w"), "boxes": boxes}) == (
        422,
        "boxes",
        "boxes: are 3, at most 2 are looked at",
    )


@pytest.mark.parametrize("limits", [{"max_boxes": 0}, {"max_boxes": 10_000}, {"max_characters": "many"}])
def test_limits_that_the_contract_does_not_cover_refuse_to_start(limits: dict[str, Any]) -> None:
    with pytest.raises(ConfigInvalid, match="give a whole number from 1 to"):
        RequestLimits(**limits)


def test_the_model_directory_names_every_limit_and_the_handler_reads_them_all() -> None:
    section = dict(model_config(Serving(device="cuda"))["handler"])
    del section["max_response_bytes"]
    settings = settings_of(section)
    assert (settings.limits, settings.requests) == (ImageLimits(), RequestLimits())
    assert section["limits"].keys() == (asdict(ImageLimits()).keys() | OF_REQUESTS) - {"formats"}
    assert (settings.device, settings.deadline_ms) == ("cuda", 60_000)
    changed = settings_of({**section, "limits": {"max_pixels": 7, "max_boxes": 3}})
    assert (changed.limits.max_pixels, changed.requests.max_boxes) == (7, 3)


@pytest.mark.parametrize(
    ("asked", "given", "used"),
    [("cuda", 1, "cuda:1"), ("cuda", None, "cuda"), ("cpu", 1, "cpu"), ("cuda:0", 1, "cuda:0")],
)
def test_of_several_devices_a_worker_takes_the_one_it_was_given(asked: str, given: int | None, used: str) -> None:
    assert twelve_handler._device(asked, given) == used


def test_torch_takes_no_more_threads_than_a_worker_may() -> None:
    before = torch.get_num_threads()
    try:
        twelve_handler._bound_threads(1)
        twelve_handler._bound_threads(1)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
