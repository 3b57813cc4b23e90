import base64

import pytest

from tests.checkout import ROOT
from tests.integration.conftest import DEFAULT_BUNDLE
from tests.integration.harness import LiveServer

pytestmark = pytest.mark.integration

SHOWN = [
    ("vqa-v2", {"question": "Is there a pig?"}, "yes"),
    ("snli-ve", {"statement": "The car is white."}, "entailment"),
]


@pytest.mark.skipif(
    not (DEFAULT_BUNDLE / "manifest.json").is_file(), reason="there is no default bundle in this checkout"
)
@pytest.mark.parametrize(("task", "fields", "expected"), SHOWN)
def test_the_default_model_answers_what_the_readme_shows(
    server: LiveServer, task: str, fields: dict[str, str], expected: str
) -> None:
    picture = base64.b64encode((ROOT / "docs/pictures/street.jpg").read_bytes()).decode()
    status, answer = server.ask_json({"task": task, **fields, "image": picture})
    assert (status, answer["answer"]) == (200, expected)
