"""GQA: questions with their programs, and the scene graphs of train and val."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Final, NamedTuple

from training.world.scene import Scene, Split
from training.world.words import lexicon
from training.world.words.ask import Ask, Step
from training.world.words.entails import entails
from training.world.words.phrasing import GQA
from training.world.words.questions import Question, question_set
from training.world.words.seen import Seen

from .corpus import SPLITS, Corpus
from .files import Json, write_json
from .names import genome_id, genome_thing

_SUBSETS: Final[Mapping[Split, str]] = {"train": "train", "val": "val", "test": "testdev", "novel": "novel"}
_WITH_GRAPHS: Final[tuple[Split, ...]] = ("train", "val")
_QUESTIONS_PER_IMAGE: Final = 1000


class Types(NamedTuple):
    """GQA's three types of a question."""

    structural: str
    semantic: str
    detailed: str


TYPES: Final[Mapping[str, Types]] = {
    "color": Types("query", "attr", "directOf"),
    "verify color": Types("verify", "attr", "verifyAttr"),
    "choose color": Types("choose", "attr", "chooseAttr"),
    "same color": Types("compare", "attr", "twoSameC"),
    "kind": Types("query", "cat", "categoryThat"),
    "group": Types("query", "cat", "category"),
    "who": Types("query", "cat", "category"),
    "exist": Types("verify", "obj", "exist"),
    "colored": Types("verify", "obj", "existAttr"),
    "both": Types("logical", "obj", "existAnd"),
    "either": Types("logical", "obj", "existOr"),
    "place": Types("query", "global", "place"),
    "verify place": Types("verify", "global", "placeVerify"),
    "side": Types("query", "attr", "positionQuery"),
    "size": Types("choose", "attr", "chooseAttr"),
    "relation": Types("query", "rel", "relS"),
    "relation color": Types("query", "attr", "directOf"),
    "verify relation": Types("verify", "rel", "relVerify"),
    "choose relation": Types("choose", "rel", "relChooser"),
}
"""By family. "attr" marks the attribute questions, which are scored apart."""

_GLOBAL_GROUPS: Final[Mapping[str, str]] = {
    "color": "color",
    "relation color": "color",
    "kind": "thing",
    "relation": "thing",
    "group": "thing",
    "who": "person",
    "place": "place",
    "side": "hposition",
}
"""The group of answers that an open question draws from."""

_FULL_ANSWERS: Final[Mapping[str, str]] = {
    "color": "The {thing} is {answer}.",
    "choose color": "The {thing} is {answer}.",
    "size": "The {thing} is {answer}.",
    "side": "The {thing} is on the {answer} of the picture.",
    "kind": "The {color} object is the {answer}.",
    "group": "The {group} is the {answer}.",
    "who": "It is the {answer}.",
    "place": "The place is the {answer}.",
    "relation": "The {answer} is {relation} the {anchor}.",
    "relation color": "The object {relation} the {anchor} is {answer}.",
    "choose relation": "The {thing} is to the {answer} of the {anchor}.",
}
"""Whole sentences; what is asked for yes or no is answered with the word alone and a full stop."""


def write(root: Path, corpus: Corpus) -> None:
    """Write the questions of every split and the scene graphs of train and val."""
    for split in SPLITS:
        scenes = corpus.of("vg", split)
        asked = question_set(scenes, GQA, amount=corpus.amounts[split], rng=corpus.rng("gqa", split)).questions
        overlapping, rng = corpus.overlapping("vg", split), corpus.rng("gqa overlapping", split)
        more = question_set(overlapping, GQA, amount=corpus.overlapping_amount("vg", split), rng=rng).questions
        questions = {**_questions(asked), **_questions(more)}
        write_json(root / f"gqa/{_SUBSETS[split]}_balanced_questions.json", questions)
        if split in _WITH_GRAPHS:
            graphs = {str(genome_id(scene)): scene_graph(scene) for scene in (*scenes, *overlapping)}
            write_json(root / f"gqa/{_SUBSETS[split]}_sceneGraphs.json", graphs)


def scene_graph(scene: Scene) -> dict[str, Json]:
    """Give what a picture shows as GQA's scene graphs do; by night nothing has a colour."""
    seen = Seen(scene)
    return {
        "width": scene.width,
        "height": scene.height,
        "location": scene.place,
        "objects": {str(genome_thing(scene, index)): _node(seen, index) for index in range(len(seen.things))},
    }


def _node(seen: Seen, index: int) -> dict[str, Json]:
    x1, y1, x2, y2 = seen.things[index].box_px
    others = [(other, seen.relation(index, other)) for other in range(len(seen.things)) if other != index]
    return {
        "name": seen.kind(index),
        "x": x1,
        "y": y1,
        "w": x2 - x1,
        "h": y2 - y1,
        "attributes": [word for word in (seen.colors[index], seen.size(index)) if word is not None],
        "relations": [
            {"object": str(genome_thing(seen.scene, other)), "name": lexicon.relation_words(relation)}
            for other, relation in others
            if relation is not None
        ],
    }


def _questions(asked: Sequence[Question]) -> dict[str, Json]:
    """Give every question by its id; questions about one picture may follow from one another."""
    rows: dict[str, Json] = {}
    by_image = sorted(asked, key=lambda question: question.scene.id)
    for _, listed in groupby(by_image, key=lambda question: question.scene.id):
        about = list(listed)
        first = genome_id(about[0].scene) * _QUESTIONS_PER_IMAGE
        ids = [str(first + place) for place in range(len(about))]
        rows.update({ids[place]: _row(place, about, ids) for place in range(len(about))})
    return rows


def _row(place: int, about: Sequence[Question], ids: Sequence[str]) -> dict[str, Json]:
    question = about[place]
    ask, types = question.ask, TYPES[question.ask.family]
    full_answer = _full_answer(ask)
    steps = [_step(question.scene, step) for step in ask.program]
    return {
        "semantic": steps,
        "entailed": [ids[k] for k, other in enumerate(about) if k != place and entails(ask, other.ask)],
        "equivalent": [ids[k] for k, other in enumerate(about) if other.ask.key == ask.key],
        "question": question.text,
        "imageId": str(genome_id(question.scene)),
        "isBalanced": True,
        "groups": {"global": _GLOBAL_GROUPS.get(ask.family), "local": f"{len(ask.program)}-{ask.subject}"},
        "answer": ask.answer,
        "semanticStr": "->".join(_step_words(step) for step in steps),
        "annotations": {
            "answer": _pointers(question, ask.answer),
            "question": _pointers(question, question.text),
            "fullAnswer": _pointers(question, full_answer),
        },
        "types": {"detailed": types.detailed, "semantic": types.semantic, "structural": types.structural},
        "fullAnswer": full_answer,
    }


def _full_answer(ask: Ask) -> str:
    template = _FULL_ANSWERS.get(ask.family, "{answer}.")
    sentence = template.format(answer=ask.answer, **ask.slots)
    return sentence[0].upper() + sentence[1:]


def _step(scene: Scene, step: Step) -> dict[str, Json]:
    """Give a step of the program; what selects things names their ids, "-" where there are none."""
    argument = step.argument
    if step.things is not None:
        ids = ",".join(str(genome_thing(scene, index)) for index in step.things)
        argument = f"{argument} ({ids or '-'})"
    return {"operation": step.operation, "dependencies": list(step.after), "argument": argument}


def _step_words(step: Mapping[str, Json]) -> str:
    after = f" [{','.join(map(str, step['dependencies']))}]" if step["dependencies"] else ""
    return f"{step['operation']}: {step['argument']}{after}"


def _pointers(question: Question, text: str) -> dict[str, str]:
    """Say which words of a text mean which thing: its position, or first and last exclusive, to the thing's id."""
    words = [word.strip(".,?").lower() for word in text.split()]
    scene = question.scene
    pointers: dict[str, str] = {}
    for index in question.ask.about:
        kind = scene.things[index].kind.split()
        for start in range(len(words) - len(kind) + 1):
            if words[start : start + len(kind)] == kind:
                span = str(start) if len(kind) == 1 else f"{start}:{start + len(kind)}"
                pointers.setdefault(span, str(genome_thing(scene, index)))
                break
    return pointers
