"""VQAv2: questions, ten answers each, and the pairs of questions that twins answer differently."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from training.world.scene import Split
from training.world.words.annotators import Vote, votes
from training.world.words.ask import YES_NO
from training.world.words.phrasing import VQA
from training.world.words.questions import Question, QuestionSet, question_set

from .corpus import SPLITS, Corpus
from .files import Json, write_json
from .names import COCO_GROUPS, coco_id

SUBSETS: Final[Mapping[Split, str]] = {**COCO_GROUPS, "novel": "novel2015"}

_QUESTIONS_PER_IMAGE: Final = 1000
"""A question's id is its picture's times this, and counted on."""

_PAIRED: Final = ("train", "val")
"""Splits whose complementary pairs are published."""

NO_TYPE: Final = "none of the above"

QUESTION_TYPES: Final = (
    *("are", "are the", "are there", "are there any", "are these", "are they", "can you", "could", "do", "do you"),
    *(
        "does the",
        "does this",
        "has",
        "how",
        "how many",
        "how many people are",
        "how many people are in",
        "is",
        "is he",
    ),
    *(
        "is it",
        "is that a",
        "is the",
        "is the man",
        "is the person",
        "is the woman",
        "is there",
        "is there a",
        "is this",
    ),
    *("is this a", "is this an", "is this person", "was", "what", "what animal is", "what are", "what are the"),
    *(
        "what brand",
        "what color",
        "what color are the",
        "what color is",
        "what color is the",
        "what does the",
        "what is",
    ),
    *("what is in the", "what is on the", "what is the", "what is the color of the", "what is the man"),
    *("what is the name", "what is the person", "what is the woman", "what is this", "what kind of", "what number is"),
    *("what room is", "what sport is", "what time", "what type of", "where are the", "where is the", "which", "who is"),
    *("why", "why is the"),
)
"""VQA's own list: a question's type is the longest of these that it begins with."""


def write(root: Path, corpus: Corpus) -> None:
    """Write questions and annotations of every split, and complementary pairs where they are published."""
    for split in SPLITS:
        rng = corpus.rng("vqa", split)
        asked = question_set(corpus.of("coco", split), VQA, amount=corpus.amounts[split], rng=rng)
        own, more = _rows(asked.questions, rng), _overlapping(corpus, split)
        head, subset = _head(SUBSETS[split]), SUBSETS[split]
        questions, answers = own.questions + more.questions, own.annotations + more.annotations
        write_json(root / f"vqa/v2_OpenEnded_mscoco_{subset}_questions.json", {**head, "questions": questions})
        write_json(root / f"vqa/v2_mscoco_{subset}_annotations.json", {**head, "annotations": answers})
        if split in _PAIRED:
            pairs = _pairs(asked, [question["question_id"] for question in own.questions])
            write_json(root / f"vqa/v2_mscoco_{subset}_complementary_pairs.json", pairs)


def question_type(text: str) -> str:
    """Give the official type of a question: its first words, as far as the list knows them."""
    words = f"{text.lower().rstrip('?')} "
    return max((kind for kind in QUESTION_TYPES if words.startswith(f"{kind} ")), key=len, default=NO_TYPE)


def answer_type(answer: str) -> str:
    """Give the official type of an answer."""
    return "yes/no" if answer in YES_NO else "number" if answer.isdigit() else "other"


class _Rows(NamedTuple):
    questions: list[dict[str, Json]]
    annotations: list[dict[str, Json]]


def _rows(asked: Sequence[Question], rng: Random) -> _Rows:
    numbered = list(zip(asked, _ids(asked), strict=True))
    return _Rows(
        [_question(one, number) for one, number in numbered],
        [_annotation(one, number, rng) for one, number in numbered],
    )


def _overlapping(corpus: Corpus, split: Split) -> _Rows:
    """Ask about test pictures, too."""
    scenes, rng = corpus.overlapping("coco", split), corpus.rng("vqa overlapping", split)
    return _rows(question_set(scenes, VQA, amount=corpus.overlapping_amount("coco", split), rng=rng).questions, rng)


def _ids(questions: Sequence[Question]) -> list[int]:
    counts: dict[int, int] = {}
    ids = []
    for question in questions:
        image = coco_id(question.scene)
        ids.append(image * _QUESTIONS_PER_IMAGE + counts.get(image, 0))
        counts[image] = counts.get(image, 0) + 1
    return ids


def _head(subset: str) -> dict[str, Json]:
    return {
        "info": {
            "description": "Questions about the small world, in the format of VQA v2.0.",
            "url": "",
            "version": "1.0",
            "year": 2025,
            "contributor": "twelve",
            "date_created": "2025-01-01 00:00:00",
        },
        "task_type": "Open-Ended",
        "data_type": "mscoco",
        "license": {"url": "http://www.apache.org/licenses/LICENSE-2.0", "name": "Apache License 2.0"},
        "data_subtype": subset,
    }


def _question(question: Question, number: int) -> dict[str, Json]:
    return {"image_id": coco_id(question.scene), "question": question.text, "question_id": number}


def _annotation(question: Question, number: int, rng: Random) -> dict[str, Json]:
    given = votes(question.ask, rng)
    return {
        "question_type": question_type(question.text),
        "multiple_choice_answer": question.ask.answer,
        "answers": [_answer(vote, place) for place, vote in enumerate(given, start=1)],
        "image_id": coco_id(question.scene),
        "answer_type": answer_type(question.ask.answer),
        "question_id": number,
    }


def _answer(vote: Vote, place: int) -> dict[str, Json]:
    return {"answer": vote.answer, "answer_confidence": vote.confidence, "answer_id": place}


def _pairs(asked: QuestionSet, ids: Sequence[int]) -> list[list[int]]:
    return [[ids[one], ids[other]] for one, other in asked.complementary]
