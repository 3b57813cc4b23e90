"""Bodies that were once valid requests: broken by a seed, as JSON and as forms. The same seed, the same body."""

import base64
import io
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

from twelve.tasks import TASKS
from twelve.wire import FORM, JSON

BOUNDARY = "edge-of-a-part"
PICTURES = 8
"""Different ones, so small that most of a body is not picture."""

MOST_BYTES = 32 << 20
"""Of a body, as config.properties has it."""

Value = Any
Fields = dict[str, Any]


@dataclass(frozen=True)
class Body:
    """What to post.

    Attributes:
        content_type: As sent; it may lie.
        data: The bytes.
    """

    content_type: str
    data: bytes


def hostile_bodies(seed: int) -> Iterator[Body]:
    """Give bodies without end."""
    while True:
        yield hostile_body(random.Random(seed))
        seed += 1


def hostile_body(chance: random.Random) -> Body:
    """Break a valid request in one way or several."""
    fields = valid(chance)
    if chance.random() < 0.7:
        for _ in range(chance.randrange(1, 4)):
            chance.choice(CHANGES)(fields, chance)
    write = chance.choice((as_json, as_form))
    body = write(fields)
    if chance.random() < 0.4:
        body = Body(body.content_type, spoilt(body.data, chance))
    if chance.random() < 0.1:
        body = Body(chance.choice(CONTENT_TYPES), body.data)
    return body


def valid(chance: random.Random) -> Fields:
    """Give a request that is answered."""
    task = TASKS[chance.choice(sorted(TASKS))]
    images = [picture(chance.randrange(PICTURES)) for _ in range(task.pictures_in_example)]
    return {"task": task.name, **task.example(images)}


@cache
def picture(number: int) -> str:
    """Give a small picture in base64."""
    stream = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (160, 200), dtype=np.uint8)
    Image.fromarray(pixels // 128 * 255).convert("1").save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()


def as_json(fields: Fields) -> Body:
    """Write a request as JSON."""
    return Body(JSON, json.dumps(fields).encode())


def as_form(fields: Fields) -> Body:
    """Write a request as a form: pictures as files, what is no text as JSON text."""
    parts = dict(fields)
    pictures = parts.pop("images", ())
    if isinstance(pictures, list):
        parts |= {f"image_{place}": one for place, one in enumerate(pictures[:40])}
    written = b"".join(_part(name, value) for name, value in parts.items())
    return Body(f"{FORM}; boundary={BOUNDARY}", written + f"--{BOUNDARY}--\r\n".encode())


def _part(name: str, value: Value) -> bytes:
    quoted = name.encode("utf-8", "replace").replace(b'"', b"%22")
    file = b'; filename="picture"' if name.startswith("image") else b""
    return _written(quoted, file, _content(name, value))


def _written(name: bytes, file: bytes, content: bytes) -> bytes:
    head = b'--%b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n' % (BOUNDARY.encode(), name, file)
    return head + content + b"\r\n"


def _content(name: str, value: Value) -> bytes:
    if name.startswith("image") and isinstance(value, str):
        return base64.b64decode(value + "==", validate=False) if value.isascii() else value.encode("utf-8", "replace")
    return value.encode("utf-8", "replace") if isinstance(value, str) else json.dumps(value).encode()


ODD: Sequence[Callable[[random.Random], Value]] = (
    lambda chance: None,
    lambda chance: chance.choice((True, False)),
    lambda chance: chance.choice((0, -1, 2**31, 2**63, -(2**63), 10**40, 1e308, float("nan"), float("inf"), 1e-320)),
    lambda chance: chance.choice(("", " ", "\0", "\ud800", "\u202e", "[SEP]", "[CLS]" * 50, "é" * 300, "😀" * 40)),
    lambda chance: "a" * chance.choice((200, 5000, 20_000, 200_000)),
    lambda chance: "the " * chance.choice((30, 600, 3000)),
    lambda chance: [],
    lambda chance: {},
    lambda chance: [None] * chance.choice((1, 33, 1000)),
    lambda chance: _deep(chance.choice((5, 200, 600))),
    lambda chance: {"ref": chance.choice(("sha256:" + "0" * 64, "../../etc/passwd", "sha256:" + "g" * 64, 5))},
    lambda chance: {"url": chance.choice(("http://169.254.169.254/", "file:///etc/passwd", 5, ""))},
    lambda chance: {"regions": brought(chance)},
    lambda chance: picture(chance.randrange(PICTURES)),
    lambda chance: base64.b64encode(chance.randbytes(chance.randrange(200))).decode(),
    lambda chance: [[chance.uniform(-50, 400) for _ in range(chance.choice((3, 4, 4, 4, 5)))] for _ in range(3)],
    lambda chance: [{"question": "Is it red?", "answer": chance.choice(("yes", "no", 3, None))}] * chance.randrange(70),
)
"""What may stand anywhere."""


def _deep(levels: int) -> Value:
    value: Value = 1
    for _ in range(levels // 2):
        value = {"a": [value]}
    return value


def brought(chance: random.Random) -> Fields:
    """Give regions brought along, hardly ever right."""
    count = chance.randrange(1, 5)
    return {
        "features": base64.b64encode(chance.randbytes(4 * count * chance.choice((8, 256, 2048)))).decode(),
        "boxes": [[1, 1, chance.choice((9, 0, -5, 1e300)), 9] for _ in range(count)],
        "width": chance.choice((320, 0, -1, 10**12)),
        "height": chance.choice((240, 0.5, "240")),
    }


def replace_one(fields: Fields, chance: random.Random) -> None:
    """Put something odd in a field's place."""
    fields[chance.choice(sorted(fields))] = chance.choice(ODD)(chance)


def replace_inside(fields: Fields, chance: random.Random) -> None:
    """Put something odd in the place of an entry."""
    lists = [value for value in fields.values() if isinstance(value, list) and value]
    if lists:
        one = chance.choice(lists)
        one[chance.randrange(len(one))] = chance.choice(ODD)(chance)


def drop(fields: Fields, chance: random.Random) -> None:
    """Leave a field out."""
    if len(fields) > 1:
        del fields[chance.choice(sorted(fields))]


def add(fields: Fields, chance: random.Random) -> None:
    """Add a field of another task, or of none."""
    name = chance.choice(("task_token", "boxes", "images", "image", "dialog", "answer", "__class__", "\0", "x" * 5000))
    fields[name] = chance.choice(ODD)(chance)


def ask_another(fields: Fields, chance: random.Random) -> None:
    """Name another task."""
    fields["task"] = chance.choice((*sorted(TASKS), "vqa", "", "../x", "VQA-V2"))


def spoil_picture(fields: Fields, chance: random.Random) -> None:
    """Break a picture's file."""
    if isinstance(fields.get("image"), str):
        data = base64.b64decode(picture(chance.randrange(PICTURES)))
        fields["image"] = base64.b64encode(spoilt(data, chance)).decode()


CHANGES: Sequence[Callable[[Fields, random.Random], None]] = (
    replace_one,
    replace_inside,
    drop,
    add,
    ask_another,
    spoil_picture,
)

CONTENT_TYPES = (
    JSON,
    FORM,
    f"{FORM}; boundary=another",
    f"{FORM}; boundary=",
    f"{FORM}; boundary={BOUNDARY}",
    f'{FORM}; boundary="{BOUNDARY}',
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/json; charset=utf-16",
    "image/png",
    "x",
)


def crowd(start: bytes, value: bytes, end: bytes) -> Body:
    """Give a body as large as allowed of one small value again and again, each of which takes far more in memory."""
    return Body(JSON, start + value * ((MOST_BYTES - len(start + end)) // len(value)) + end)


def crowded_form() -> Body:
    """Give a form whose pictures are JSON of few values each, and of many in all."""
    values = b'{"regions":[' + b"[]," * 50_000 + b"[]]}"
    pictures = b"".join(_written(b"image_%d" % number, b"", values) for number in range(60))
    written = _part("task", "coco-retrieval") + _part("caption", "A pig.") + pictures
    return Body(f"{FORM}; boundary={BOUNDARY}", written + f"--{BOUNDARY}--\r\n".encode())


CROWDS: Mapping[str, Callable[[], Body]] = {
    "JSON: 11 million lists": lambda: crowd(b'{"task":"vqa-v2","x":[', b"[],", b"0]}"),
    "JSON: 16 million numbers": lambda: crowd(b'{"task":"vqa-v2","x":[', b"7,", b"0]}"),
    "JSON: five million names": lambda: crowd(b'{"task":"vqa-v2","x":[', b'{"":0},', b"0]}"),
    "JSON: 16 million numbers in UTF-16": lambda: Body(
        JSON, ('{"task":"vqa-v2","x":[' + "7," * (MOST_BYTES // 4 - 20) + "0]}").encode("utf-16")
    ),
    "form: three million lists in sixty pictures": crowded_form,
}


def spoilt(data: bytes, chance: random.Random) -> bytes:
    """Flip bits, cut, double, insert and exchange bytes."""
    return chance.choice(SPOILERS)(data, chance) if data else data


def _place(data: bytes, chance: random.Random) -> int:
    return chance.randrange(len(data))


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.randrange(1, 20)):
        changed[_place(data, chance)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _double(data: bytes, chance: random.Random) -> bytes:
    place = _place(data, chance)
    return data[:place] + data[place : place + 200] * chance.randrange(2, 20) + data[place:]


def _insert(data: bytes, chance: random.Random) -> bytes:
    place = _place(data, chance)
    return data[:place] + chance.choice((b"\0", b"\r\n", b"\xff\xfe", b'"', b"{", b"]", b"1e999", b"--")) + data[place:]


def _exchange(data: bytes, chance: random.Random) -> bytes:
    old, new = chance.choice(EXCHANGES)
    return data.replace(old, new, chance.randrange(1, 4))


EXCHANGES: Sequence[tuple[bytes, bytes]] = (
    (b'"', b"'"),
    (b":", b"="),
    (b"{", b"[" * 2000),
    (b"}", b""),
    (b"\r\n", b"\n"),
    (b"form-data", b"file"),
    (b"name=", b"nom="),
    (b"name=", b'name="task"; name='),
    (b"image", b"image_0"),
    (BOUNDARY.encode(), b"other"),
    (b"Content-Disposition", b"Content-Length: 99999999\r\nContent-Disposition"),
)
SPOILERS: Sequence[Callable[[bytes, random.Random], bytes]] = (
    _flip,
    lambda data, chance: data[: _place(data, chance)],
    lambda data, chance: data[_place(data, chance) :],
    _double,
    _insert,
    _exchange,
)
