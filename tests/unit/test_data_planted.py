"""`data check` accepts the small world as it is written, and finds whatever one fault is planted in it."""

import json
import pickle
import shutil

import pytest
from typer.testing import CliRunner

from training.data.check import inspect
from training.data.command import app
from training.data.readers import READERS
from training.world.assembly import assemble
from training.world.profiles import PROFILES

SEED = 3
DATA_FAULT = 65
GONE = ...
QUESTIONS = "vqa/v2_OpenEnded_mscoco_train2014_questions.json"
ANNOTATIONS = "vqa/v2_mscoco_train2014_annotations.json"
PAIRS = "vqa/v2_mscoco_train2014_complementary_pairs.json"
VG = "vg/question_answers.json"
VG_IMAGES = "vg/image_data.json"
VG_SPLITS = "vg/splits.json"
GQA = "gqa/val_balanced_questions.json"
GRAPHS = "gqa/val_sceneGraphs.json"
COCO = "coco/dataset_coco.json"
FLICKR30K = "flickr30k/dataset_flickr30k.json"
VISUAL7W = "visual7w/dataset_v7w_pointing.json"
GUESSWHAT = "guesswhat/guesswhat.valid.jsonl"
NLVR2 = "nlvr2/dev.json"
SNLI_VE = "snli-ve/snli_ve_dev.jsonl"
SCENES = "scenes.jsonl"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    assemble(PROFILES["tiny"], SEED, folder, stage=lambda name, steps: lambda done: None, processes=1)
    return folder


@pytest.fixture
def planted(world, tmp_path):
    """Give what copies the data sets of one folder of the world, to be damaged."""

    def copy(file):
        folder = file.rpartition("/")[0]
        if folder:
            shutil.copytree(world / folder, tmp_path / folder, dirs_exist_ok=True)
        else:
            shutil.copy(world / file, tmp_path / file)
        return tmp_path

    return copy


def load(path):
    if path.suffix == ".p":
        return pickle.loads(path.read_bytes(), encoding="latin1")  # the world's own
    if path.suffix == ".jsonl" or "nlvr2" in path.parts:
        return [json.loads(line) for line in path.read_text().splitlines()]
    return json.loads(path.read_text())


def store(path, value):
    if path.suffix == ".p":
        path.write_bytes(pickle.dumps(value, protocol=0))
    elif path.suffix == ".jsonl" or "nlvr2" in path.parts:
        path.write_text("".join(json.dumps(row) + "\n" for row in value))
    else:
        path.write_text(json.dumps(value))


def step(value, at):
    """Go into a list by position, into an object by name, or by position where its names are ids."""
    key = list(value)[at] if isinstance(value, dict) and isinstance(at, int) else at
    return key, value[key]


def plant(path, place, new):
    """Put a value at a place, or take away what is there; give the ids met on the way, for the row's name."""
    whole, keys = load(path), []
    inner = whole
    for at in place[:-1]:
        key, inner = step(inner, at)
        keys.append(key)
    key = step(inner, place[-1])[0] if isinstance(place[-1], int) else place[-1]
    keys.append(key)
    if new is GONE:
        del inner[key]
    else:
        inner[key] = new(whole) if callable(new) else new
    store(path, whole)
    return keys


def run_check(root):
    return CliRunner().invoke(app, ["check", str(root)])


# file, where in it, what is put there; then the file (if another), the row and the field that `check` must name
FAULTS = [
    (QUESTIONS, ["questions", 3, "question_id"], GONE, "questions[3]", "question_id"),
    (QUESTIONS, ["questions", 3, "question_id"], "12", "questions[3]", "question_id"),
    (QUESTIONS, ["questions", 3], lambda file: file["questions"][1], "questions[3]", "question_id"),
    (QUESTIONS, ["questions", 3, "question"], " ", "questions[3]", "question"),
    (QUESTIONS, ["questions", 3, "question"], "half a \ud800", "questions[3]", "question"),
    (QUESTIONS, ["questions", 3, "image_id"], 99, "questions[3]", "image_id"),
    (QUESTIONS, ["questions", 3, "image_id"], 10**30, "questions[3]", "image_id"),
    (QUESTIONS, ["questions"], GONE, "", "questions"),
    (ANNOTATIONS, ["annotations", 2, "answers", 9], GONE, "annotations[2]", "answers"),
    (ANNOTATIONS, ["annotations", 2, "answers", 4, "answer"], None, "annotations[2]", "answers[4].answer"),
    (ANNOTATIONS, ["annotations", 2, "question_type"], 3, "annotations[2]", "question_type"),
    (ANNOTATIONS, ["annotations", 2, "answer_type"], ["other"], "annotations[2]", "answer_type"),
    (ANNOTATIONS, ["annotations", 2], lambda file: file["annotations"][0], "annotations[2]", "question_id"),
    (PAIRS, [0, 1], 5, "[0]", "[1]"),
    (PAIRS, [1], [7], "[1]", ""),
    (PAIRS, [1], lambda file: [file[0][0], file[0][0]], "[1]", ""),
    (VG, [1, "qas", 0, "qa_id"], lambda file: file[0]["qas"][0]["qa_id"], "[1]", "qas[0].qa_id"),
    (VG, [1, "qas", 0, "qa_id"], -3, "[1]", "qas[0].qa_id"),
    (VG, [1, "qas", 0, "answer"], "", "[1]", "qas[0].answer"),
    (VG, [1, "qas", 0, "image_id"], GONE, "[1]", "qas[0].image_id"),
    (VG, [1, "qas"], None, "[1]", "qas"),
    (VG_SPLITS, ["val", 0], lambda file: file["train"][0], "val[0]", ""),
    (VG_SPLITS, ["val", 0], "2300001", "val[0]", ""),
    (VG_IMAGES, [2, "width"], 0, "[2]", "width"),
    (VG_IMAGES, [2, "coco_id"], "17", "[2]", "coco_id"),
    (VG_IMAGES, [2, "image_id"], lambda file: file[0]["image_id"], "[2]", "image_id"),
    (GQA, [4, "imageId"], 2300001, "{0}", "imageId"),
    (GQA, [4, "answer"], GONE, "{0}", "answer"),
    (GQA, [4, "types", "semantic"], "", "{0}", "types.semantic"),
    (GQA, [4, "types", "structural"], GONE, "{0}", "types.structural"),
    (GQA, [4, "entailed"], "12", "{0}", "entailed"),
    (GRAPHS, [1, "width"], "320", "{0}", "width"),
    (GRAPHS, [1, "objects", 0, "name"], GONE, "{0}", "objects[{2}].name"),
    (GRAPHS, [1, "objects", 0, "attributes"], "red", "{0}", "objects[{2}].attributes"),
    (COCO, ["images", 2, "split"], "tset", "images[2]", "split"),
    (COCO, ["images", 2, "cocoid"], 4, "images[2]", "cocoid"),
    (COCO, ["images", 2, "sentences"], [], "images[2]", "sentences"),
    (COCO, ["images", 2, "sentences", 1, "raw"], 5, "images[2]", "sentences[1].raw"),
    (COCO, ["images", 1], lambda file: file["images"][0], "images[1]", "filename"),
    (FLICKR30K, ["images", 2, "filename"], "../1.jpg", "images[2]", "filename"),
    (FLICKR30K, ["images", 2, "sentences"], GONE, "images[2]", "sentences"),
    ("refcoco/refs(unc).p", [1, "ann_id"], 77, "[1]", "ann_id"),
    ("refcoco/refs(unc).p", [1, "split"], "tesst", "[1]", "split"),
    ("refcoco/refs(unc).p", [1, "sentences", 0, "raw"], GONE, "[1]", "sentences[0].raw"),
    ("refcoco+/refs(unc).p", [1, "image_id"], 3, "[1]", "image_id"),
    ("refcocog/refs(umd).p", [1, "sentences", 0, "sent_id"], "4", "[1]", "sentences[0].sent_id"),
    ("refcocog/refs(umd).p", [1], lambda refs: refs[0], "[1]", "sentences[0].sent_id"),
    ("refcoco/instances.json", ["annotations", 1, "bbox", 2], -4, "annotations[1]", "bbox"),
    ("refcoco/instances.json", ["annotations", 1, "bbox", 0], "4", "annotations[1]", "bbox"),
    ("refcoco/instances.json", ["images", 1, "file_name"], "1.jpg", "images[1]", "file_name"),
    ("refcoco/instances.json", ["images", 1, "width"], 0, "images[1]", "width"),
    ("refcoco+/instances.json", ["images", 1], lambda file: file["images"][0], "images[1]", "id"),
    (VISUAL7W, ["boxes", 1, "width"], 0, "boxes[1]", "width"),
    (VISUAL7W, ["boxes", 1, "box_id"], lambda file: file["boxes"][0]["box_id"], "boxes[1]", "box_id"),
    (VISUAL7W, ["images", 0, "filename"], "v7w.jpg", "images[0]", "filename"),
    (VISUAL7W, ["images", 0, "qa_pairs", 0, "answer"], 4, "images[0]", "qa_pairs[0].answer"),
    (VISUAL7W, ["images", 0, "qa_pairs", 0, "multiple_choices"], [1], "images[0]", "qa_pairs[0].multiple_choices"),
    (GUESSWHAT, [2, "status"], "won", "3", "status"),
    (GUESSWHAT, [2, "object_id"], 3, "3", "object_id"),
    (GUESSWHAT, [2, "qas", 0, "a"], "Maybe", "3", "qas[0].a"),
    (GUESSWHAT, [2, "picture", "file_name"], "COCO_1.jpg", "3", "picture.file_name"),
    (NLVR2, [4, "label"], True, "5", "label"),
    (NLVR2, [4, "identifier"], "train-1-0-0", "5", "identifier"),
    (NLVR2, [4, "identifier"], lambda rows: rows[0]["identifier"], "5", "identifier"),
    (NLVR2, [4, "sentence"], "", "5", "sentence"),
    (SNLI_VE, [4, "gold_label"], "maybe", "5", "gold_label"),
    (SNLI_VE, [4, "Flickr30K_ID"], "one", "5", "Flickr30K_ID"),
    (SNLI_VE, [4, "pairID"], lambda rows: rows[0]["pairID"], "5", "pairID"),
    (SNLI_VE, [4, "annotator_labels"], "neutral", "5", "annotator_labels"),
    (SCENES, [4, "id"], GONE, "5", "id"),
]


@pytest.mark.parametrize(("file", "place", "new", "row", "field"), FAULTS)
def test_a_planted_fault_is_found_by_file_row_and_field(planted, file, place, new, row, field):
    root = planted(file)
    keys = plant(root / file, place, new)

    result = run_check(root)

    where = ":".join(filter(None, [file, row.format(*keys)])) + ": "
    what = field.format(*keys) + ": " if field else ""
    assert result.exit_code == DATA_FAULT
    assert any(line.startswith(where + what) for line in result.output.splitlines()), result.output


def half(content):
    return content[: len(content) // 2]


def without_a_quote(content):
    lines = content.split(b"\n")
    lines[6] = lines[6].replace(b'":', b":", 1)
    return b"\n".join(lines)


@pytest.mark.parametrize(
    ("file", "spoil", "place"),
    [
        (QUESTIONS, half, ":1: the file is not valid JSON"),
        (VG, half, ":1: the file is not valid JSON"),
        (VISUAL7W, lambda content: content + b"]", ":1: the file is not valid JSON"),
        (COCO, lambda content: b'"' + content, ":1: the file is not valid JSON"),
        (GQA, lambda content: b"", ":1: the file is not valid JSON"),
        (GQA, lambda content: content[:-1] + b',"1":' + b"[" * 100_000, ":1: the file is not valid JSON"),
        (GRAPHS, lambda content: b"[1]", ": expected an object of entries by their ids"),
        (FLICKR30K, lambda content: content.replace(b"filename", b"\xff\xfe"), ":1: cannot be read as UTF-8 text"),
        (NLVR2, without_a_quote, ":7: expected one JSON object a line"),
        (SNLI_VE, lambda content: content.replace(b"\n", b"", 1), ":1: expected one JSON object a line"),
        (GUESSWHAT, half, ": expected one JSON object a line"),
        ("world.json", half, ":1: the file is not valid JSON"),
        ("refcoco/refs(unc).p", half, ": cannot be read as a plain pickle: it is cut short"),
        (
            "refcoco/refs(unc).p",
            lambda content: b"cos\nsystem\n" + content,
            ": cannot be read as a plain pickle: at byte 0",
        ),
        ("refcoco/refs(unc).p", lambda content: b"(d.", ": expected a list of refs, got dict"),
        ("refcoco/instances.json", half, ":1: the file is not valid JSON"),
    ],
)
def test_a_spoilt_file_is_named(planted, file, spoil, place):
    root = planted(file)
    (root / file).write_bytes(spoil((root / file).read_bytes()))

    result = run_check(root)

    assert result.exit_code == DATA_FAULT
    lines = [line for line in result.output.splitlines() if line.startswith(f"{file}:")]
    assert any(place in line.removeprefix(file) for line in lines), result.output


@pytest.mark.parametrize("file", [ANNOTATIONS, QUESTIONS, "refcoco/instances.json"])
def test_a_file_that_another_one_needs_is_missed(planted, file):
    root = planted(file)
    (root / file).unlink()

    result = run_check(root)

    assert result.exit_code == DATA_FAULT
    assert f"{file}: the file is missing" in result.output


def test_a_broken_caption_mark_is_found(planted):
    root = planted(FLICKR30K)
    path = min((root / "flickr30k/Sentences").glob("*.txt"))
    path.write_text(path.read_text().replace("[/EN#", "[EN#", 1))

    result = run_check(root)

    assert result.exit_code == DATA_FAULT
    assert f"flickr30k/Sentences/{path.name}:1: expected every bracket" in result.output


def test_the_small_world_has_no_fault_and_nothing_unread(world):
    inspection = inspect(world)

    assert [*inspection.faults, *inspection.unread] == []
    assert set(inspection.counts) == set(READERS)
    assert run_check(world).exit_code == 0
