import asyncio

import httpx
import pytest

from dev.asgi import MOST_BYTES, PATH, Adapter
from tests.bundles import make_tiny_bundle, picture
from twelve.assembly import Settings
from twelve.service import Service

URL = f"http://test{PATH}"
FIELDS = {"task": "vqa-v2", "question": "What color is it? ß"}


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    bundle = make_tiny_bundle(tmp_path_factory.mktemp("bundle"))
    return Adapter(Service.open(bundle.path, Settings(engine="eager")))


def ask(adapter: Adapter, method: str = "POST", url: str = URL, **request) -> httpx.Response:
    async def once() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(adapter)) as client:
            return await client.request(method, url, **request)

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


def test_get_is_refused(adapter):
    assert ask(adapter, "GET").json()["error"]["code"] == "method"


def test_a_body_above_the_limit_is_refused(adapter):
    response = ask(adapter, content=b" " * (MOST_BYTES + 1), headers={"Content-Type": "application/json"})
    assert response.status_code == 413


def test_a_form_that_is_none_is_refused(adapter):
    response = ask(adapter, content=b"nothing", headers={"Content-Type": "multipart/form-data"})
    assert response.status_code in (400, 422)


def test_there_is_one_path(adapter):
    assert ask(adapter, url="http://test/").status_code == 404
