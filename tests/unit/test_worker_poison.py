"""One poisoned request among 32 of all tasks: it gets its own error, and the 31 others what they get without it."""

import base64
import io
import json
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from PIL import Image

from tests.answers import assert_same_answer
from tests.bundles import FEATURE_WIDTH, make_tiny_bundle, picture
from twelve.assembly import Settings
from twelve.batch import Visual
from twelve.image import ImageLimits, decode
from twelve.service import Service
from twelve.stages import Pool
from twelve.tasks import TASKS
from twelve.tasks.kinds.pointing import EXAMPLE_BOXES
from twelve.wire import FORM, JSON, Call

BATCH, PLACE = 32, 13
MARK = 1234.5  # a feature that no good request brings
PICTURES = 5
LIMITS = ImageLimits(max_bytes=200_000, max_pixels=300_000)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Service:
    bundle = make_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny").path
    opened = Service.open(bundle, Settings(engine="eager", limits=LIMITS))
    opened._pool = Pool(3)  # as a worker of three threads; torch's own would only wait for each other here
    return opened


def encoded(seed: int) -> str:
    return base64.b64encode(picture(seed)).decode()


def example(name: str, seed: int = 0, shown: Callable[[int], Any] = encoded, **changes: Any) -> dict[str, Any]:
    task = TASKS[name]
    images = [shown((seed + place) % PICTURES) for place in range(task.pictures_in_example)]
    return {"task": name, **task.example(images), **changes}


def ref(seed: int) -> dict[str, str]:
    """Name a picture that was sent before."""
    return {"ref": decode(picture(seed), limits=LIMITS).digest}


def call(fields: Mapping[str, Any], **headers: str) -> Call:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Call(body=json.dumps(fields).encode(), content_type=JSON, headers=named, request_id="r")


def vqa(**changes: Any) -> Call:
    return call(example("vqa-v2", **changes))


def pointing(**changes: Any) -> Call:
    return call(example("visual7w", **changes))


def brought(values: Sequence[float] = (), *, width: int = FEATURE_WIDTH) -> dict[str, Any]:
    """Give a picture by its regions; all features are the same number, or those given."""
    count = len(EXAMPLE_BOXES)
    raw = struct.pack(f"<{count * width}f", *(values or [MARK] * count * width))
    features = base64.b64encode(raw).decode()
    return {"regions": {"features": features, "boxes": EXAMPLE_BOXES, "width": 320, "height": 240}}


def bomb(side: int = 60_000) -> str:
    """Claim far more pixels than there are bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    whole = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999)))
    return base64.b64encode(whole + chunk(b"IEND", b"")).decode()


def noise(side: int) -> str:
    """Give a picture that does not compress."""
    pixels = torch.randint(0, 256, (side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    stream = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def is_marked(visual: Visual) -> bool:
    return bool((visual.features[1] == MARK).all())


Sabotage = Callable[[pytest.MonkeyPatch, Service], None]


def healthy(patch: pytest.MonkeyPatch, service: Service) -> None:
    """Leave all as it is."""


def engine_raises(error: Exception) -> Sabotage:
    """Let a pass fail that holds the marked picture."""

    def sabotage(patch: pytest.MonkeyPatch, service: Service) -> None:
        regions = service.engine.regions

        def fail(visuals: Sequence[Visual]) -> Any:
            if any(map(is_marked, visuals)):
                raise error
            return regions(visuals)

        patch.setattr(service.engine, "regions", fail)

    return sabotage


def engine_is_no_number(patch: pytest.MonkeyPatch, service: Service) -> None:
    """Let the states of the marked picture be none."""
    regions = service.engine.regions

    def spoil(visuals: Sequence[Visual]) -> Any:
        return [
            {name: states * torch.nan for name, states in own.items()} if is_marked(visual) else own
            for visual, own in zip(visuals, regions(visuals), strict=True)
        ]

    patch.setattr(service.engine, "regions", spoil)


def detector_raises(error: Exception) -> Sabotage:
    """Let the detector fail on the one picture that is 32 pixels wide."""

    def sabotage(patch: pytest.MonkeyPatch, service: Service) -> None:
        assert service.extractor is not None
        extract = service.extractor.extract

        def fail(seen: Any, *rest: Any) -> Any:
            if seen.width == 32:
                raise error
            return extract(seen, *rest)

        patch.setattr(service.extractor, "extract", fail)

    return sabotage


def answer_is_unwritable(patch: pytest.MonkeyPatch, service: Service) -> None:
    """Let the answer about regions that were brought along hold what is no JSON."""
    decoded = service._decode

    def spoil(scored: Any, timings_ms: Any) -> Any:
        answer = decoded(scored, timings_ms)
        is_poison = scored.example.pictures[0].ref is None
        return answer.model_copy(update={"answer": object()}) if is_poison else answer

    patch.setattr(service, "_decode", spoil)


@dataclass(frozen=True)
class Poison:
    """A bad request, what is wrong with the server meanwhile, and the error that it should get."""

    call: Callable[[], Call]
    status: int
    code: str
    sabotage: Sabotage = field(default=healthy)


def small() -> str:
    return base64.b64encode(picture(99, width=32, height=24)).decode()


POISONS = {
    "broken JSON": Poison(lambda: Call(b'{"task": "vqa-v2', JSON), 400, "malformed"),
    "JSON that nests without end": Poison(lambda: Call(b"[" * 100_000, JSON), 400, "malformed"),
    "no body": Poison(lambda: Call(b"", JSON), 400, "malformed"),
    "a broken form": Poison(lambda: Call(b"--x", f"{FORM}; boundary=x"), 400, "malformed"),
    "another media type": Poison(lambda: Call(b"<vqa/>", "application/xml"), 415, "media-type"),
    "another method": Poison(lambda: Call(b"{}", JSON, method="GET"), 405, "method"),
    "an unknown task": Poison(lambda: vqa(task="chess"), 404, "unknown-task"),
    "an unknown field": Poison(lambda: vqa(colour="red"), 422, "invalid-field"),
    "a missing field": Poison(lambda: call({"task": "vqa-v2", "question": "What?"}), 422, "invalid-field"),
    "bad base64": Poison(lambda: vqa(image="%%%"), 422, "invalid-field"),
    "a broken picture": Poison(lambda: vqa(image=encoded(0)[:200]), 422, "unreadable-image"),
    "a picture of no bytes": Poison(lambda: vqa(image=""), 422, "unreadable-image"),
    "a bomb": Poison(lambda: vqa(image=bomb()), 413, "too-large"),
    "a file beyond the limit": Poison(lambda: vqa(image=noise(300)), 413, "too-large"),
    "too many pictures": Poison(
        lambda: call(example("coco-retrieval", images=[encoded(0)] * 33)), 422, "invalid-field"
    ),
    "too many boxes": Poison(lambda: pointing(boxes=[[1, 1, 9, 9]] * 513), 422, "invalid-field"),
    "a box outside": Poison(lambda: pointing(boxes=[[1, 1, 9, 9], [900, 1, 999, 9]]), 422, "invalid-field"),
    "a box of NaN": Poison(lambda: pointing(boxes=[[0, 0, float("nan"), 9], [1, 1, 9, 9]]), 422, "invalid-field"),
    "an empty text": Poison(lambda: vqa(question="  "), 422, "invalid-field"),
    "a text of 100 KB": Poison(lambda: vqa(question="a " * 51_200), 413, "too-large"),
    "a text of too many pieces": Poison(lambda: vqa(question="a " * 400), 422, "invalid-field"),
    "half a character": Poison(lambda: vqa(question="what \ud83d"), 422, "invalid-field"),
    "an unknown ref": Poison(lambda: vqa(image={"ref": f"sha256:{'0' * 64}"}), 404, "unknown-ref"),
    "features of NaN": Poison(
        lambda: vqa(image=brought([float("nan")] * FEATURE_WIDTH * len(EXAMPLE_BOXES))), 422, "invalid-field"
    ),
    "features beyond all bounds": Poison(
        lambda: vqa(image=brought([3e38] * FEATURE_WIDTH * len(EXAMPLE_BOXES))), 422, "invalid-field"
    ),
    "features of another width": Poison(lambda: vqa(image=brought(width=5)), 422, "invalid-field"),
    "a time limit that has passed": Poison(
        lambda: call(example("gqa"), x_request_timeout_ms="1", x_request_start=f"t={time.time() - 5:.3f}"),
        504,
        "deadline",
    ),
    "a time limit that is none": Poison(lambda: call(example("gqa"), x_request_timeout_ms="soon"), 400, "malformed"),
    "a path and a body that disagree": Poison(lambda: call(example("gqa"), x_task="nlvr2"), 422, "invalid-field"),
    "an engine that fails on its rows": Poison(
        lambda: vqa(image=brought()), 500, "engine-failed", engine_raises(RuntimeError("shapes do not match"))
    ),
    "an engine whose numbers are none": Poison(lambda: vqa(image=brought()), 500, "engine-failed", engine_is_no_number),
    "no memory for its rows": Poison(lambda: vqa(image=brought()), 507, "out-of-memory", engine_raises(MemoryError())),
    "no memory on the device": Poison(
        lambda: vqa(image=brought()), 507, "out-of-memory", engine_raises(torch.OutOfMemoryError("CUDA out of memory."))
    ),
    "a detector that fails on its picture": Poison(
        lambda: vqa(image=small()), 500, "engine-failed", detector_raises(RuntimeError("no proposals"))
    ),
    "no memory for its picture": Poison(
        lambda: vqa(image=small()),
        507,
        "out-of-memory",
        detector_raises(RuntimeError("DefaultCPUAllocator: can't allocate memory")),
    ),
    "an answer that is no JSON": Poison(lambda: vqa(image=brought()), 500, "engine-failed", answer_is_unwritable),
}


@pytest.fixture(scope="module")
def others(service: Service) -> list[Call]:
    """Give 31 good requests of all tasks; one in six sends its picture, the others name one that was sent before."""
    service.answer_calls([vqa(image=encoded(seed)) for seed in range(PICTURES)])
    names = list(TASKS)
    return [
        call(example(names[place % len(names)], place, ref if place % 6 else encoded)) for place in range(BATCH - 1)
    ]


@pytest.fixture(scope="module")
def without(service: Service, others: list[Call]) -> list[dict[str, Any]]:
    """Give the others' answers in a run without poison."""
    replies = service.answer_calls(others)
    assert [reply.status for reply in replies] == [200] * (BATCH - 1)
    return [json.loads(reply.body) for reply in replies]


@contextmanager
def sabotaged(poison: Poison, service: Service) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        poison.sabotage(patch, service)
        yield


@pytest.mark.parametrize("kind", POISONS)
def test_a_poisoned_request_harms_none_of_31_neighbours(
    service: Service, others: list[Call], without: list[dict[str, Any]], kind: str
) -> None:
    poison = POISONS[kind]
    with sabotaged(poison, service):
        replies = service.answer_calls([*others[:PLACE], poison.call(), *others[PLACE:]])
    bad = replies.pop(PLACE)
    assert (bad.status, json.loads(bad.body)["error"]["code"]) == (poison.status, poison.code), bad.body
    assert not bad.is_final
    for reply, expected in zip(replies, without, strict=True):
        assert reply.status == 200, reply.body
        assert_same_answer(json.loads(reply.body), expected)


def test_after_a_lost_device_nothing_is_tried_again_and_every_reply_says_so(
    service: Service, others: list[Call]
) -> None:
    tried: list[int] = []

    def fail(visuals: Sequence[Visual]) -> Any:
        tried.append(len(visuals))
        raise RuntimeError("CUDA error: device-side assert triggered")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(service.engine, "regions", fail)
        replies = service.answer_calls(others)
    assert {(reply.status, reply.is_final) for reply in replies} == {(500, True)}
    assert len(tried) == 1
