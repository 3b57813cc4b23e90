"""Damaged copies of every format, made from its good rows, give an error that names file, row and field."""

import json
import pickle
import shutil
from typing import NamedTuple

import pytest

from training.data import READERS, Fault, available_splits

GONE = ...
LEAST_KINDS = 8

WRONG = {
    "text": [GONE, None, 7, ["a"], {}, True, "", " \n", "half \ud800"],
    "perhaps empty": [GONE, None, 7, ["a"], {}, True, "half \ud800"],
    "id": [GONE, None, "7", 1.5, True, -1, 10**30, [7]],
    "integer": [GONE, None, "7", 1.5, True, 10**30, []],
    "positive": [GONE, None, "7", 1.5, False, 0, -3],
    "name": [GONE, None, 7, "", "x", "../x.jpg", "/etc/passwd"],
    "older name": [7, "", "x", "4705552913.png", "../x.jpg"],
    "choice": [GONE, None, 7, True, "", "another", ["train"]],
    "list": [GONE, None, {}, "x", 3],
    "texts": [GONE, None, {}, "x", [1], ["a", None]],
    "integers": [GONE, None, {}, "x", ["1"], [1.5, 2, 3]],
    "object": [GONE, None, [], "x", 3],
    "box": [
        GONE,
        None,
        {},
        "1,2,3,4",
        [1, 2, 3],
        [1, 2, 0, 4],
        [1, 2, 3, float("nan")],
        [1, 2, 3, 1e9],
        ["1", 2, 3, 4],
    ],
}
"""What a field of each sort must not hold."""


class Format(NamedTuple):
    """Where a format has a good row, and what that row's fields are.

    Attributes:
        rows: The folder of fixtures.
        task, split: That read it.
        file: Relative to the root.
        place: Of the row in the parsed file.
        row: How an error names it.
        fields: Sort by path inside the row, as an error writes it.
    """

    rows: str
    task: str
    split: str
    file: str
    place: tuple
    row: str
    fields: dict


CAPTIONED = {"split": "choice", "filename": "name", "sentences": "list", "sentences[0]": "object"}
CAPTION_LINE = {"img_path": "name", "sentences": "texts"}
REF = {
    **{"ref_id": None, "ann_id": "id", "image_id": "id", "split": "choice", "sentences": "list"},
    **{"sentences[0]": "object", "sentences[0].sent_id": "id", "sentences[0].raw": "text"},
}
GAME = {"status": "choice", "object_id": "id", "qas": "list", "qas[1]": "object"}
STATEMENT = {"gold_label": "choice", "sentence2": "text", "pairID": "text"}
QUESTION = {"imageId": "name", "question": "text", "answer": "text", "types": "object", "types.semantic": "text"}

FORMATS = {
    "VQAv2 questions": Format(
        *("official-rows", "vqa-v2", "train", "vqa/v2_OpenEnded_mscoco_train2014_questions.json"),
        *(("questions", 1), "questions[1]", {"question_id": "id", "image_id": "id", "question": "text"}),
    ),
    "VQAv2 annotations": Format(
        *("official-rows", "vqa-v2", "train", "vqa/v2_mscoco_train2014_annotations.json"),
        *(("annotations", 1), "annotations[1]"),
        {"question_id": "id", "answers": "list", "answers[3]": "object", "answers[3].answer": "perhaps empty"},
    ),
    "GQA, one file": Format(
        *("official-rows", "gqa", "train", "gqa/train_balanced_questions.json", ("202218649",), "202218649", QUESTION),
    ),
    "GQA, a directory": Format(
        *("official-rows", "gqa", "train", "gqa/train_all_questions/train_all_questions_0.json"),
        *(("202218649",), "202218649", QUESTION),
    ),
    "Visual Genome QA": Format(
        *("official-rows", "vg-qa", "val", "vg/question_answers.json", (1,), "[1]"),
        {
            **{"qas": "list", "qas[1]": "object", "qas[1].qa_id": "id", "qas[1].image_id": "id"},
            **{"qas[1].question": "text", "qas[1].answer": "text"},
        },
    ),
    "COCO, Karpathy": Format(
        *("hand-made-rows", "coco-retrieval", "test", "coco/dataset_coco.json", ("images", 0), "images[0]"),
        {**CAPTIONED, "cocoid": "id"},
    ),
    "Flickr30k, Karpathy": Format(
        *("hand-made-rows", "flickr30k-retrieval", "train", "flickr30k/dataset_flickr30k.json"),
        *(("images", 0), "images[0]", CAPTIONED),
    ),
    "COCO, 12-in-1": Format(
        *("hand-made-jsonlines", "coco-retrieval", "train", "coco/all_data_final_train_2014.jsonline", (1,), "2"),
        {**CAPTION_LINE, "id": "id"},
    ),
    "Flickr30k, 12-in-1": Format(
        *("hand-made-jsonlines", "flickr30k-retrieval", "test", "flickr30k/all_data_final_test_set0_2014.jsonline"),
        *((0,), "1", CAPTION_LINE),
    ),
    "RefCOCO refs, unc": Format(
        *("hand-made-rows", "refcoco", "train", "refcoco/refs(unc).p", (0,), "[0]", REF),
    ),
    "RefCOCO+ refs, unc": Format(
        *("hand-made-rows", "refcoco+", "train", "refcoco+/refs(unc).p", (0,), "[0]", REF),
    ),
    "RefCOCOg refs, umd": Format(
        *("hand-made-rows", "refcocog", "train", "refcocog/refs(umd).p", (0,), "[0]", REF),
    ),
    "RefCOCOg refs, google": Format(
        *("hand-made-rows", "refcocog", "train", "refcocog/refs(google).p", (0,), "[0]", REF),
    ),
    "RefCOCO instances, annotations": Format(
        *("hand-made-rows", "refcoco", "train", "refcoco/instances.json", ("annotations", 0), "annotations[0]"),
        {"id": "id", "image_id": "id", "bbox": "box"},
    ),
    "RefCOCO instances, images": Format(
        *("hand-made-rows", "refcoco", "train", "refcoco/instances.json", ("images", 0), "images[0]"),
        {"id": "id", "file_name": "name", "width": "positive", "height": "positive"},
    ),
    "Visual7W images": Format(
        *("hand-made-rows", "visual7w", "train", "visual7w/dataset_v7w_pointing.json", ("images", 0), "images[0]"),
        {
            **{"split": "choice", "filename": "name", "qa_pairs": "list", "qa_pairs[0]": "object"},
            **{"qa_pairs[0].qa_id": "id", "qa_pairs[0].question": "text", "qa_pairs[0].answer": "id"},
            "qa_pairs[0].multiple_choices": "integers",
        },
    ),
    "Visual7W boxes": Format(
        *("hand-made-rows", "visual7w", "train", "visual7w/dataset_v7w_pointing.json", ("boxes", 1), "boxes[1]"),
        {"box_id": "id", "x": "integer", "y": "integer", "width": "id", "height": "id"},
    ),
    "GuessWhat, layout A": Format(
        *("hand-made-rows", "guesswhat", "train", "guesswhat/guesswhat.train.jsonl", (0,), "1"),
        {
            **GAME,
            **{"id": "id", "image": "object", "image.file_name": "name", "qas[1].question": "text"},
            **{"qas[1].answer": "choice", "objects": "list", "objects[1]": "object"},
            **{"objects[1].id": "id", "objects[1].bbox": "box"},
        },
    ),
    "GuessWhat, layout B": Format(
        *("hand-made-rows", "guesswhat", "val", "guesswhat/guesswhat.valid.jsonl", (0,), "1"),
        {
            **GAME,
            **{"dialogue_id": "id", "picture.file_name": "name", "qas[1].q": "text", "qas[1].a": "choice"},
            **{"objects": "object", "objects[480437]": "object"},
            **{"objects[480437].object_id": "id", "objects[480437].bbox": "box"},
        },
    ),
    "NLVR2": Format(
        *("official-rows", "nlvr2", "val", "nlvr2/dev.json", (4,), "5"),
        {"identifier": "name", "sentence": "text", "label": "choice"},
    ),
    "SNLI-VE": Format(
        *("official-rows", "snli-ve", "val", "snli-ve/snli_ve_dev.jsonl", (2,), "3"),
        {**STATEMENT, "Flickr30K_ID": "name"},
    ),
    "SNLI-VE, older": Format(
        *("hand-made-rows", "snli-ve", "test", "snli-ve/snli_ve_test.jsonl", (0,), "1"),
        {**STATEMENT, "Flikr30kID": "older name"},
    ),
}

MADE_OF = {
    "gqa/train_all_questions/train_all_questions_0.json": "gqa/train_balanced_questions.json",
    "refcocog/refs(google).p": "refcocog/refs(umd).p",
}
"""Files of forms that are laid out in another way, and whose rows are the same."""


@pytest.fixture
def root(tmp_path, request):
    """Give what copies one format's data set, to be damaged."""

    def copy(form):
        folder = form.file.partition("/")[0]
        shutil.copytree(request.config.rootpath / "tests/data" / form.rows / folder, tmp_path / folder)
        if form.file in MADE_OF:
            (tmp_path / form.file).parent.mkdir(exist_ok=True)
            (tmp_path / MADE_OF[form.file]).rename(tmp_path / form.file)
        return tmp_path

    return copy


def load(path):
    if path.suffix == ".p":
        return pickle.loads(path.read_bytes(), encoding="latin1")  # our own fixture
    if is_lines(path):
        return [json.loads(line) for line in path.read_text().splitlines()]
    return json.loads(path.read_text())


def store(path, value):
    if path.suffix == ".p":
        path.write_bytes(pickle.dumps(value, protocol=0))
    elif is_lines(path):
        path.write_text("".join(json.dumps(row) + "\n" for row in value))
    else:
        path.write_text(json.dumps(value))


def is_lines(path):
    return path.suffix in (".jsonl", ".jsonline") or "nlvr2" in path.parts


def steps(field):
    """Take a field's path apart: "qas[1].answer" is "qas", 1, "answer"."""
    return field.replace("[", ".").replace("]", "").split(".") if field else []


def put(path, place, value):
    """Put a value at a place of a file, or take away what is there."""
    whole = {"": load(path)}
    inner, key = whole, ""
    for at in place:
        inner = inner[key]
        key = int(at) if isinstance(inner, list) else at
    assert key in inner if isinstance(inner, dict) else key < len(inner)
    if value is GONE:
        del inner[key]
    else:
        inner[key] = value
    store(path, whole[""])


def faults_of(form, root):
    faults = []
    try:
        list(READERS[form.task].read(root, form.split, faults.append))
    except Fault as fault:
        faults.append(fault)
    return faults


def cases():
    for name, form in FORMATS.items():
        for value in (None, 7, "row", [1]):
            yield pytest.param(form, "", value, id=f"{name}: row is {value!r}")
        for field, sort in form.fields.items():
            for value in WRONG[sort] if sort else ():
                if value is not GONE or not field.endswith("]"):  # without one of a list, a shorter list is left
                    shown = "missing" if value is GONE else ascii(value)[:20]
                    yield pytest.param(form, field, value, id=f"{name}: {field} is {shown}")


@pytest.mark.parametrize(("form", "field", "value"), list(cases()))
def test_a_damaged_field_is_named_with_its_row_and_file(root, form, field, value):
    folder = root(form)
    put(folder / form.file, (*form.place, *steps(field)), value)

    faults = faults_of(form, folder)

    assert (form.file, form.row, field) in {(fault.file, fault.row, fault.field) for fault in faults}, faults
    assert all(fault.reason and len(fault.message) < 400 for fault in faults)


def test_every_format_is_damaged_in_many_ways():
    by_format = {}
    for case in cases():
        by_format.setdefault(case.id.partition(":")[0], set()).add(case.id)

    assert set(by_format) == set(FORMATS)
    assert min(len(ways) for ways in by_format.values()) >= LEAST_KINDS


@pytest.mark.parametrize("name", FORMATS)
def test_the_good_rows_have_no_fault(root, name):
    form = FORMATS[name]
    folder = root(form)

    assert faults_of(form, folder) == []
    assert form.split in available_splits(form.task, folder)


SPOILT = {
    "cut in half": lambda content: content[: len(content) // 2],
    "without its first byte": lambda content: content[1:],
    "not UTF-8": lambda content: content.replace(b"e", b"\xff", 1),
    "with something behind it": lambda content: content + b"]\n",
    "packed": lambda content: b"\x1f\x8b\x08\x00" + content,
}


def spoilt():
    for name, form in FORMATS.items():
        for way in SPOILT:
            if not (way == "not UTF-8" and form.file.endswith(".p")):  # pickles are Latin-1, which every byte is
                yield pytest.param(name, way, id=f"{name}: {way}")


@pytest.mark.parametrize(("name", "way"), list(spoilt()))
def test_a_spoilt_file_is_a_fault_that_names_it(root, name, way):
    form = FORMATS[name]
    folder = root(form)
    whole = (folder / form.file).read_bytes()
    (folder / form.file).write_bytes(SPOILT[way](whole))

    assert form.file in {fault.file for fault in faults_of(form, folder)}
