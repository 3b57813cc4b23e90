"""What the OpenAPI document promises, asked of the service with data made from it by schemathesis: good and bad.

nginx's own part is left out of the document here: keys, and the headers that bound and name a request.
"""

import base64
import os
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import strategies
from schemathesis.config import SchemathesisConfig

from dev.asgi import Adapter
from tests.bundles import make_tiny_bundle, picture
from twelve.assembly import Settings
from twelve.image import FORMATS
from twelve.openapi import document
from twelve.service import Service

SEED = 12
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "5"))
"""Made of each kind for each path and form of body; `make test-document` makes many more."""

PICTURES = [base64.b64encode(picture(seed, width=64, height=48)).decode() for seed in range(3)]

BEYOND_SCHEMAS = ("is empty: needs [x1, y1, x2, y2]",)
"""Refusals of data that JSON Schema cannot tell from good data, as our sentences begin."""

CONFIG = {
    "seed": SEED,
    "generation": {
        "mode": "all",
        "max-examples": EXAMPLES,
        "deterministic": True,
        "database": "none",
        "no-shrink": True,
    },
    "analysis": {"constants": {"enabled": False}},
    "phases": {"stateful": {"enabled": False}},
    "checks": {
        "negative_data_rejection": {
            "expected-statuses": ["400", "404", "405", "413", "415", "422"],
        },
    },
}


def without_nginx(whole: dict[str, Any]) -> dict[str, Any]:
    del whole["security"], whole["components"]["securitySchemes"]
    for item in whole["paths"].values():
        for operation in item.values():
            operation.pop("parameters", None)
            operation.pop("security", None)
    for schema in base64_texts(whole["components"]["schemas"]):
        schema["format"] = "picture"
    return whole


def base64_texts(value: Any) -> Iterator[dict[str, Any]]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if isinstance(value, dict) and value.get("contentEncoding") == "base64":
        yield value
    for one in inner:
        yield from base64_texts(one)


schemathesis.openapi.format("picture", strategies.sampled_from(PICTURES))
for form in FORMATS:
    schemathesis.openapi.media_type(
        f"image/{form.lower()}", strategies.just(picture(0, width=64, height=48, form=form))
    )
promised = schemathesis.openapi.from_dict(without_nginx(document()), config=SchemathesisConfig.from_dict(CONFIG))


@pytest.fixture(scope="module", autouse=True)
def _served(tmp_path_factory):
    bundle = make_tiny_bundle(tmp_path_factory.mktemp("bundle"))
    promised.app = Adapter(Service.open(bundle.path, Settings(engine="eager")))


@pytest.mark.slow
@promised.parametrize()
def test_what_is_made_from_the_document_is_answered_as_it_says(case):
    case.call_and_validate()
