"""An imported checkpoint of the published form behind TorchServe: all twelve tasks, over regions brought along."""

import base64
import json
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.checkpoints import SMALL, answer_files, make_state, save_legacy
from tests.integration.harness import LiveServer, encoded, example, serving
from twelve.assembly import Settings
from twelve.cli import main
from twelve.service import Service
from twelve.tasks import TASKS
from twelve.tasks.kinds.pointing import EXAMPLE_BOXES
from twelve.wire import Call

pytestmark = pytest.mark.integration

SAME = 1e-5  # of a score in [0, 1]: fp32 sums in another order
REGIONS = 20


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    SMALL.save(folder / "model.json")
    lists = answer_files(folder)
    command = ["import-checkpoint", save_legacy(make_state(), folder / "multi_task_model.bin"), folder / "12-in-1"]
    command += ["--answers", lists["vqa"], "--gqa-answers", lists["gqa"], "--config", folder / "model.json"]
    with pytest.raises(SystemExit) as left, redirect_stdout(StringIO()):
        main([str(one) for one in command])
    assert not left.value.code
    return folder / "12-in-1"


@pytest.fixture(scope="module")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with serving(bundle, tmp_path_factory.mktemp("served"), ENGINE="eager", WORKERS="1", THREADS="1") as live:
        yield live


def regions(seed: int) -> dict[str, Any]:
    """Bring along what a detector might have found: the examples' candidates, and boxes anywhere."""
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, [200, 140], (REGIONS - len(EXAMPLE_BOXES), 2))
    boxes = [*EXAMPLE_BOXES, *np.hstack([corners, corners + rng.uniform(10, 100, corners.shape)]).tolist()]
    features = rng.random((REGIONS, SMALL.v_feature_size), dtype=np.float32)
    packed = base64.b64encode(features.tobytes()).decode()
    return {"regions": {"features": packed, "boxes": boxes, "width": 320, "height": 240}}


def request(name: str) -> dict[str, Any]:
    return example(name, [regions(seed) for seed in range(TASKS[name].pictures_in_example)])


@pytest.fixture(scope="module")
def service(bundle: Path) -> Service:
    return Service.open(bundle, Settings(engine="eager"))


@pytest.mark.parametrize("name", TASKS)
def test_every_task_answers_over_regions_brought_along(server: LiveServer, service: Service, name: str) -> None:
    status, answer = server.ask_json(request(name))
    assert status == 200, answer
    assert answer["model"] == {"name": "12-in-1", "version": "1"}
    reply = service.answer_calls([Call(body=json.dumps(request(name)).encode(), content_type="application/json")])[0]
    here = json.loads(reply.body)
    assert answer["answer"] == here["answer"]
    assert _scores(answer) == pytest.approx(_scores(here), abs=SAME)


def test_a_question_is_answered_from_the_imported_list(server: LiveServer) -> None:
    assert server.ask_json(request("vqa-v2"))[1]["answer"].startswith("vqa answer ")
    assert server.ask_json(request("gqa"))[1]["answer"].startswith("gqa answer ")


def test_a_picture_without_regions_is_refused_with_what_would_do(server: LiveServer) -> None:
    status, answer = server.ask_json(example("vqa-v2", [encoded(0)]))
    assert status == 422, answer
    assert "regions" in answer["error"]["message"]


def _scores(answer: dict[str, Any]) -> dict[str, float]:
    return {json.dumps(candidate["answer"]): candidate["score"] for candidate in answer["candidates"]}
