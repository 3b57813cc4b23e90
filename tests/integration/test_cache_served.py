"""The pictures that two workers of a real server share: looked at once, whoever is asked, whoever dies."""

import os
import signal
import threading
from pathlib import Path

import pytest

from tests.integration.harness import Answered, LiveServer, encoded, example, wait_until_ready
from twelve.features import shard

pytestmark = pytest.mark.integration

ASKERS = 64
RUNS = "twelve_detector_runs_total"


def runs(server: LiveServer) -> float:
    return server.metrics().get((RUNS,), 0)


def looked_up(server: LiveServer) -> dict[str, float]:
    return {key[1]: count for key, count in server.metrics().items() if key[0] == "twelve_feature_cache_total"}


def question(text: str, image: object) -> dict[str, object]:
    return {"task": "vqa-v2", "question": text, "image": image}


def content(replies: list[Answered]) -> list[tuple[int, str, float]]:
    return [(status, body["answer"], round(body["candidates"][0]["score"], 5)) for status, body in replies]


def files(server: LiveServer) -> list[Path]:
    return list((server.run_dir / "cache").glob("*/??/*"))


def test_of_64_that_ask_at_once_about_a_new_picture_one_has_it_looked_at(server: LiveServer) -> None:
    image, before = encoded(9000), runs(server)
    replies = server.ask_together([question("Is there a car?", image)] * ASKERS)
    assert runs(server) == before + 1
    assert [status for status, _ in replies] == [200] * ASKERS
    assert len(set(content(replies))) == 1


def test_a_second_question_runs_no_detector_whichever_worker_is_asked(server: LiveServer) -> None:
    image = encoded(9001)
    first = server.ask_json(question("Is there a car?", image))
    before = runs(server)
    later = [server.ask_json(question("Is there a car?", image)) for _ in range(8)]
    later += [server.ask_json(question("Is there a car?", {"ref": first[1]["images"][0]})) for _ in range(8)]
    later += server.ask_together([question("Is there a car?", image)] * 16)
    assert runs(server) == before
    assert set(content(later)) == set(content([first]))


def test_boxes_asked_about_twice_are_looked_at_once(server: LiveServer) -> None:
    fields = example("visual7w", [encoded(9002)])
    server.ask_json(fields)
    before = runs(server)
    for wanted in ("What is red?", "What is blue?"):
        assert server.ask_json({**fields, "question": wanted})[0] == 200
    assert runs(server) == before


def test_hits_and_misses_add_up(server: LiveServer) -> None:
    before = looked_up(server)
    for _ in range(5):
        server.ask_json(question("Is there a car?", encoded(9003)))
    after = looked_up(server)
    assert after["missed"] == before.get("missed", 0) + 1
    assert sum(after.values()) == sum(before.values()) + 5


def test_a_worker_killed_at_work_leaves_a_folder_that_is_read_and_written(server: LiveServer) -> None:
    known = server.ask_json(question("Is there a car?", encoded(9004)))
    asked = [question("Is there a car?", encoded(seed)) for seed in range(9100, 9132)]
    asking = threading.Thread(target=server.ask_together, args=(asked,))
    killed = server.workers()[0]
    asking.start()
    os.kill(killed, signal.SIGKILL)
    asking.join()
    wait_until_ready(server.process, server.run_dir, before=lambda: killed not in server.workers())
    for path in files(server):
        shard.verify(path)
    before = runs(server)
    again = [server.ask_json(question("Is there a car?", {"ref": known[1]["images"][0]})) for _ in range(6)]
    assert set(content(again)) == set(content([known]))
    assert runs(server) == before
    assert [server.ask_json(fields)[0] for fields in asked] == [200] * len(asked)
