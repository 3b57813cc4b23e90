"""Answering: a question about one picture, an answer from a vocabulary."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from twelve.model.config import Labels
from twelve.schema import Image, StoredImage, TaskRequest, Text
from twelve.tasks.base import BEST, Decoded, Draw, Labelled, Prompt, Seen, Task, ranked
from twelve.tasks.kinds.losses import independent
from twelve.tasks.records import AnsweredQuestion


class QuestionRequest(TaskRequest):
    """A question about a picture."""

    question: Text
    image: Image


class Answering(Task[QuestionRequest, AnsweredQuestion]):
    """Shared by VQAv2, Visual Genome QA and GQA."""

    group = "answering"
    request = QuestionRequest
    text_field = "question"

    def rows(self, request: QuestionRequest) -> Prompt:
        """Put the question before the picture."""
        return Prompt(rows=((request.question, 0),), images=(request.image,))

    def decode(self, scores: Tensor, seen: Seen) -> Decoded:
        """Take the answer with the best score."""
        candidates = ranked(scores, seen.answers.answers, most=BEST)
        return Decoded(candidates[0].answer, candidates)

    def labelled(self, record: AnsweredQuestion, draw: Draw) -> Labelled[QuestionRequest]:
        """Ask the record's question; the target is the annotators' answers."""
        del draw
        return Labelled(QuestionRequest(question=record.question, image=StoredImage(key=record.image)), record.answers)

    def target(self, target: Sequence[str], seen: Seen) -> Tensor:
        """Give each answer of the vocabulary its soft score."""
        values = torch.zeros(len(seen.answers.answers))
        for answer, score in self.soft_scores(target).items():
            place = seen.answers.index.get(answer)
            if place is not None:
                values[place] = score
        return values

    def loss(self, choices: Sequence[Tensor], targets: Sequence[Tensor], labels: Labels) -> Tensor:
        """Train each answer on its own."""
        del labels
        return independent(choices, targets)

    def metric(self, answer: Any, target: Sequence[str]) -> float:
        """Rate an answer: 1 if it is the annotated one."""
        return float(answer in target)

    def chance(self, target: Sequence[str], seen: Seen) -> float:
        """Guess evenly among the vocabulary."""
        return self.metric(Counter(target).most_common(1)[0][0], target) / max(1, len(seen.answers.answers))

    def example(self, images: Sequence[Any]) -> dict[str, Any]:
        """Ask for a colour."""
        return {"question": "What color is the car?", "image": images[0]}

    def soft_scores(self, answers: Sequence[str]) -> dict[str, float]:
        """Say how right each annotated answer is; with one annotator, wholly."""
        return dict.fromkeys(answers, 1.0)
