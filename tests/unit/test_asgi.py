import asyncio
import base64

import httpx
import pytest

from dev.asgi import MOST_BYTES, Adapter
from tests.bundles import make_tiny_bundle, picture
from tests.checkout import ROOT
from twelve.assembly import Settings
from twelve.openapi import document
from twelve.service import Service
from twelve.tasks import TASKS

COMMON = "/predictions/twelve"
FIELDS = {"task": "vqa-v2", "question": "What color is it? ß"}
MOST_LINES = 80


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    bundle = make_tiny_bundle(tmp_path_factory.mktemp("bundle"))
    return Adapter(Service.open(bundle.path, Settings(engine="eager")))


def ask(adapter: Adapter, method: str = "POST", path: str = COMMON, **request) -> httpx.Response:
    async def once() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(adapter), base_url="http://test") as client:
            return await client.request(method, path, **request)

    return asyncio.run(once())


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP"])  # BMP: every byte value there is, line ends among them
def test_a_form_is_answered(adapter, form):
    response = ask(adapter, data=FIELDS, files={"image": ("p", picture(0, form=form))})
    assert response.status_code == 200, response.text
    assert response.json()["task"] == "vqa-v2"


def test_json_is_refused_as_the_contract_says(adapter):
    response = ask(adapter, json=FIELDS)
    assert response.status_code == 422
    assert response.json()["error"]["message"].startswith("image: is missing")


@pytest.mark.parametrize(("token", "status"), [(1.0, 200), (1.5, 422), (True, 422), ("1", 422)])
def test_a_whole_number_may_be_written_with_a_point(adapter, token, status):
    shown = base64.b64encode(picture()).decode()
    assert ask(adapter, json={"task_token": token, "question": "?", "image": shown}).status_code == status


def test_a_side_may_be_written_with_a_point(adapter):
    regions = {"features": "AAAA", "boxes": [[0, 0, 1, 1]], "width": 3.0, "height": 2.5}
    response = ask(adapter, json={"task": "vqa-v2", "question": "?", "image": {"regions": regions}})
    assert "regions.height must be a whole number" in response.json()["error"]["message"]


@pytest.mark.parametrize("path", ["/v1/tasks/refcoco+", "/v1/tasks/refcoco%2B", "/v1/tasks/refcoco-plus"])
def test_a_task_is_asked_at_its_own_path(adapter, path):
    response = ask(adapter, path=path, data={"expression": "it"}, files={"image": picture()})
    assert response.status_code == 200, response.text
    assert response.json()["task"] == "refcoco+"


def test_a_header_of_the_callers_own_names_no_task(adapter):
    response = ask(adapter, json={"question": "?"}, headers={"X-Task": "vqa-v2"})
    assert response.json()["error"]["at"] == "task"


@pytest.mark.parametrize(("method", "path"), [("GET", COMMON), ("PUT", "/v1/tasks/gqa"), ("POST", "/v1/tasks")])
def test_another_method_is_refused_and_the_right_one_named(adapter, method, path):
    response = ask(adapter, method, path)
    assert (response.status_code, response.json()["error"]["code"]) == (405, "method")
    assert ("GET" in response.headers["allow"]) == (path == "/v1/tasks")


def test_a_body_above_the_limit_is_refused(adapter):
    response = ask(adapter, content=b" " * (MOST_BYTES + 1), headers={"Content-Type": "application/json"})
    assert response.status_code == 413


def test_a_form_that_is_none_is_refused(adapter):
    response = ask(adapter, content=b"nothing", headers={"Content-Type": "multipart/form-data"})
    assert response.status_code in (400, 422)


@pytest.mark.parametrize("path", ["/", "/v1/tasks/", "/v1/tasks/gqa/", "/v1/tasks/GQA", "/predictions/other"])
def test_elsewhere_nothing_is_served(adapter, path):
    response = ask(adapter, path=path)
    assert (response.status_code, response.json()["error"]["code"]) == (404, "unknown-path")


def test_a_request_keeps_its_name(adapter):
    response = ask(adapter, json={}, headers={"X-Request-Id": "mine"})
    assert response.headers["x-request-id"] == response.json()["error"]["request"] == "mine"


def test_a_request_without_a_plain_name_gets_one(adapter):
    response = ask(adapter, json={}, headers={"X-Request-Id": "not mine"})
    assert response.headers["x-request-id"] == response.json()["error"]["request"] != "not mine"


def test_the_tasks_the_document_and_the_health_are_told(adapter):
    assert [task["task"] for task in ask(adapter, "GET", "/v1/tasks").json()["tasks"]] == list(TASKS)
    assert ask(adapter, "GET", "/openapi.json").json() == document()
    assert ask(adapter, "GET", "/healthz").json() == ask(adapter, "GET", "/readyz").json() == {"status": "ok"}


def test_the_adapter_stays_small():
    assert len((ROOT / "dev/asgi.py").read_text(encoding="utf-8").splitlines()) <= MOST_LINES
