"""Visual7W: pointing questions, dataset_v7w_pointing.json."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from training.world.scene import Scene
from training.world.words.pointing import Which, which_questions

from .corpus import SPLITS, Corpus
from .files import Json, write_json
from .names import genome_id, genome_thing, visual7w_name

_FIRST_QUESTION_ID: Final = 300_000


def write(root: Path, corpus: Corpus) -> None:
    """Write every picture with its questions, and the boxes they choose from."""
    asked: dict[int, list[Which]] = {}
    for split in SPLITS:
        scenes, rng = corpus.of("vg", split), corpus.rng("visual7w", split)
        for question in which_questions(scenes, amount=corpus.amounts[split], rng=rng):
            asked.setdefault(question.scene.id, []).append(question)
    shown = [scene for scene in corpus.all_of("vg") if scene.id in asked]
    images, number = [], _FIRST_QUESTION_ID
    for scene in shown:
        images.append(_image(scene, asked[scene.id], number))
        number += len(asked[scene.id])
    content = {"dataset": "v7w_pointing", "images": images, "boxes": [box for scene in shown for box in _boxes(scene)]}
    write_json(root / "visual7w/dataset_v7w_pointing.json", content)


def _image(scene: Scene, questions: Sequence[Which], first: int) -> dict[str, Json]:
    return {
        "image_id": genome_id(scene),
        "split": scene.split,
        "filename": visual7w_name(scene),
        "qa_pairs": [_row(question, first + place) for place, question in enumerate(questions)],
    }


def _row(question: Which, number: int) -> dict[str, Json]:
    scene = question.scene
    return {
        "qa_id": number,
        "question": question.text,
        "answer": genome_thing(scene, question.answer),
        "multiple_choices": [genome_thing(scene, index) for index in question.wrong],
        "type": "which",
        "image_id": genome_id(scene),
    }


def _boxes(scene: Scene) -> list[dict[str, Json]]:
    boxes = []
    for index, thing in enumerate(scene.things):
        x1, y1, x2, y2 = thing.box_px
        box = {"box_id": genome_thing(scene, index), "name": thing.kind}
        boxes.append({**box, "x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1})
    return boxes
