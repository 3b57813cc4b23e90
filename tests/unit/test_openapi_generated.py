"""What the OpenAPI document promises, asked of the service with data made from it by schemathesis: good and bad.

nginx's own part is left out of the document here: keys, and the headers that bound and name a request.
"""

import base64
import json
import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import strategies
from schemathesis.checks import load_all_checks
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from dev.asgi import Adapter
from tests.bundles import make_tiny_bundle, picture
from twelve.assembly import Settings
from twelve.image import FORMATS
from twelve.openapi import document
from twelve.service import Service
from twelve.tasks import TASKS
from twelve.wire import FORM

SEED = 12
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "5"))
"""Made of each kind for each path; `make test-document` makes many more."""

PICTURES = [base64.b64encode(picture(seed, width=64, height=48)).decode() for seed in range(3)]

BEYOND_SCHEMAS = (
    "this server fetches no pictures",
    "is empty: needs [x1, y1, x2, y2]",
    "the bytes are no picture",
    "word pieces, this model reads at most",
    "boxes need float32",
    "must be finite numbers up to",
    "lies outside the",
    "none of the boxes brought along",
    "is no URL that is fetched",
)
"""What our sentences say of good data that only this server, or more than JSON Schema, can tell from bad."""

HALF_MADE, UNSPOILT = "Multipart body with custom encoding", "Positive test case"
"""What schemathesis calls its forms whose texts it leaves empty, and those that it meant to spoil and did not."""

CONFIG = {
    "seed": SEED,
    "base-url": "http://testserver",
    "suppress-health-check": ["all"],  # they measure time, which says nothing on a busy machine
    "generation": {
        "mode": "all",
        "max-examples": EXAMPLES,
        "deterministic": True,
        "database": "none",
        "no-shrink": True,
    },
    "analysis": {"constants": {"enabled": False}},
    "phases": {"stateful": {"enabled": False}},
    "operations": [{"include-path": "/predictions/twelve", "phases": {"coverage": {"enabled": False}}}],
    "checks": {
        "positive_data_acceptance": {"expected-statuses": ["200", "404"]},  # a ref of the right form is of no picture
        "negative_data_rejection": {"expected-statuses": ["400", "404", "405", "413", "415", "422"]},
    },
}


def for_one_server(whole: dict[str, Any]) -> dict[str, Any]:
    """Leave nginx out, and say what pictures and JSON texts are made of."""
    del whole["security"], whole["components"]["securitySchemes"]
    for item in whole["paths"].values():
        for operation in item.values():
            operation.pop("parameters", None)
            operation.pop("security", None)
    for schema in having("contentEncoding", whole["components"]["schemas"]):
        schema["format"] = "picture"
    for schema in having("contentSchema", whole["components"]["schemas"]):
        schema["format"] = f"json-{schema['contentSchema']['title']}"
    return whole


def having(key: str, value: Any) -> Iterator[dict[str, Any]]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict) and key in value:
        yield value
    for one in inner:
        yield from having(key, one)


def with_turned_boxes(value: Any) -> Any:
    """Turn boxes so that they hold something: JSON Schema cannot compare two numbers."""
    if isinstance(value, dict):
        return {name: with_turned_boxes(inner) for name, inner in value.items()}
    if isinstance(value, list) and len(value) == 4 and all(isinstance(side, int | float) for side in value):
        (x1, x2), (y1, y2) = sorted(value[0::2]), sorted(value[1::2])
        return [x1, y1, x2, y2]
    return [with_turned_boxes(inner) for inner in value] if isinstance(value, list) else value


def excused(case: schemathesis.Case, answer: str) -> list[Any]:
    """Give the checks that say nothing of this case."""
    made = case.meta.phase.data.description
    is_beyond = made == HALF_MADE or any(sentence in answer for sentence in BEYOND_SCHEMAS)
    is_unspoilt = made == UNSPOILT or has_parts_of_one_name(case)
    return [positive_data_acceptance] * is_beyond + [negative_data_rejection] * is_unspoilt


def has_parts_of_one_name(case: schemathesis.Case) -> bool:
    """Say whether a list was put into a form: it becomes parts of one name, of which the last counts."""
    return case.media_type == FORM and isinstance(case.body, dict) and any(map(is_list, case.body.values()))


def is_list(value: Any) -> bool:
    return isinstance(value, list)


load_all_checks()
schemathesis.openapi.format("picture", strategies.sampled_from(PICTURES))
for form in FORMATS:
    schemathesis.openapi.media_type(
        f"image/{form.lower()}", strategies.just(picture(0, width=64, height=48, form=form))
    )
for task in TASKS.values():
    for name, value in task.example(PICTURES[:1]).items():
        schemathesis.openapi.format(f"json-{name.title()}", strategies.just(json.dumps(value)))
promised = schemathesis.openapi.from_dict(for_one_server(document()), config=SchemathesisConfig.from_dict(CONFIG))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    bundle = make_tiny_bundle(tmp_path_factory.mktemp("bundle"))
    return Adapter(Service.open(bundle.path, Settings(engine="eager")))


@pytest.mark.slow
@promised.parametrize()
def test_what_is_made_from_the_document_is_answered_as_it_says(case, served):
    case.body = with_turned_boxes(case.body) if case.meta.generation.mode.is_positive else case.body
    response = case.call(app=served)
    case.validate_response(response, excluded_checks=excused(case, response.text), transport_kwargs={"app": served})
