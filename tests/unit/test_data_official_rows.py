"""Each published row that is at hand becomes the record that its own fields, taken by hand, say it is."""

import json
import re

import pytest

from training.data import read
from training.data.entities import linked_captions
from training.data.faults import refuse
from twelve.tasks.records import AnsweredQuestion, ComparedImages, EntailedStatement

GENOME_ANSWERS = {
    "987278": "sailboats",
    "987282": "in room",
    "987283": "purple",
    "987284": "glass",
    "987285": "teddy bear",
    "966490": "in home office",
    "987452": "on floor",
    "987453": "empty",
}
"""Normalised by hand."""


@pytest.fixture
def root(request):
    return request.config.rootpath / "tests/data/official-rows"


def parsed(root, name):
    return json.loads((root / name).read_text())


def lines(root, name):
    return [json.loads(line) for line in (root / name).read_text().splitlines()]


def test_every_vqa_row(root):
    annotations = parsed(root, "vqa/v2_mscoco_train2014_annotations.json")["annotations"]
    answers = {row["question_id"]: tuple(one["answer"] for one in row["answers"]) for row in annotations}
    questions = parsed(root, "vqa/v2_OpenEnded_mscoco_train2014_questions.json")["questions"]

    assert len(questions) == 3
    assert list(read("vqa-v2", root, "train")) == [
        AnsweredQuestion(
            id=str(row["question_id"]),
            image=f"images/coco/train2014/COCO_train2014_{str(row['image_id']).rjust(12, '0')}.jpg",
            question=row["question"],
            answers=answers[row["question_id"]],
        )
        for row in questions
    ]


def test_every_gqa_row(root):
    rows = parsed(root, "gqa/train_balanced_questions.json")

    assert list(read("gqa", root, "train")) == [
        AnsweredQuestion(
            id=key,
            image=f"images/vg/VG_100K/{row['imageId']}.jpg",
            question=row["question"],
            answers=(row["answer"],),
            kind=row["types"]["semantic"],
        )
        for key, row in rows.items()
    ]


def test_every_visual_genome_row(root):
    rows = [row for picture in parsed(root, "vg/question_answers.json") for row in picture["qas"]]

    assert {str(row["qa_id"]) for row in rows} == set(GENOME_ANSWERS)
    assert list(read("vg-qa", root, "val")) == [
        AnsweredQuestion(
            id=str(row["qa_id"]),
            image=f"images/vg/VG_100K/{row['image_id']}.jpg",
            question=row["question"],
            answers=(GENOME_ANSWERS[str(row["qa_id"])],),
        )
        for row in rows
    ]


def test_every_nlvr2_row(root):
    rows = lines(root, "nlvr2/dev.json")
    pairs = [re.sub(r"-\d+$", "", row["identifier"]) for row in rows]

    assert len(rows) == 40
    assert list(read("nlvr2", root, "val")) == [
        ComparedImages(
            id=row["identifier"],
            images=(f"images/nlvr2/dev/{pair}-img0.png", f"images/nlvr2/dev/{pair}-img1.png"),
            statement=row["sentence"],
            label={"True": True, "False": False}[row["label"]],
        )
        for row, pair in zip(rows, pairs, strict=True)
    ]


def test_every_snli_ve_row(root):
    rows = lines(root, "snli-ve/snli_ve_dev.jsonl")

    assert len(rows) == 16
    assert list(read("snli-ve", root, "val")) == [
        EntailedStatement(
            id=row["pairID"],
            image=f"images/flickr30k/flickr30k-images/{row['captionID'].partition('.')[0]}.jpg",
            statement=row["sentence2"],
            label=row["gold_label"],
            annotators=tuple(row["annotator_labels"]),
        )
        for row in rows
    ]


def test_every_entities_row(root):
    marked = (root / "flickr30k/Sentences/4945942737.txt").read_text().splitlines()
    captions = list(linked_captions(root, refuse))

    assert len(captions) == 5
    for line, caption in zip(marked, captions, strict=True):
        marks = re.findall(r"\[/EN#(\d+)/([a-z/]+) ([^\]]+)\]", line)
        assert caption.text == re.sub(r"\[\S+ |\]", "", line).strip()
        assert [(one.chain, "/".join(one.kinds), one.words) for one in caption.phrases] == marks
        assert all(caption.text[one.start :].startswith(one.words) for one in caption.phrases)
