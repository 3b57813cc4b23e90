"""The whole way: HTTPS, keys and limits of a real nginx before two real servers, while things happen to them."""

import json
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from tests.bundles import make_tiny_bundle
from tests.integration.edge_harness import JSON, LiveEdge, asking, client_of, edge_serving, kill
from tests.integration.harness import example, parts
from twelve.bundle import MANIFEST
from twelve.tasks import TASKS

pytestmark = [pytest.mark.integration, pytest.mark.edge]

QUESTION = example("vqa-v2")
BESIDE = {"task"}
CLIENTS = 3
PAUSE_S = 0.05
"""Between two requests of a client where a server has to start beside it: the load is to be light."""


def version(bundle: Path, number: str, folder: Path) -> Path:
    """Copy a bundle under another version."""
    made = shutil.copytree(bundle, folder / f"version-{number}")
    manifest = json.loads((made / MANIFEST).read_text())
    (made / MANIFEST).write_text(json.dumps({**manifest, "version": number}))
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("edge")


@pytest.fixture(scope="module")
def live(folder: Path):
    bundle = make_tiny_bundle(folder / "tiny").path
    limits = {"RATE": 100_000, "BURST": 100_000, "IN_FLIGHT": 8, "BATCH_SIZE": 1}
    with edge_serving(bundle, folder, ENGINE="eager", THREADS=1, **limits) as running:
        yield running


def own_fields(name: str) -> dict:
    return {field: value for field, value in example(name).items() if field not in BESIDE}


def ask(client: httpx.Client, live: LiveEdge) -> httpx.Response:
    return client.post(f"{live.url}/v1/tasks/vqa-v2", json=own_fields("vqa-v2"))


def failures(came: list) -> list:
    return [one if isinstance(one, Exception) else one.text for one in came if getattr(one, "status_code", 0) != 200]


@pytest.mark.parametrize("name", TASKS)
def test_each_task_answers_at_its_own_path(live, name):
    reply = live.ask(name, own_fields(name))
    assert reply.status_code == 200, reply.text
    assert reply.json()["task"] == name


def test_a_form_and_the_common_path_answer_too(live):
    form = live.client.post(f"{live.url}/v1/tasks/nlvr2", files=parts(own_fields("nlvr2")))
    common = live.client.post(f"{live.url}/predictions/twelve", json=example("nlvr2"))
    assert form.json()["candidates"] == common.json()["candidates"]


def test_the_tasks_are_listed_with_the_schema_of_their_fields(live):
    listed = live.client.get(f"{live.url}/v1/tasks").json()
    assert {task["task"] for task in listed["tasks"]} == set(TASKS)
    vqa = next(task for task in listed["tasks"] if task["task"] == "vqa-v2")
    assert set(vqa["request"]["properties"]) == {"question", "image"}


def test_a_picture_that_one_server_has_seen_is_a_ref_to_every_other(live):
    (ref,) = httpx.post(live.inference(0), json=QUESTION).json()["images"]
    reply = httpx.post(live.inference(1), json={**QUESTION, "image": {"ref": ref}})
    assert reply.status_code == 200, reply.text


def test_one_name_goes_with_a_request_from_end_to_end(live):
    reply = live.ask("vqa-v2", {"question": "?"}, **{"X-Request-Id": "end-2-end"})
    assert reply.status_code == 422
    assert reply.json()["error"]["request"] == reply.headers["x-request-id"] == "end-2-end"
    assert [line["status"] for line in live.log_of("end-2-end")] == [422]


def test_the_server_is_alive_and_ready(live):
    for path in ("/healthz", "/readyz"):
        assert live.client.get(live.url + path).json() == {"status": "ok"}


def test_a_new_key_is_honoured_as_soon_as_the_command_returns(live):
    made = live.command("key", "newcomer")
    assert made.returncode == 0, made.stderr
    with client_of(live.run_dir / "nginx" / "certificate.pem", made.stdout.strip()) as client:
        assert eventually(lambda: ask(client, live).status_code == 200)
        assert live.command("key", "newcomer", "--remove").returncode == 0
        assert eventually(lambda: ask(client, live).status_code == 401)


def eventually(holds, *, within_s: float = 20) -> bool:
    deadline = time.monotonic() + within_s
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_worker_that_is_killed_costs_no_request(live):
    with asking(live, lambda client: ask(client, live), CLIENTS) as came:
        for server in (0, 1):
            (worker,) = live.workers(server)
            kill(worker)
            assert eventually(lambda server=server, old=worker: live.workers(server) not in ([old], []))
            before = len(came)
            assert eventually(lambda before=before: len(came) > before + 20)
    assert failures(came) == []


def test_overload_is_refused_with_429_and_what_is_accepted_is_answered(live):
    with asking(live, lambda client: ask(client, live), 48) as came:
        assert eventually(lambda: sum(getattr(one, "status_code", 0) == 200 for one in came) > 50, within_s=60)
    statuses = {getattr(one, "status_code", one) for one in came}
    assert statuses == {200, 429}
    refused = [one for one in came if one.status_code == 429]
    assert all(one.json()["error"]["code"] == "queue-full" for one in refused)
    assert all(int(one.headers["retry-after"]) > 0 for one in refused)
    assert eventually(lambda: ask(live.client, live).status_code == 200)


def test_clients_that_vanish_leave_the_server_as_it_was(live):
    def vanish(_: int) -> None:
        with client_of(live.run_dir / "nginx" / "certificate.pem", live.key) as client:
            client.timeout = httpx.Timeout(0.02)
            with suppress(httpx.HTTPError):
                ask(client, live)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(vanish, range(40)))
    assert eventually(lambda: ask(live.client, live).status_code == 200)


@pytest.mark.slow
def test_rolling_restarts_cost_no_request(live):
    before = [live.workers(server) for server in (0, 1)]
    with asking(live, lambda client: ask(client, live), CLIENTS, pause_s=PAUSE_S) as came:
        for _ in range(3):
            done = live.command("restart")
            assert done.returncode == 0, done.stderr
    assert failures(came) == []
    assert len(came) > 50
    assert all(live.workers(server) != before[server] for server in (0, 1))


@pytest.mark.slow
def test_a_swap_changes_the_version_all_at_once_and_costs_no_request(live, folder):
    seen: list[tuple[float, float, str]] = []
    lock = threading.Lock()

    def note(client: httpx.Client) -> httpx.Response:
        began = time.monotonic()
        reply = ask(client, live)
        with lock:
            seen.append((began, time.monotonic(), reply.json().get("model", {}).get("version")))
        return reply

    order = ["0"]
    with asking(live, note, CLIENTS, pause_s=PAUSE_S) as came:
        for number in ("2", "3", "4"):
            bundle = version(folder / "tiny", number, folder)
            done = live.command("restart", "--bundle", str(bundle))
            assert done.returncode == 0, done.stderr
            assert ask(live.client, live).json()["model"]["version"] == number
            order.append(number)
    assert failures(came) == []
    assert {number for _, _, number in seen} == set(order)
    for older, newer in pairwise(order):
        first_new = min(ended for _, ended, number in seen if number == newer)
        assert [one for one in seen if one[2] == older and one[0] > first_new] == []
    assert live.client.get(f"{live.url}/v1/tasks").json()["model"]["version"] == "4"


@pytest.mark.slow
def test_a_bundle_that_does_not_start_leaves_the_old_one_serving(live, folder):
    damaged = version(folder / "tiny", "9", folder)
    text = (damaged / MANIFEST).read_text()
    (damaged / MANIFEST).write_text(text.replace('"vqa-v2": 1', '"vqa-v2": 19'))
    before = ask(live.client, live).json()["model"]
    with asking(live, lambda client: ask(client, live), 1, pause_s=PAUSE_S) as came:
        done = live.command("restart", "--bundle", str(damaged))
    assert done.returncode == 1
    assert "was trained with token 19" in done.stderr
    assert failures(came) == []
    assert ask(live.client, live).json()["model"] == before


def test_an_order_without_a_launcher_is_refused(tmp_path, live):
    done = live.command("restart", "--run-dir", str(tmp_path))
    assert done.returncode == 1
    assert "no launcher runs in" in done.stderr


def test_a_refusal_of_the_service_passes_with_its_own_words(live):
    reply = live.client.post(f"{live.url}/v1/tasks/vqa-v2", json=example("gqa"), headers=JSON)
    assert reply.status_code == 422
    assert "the body asks for 'gqa', the path for 'vqa-v2'" in reply.json()["error"]["message"]
