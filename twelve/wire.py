"""Bodies in, replies out: what a web server hands over, as requests and JSON. Knows no web server.

A JSON body and a form carry the same names; in a form a picture is a file part, and a field that is no text is JSON
text.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from twelve.errors import (
    InvalidField,
    Malformed,
    MethodNotAllowed,
    RequestError,
    TooLarge,
    TwelveError,
    UnsupportedMediaType,
)
from twelve.forms import read_form
from twelve.schema import MOST_BOXES, Answer, Problem, TaskRequest, kind_of, refusal, whole
from twelve.tasks import find
from twelve.tasks.kinds.retrieving import MOST as MOST_PICTURES
from twelve.tasks.registry import AnyTask

JSON, FORM = "application/json", "multipart/form-data"
NAME, TOKEN = "task", "task_token"
TASK_HEADER, REQUEST_HEADER = "x-task", "x-request-id"
"""What a proxy in front adds: the task that the path names, and the name of the request."""

REQUEST_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
"""Names of requests that are taken over; all others could be anything."""

MOST_FIELDS = 64
"""Of one request; no task takes a tenth of them."""

MARKS = (b"[", b"{", b",")
"""One of them stands before each value of a JSON text but the first, in any encoding; they may stand elsewhere, too."""

MOST_MARKS = 2 * MOST_PICTURES * MOST_BOXES * len("[,,,,")
"""Of all JSON of a request: twice what the boxes of the largest one have, all its pictures given by their regions. Two
bytes of body make an object of sixty in memory, so they are counted before one is made."""

MOST_ECHOED = 500
"""Characters of a message: what a stranger sent is quoted, not returned whole."""

NUMBERED_PART = re.compile(r"image_(0|[1-9][0-9]{0,3})")


@dataclass(frozen=True)
class Call:
    """One HTTP request, as a web server hands it over.

    Attributes:
        body: JSON already parsed, a form's fields by name, or bytes.
        content_type: As sent.
        method: As sent.
        headers: With names in lower case.
        request_id: Named in an error's body.
        received_s: `time.monotonic()` when it arrived; None = when it is read.
    """

    body: bytes | Mapping[str, Any]
    content_type: str | None
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    request_id: str = ""
    received_s: float | None = None


@dataclass(frozen=True)
class Reply:
    """What to answer: a status and a JSON body, pure ASCII.

    Attributes:
        status: Of HTTP.
        body: JSON.
        task: That was asked for, as far as it is known.
        is_final: Whether the process should end when it has answered: it is of no use to the next request.
    """

    status: int
    body: bytes
    task: str | None
    is_final: bool = False


@dataclass(frozen=True)
class Asked:
    """A request whose fields are right."""

    task: AnyTask
    request: TaskRequest


def read(call: Call) -> Asked:
    """Read a call.

    Args:
        call: As it came.

    Returns:
        The task and its request.

    Raises:
        RequestError: The method, the media type, the body, the task or a field is wrong.
    """
    if call.method != "POST":
        raise MethodNotAllowed(f"method: predictions are asked for by POST, got {call.method}")
    fields = dict(_fields(call))
    _refuse_odd_names(fields)
    task = _task(fields, call.headers.get(TASK_HEADER))
    try:
        return Asked(task, _request(call, task, fields))
    except RequestError as error:
        error.task = task.name
        raise


def _request(call: Call, task: AnyTask, fields: Mapping[str, Any]) -> TaskRequest:
    own = {name: value for name, value in fields.items() if name not in (NAME, TOKEN)}
    if media_type(call) == FORM:
        own = from_form(own, task.request)
    try:
        return task.request.model_validate(own)
    except ValidationError as error:
        raise refusal(error, task=task.name, fields=list(task.request.model_fields)) from error


def request_name(headers: Mapping[str, str], otherwise: str) -> str:
    """Give the name that a request came with, if it is a plain one, so that one name stands in every log.

    Args:
        headers: With names in lower case.
        otherwise: What to call it if it has none.
    """
    sent = headers.get(REQUEST_HEADER, "")
    return sent if REQUEST_NAME.fullmatch(sent) else otherwise


def media_type(call: Call) -> str:
    """Give a call's media type without its parameters, in lower case."""
    return (call.content_type or "").split(";")[0].strip().lower()


def from_form(fields: Mapping[str, Any], request: type[TaskRequest]) -> dict[str, Any]:
    """Turn a form's fields into the values that JSON would hold.

    Args:
        fields: Bytes or text by name; `image_0`, `image_1`, … are the entries of `images`.
        request: Says which fields are text.

    Returns:
        Values by the contract's names.

    Raises:
        Malformed: A field that is no text is no JSON either, or is not UTF-8.
        TooLarge: The JSON of all fields holds too many values.
    """
    _refuse_crowds(raw for name, raw in fields.items() if _is_json(request, name, raw))
    parts = {name: raw for name, raw in fields.items() if NUMBERED_PART.fullmatch(name)}
    values = {
        name: _form_picture(name, raw) if name == "image" else _form_value(name, raw, is_text=_is_text(request, name))
        for name, raw in fields.items()
        if name not in parts
    }
    if parts and "images" in values:
        raise InvalidField("images: come as numbered parts or as one field, got both", at="images")
    if parts:
        values["images"] = _numbered(parts)
    return values


def answered(answer: Answer) -> Reply:
    """Reply with an answer."""
    return Reply(200, _encode(answer.model_dump(mode="json")), answer.task)


def refused(error: TwelveError, *, request_id: str, task: str | None) -> Reply:
    """Reply with an error; the body is whole whatever the message holds."""
    at = error.at and shortened(error.at)
    problem = Problem(code=error.code, at=at, message=shortened(error.message), request=request_id)
    return Reply(error.status, _encode({"error": problem.model_dump()}), task, error.is_final)


def shortened(text: str) -> str:
    """Cut a text that quotes a stranger at length."""
    return text if len(text) <= MOST_ECHOED else f"{text[: MOST_ECHOED - 1]}…"


def _encode(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(", ", ": ")).encode("ascii")


def _fields(call: Call) -> Mapping[str, Any]:
    kind = media_type(call)
    if kind not in (JSON, FORM):
        raise UnsupportedMediaType(f"content type: send {JSON} or {FORM}, got {kind or 'none'}")
    if isinstance(call.body, Mapping):
        return call.body
    if kind == FORM:
        return read_form(call.content_type or "", bytes(call.body), most_parts=MOST_FIELDS)
    return _parsed(bytes(call.body))


def _refuse_odd_names(fields: Mapping[str, Any]) -> None:
    if len(fields) > MOST_FIELDS:
        raise InvalidField(f"body: has {len(fields)} fields, no task takes more than {MOST_FIELDS}", at="body")
    for name in fields:
        if not name.isprintable():
            raise InvalidField(f"body: a field is named {name!a}; names are plain text", at="body")


def _parsed(body: bytes) -> Mapping[str, Any]:
    if not body.strip():
        raise Malformed("body: is empty; send a JSON object with a task")
    try:
        values = _loaded(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"body: is no JSON ({error}); send a JSON object with a task") from error
    if not isinstance(values, dict):
        raise Malformed(f"body: must be a JSON object, got {kind_of(values)}")
    return values


def _task(fields: Mapping[str, Any], path: str | None) -> AnyTask:
    """Find the task that the body's name, its token and the path agree on; those that are absent agree with any."""
    named = _name(fields[NAME]) if NAME in fields else None
    token = _token(fields[TOKEN]) if TOKEN in fields else None
    if named is None and token is None and not path:
        raise InvalidField(f"{NAME}: is missing; name a task, or give its {TOKEN}", at=NAME)
    by_body = {find(key) for key in (named, token) if key is not None}
    if len(by_body) > 1:
        raise InvalidField(f"{TOKEN}: {token} is not the token of task '{named}'; send one of both", at=TOKEN)
    tasks = by_body | {find(path)} if path else by_body
    if len(tasks) > 1:
        asked = by_body.pop().name
        raise InvalidField(f"{NAME}: the body asks for '{asked}', the path for '{path}'; send one of both", at=NAME)
    return tasks.pop()


def _name(value: Any) -> str:
    decoded = _utf8(NAME, value) if isinstance(value, bytes | bytearray) else value
    if isinstance(decoded, str):
        return decoded
    raise InvalidField(f"{NAME}: must be text, got {kind_of(value)}", at=NAME)


def _token(value: Any) -> int:
    number = whole(_json_text(TOKEN, value) if isinstance(value, bytes | bytearray) else value)
    if isinstance(number, int) and not isinstance(number, bool):
        return number
    raise InvalidField(f"{TOKEN}: must be a whole number, got {kind_of(number)}", at=TOKEN)


def _is_text(request: type[TaskRequest], name: str) -> bool:
    known = request.model_fields.get(name)
    return known is None or known.annotation is str


def _numbered(parts: Mapping[str, Any]) -> list[Any]:
    names = [f"image_{number}" for number in range(len(parts))]
    if set(names) != set(parts):
        raise InvalidField(
            f"images: parts are numbered image_0, image_1, … without a gap, got {sorted(parts)}", at="images"
        )
    return [_form_picture(name, parts[name]) for name in names]


def _form_value(name: str, raw: Any, *, is_text: bool) -> Any:
    if not isinstance(raw, bytes | bytearray):
        return raw
    return _utf8(name, raw) if is_text else _json_text(name, raw)


def _form_picture(name: str, raw: Any) -> Any:
    """Give a file part as bytes; JSON text in its place holds a ref or regions."""
    return bytes(raw) if _is_file(raw) else _form_value(name, raw, is_text=False)


def _is_file(raw: Any) -> bool:
    return isinstance(raw, bytes | bytearray) and not bytes(raw[:16]).lstrip().startswith(b"{")


def _is_json(request: type[TaskRequest], name: str, raw: Any) -> bool:
    """Say whether a form's field is read as JSON."""
    is_picture = name == "image" or NUMBERED_PART.fullmatch(name) is not None
    is_other = _is_file(raw) if is_picture else _is_text(request, name)
    return isinstance(raw, bytes | bytearray) and not is_other


def _utf8(name: str, raw: bytes | bytearray) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"{name}: is not UTF-8 text ({error.reason} at byte {error.start})", at=name) from error


def _json_text(name: str, raw: bytes | bytearray) -> Any:
    try:
        return _loaded(raw)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"{name}: is no JSON text ({error})", at=name) from error


def _loaded(raw: bytes | bytearray) -> Any:
    _refuse_crowds([raw])
    return json.loads(raw)


def _refuse_crowds(texts: Iterable[bytes | bytearray]) -> None:
    """See that JSON texts hold no more values in all than any request needs; an upper bound is counted.

    Raises:
        TooLarge: They do.
    """
    marks = sum(text.count(mark) for text in texts for mark in MARKS)
    if marks > MOST_MARKS:
        raise TooLarge(
            f"body: its JSON has {marks} brackets, braces and commas, at most {MOST_MARKS} are read",
            at="body",
        )
