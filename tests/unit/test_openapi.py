import base64
import json

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from tests.checkout import ROOT
from tests.unit.test_client import ANSWER
from twelve.openapi import EXAMPLE_PICTURE, document
from twelve.refusals import KINDS
from twelve.schema import VISIBLE
from twelve.tasks import TASKS
from twelve.tasks.vqa_v2 import VqaV2

DOCUMENT = document()
REF = "sha256:" + "0" * 64
BOXES = [[0, 0, 10, 10], [5, 5, 20, 20]]
REGIONS = {"features": "AAAAAA==", "boxes": BOXES[:1], "width": 30, "height": 30}


def validator(component: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"#/components/schemas/{component}", "components": DOCUMENT["components"]})


def vqa(**fields):
    return {"question": "What?", "image": EXAMPLE_PICTURE, **fields}


def test_the_document_is_a_valid_one():
    OpenAPIV31SpecValidator(DOCUMENT).validate()


def test_the_committed_document_is_what_the_tasks_make():
    committed = json.loads((ROOT / "docs/openapi.json").read_text(encoding="utf-8"))
    assert committed == DOCUMENT, "run: twelve openapi > docs/openapi.json"


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_a_task_has_a_path_by_each_of_its_names_whose_example_is_valid(task):
    for name in (task.name, *task.aliases):
        asked = DOCUMENT["paths"][f"/v1/tasks/{name}"]["post"]["requestBody"]["content"]["application/json"]
        (example,) = asked["examples"].values()
        validator(asked["schema"]["$ref"].rsplit("/", 1)[-1]).validate(example["value"])


def test_any_tasks_example_is_valid_at_the_common_path_and_for_one_task_alone():
    asked = DOCUMENT["paths"]["/predictions/twelve"]["post"]["requestBody"]["content"]["application/json"]
    assert len(asked["examples"]) == len(TASKS)
    for example in asked["examples"].values():
        validator("any-task").validate(example["value"])


def test_a_thirteenth_task_is_in_the_document_by_being_there():
    class Thirteenth(VqaV2):
        name = "thirteenth"
        token = 20

    grown = document([*TASKS.values(), Thirteenth()])
    assert "/v1/tasks/thirteenth" in grown["paths"]
    OpenAPIV31SpecValidator(grown).validate()


@pytest.mark.parametrize(
    ("component", "fields"),
    [
        ("vqa-v2", vqa(task="vqa-v2", task_token=1)),
        ("vqa-v2", vqa(image={"ref": REF})),
        ("vqa-v2", vqa(image={"regions": REGIONS})),
        ("refcoco-plus", {"expression": "it", "image": EXAMPLE_PICTURE, "task": "refcoco-plus"}),
        ("any-task", vqa(task_token=15)),
        ("Answer", ANSWER),
        ("Answer", {**ANSWER, "answer": [1.0, 2.0, 3.0, 4.0], "images": [None]}),
    ],
)
def test_what_the_contract_allows_is_valid(component, fields):
    validator(component).validate(fields)


@pytest.mark.parametrize(
    ("component", "fields"),
    [
        ("vqa-v2", {"question": "What?"}),
        ("vqa-v2", vqa(caption="A car.")),
        ("vqa-v2", vqa(task="gqa")),
        ("vqa-v2", vqa(task_token=2)),
        ("vqa-v2", vqa(question=" \t\x1f\u2003")),
        ("vqa-v2", vqa(question="w" * 10_001)),
        ("vqa-v2", vqa(image="%%%")),
        ("vqa-v2", vqa(image="AAA")),
        ("vqa-v2", vqa(image="")),
        ("vqa-v2", vqa(image={"ref": "sha256:0"})),
        ("vqa-v2", vqa(image={"ref": REF, "regions": REGIONS})),
        ("vqa-v2", vqa(image={"regions": {**REGIONS, "features": "none"[:3]}})),
        ("nlvr2", {"statement": "s", "images": [EXAMPLE_PICTURE]}),
        ("nlvr2", {"statement": "s", "images": [EXAMPLE_PICTURE] * 3}),
        ("coco-retrieval", {"caption": "c", "images": [EXAMPLE_PICTURE] * 33}),
        ("visual7w", vqa(boxes=BOXES[:1])),
        ("visual7w", vqa(boxes=[[0, 0, 1], *BOXES])),
        ("guesswhat", {"dialog": [], "image": EXAMPLE_PICTURE, "boxes": BOXES}),
        ("any-task", vqa()),
        ("any-task", vqa(task="vqa-v2", task_token=2)),
        ("coco-retrieval-form", {"caption": "c", "image_0": "", "image_1": "", "image_3": ""}),
        ("nlvr2-form", {"statement": "s", "image_0": ""}),
    ],
)
def test_what_the_contract_refuses_is_invalid(component, fields):
    assert not validator(component).is_valid(fields)


def test_features_and_pictures_say_that_they_are_base64():
    schemas = DOCUMENT["components"]["schemas"]
    assert schemas["BroughtRegions"]["properties"]["features"]["contentEncoding"] == "base64"
    assert schemas["vqa-v2"]["properties"]["image"]["anyOf"][0]["contentEncoding"] == "base64"
    assert '"binary"' not in json.dumps(DOCUMENT)


def test_every_error_is_documented_with_its_status():
    responses = DOCUMENT["paths"]["/v1/tasks/vqa-v2"]["post"]["responses"]
    assert {str(kind.status) for kind in KINDS.values()} < set(responses)
    for code, kind in KINDS.items():
        schema = DOCUMENT["components"]["responses"][str(kind.status)]["content"]["application/json"]["schema"]
        assert code in schema["properties"]["error"]["allOf"][1]["properties"]["code"]["enum"]


def test_health_needs_no_key_and_all_else_does():
    unlocked = {path for path, item in DOCUMENT["paths"].items() for one in item.values() if one.get("security") == []}
    assert unlocked == {"/healthz", "/readyz"}
    assert DOCUMENT["security"] == [{"bearer": []}, {"key": []}]


def test_the_example_picture_is_one():
    assert base64.b64decode(EXAMPLE_PICTURE).startswith(b"\x89PNG")


@pytest.mark.parametrize("blank", ["\x1c", "\x85", "\u00a0", "\u2003", "\ufeff", "\n\t "])
def test_no_blank_is_a_word(blank):
    assert not VISIBLE.search(blank)
