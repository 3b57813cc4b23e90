"""Requests whose answers are known beforehand, and what came of each: shared by the proofs under fire.

Every question has pictures of its own, and an answer names the pictures it is about. So an answer that belongs to
somebody else is seen as such. Pictures are sent once and named by their refs from then on: a request costs the server
little more than the model.
"""

import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import httpx
import numpy as np
from PIL import Image

from twelve.tasks import TASKS

WIDTH, HEIGHT = 320, 240
SAME_SCORE = 1e-4
"""Sums in another order: a batch that is composed differently."""

JSON = {"Content-Type": "application/json"}
ASK_TIMEOUT_S = 120.0


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

    task: str
    fields: Mapping[str, Any]
    answer: Mapping[str, Any]

    @property
    def body(self) -> bytes:
        """Give what is sent."""
        return json.dumps(self.fields).encode()


def pictures(count: int) -> Iterator[bytes]:
    """Draw coloured blocks, each time others, as PNG files."""
    for seed in range(count):
        blocks = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(blocks).resize((WIDTH, HEIGHT), Image.Resampling.NEAREST).save(stream, "PNG")
        yield stream.getvalue()


def questions(servers: Sequence[str], count: int) -> list[Question]:
    """Send pictures to each server, and ask the first of them all tasks about all pictures.

    Args:
        servers: Addresses of TorchServe's predictions.
        count: Of pictures.

    Returns:
        A question for each task and picture; no two have the same answer.
    """
    files = list(pictures(count))
    with httpx.Client(timeout=ASK_TIMEOUT_S) as client:
        refs, *_ = ([_sent(client, server, file) for file in files] for server in servers)
        found = []
        for task in TASKS.values():
            for place in range(count):
                images = [{"ref": refs[(place + next_to) % count]} for next_to in range(task.pictures_in_example)]
                fields = {"task": task.name, **task.example(images)}
                found.append(
                    Question(task.name, fields, client.post(servers[0], json=fields).raise_for_status().json())
                )
    return found


def _sent(client: httpx.Client, server: str, file: bytes) -> str:
    fields = {"task": "vqa-v2", "question": "What color is it?"}
    reply = client.post(server, data=fields, files={"image": file}).raise_for_status()
    return str(reply.json()["images"][0])


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
    if status != httpx.codes.OK:
        code = said.get("error", {}).get("code") if isinstance(said, dict) else None
        return (Came.TYPED, f"{status} {code}") if code else (Came.UNTYPED, str(status))
    if (said["task"], said["images"]) != (question.answer["task"], question.answer["images"]):
        return Came.CROSSED, said["task"]
    return (Came.RIGHT, "200") if _same(said, question.answer) else (Came.WRONG, said["task"])


def _same(said: Mapping[str, Any], answer: Mapping[str, Any]) -> bool:
    """Compare scores by answer: of equal ones the order may change, and which is best with it."""
    own, right = (_scores(one) for one in (said, answer))
    shared = own.keys() & right.keys()
    near = all(math.isclose(own[key], right[key], abs_tol=SAME_SCORE) for key in shared)
    best = own.get(json.dumps(said["answer"]), 0.0)
    return bool(shared) and near and math.isclose(best, max(right.values()), abs_tol=SAME_SCORE)


def _scores(answer: Mapping[str, Any]) -> dict[str, float]:
    return {json.dumps(one["answer"]): one["score"] for one in answer["candidates"]}
