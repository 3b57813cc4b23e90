"""What crosses HTTP: texts, pictures, boxes, requests and answers. The contract's types, and nothing else.

A picture is sent in one of four ways: its encoded bytes (base64 in JSON, a file part in a form), a ref to one sent
before, its regions brought along, or, where the server's owner lets it fetch pictures, a URL.
"""

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    StrictStr,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from twelve.errors import InvalidField, RequestError, TooLarge

MOST_CHARACTERS = 10_000
"""Of one text; far above what any task reads, far below what would cost time to tokenise."""

MOST_BOXES = 512
"""Of one request; GuessWhat's largest game has 205 (12-in-1's `max_region_num` is 306)."""

MOST_TURNS = 64
"""Of one dialogue."""

REF = re.compile(r"sha256:[0-9a-f]{64}")

VISIBLE = re.compile(r"[^\s\x1c-\x1f\x85\ufeff]")
"""One character of it makes a text more than blank. Spelt out: JSON Schema and Python differ about blanks."""


def _text(value: str) -> str:
    if len(value) > MOST_CHARACTERS:
        raise PydanticCustomError(
            "too_large", "has {got} characters, at most {most} are read", {"got": len(value), "most": MOST_CHARACTERS}
        )
    if not VISIBLE.search(value):
        raise PydanticCustomError("empty_text", "is empty; write at least one word", {})
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise PydanticCustomError("surrogates", "holds half a surrogate pair; send valid Unicode", {})
    return value


Text = Annotated[
    StrictStr,
    AfterValidator(_text),
    Field(json_schema_extra={"minLength": 1, "maxLength": MOST_CHARACTERS, "pattern": VISIBLE.pattern}),
]
"""What a person wrote. Data through and through: "[SEP]" is text, not a token."""


def _box(value: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = value
    if x1 >= x2 or y1 >= y2:
        raise PydanticCustomError(
            "empty_box",
            "is empty: needs [x1, y1, x2, y2] with x1 < x2 and y1 < y2, got {got}",
            {"got": str(list(value))},
        )
    return value


Number = Annotated[float, Field(allow_inf_nan=False, strict=True)]
Box = Annotated[tuple[Number, Number, Number, Number], AfterValidator(_box)]
"""[x1, y1, x2, y2] in pixels of the upright picture."""

Boxes = Annotated[tuple[Box, ...], Field(min_length=2, max_length=MOST_BOXES), FailFast()]
"""Candidate boxes of one picture."""


def _base64(value: Any) -> bytes:
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if not isinstance(value, str):
        raise PydanticCustomError("base64", "must be a base64 string, got {got}", {"got": kind_of(value)})
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise PydanticCustomError("base64", "is not base64: {why}", {"why": str(error)}) from error


BASE64_SCHEMA: Mapping[str, Any] = {
    "type": "string",
    "contentEncoding": "base64",
    "minLength": 4,
    "pattern": "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
}
Base64 = Annotated[bytes, BeforeValidator(_base64), WithJsonSchema(dict(BASE64_SCHEMA))]


LONGEST_SIDE = 1_000_000
"""Pixels, of a picture whose regions are brought along: nobody decodes it, so only nonsense is refused."""


def whole(value: Any) -> Any:
    """Give 2.0 as 2, which JSON does not tell apart; anything else as it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Side = Annotated[int, Field(gt=0, le=LONGEST_SIDE, strict=True), BeforeValidator(whole)]


class EncodedImage(BaseModel):
    """A picture's file, as it lies on a disk."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    data: Base64


class ImageRef(BaseModel):
    """A picture that was sent before."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    ref: Annotated[StrictStr, Field(json_schema_extra={"pattern": f"^{REF.pattern}$"})]


class ImageUrl(BaseModel):
    """A picture on another host; most servers fetch none. What a URL may be, `twelve.origins` says."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    url: Annotated[StrictStr, Field(json_schema_extra={"format": "uri"})]


class BroughtRegions(BaseModel):
    """Regions that the caller found: base64 float32 [n, F] features and n boxes in a picture of this size."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    features: Base64
    boxes: Annotated[tuple[Box, ...], Field(min_length=1, max_length=MOST_BOXES), FailFast()]
    width: Side
    height: Side


class RegionsImage(BaseModel):
    """A picture given by its regions alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    regions: BroughtRegions


class StoredImage(BaseModel):
    """A picture of a data set, by its key in a feature store. Never crosses HTTP."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    key: str


AnyImage = EncodedImage | ImageRef | RegionsImage | ImageUrl | StoredImage


def _image(value: Any) -> AnyImage:
    if isinstance(value, AnyImage):
        return value
    if isinstance(value, str | bytes | bytearray):
        return EncodedImage(data=_base64(value))
    if isinstance(value, dict) and "ref" in value:
        return _ref(value)
    if isinstance(value, dict) and "regions" in value:
        return _inner(RegionsImage, value)
    if isinstance(value, dict) and "url" in value:
        return _inner(ImageUrl, value)
    raise PydanticCustomError(
        "image", 'must be base64 text, {"ref": …}, {"regions": …} or {"url": …}, got {got}', {"got": kind_of(value)}
    )


Inner = TypeVar("Inner", bound=BaseModel)


def _inner(model: type[Inner], value: dict[str, Any]) -> Inner:
    """Validate an object inside a field, so that its complaint keeps its own path."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        why = f"{path_of(first['loc'])} {sentence_of(first)}"
        raise PydanticCustomError("inner", "{why}", {"why": why}) from error


def _ref(value: dict[str, Any]) -> ImageRef:
    ref = _inner(ImageRef, value)
    if not REF.fullmatch(ref.ref):
        raise PydanticCustomError("ref", 'is no ref: needs "sha256:" and 64 hexadecimal digits', {})
    return ref


Image = Annotated[
    AnyImage,
    BeforeValidator(
        _image,
        json_schema_input_type=Annotated[str, WithJsonSchema(dict(BASE64_SCHEMA))] | ImageRef | RegionsImage | ImageUrl,
    ),
]
"""A picture, in one of the four ways."""


class Turn(BaseModel):
    """One question of a dialogue and its answer."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    question: Text
    answer: Text


class TaskRequest(BaseModel):
    """A request's own fields, `task` and `task_token` aside. Unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=False)


AnswerValue = Annotated[
    Any,
    WithJsonSchema(
        {
            "type": ["string", "integer", "boolean", "array"],
            "items": {"type": "number"},
            "description": "As the task says: text, an index from 0, true or false, or a box [x1, y1, x2, y2].",
        }
    ),
]


class Candidate(BaseModel):
    """One of the answers the model weighed."""

    model_config = ConfigDict(frozen=True)
    answer: AnswerValue
    score: float


class ModelName(BaseModel):
    """Which model answered."""

    model_config = ConfigDict(frozen=True)
    name: str
    version: str


class Answer(BaseModel):
    """What the server answers a good request with."""

    model_config = ConfigDict(frozen=True)
    task: str
    answer: AnswerValue
    candidates: tuple[Candidate, ...]
    images: tuple[str | None, ...]
    model: ModelName
    timings_ms: dict[str, float]


class ListedTask(BaseModel):
    """One of the tasks that a served model was trained on, and how to ask it."""

    model_config = ConfigDict(frozen=True)
    task: str
    token: int
    summary: str
    path: str
    request: dict[str, Any]


class TaskList(BaseModel):
    """What a server answers `GET /v1/tasks` with: its model and the tasks, each with the JSON schema of its fields."""

    model_config = ConfigDict(frozen=True)
    model: ModelName
    tasks: tuple[ListedTask, ...]


class Problem(BaseModel):
    """What the server answers a bad request with, inside `{"error": …}`."""

    model_config = ConfigDict(frozen=True)
    code: str
    at: str | None
    message: str
    request: str


KINDS: dict[type, str] = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    str: "text",
    bytes: "bytes",
    bytearray: "bytes",
    list: "a list",
    tuple: "a list",
    dict: "an object",
}


def kind_of(value: Any) -> str:
    """Say what a value is, in JSON's words."""
    return KINDS.get(type(value), type(value).__name__)


EXPECTED = {
    "string_type": "must be text",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "is_instance_of": "must be text",
    "finite_number": "must be a finite number",
    "tuple_type": "must be a list",
    "list_type": "must be a list",
    "model_type": "must be an object",
    "dict_type": "must be an object",
}
"""pydantic's words for a wrong type, in ours."""


def refusal(error: ValidationError, *, task: str, fields: Sequence[str]) -> RequestError:
    """Turn pydantic's first complaint into our own typed error.

    Args:
        error: As pydantic raised it.
        task: That the request asked for.
        fields: That the task takes.

    Returns:
        TooLarge where something is too long, else InvalidField, with the path of the field.
    """
    first = error.errors(include_url=False)[0]
    at = path_of(first["loc"])
    kind = {"too_large": TooLarge}.get(first["type"], InvalidField)
    hint = f"; task '{task}' takes {', '.join(fields)}" if first["type"] in ("missing", "extra_forbidden") else ""
    subject = f"task '{task}' " if first["type"] == "pictures" else ""
    return kind(f"{at}: {subject}{sentence_of(first)}{hint}", at=at)


def sentence_of(error: ErrorDetails) -> str:
    """Say what one of pydantic's complaints means, without its place."""
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return "is unknown"
    if kind == "too_long":
        return f"has more than {context['max_length']} entries, which is the most"
    if kind == "too_short":
        return f"has {context['actual_length']} entries, at least {context['min_length']} are needed"
    if kind in EXPECTED:
        got = kind_of(error["input"])
        return f"{EXPECTED[kind]}, got {got if got not in EXPECTED[kind] else 'one beyond all bounds'}"
    return error["msg"]


def path_of(location: Sequence[int | str]) -> str:
    """Write a field's place as a path: ("images", 1) as "images[1]"."""
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path
