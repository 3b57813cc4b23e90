"""The HTTP contract as an OpenAPI 3.1 document, made from the tasks: a thirteenth task is in it by being there.

What the server is asked through (nginx: its keys, its headers, the statuses that it answers itself) stands here too; a
server that is asked without it asks for no key.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from pydantic.json_schema import models_json_schema

from twelve.errors import Malformed, MethodNotAllowed, NoWorker, QueueFull, TooLarge, TwelveError, Unauthorised
from twelve.image import FORMATS
from twelve.refusals import KINDS
from twelve.schema import Answer, Problem, TaskList
from twelve.tasks.registry import TASKS, AnyTask
from twelve.wire import FORM, JSON, NAME, TOKEN

Schema = dict[str, Any]

CONTRACT_VERSION = "1.0.0"
"""Of what stands here, not of the program. A change that a client would notice raises its first number."""

SCHEMAS = "#/components/schemas/"
ANY_TASK, FILE, WELL = "any-task", "picture-file", "well"
"""Components of our own, beside each task's."""

OF_FORM = "-form"
PICTURE_TYPES = ", ".join(f"image/{form.lower()}" for form in FORMATS)

EXAMPLE_PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAUAAAADwAQMAAABL4y8oAAAABlBMVEUoWsjcHh4lH+H/AAAAOElEQVR42u3KMQEAAAwCIPuX3grYQLhJiisiiqIo"
    "iqIoiqIoiqIoiqIoiqIoiqIoiqIoiqIoLscHBmSuT7Oicz4AAAAASUVORK5CYII="
)
"""A picture of 320 by 240 pixels, small enough to stand in a document."""

PROXY_STATUSES: Mapping[int, type[TwelveError]] = {411: Malformed, 414: TooLarge, 431: TooLarge, 501: Malformed}
"""Statuses of nginx alone, beside those that the errors bear: no length, a long address, long headers, an encoding."""

BESIDE_TASKS: Mapping[str, Schema] = {
    FILE: {
        "description": "A picture's file, or JSON text of a ref or of regions.",
        "type": "string",
        "minLength": 1,
        "contentMediaType": "application/octet-stream",
    },
    WELL: {"type": "object", "properties": {"status": {"const": "ok"}}, "required": ["status"]},
}

NUMBER_OF_SECONDS: Schema = {"type": "integer", "minimum": 1}
RESPONSE_HEADERS: Mapping[str, Schema] = {
    "X-Request-Id": {"description": "The request's name, as logs and errors have it.", "schema": {"type": "string"}},
    "Retry-After": {"description": "Seconds after which to ask again.", "schema": NUMBER_OF_SECONDS},
    "Allow": {"description": "The methods that are served here.", "schema": {"type": "string"}},
    "WWW-Authenticate": {"description": "How to send a key.", "schema": {"type": "string"}},
}
HEADERS_OF: Mapping[int, Sequence[str]] = {
    Unauthorised.status: ("WWW-Authenticate",),
    MethodNotAllowed.status: ("Allow",),
    QueueFull.status: ("Retry-After",),
    NoWorker.status: ("Retry-After",),
}
"""Beside the request's name. A server that is asked without nginx leaves them out."""

PARAMETERS: Mapping[str, Schema] = {
    "X-Request-Id": {
        "name": "X-Request-Id",
        "in": "header",
        "description": "A name for the request: up to 64 of A-Z a-z 0-9 . _ - . Any other is replaced by one of ours.",
        "schema": {"type": "string"},
    },
    "X-Request-Timeout-Ms": {
        "name": "X-Request-Timeout-Ms",
        "in": "header",
        "description": "How long an answer is of use. Later there is none, but 504. Cut to the server's longest.",
        "schema": {"type": "integer", "minimum": 1, "maximum": 999_999_999},
    },
}
SECURITY: Mapping[str, Schema] = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
}


def document(tasks: Iterable[AnyTask] = tuple(TASKS.values())) -> dict[str, Any]:
    """Give the document.

    Args:
        tasks: That the server may be asked.

    Returns:
        JSON values; every call gives new ones.
    """
    known = list(tasks)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "twelve",
            "version": CONTRACT_VERSION,
            "summary": "Twelve vision-and-language tasks, one model.",
            "description": "A picture is base64 text in JSON and a file part in a form, or a ref to one sent before, "
            "or its regions. Boxes are in pixels of the upright picture, indices count from 0.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{name: []} for name in SECURITY],
        "paths": {**_asking(known), **_looking()},
        "components": {
            "schemas": _schemas(known),
            "responses": {str(status): _refusal(status, kinds) for status, kinds in _kinds_by_status().items()},
            "headers": dict(RESPONSE_HEADERS),
            "parameters": dict(PARAMETERS),
            "securitySchemes": dict(SECURITY),
        },
    }


def _asking(tasks: Sequence[AnyTask]) -> dict[str, Any]:
    """Describe the path of all tasks and those of each, by each of its names."""
    every = {task.name: {"value": {NAME: task.name, **_example(task)}} for task in tasks}
    any_task = {"operationId": "ask", "summary": "Ask any task.", **_question(ANY_TASK, _pictures(tasks), every)}
    paths = {"/predictions/twelve": {"post": any_task}}
    for task in tasks:
        question = _question(_component(task), _pictures([task]), {"ordinary": {"value": _example(task)}})
        for name in (task.name, *task.aliases):
            own = {"operationId": f"ask-{name}", "summary": task.summary, "tags": [task.group]}
            paths[f"/v1/tasks/{name}"] = {"post": {**own, **question}}
    return paths


def _question(component: str, pictures: Sequence[str], examples: Schema) -> Schema:
    return {
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in PARAMETERS],
        "requestBody": {
            "required": True,
            "content": {
                JSON: {"schema": _ref(component), "examples": examples},
                FORM: {
                    "schema": _ref(f"{component}{OF_FORM}"),
                    "encoding": {part: {"contentType": PICTURE_TYPES} for part in pictures},
                },
            },
        },
        "responses": {"200": _answer("The answer.", Answer.__name__), **_refusals(_kinds_by_status())},
    }


def _looking() -> dict[str, Any]:
    """Describe what is asked by GET."""
    unwell = _refusals([NoWorker.status])
    asked_for = {"200": _answer("The tasks of the model.", TaskList.__name__), **_refusals([Unauthorised.status])}
    well = {"200": _answer("It is.", WELL), **unwell}
    return {
        "/v1/tasks": {"get": {"operationId": "tasks", "summary": "List the tasks.", "responses": asked_for}},
        "/healthz": {"get": _open("alive", "Say whether the server is alive.", well)},
        "/readyz": {"get": _open("ready", "Say whether a question would be answered now.", well)},
    }


def _open(operation: str, summary: str, responses: Schema) -> Schema:
    """Describe what needs no key."""
    return {"operationId": operation, "summary": summary, "security": [], "responses": responses}


def _schemas(tasks: Sequence[AnyTask]) -> dict[str, Schema]:
    """Give all schemas by name: each task's fields as JSON and as a form, any task's, and what they are made of."""
    requests = dict.fromkeys(task.request for task in tasks)
    places, made = models_json_schema(
        [
            *((request, "validation") for request in requests),
            *((model, "serialization") for model in (Answer, Problem, TaskList)),
        ],
        ref_template=f"{SCHEMAS}{{model}}",
    )
    shared = dict(made["$defs"])
    fields = {request: shared.pop(_named(places[request, "validation"])) for request in requests}
    own = {_component(task): _body(task, fields[task.request]) for task in tasks}
    forms = {f"{_component(task)}{OF_FORM}": _body(task, _as_form(fields[task.request])) for task in tasks}
    every = {ANY_TASK: _any(own), f"{ANY_TASK}{OF_FORM}": _any(forms)}
    return {**every, **own, **forms, **shared, **BESIDE_TASKS}


def _body(task: AnyTask, fields: Schema) -> Schema:
    """Give a task's fields with its name and token, which the path may have said already."""
    chosen = {
        NAME: {"type": "string", "enum": [task.name, *task.aliases]},
        TOKEN: {"type": "integer", "enum": [task.token]},
    }
    return {
        **fields,
        "title": task.name,
        "description": task.summary,
        "properties": {**chosen, **fields["properties"]},
    }


def _any(bodies: Iterable[str]) -> Schema:
    """Say that a body is one of these, and says which itself."""
    return {
        "oneOf": [_ref(name) for name in bodies],
        "anyOf": [{"required": [NAME]}, {"required": [TOKEN]}],
    }


def _as_form(fields: Schema) -> Schema:
    """Give the schema of a form with these fields: `twelve.wire.from_form` reads it."""
    parts = {name: _parts(name, schema) for name, schema in fields["properties"].items()}
    fewest = {name: fields["properties"][name].get("minItems", 1) for name in parts}
    numbered = [(one, after) for own in parts.values() for one, after in pairwise(own)]
    return {
        **fields,
        "properties": {part: schema for own in parts.values() for part, schema in own.items()},
        "required": [part for name in fields["required"] for part in list(parts[name])[: fewest[name]]],
        "dependentRequired": {after: [one] for one, after in numbered},
    }


def _parts(name: str, schema: Schema) -> dict[str, Schema]:
    """Give the parts of a form that a field becomes: text stays text, a picture is a file, all else is JSON text."""
    if name == "images":
        return {f"image_{place}": _ref(FILE) for place in range(schema["maxItems"])}
    if name == "image":
        return {name: _ref(FILE)}
    if schema.get("type") == "string":
        return {name: schema}
    return {name: {"type": "string", "contentMediaType": JSON, "contentSchema": schema}}


def _pictures(tasks: Iterable[AnyTask]) -> list[str]:
    forms = (_as_form(task.request.model_json_schema()) for task in tasks)
    parts = {part for form in forms for part, schema in form["properties"].items() if schema == _ref(FILE)}
    return sorted(parts)


def _example(task: AnyTask) -> Schema:
    return task.example([EXAMPLE_PICTURE] * task.pictures_in_example)


def _component(task: AnyTask) -> str:
    """Name a task as the keys of components may be written."""
    return task.name.replace("+", "-plus")


def _ref(name: str) -> Schema:
    return {"$ref": SCHEMAS + name}


def _named(place: Schema) -> str:
    return str(place["$ref"]).removeprefix(SCHEMAS)


def _answer(description: str, schema: str) -> Schema:
    return {"description": description, "headers": _headers(()), "content": {JSON: {"schema": _ref(schema)}}}


def _headers(names: Sequence[str]) -> Schema:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in ("X-Request-Id", *names)}


def _refusals(statuses: Iterable[int]) -> Schema:
    return {str(status): {"$ref": f"#/components/responses/{status}"} for status in statuses}


def _refusal(status: int, kinds: Sequence[type[TwelveError]]) -> Schema:
    said = " ".join(f"`{kind.code}`: {(kind.__doc__ or '').strip()}" for kind in kinds)
    problem = {"allOf": [_ref(Problem.__name__), {"properties": {"code": {"enum": [kind.code for kind in kinds]}}}]}
    schema = {"type": "object", "properties": {"error": problem}, "required": ["error"]}
    headers = _headers(HEADERS_OF.get(status, ()))
    return {"description": said, "headers": headers, "content": {JSON: {"schema": schema}}}


def _kinds_by_status() -> dict[int, list[type[TwelveError]]]:
    """Give the errors of each status, statuses in order."""
    found = [*((kind.status, kind) for kind in KINDS.values()), *PROXY_STATUSES.items()]
    return {status: [kind for at, kind in found if at == status] for status in sorted({at for at, _ in found})}
