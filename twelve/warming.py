"""A model's first answers, given to nobody: what engines put off until they are asked is done before anyone waits.

onnxruntime plans memory for shapes as they come, TorchScript optimises in its second run, CUDA loads kernels when they
are first called.
"""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from twelve.assembly import Parts, Settings
from twelve.errors import ConfigInvalid
from twelve.image import Picture
from twelve.service import Service
from twelve.tasks.registry import TASKS, AnyTask
from twelve.wire import JSON, Call

ROUNDS = 2
"""TorchScript's second run is the slow one."""

REGIONS = (2, 36, 100)
"""Of a picture: hardly any, as many as bottom-up features have, and the most."""

WIDTH, HEIGHT = 640, 480

NO_BOXES: tuple[list[float], ...] = ()


def warm_up(parts: Parts, settings: Settings) -> None:
    """Let every head answer requests of each shape, and the detector look at a picture.

    Args:
        parts: Of the service to come.
        settings: Likewise.

    Raises:
        ConfigInvalid: The model cannot answer its own tasks' examples.
    """
    service = Service(parts, settings)
    for _ in range(ROUNDS):
        if parts.extractor is not None:
            parts.extractor.extract(_grey(), torch.tensor([[8.0, 8.0, 64.0, 64.0]]))
        for fields in _examples(parts):
            (reply,) = service.answer_calls([Call(body=fields, content_type=JSON)])
            if reply.status != 200:
                raise ConfigInvalid(f"the model cannot answer an example of '{reply.task}': {reply.body.decode()}")


def _examples(parts: Parts) -> Iterator[Mapping[str, Any]]:
    """Give a task of each head, with few regions and with many."""
    by_head: dict[str, AnyTask] = {TASKS[name].head: TASKS[name] for name in parts.knowledge.tasks if name in TASKS}
    width = parts.knowledge.feature_width
    for task in by_head.values():
        for count in REGIONS:
            candidates = task.example([None] * task.pictures_in_example).get("boxes", NO_BOXES)
            picture = _regions(candidates, count, width)
            yield {"task": task.name, **task.example([picture] * task.pictures_in_example)}


def _regions(candidates: list[list[float]], count: int, feature_width: int) -> Mapping[str, Any]:
    """Make a picture's regions, with no picture: boxes, the candidates last, and features of nothing."""
    others = [[float(place), float(place), WIDTH - 1.0, HEIGHT - 1.0] for place in range(count)]
    boxes = [*others[len(candidates) :], *candidates]
    features = np.zeros((len(boxes), feature_width), dtype=np.float32)
    brought = {"features": base64.b64encode(features.tobytes()).decode(), "boxes": boxes}
    return {"regions": {**brought, "width": WIDTH, "height": HEIGHT}}


def _grey() -> Picture:
    return Picture.of(np.full((HEIGHT, WIDTH, 3), 128, dtype=np.uint8))
