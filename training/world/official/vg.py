"""Visual Genome: its pictures, its questions with free answers, and which split each picture is in."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from training.world.scene import Scene
from training.world.sources import is_shared_with_coco
from training.world.words import lexicon
from training.world.words.ask import Ask
from training.world.words.phrasing import VG
from training.world.words.questions import Question, question_set

from .corpus import SPLITS, Corpus
from .files import Json, write_json
from .names import coco_id, genome_id

_FIRST_QUESTION_ID: Final = 900_000


def write(root: Path, corpus: Corpus) -> None:
    """Write question_answers.json, image_data.json and splits.json."""
    by_image: dict[int, list[Question]] = {genome_id(scene): [] for scene in corpus.all_of("vg")}
    for split in SPLITS:
        asked = question_set(
            corpus.of("vg", split), VG, amount=corpus.amounts[split], rng=corpus.rng("vg", split)
        ).questions
        for question in asked:
            by_image[genome_id(question.scene)].append(question)
    write_json(root / "vg/question_answers.json", _question_answers(by_image))
    write_json(root / "vg/image_data.json", [_image(scene) for scene in corpus.all_of("vg")])
    splits = {split: [genome_id(scene) for scene in corpus.of("vg", split)] for split in SPLITS}
    write_json(root / "vg/splits.json", splits)


def free_answer(ask: Ask) -> str:
    """Give an answer as Visual Genome's annotators write it: "A car.", "On the beach."."""
    said = _ANSWERS.get(ask.family, str)(ask.answer)
    return f"{said[0].upper()}{said[1:]}."


_ANSWERS: Final[Mapping[str, Callable[[str], str]]] = {
    "kind": lexicon.a,
    "group": lexicon.a,
    "who": lexicon.a,
    "relation": lexicon.a,
    "outermost": lexicon.a,
    "place": lexicon.at,
    "side": "on the {}".format,
    "light": {"day": "during the day", "night": "at night"}.__getitem__,
}
"""How the answers to a family are put; as they are where it is not listed."""


def _question_answers(by_image: Mapping[int, list[Question]]) -> list[dict[str, Json]]:
    listed = []
    number = _FIRST_QUESTION_ID
    for image, questions in by_image.items():
        listed.append({"id": image, "qas": [_row(one, number + k) for k, one in enumerate(questions)]})
        number += len(questions)
    return listed


def _row(question: Question, number: int) -> dict[str, Json]:
    return {
        "a_objects": [],
        "question": question.text,
        "image_id": genome_id(question.scene),
        "qa_id": number,
        "answer": free_answer(question.ask),
        "q_objects": [],
    }


def _image(scene: Scene) -> dict[str, Json]:
    return {
        "image_id": genome_id(scene),
        "url": f"https://cs.stanford.edu/people/rak248/VG_100K/{genome_id(scene)}.jpg",
        "width": scene.width,
        "height": scene.height,
        "coco_id": coco_id(scene) if is_shared_with_coco(scene) else None,
        "flickr_id": None,
    }
