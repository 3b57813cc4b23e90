"""The README's first table, asked of the real server with the default model."""

import base64
import re

import pytest
import torch

from tests.checkout import ROOT
from tests.integration.conftest import DEFAULT_BUNDLE
from tests.integration.harness import LiveServer
from twelve.boxes import overlaps

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        not (DEFAULT_BUNDLE / "manifest.json").is_file(), reason="there is no default bundle in this checkout"
    ),
]

SHOWN = re.findall(r'\| `([\w-]+)` "(.+?)" \| (.+?) \|', (ROOT / "README.md").read_text(encoding="utf-8"))
FIELDS = {"vqa-v2": "question", "snli-ve": "statement", "refcoco": "expression"}
THE_BOX = "the box"
YELLOW_GUITAR_PX = [244.0, 156.0, 293.0, 203.0]
"""As the scene says from which the picture was drawn."""


def ask(server: LiveServer, task: str, text: str) -> object:
    picture = base64.b64encode((ROOT / "docs/pictures/street.jpg").read_bytes()).decode()
    status, answer = server.ask_json({"task": task, FIELDS[task]: text, "image": picture})
    assert status == 200, answer
    return answer["answer"]


def test_the_readme_shows_a_question_a_statement_and_an_expression():
    assert {task for task, _, _ in SHOWN} == set(FIELDS)


@pytest.mark.parametrize(("task", "text", "answer"), [row for row in SHOWN if row[2] != THE_BOX])
def test_the_default_model_answers_what_the_readme_shows(server: LiveServer, task: str, text: str, answer: str) -> None:
    assert ask(server, task, text) == answer


@pytest.mark.parametrize(("task", "text"), [row[:2] for row in SHOWN if row[2] == THE_BOX])
def test_the_default_model_finds_the_box_that_the_readme_shows(server: LiveServer, task: str, text: str) -> None:
    found = torch.tensor([ask(server, task, text)])
    assert overlaps(found, torch.tensor([YELLOW_GUITAR_PX])).item() > 0.8
