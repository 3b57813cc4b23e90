"""Requests whose answers are known beforehand, and what came of each: shared by the proofs under fire.

Every question has pictures of its own, and an answer names the pictures it is about. So an answer that belongs to
somebody else is seen as such. The answers are those of the same service in this process, with nobody around.
"""

import base64
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.checkout import ROOT
from twelve.assembly import BUILD, Settings
from twelve.service import Service
from twelve.tasks import TASKS
from twelve.tasks.registry import AnyTask
from twelve.wire import JSON, Call

WIDTH, HEIGHT = 320, 240
SAME_SCORE = 1e-4
"""Sums in another order: a batch that is composed differently."""

SENT_IN, UNSEEN_IN = 10, 100
"""One request of so many sends its pictures, or sends one that nobody has seen; the others name theirs by ref."""

SENT, UNSEEN = 3, 7


class Came(StrEnum):
    """What came of a request."""

    RIGHT = "right"
    TYPED = "typed error"
    UNTYPED = "untyped error"
    WRONG = "wrong answer"
    CROSSED = "somebody else's answer"
    BROKEN = "connection broken"
    HUNG = "no reply"


@dataclass(frozen=True)
class Question:
    """A request and the answer that it should get."""

    body: bytes
    answer: Mapping[str, Any]


@dataclass(frozen=True)
class Crowd:
    """All questions.

    Attributes:
        sent: Each task about each of a few pictures, which come along.
        named: The same, their pictures named by ref.
        unseen: Each about pictures of its own, which come along.
    """

    sent: Sequence[Question]
    named: Sequence[Question]
    unseen: Sequence[Question]

    def __getitem__(self, place: int) -> Question:
        """Give the question of the request with this number."""
        if place % UNSEEN_IN == UNSEEN and place // UNSEEN_IN < len(self.unseen):
            return self.unseen[place // UNSEEN_IN]
        asked = self.sent if place % SENT_IN == SENT else self.named
        return asked[place % len(asked)]


def pictures(seeds: range) -> Iterator[bytes]:
    """Draw coloured blocks, others for each seed, as PNG files."""
    for seed in seeds:
        blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(blocks).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST).save(stream, "PNG")
        yield stream.getvalue()


def crowd(bundle: Path, count: int, requests: int) -> Crowd:
    """Think of questions, and answer them.

    Args:
        bundle: That is served; its graphs are exported.
        count: Of the pictures that every task is asked about.
        requests: In all.

    Returns:
        The questions; no two have the same answer.
    """
    service = Service.open(bundle, Settings(graphs=ROOT / BUILD / bundle.name, threads=1))
    files = [base64.b64encode(file).decode() for file in pictures(range(count))]
    sent, named = [], []
    for task in TASKS.values():
        for place in range(count):
            shown = [files[(place + next_to) % count] for next_to in range(task.pictures_in_example)]
            question = _answered(service, task, shown)
            refs = [{"ref": ref} for ref in question.answer["images"]]
            sent.append(question)
            named.append(Question(_body(task, refs), question.answer))
    return Crowd(sent, named, list(_unseen(service, count, requests // UNSEEN_IN)))


def _unseen(service: Service, first_seed: int, count: int) -> Iterator[Question]:
    most = max(task.pictures_in_example for task in TASKS.values())
    for place, task in enumerate(islice(cycle(TASKS.values()), count)):
        first = first_seed + most * place
        files = pictures(range(first, first + task.pictures_in_example))
        yield _answered(service, task, [base64.b64encode(file).decode() for file in files])


def _answered(service: Service, task: AnyTask, shown: Sequence[Any]) -> Question:
    body = _body(task, shown)
    (reply,) = service.answer_calls([Call(body, JSON)])
    assert reply.status == HTTPStatus.OK, reply.body
    return Question(body, json.loads(reply.body))


def _body(task: AnyTask, shown: Sequence[Any]) -> bytes:
    return json.dumps({"task": task.name, **task.example(list(shown))}).encode()


def judged(question: Question, status: int, body: bytes) -> tuple[Came, str]:
    """Say what came of a request.

    Args:
        question: That was asked.
        status: Of the reply.
        body: Likewise.

    Returns:
        The verdict, and the error's code or the status.
    """
    try:
        said = json.loads(body)
    except ValueError:
        return Came.UNTYPED, str(status)
    if status != HTTPStatus.OK:
        error = said.get("error") if isinstance(said, dict) else None
        code = error.get("code") if isinstance(error, dict) else None
        return (Came.TYPED, f"{status} {code}") if code else (Came.UNTYPED, str(status))
    if (said["task"], said["images"]) != (question.answer["task"], question.answer["images"]):
        return Came.CROSSED, said["task"]
    return (Came.RIGHT, "200") if _same(said, question.answer) else (Came.WRONG, said["task"])


def _same(said: Mapping[str, Any], answer: Mapping[str, Any]) -> bool:
    """Compare scores by answer: of equal ones the order may change, and which is best with it."""
    own, right = (_scores(one) for one in (said, answer))
    near = own.keys() == right.keys() and all(math.isclose(own[key], right[key], abs_tol=SAME_SCORE) for key in own)
    return near and math.isclose(own[json.dumps(said["answer"])], max(right.values()), abs_tol=SAME_SCORE)


def _scores(answer: Mapping[str, Any]) -> dict[str, float]:
    return {json.dumps(one["answer"]): one["score"] for one in answer["candidates"]}
