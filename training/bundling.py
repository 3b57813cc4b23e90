"""From a finished run to a bundle: weights as fp16, detector, vocabulary, answers, manifest, and its card beside it."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from training.data import answers as answer_lists
from twelve.bundle import DETECTOR_CONFIG, DETECTOR_WEIGHTS, VOCABULARY, Bundle, seal
from twelve.heads.model import TwelveModel
from twelve.hub import dress
from twelve.tasks.base import AnswerList
from twelve.tasks.registry import TASKS


def write(
    folder: Path,
    model: TwelveModel,
    *,
    name: str,
    version: str,
    tasks: list[str],
    detector: Path,
    vocabulary: Path,
    answers: Mapping[str, AnswerList],
    scores: Mapping[str, Any],
    notes: Mapping[str, Any],
) -> Bundle:
    """Write a bundle.

    Args:
        folder: Its place; what stood there goes.
        model: Stored as fp16.
        name: Of the model.
        version: Of the model.
        tasks: It was trained on.
        detector: Folder of its region extractor.
        vocabulary: `vocab.txt`.
        answers: By head.
        scores: What its evaluation measured.
        notes: Where it comes from.

    Returns:
        The bundle.
    """
    shutil.rmtree(folder, ignore_errors=True)
    model.save(folder, dtype=torch.float16)
    shutil.copy(vocabulary, folder / VOCABULARY)
    for file in (DETECTOR_CONFIG, DETECTOR_WEIGHTS):
        shutil.copy(detector / file, folder / file)
    (folder / "answers").mkdir()
    for head, listed in answers.items():
        answer_lists.save(listed, folder / "answers" / f"{head}.json")
    tokens = {task: TASKS[task].token for task in tasks}
    return dress(seal(folder, name=name, version=version, tasks=tokens, scores=scores, notes=notes))
