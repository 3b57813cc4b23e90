"""Bad and odd input over real HTTP: the documented status and body each time, whichever way is asked, and
whoever answers survives all of it."""

import base64
import io
import json
import struct
import zlib
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.bundles import picture
from tests.integration.harness import encoded, example, parts
from tests.integration.ways import Way
from twelve.tasks.kinds.pointing import EXAMPLE_BOXES

pytestmark = pytest.mark.integration

JSON = {"Content-Type": "application/json"}
ORIENTATION, UPSIDE_DOWN = 0x0112, 3  # EXIF 2.32


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


def saved(mode: str, form: str, size: tuple[int, int] = (64, 48), **options: Any) -> str:
    """Draw noise and save it in one of Pillow's modes."""
    noise = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).convert(mode).save(stream, form, **options)
    return base64_of(stream.getvalue())


def sixteen_bit() -> str:
    stream = io.BytesIO()
    Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64) * 20).save(stream, "PNG")
    return base64_of(stream.getvalue())


def animated() -> str:
    stream = io.BytesIO()
    frames = [Image.new("RGB", (40, 30), color) for color in ("red", "green", "blue")]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    return base64_of(stream.getvalue())


def upside_down() -> str:
    exif = Image.Exif()
    exif[ORIENTATION] = UPSIDE_DOWN
    return saved("RGB", "JPEG", exif=exif)


def bomb(side: int = 60_000) -> str:
    """Claim far more pixels than there are bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    packed = zlib.compress(bytes(1_000_000))
    return base64_of(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b""))


def vqa(**changes: Any) -> dict[str, Any]:
    """Give a good request with some fields changed; None takes a field away."""
    fields = {**example("vqa-v2"), **changes}
    return {name: value for name, value in fields.items() if value is not None}


def pointing(**changes: Any) -> dict[str, Any]:
    return {**example("visual7w"), **changes}


def regions(count: int, bytes_of_features: int = 4, *, value: float = 0.0) -> dict[str, Any]:
    features = np.full(bytes_of_features // 4, value, dtype=np.float32).tobytes()
    brought = {"features": base64_of(features), "boxes": EXAMPLE_BOXES[:count], "width": 320, "height": 240}
    return {"regions": brought}


BAD_FIELDS = {
    "no task": (vqa(task=None), 422, "invalid-field"),
    "an unknown task": (vqa(task="vqa"), 404, "unknown-task"),
    "a task that is no text": (vqa(task=["vqa-v2"]), 422, "invalid-field"),
    "an unknown token": (vqa(task=None, task_token=0), 404, "unknown-task"),
    "null for a task": ({**vqa(), "task": None}, 422, "invalid-field"),
    "null for a token": ({**vqa(), "task_token": None}, 422, "invalid-field"),
    "a token of another task": (vqa(task_token=12), 422, "invalid-field"),
    "a missing field": (vqa(question=None), 422, "invalid-field"),
    "a superfluous field": (vqa(caption="A car."), 422, "invalid-field"),
    "a number for a text": (vqa(question=5), 422, "invalid-field"),
    "a list for a picture": (vqa(image=[encoded(0)]), 422, "invalid-field"),
    "null for a picture": ({**vqa(), "image": None}, 422, "invalid-field"),
    "an empty text": (vqa(question=""), 422, "invalid-field"),
    "a blank text": (vqa(question=" \t\n"), 422, "invalid-field"),
    "a text of 100 KB": (vqa(question="word " * 20_000), 413, "too-large"),
    "a text of more words than the model places": (vqa(question="word " * 1_500), 422, "invalid-field"),
    "half a surrogate pair": (vqa(question="what \ud83d"), 422, "invalid-field"),
    "broken base64": (vqa(image="%%%"), 422, "invalid-field"),
    "base64 without its padding": (vqa(image=encoded(0).rstrip("=") + "A"), 422, "invalid-field"),
    "an address for a picture": (vqa(image="https://example.org/a.png"), 422, "invalid-field"),
    "a picture of no bytes": (vqa(image=""), 422, "unreadable-image"),
    "a text file for a picture": (vqa(image=base64_of(b"Dear reader")), 422, "unreadable-image"),
    "a drawing for a picture": (
        vqa(image=base64_of(b"<svg xmlns='http://www.w3.org/2000/svg'/>")),
        422,
        "unreadable-image",
    ),
    "half a picture": (vqa(image=base64_of(picture(0, form="JPEG")[:900])), 422, "unreadable-image"),
    "a decompression bomb": (vqa(image=bomb()), 413, "too-large"),
    "one picture where two are compared": (example("nlvr2", [encoded(0)]), 422, "invalid-field"),
    "one picture to choose from": (example("coco-retrieval", [encoded(0)]), 422, "invalid-field"),
    "33 pictures to choose from": (example("coco-retrieval", [encoded(0)] * 33), 422, "invalid-field"),
    "an unknown ref": (vqa(image={"ref": f"sha256:{'0' * 64}"}), 404, "unknown-ref"),
    "a ref that is none": (vqa(image={"ref": "sha256:../../etc/passwd"}), 422, "invalid-field"),
    "a box of NaN": (pointing(boxes=[[float("nan"), 0, 5, 5], [0, 0, 5, 5]]), 422, "invalid-field"),
    "a box without end": (pointing(boxes=[[0, 0, float("inf"), 5], [0, 0, 5, 5]]), 422, "invalid-field"),
    "a box turned round": (pointing(boxes=[[9, 9, 5, 5], [0, 0, 5, 5]]), 422, "invalid-field"),
    "a box of three numbers": (pointing(boxes=[[0, 0, 5], [0, 0, 5, 5]]), 422, "invalid-field"),
    "a box beside the picture": (pointing(boxes=[[900, 900, 950, 950], [0, 0, 5, 5]]), 422, "invalid-field"),
    "a single box": (pointing(boxes=[[0, 0, 5, 5]]), 422, "invalid-field"),
    "600 boxes": (pointing(boxes=[[0, 0, 5, 5]] * 600), 422, "invalid-field"),
    "boxes of words": (pointing(boxes="all of them"), 422, "invalid-field"),
    "features of another width": (vqa(image=regions(1)), 422, "invalid-field"),
    "a dialogue of nothing": ({**example("guesswhat"), "dialog": []}, 422, "invalid-field"),
    "a dialogue without answers": ({**example("guesswhat"), "dialog": [{"question": "a car?"}]}, 422, "invalid-field"),
}

BAD_BODIES = {
    "no body": (b"", JSON, 400, "malformed"),
    "blanks": (b" \n", JSON, 400, "malformed"),
    "half a JSON object": (b'{"task": "vqa-v2"', JSON, 400, "malformed"),
    "a JSON list": (b"[1, 2]", JSON, 400, "malformed"),
    "a JSON text": (b'"vqa-v2"', JSON, 400, "malformed"),
    "JSON that is no UTF-8": (b'{"task": "\xff\xfe"}', JSON, 400, "malformed"),
    "JSON of great depth": (b"[" * 100_000, JSON, 400, "malformed"),
    "text": (b"vqa-v2", {"Content-Type": "text/plain"}, 415, "media-type"),
    "a form of addresses": (b"task=vqa-v2", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "media-type"),
    "a picture alone": (picture(0), {"Content-Type": "image/png"}, 415, "media-type"),
    "a body of no type": (b'{"task": "vqa-v2"}', {}, 415, "media-type"),
}

BAD_FORMS = {
    "a form with a gap in its pictures": (
        {**example("nlvr2"), "images": []} | {"image_1": encoded(1)},
        422,
        "invalid-field",
    ),
    "a form whose boxes are no JSON": (pointing(boxes="[[1, 2"), 400, "malformed"),
    "a form with a picture of no bytes": (vqa(image=""), 422, "unreadable-image"),
    "a form without a task": (vqa(task=None), 422, "invalid-field"),
}

ODD = {
    "one pixel": vqa(image=saved("RGB", "PNG", (1, 1))),
    "a line of pixels": vqa(image=saved("RGB", "PNG", (900, 1))),
    "CMYK": vqa(image=saved("CMYK", "JPEG")),
    "a palette": vqa(image=saved("P", "PNG")),
    "alpha": vqa(image=saved("RGBA", "PNG")),
    "grey": vqa(image=saved("L", "JPEG")),
    "grey with alpha": vqa(image=saved("LA", "PNG")),
    "black and white": vqa(image=saved("1", "PNG")),
    "16 bit": vqa(image=sixteen_bit()),
    "EXIF-rotated": vqa(image=upside_down()),
    "animated": vqa(image=animated()),
    "WebP": vqa(image=saved("RGB", "WEBP")),
    "BMP": vqa(image=saved("RGB", "BMP")),
    "TIFF": vqa(image=saved("RGB", "TIFF")),
    "a special token": vqa(question="[SEP] [MASK] [CLS] what is it?"),
    "a smile": vqa(question="is it 😀?"),
    "another script": vqa(question="什么颜色?"),
    "control characters": vqa(question="what\x00 is\x07 it?"),
    "a box that hangs over the edge": pointing(boxes=[[-50, -50, 100, 100], [200, 100, 999, 999]]),
    "equal boxes": pointing(boxes=[[5, 5, 50, 50], [5, 5, 50, 50]]),
    "equal pictures": example("nlvr2", [encoded(0), encoded(0)]),
    "one of the same pictures in 32": example("coco-retrieval", [encoded(0)] * 32),
}


@pytest.fixture(autouse=True)
def _whoever_answers_survives(way: Way):
    before = way.processes()
    yield
    assert way.processes() == before


def check_refusal(response: httpx.Response, status: int, code: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    error = response.json()["error"]
    assert error["code"] == code, error
    assert error.keys() == {"code", "at", "message", "request"}
    assert len(error["message"]) > 20


@pytest.mark.parametrize("kind", BAD_FIELDS)
def test_bad_fields_are_refused(way, kind):
    fields, status, code = BAD_FIELDS[kind]
    check_refusal(way.client.post(way.url, content=json.dumps(fields), headers=JSON), status, code)


@pytest.mark.parametrize("kind", BAD_BODIES)
def test_bad_bodies_are_refused(way, kind):
    body, headers, status, code = BAD_BODIES[kind]
    check_refusal(way.client.post(way.url, content=body, headers=headers), status, code)


@pytest.mark.parametrize("kind", BAD_FORMS)
def test_bad_forms_are_refused(way, kind):
    fields, status, code = BAD_FORMS[kind]
    check_refusal(way.client.post(way.url, files=parts(fields)), status, code)


@pytest.mark.parametrize("kind", ODD)
def test_odd_input_is_answered(way, kind):
    status, answer = way.ask_json(ODD[kind])
    assert status == 200, answer


def test_features_that_are_no_numbers_are_refused(way, feature_width):
    brought = regions(1, 4 * feature_width, value=float("nan"))
    check_refusal(way.client.post(way.url, json=vqa(image=brought)), 422, "invalid-field")


def test_a_candidate_that_was_not_brought_along_is_refused(way, feature_width):
    request = pointing(image=regions(1, 4 * feature_width), boxes=[EXAMPLE_BOXES[0], [1.0, 1.0, 9.0, 9.0]])
    check_refusal(way.client.post(way.url, json=request), 422, "invalid-field")


def test_a_form_without_parts_is_refused(way):
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    response = way.client.post(way.url, content=b"this is no form", headers=headers)
    assert response.status_code in (400, 422), response.text
    assert "error" in response.json()


def test_a_form_text_that_is_no_utf_8_is_refused(way):
    files = {**parts(vqa()), "question": (None, b"\xff\xfe")}
    check_refusal(way.client.post(way.url, files=files), 400, "malformed")


def test_predictions_are_not_asked_for_by_get(way):
    check_refusal(way.client.get(way.url), 405, "method")


def test_media_types_are_read_whatever_their_case_and_parameters(way):
    headers = {"Content-Type": "Application/JSON; charset=UTF-8"}
    assert way.client.post(way.url, content=json.dumps(vqa()), headers=headers).status_code == 200


def test_a_body_may_come_in_chunks(server):
    body = json.dumps(vqa()).encode()
    chunks = (body[place : place + 1000] for place in range(0, len(body), 1000))
    assert server.client.post(server.url, content=chunks, headers=JSON).status_code == 200


@pytest.mark.parametrize("named", [{"task": "gqa"}, {"task_token": 15}])
def test_a_body_that_contradicts_its_path_is_refused(way, named):
    url, headers = way.own("vqa-v2")
    response = way.client.post(url, headers=headers, json={**vqa(task=None), **named})
    check_refusal(response, 422, "invalid-field")


def test_a_path_of_no_task_is_refused(way):
    url, headers = way.own("vqa")
    check_refusal(way.client.post(url, headers=headers, json=vqa(task=None)), 404, "unknown-task")


def test_an_error_names_the_request_as_its_sender_does(way):
    response = way.client.post(way.url, json={}, headers={"X-Request-Id": "mine-1.a"})
    assert response.json()["error"]["request"] == "mine-1.a"
