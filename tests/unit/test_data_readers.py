"""Rows of the official files, real and hand-made, become the records stated here; damaged ones say what is wrong."""

import copy
import gzip
import json
import pickle
import shutil

import pytest

from training.data import READERS, Fault, available_splits, read
from training.data.entities import Phrase, linked_captions, parse
from training.data.faults import refuse
from training.data.gqa import QuestionChoices, QuestionFacts, question_choices, question_facts
from training.data.karpathy import _SPLITS as KARPATHY_SPLITS
from twelve.errors import DataError
from twelve.tasks.records import (
    AnsweredQuestion,
    CaptionedImage,
    ComparedImages,
    EntailedStatement,
    GuessedObject,
    PointedBox,
    ReferredBox,
)

MISSING = ...
LINES = (".jsonl", ".jsonline")
VQA_QUESTIONS = "vqa/v2_OpenEnded_mscoco_train2014_questions.json"
VQA_ANNOTATIONS = "vqa/v2_mscoco_train2014_annotations.json"
GQA = "gqa/train_balanced_questions.json"
GQA_ID = "202218649"
VG = "vg/question_answers.json"
COCO = "coco/dataset_coco.json"
FLICKR30K = "flickr30k/dataset_flickr30k.json"
INSTANCES = "refcoco/instances.json"
REFS = "refcoco/refs(unc).p"
VISUAL7W = "visual7w/dataset_v7w_pointing.json"
GUESSWHAT_A = "guesswhat/guesswhat.train.jsonl"
GUESSWHAT_B = "guesswhat/guesswhat.valid.jsonl"
NLVR2 = "nlvr2/dev.json"
SNLI_VE = "snli-ve/snli_ve_dev.jsonl"
SNLI_VE_OLDER = "snli-ve/snli_ve_test.jsonl"


@pytest.fixture
def root(tmp_path, request):
    """A data root of all fixtures, to be damaged."""
    for rows in ("official-rows", "hand-made-rows"):
        shutil.copytree(request.config.rootpath / "tests/data" / rows, tmp_path, dirs_exist_ok=True)
    return tmp_path


def load(path):
    if path.suffix == ".p":
        return pickle.loads(path.read_bytes(), encoding="latin1")  # our own fixture
    if path.suffix in LINES or "nlvr2" in path.parts:
        return [json.loads(line) for line in path.read_text().splitlines()]
    return json.loads(path.read_text())


def store(path, value):
    if path.suffix == ".p":
        path.write_bytes(pickle.dumps(value, protocol=0))
    elif path.suffix in LINES or "nlvr2" in path.parts:
        path.write_text("".join(json.dumps(row) + "\n" for row in value))
    else:
        path.write_text(json.dumps(value))


def damage(path, place, value):
    """Put a value at a place of a file, or take away what is there."""
    whole = load(path)
    inner = whole
    for step in place[:-1]:
        inner = inner[step]
    if value is MISSING:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    store(path, whole)


def first(root, task_name, split):
    return next(read(task_name, root, split))


# --- What each row says ------------------------------------------------------------------------------------------


def test_a_vqa_question_is_joined_to_its_ten_answers(root):
    assert first(root, "vqa-v2", "train") == AnsweredQuestion(
        id="458752000",
        image="images/coco/train2014/COCO_train2014_000000458752.jpg",
        question="What is this photo taken looking through?",
        answers=("net", "net", "net", "netting", "net", "net", "mesh", "net", "pitcher", "orange"),
    )


def test_a_vqa_question_has_its_official_type_as_kind(root):
    damage(root / VQA_ANNOTATIONS, ["annotations", 0, "question_type"], "what is this")

    assert first(root, "vqa-v2", "train").kind == "what is this"


def test_a_vqa_question_has_its_official_answer_type_beside_its_own(root):
    damage(root / VQA_ANNOTATIONS, ["annotations", 0, "answer_type"], "number")

    assert first(root, "vqa-v2", "train").answer_kind == "number"


def test_gqa_facts_and_choices_are_what_the_official_evaluation_reads(root):
    store(root / "gqa/train_choices.json", {GQA_ID: {"valid": ["picture", "pen"], "plausible": ["picture"]}})

    assert dict(question_facts(root, "train")) == {
        GQA_ID: QuestionFacts("query", "relS", "thing", entailed=("202218648",), is_balanced=True)
    }
    assert dict(question_choices(root, "train")) == {
        GQA_ID: QuestionChoices(frozenset({"picture", "pen"}), frozenset({"picture"}))
    }


def test_gqa_choices_need_not_be_there(root):
    assert dict(question_choices(root, "train")) == {}


def test_vqa_files_need_not_be_in_the_same_order(root):
    before = list(read("vqa-v2", root, "train"))
    annotations = load(root / VQA_ANNOTATIONS)
    annotations["annotations"].reverse()
    store(root / VQA_ANNOTATIONS, annotations)

    assert list(read("vqa-v2", root, "train")) == before


def test_vqa_test_questions_have_no_answers_unless_a_file_gives_them(root):
    shutil.copy(root / VQA_QUESTIONS, root / VQA_QUESTIONS.replace("train2014", "test2015"))

    assert first(root, "vqa-v2", "test").answers == ()
    assert first(root, "vqa-v2", "test").image == "images/coco/test2015/COCO_test2015_000000458752.jpg"

    shutil.copy(root / VQA_ANNOTATIONS, root / VQA_ANNOTATIONS.replace("train2014", "test2015"))
    assert len(first(root, "vqa-v2", "test").answers) == 10


def test_vqa_train_questions_without_annotations_are_refused(root):
    (root / VQA_ANNOTATIONS).unlink()

    with pytest.raises(Fault, match=r"annotations\.json: the file is missing"):
        first(root, "vqa-v2", "train")


def test_a_gqa_question_keeps_its_textual_ids_and_semantic_type(root):
    assert list(read("gqa", root, "train")) == [
        AnsweredQuestion(
            id=GQA_ID,
            image="images/vg/VG_100K/n578564.jpg",
            question="What is hanging above the chalkboard?",
            answers=("picture",),
            kind="rel",
        )
    ]


def test_a_gqa_directory_is_read_in_the_order_of_its_numbers(root):
    questions = load(root / GQA)
    (root / GQA).unlink()
    folder = root / "gqa/train_all_questions"
    folder.mkdir()
    for number in (10, 2, 0):
        store(folder / f"train_all_questions_{number}.json", {f"{number}": questions[GQA_ID]})

    assert [record.id for record in read("gqa", root, "train")] == ["0", "2", "10"]


@pytest.mark.parametrize(
    ("split", "subset"), [("test-std", "test"), ("challenge", "challenge"), ("submission", "submission")]
)
def test_gqa_questions_whose_answers_are_kept_back_have_none(root, split, subset):
    (root / GQA).unlink()
    asked = {"7": {"imageId": "n7", "question": "What is it?", "isBalanced": True}}
    store(root / f"gqa/{subset}_all_questions.json", asked)

    assert available_splits("gqa", root) == (split,)
    assert list(read("gqa", root, split)) == [
        AnsweredQuestion("7", "images/vg/VG_100K/n7.jpg", "What is it?", answers=())
    ]


def test_gqa_testdev_is_the_test_split(root):
    (root / GQA).rename(root / "gqa/testdev_balanced_questions.json")

    assert available_splits("gqa", root) == ("test",)


def test_visual_genome_answers_are_normalised_as_vqa_answers_are(root):
    records = list(read("vg-qa", root, "val"))

    assert records[0] == AnsweredQuestion(
        "987278", "images/vg/VG_100K/4.jpg", "What is on the curtains?", ("sailboats",)
    )
    assert [record.answers[0] for record in records] == [
        "sailboats",
        "in room",
        "purple",
        "glass",
        "teddy bear",
        "in home office",
        "on floor",
        "empty",
    ]


def test_a_free_answer_of_articles_and_marks_only_is_no_answer(root):
    damage(root / VG, [0, "qas", 0, "answer"], "The.")

    assert first(root, "vg-qa", "val").answers == ()


def test_visual_genome_answers_are_found_in_the_published_answer_list(root):
    published = json.loads((root / "vqa_label2ans_3129.json").read_text())
    damage(root / VG, [0, "qas", 0, "answer"], "To get to the other side.")

    assert first(root, "vg-qa", "val").answers[0] in published


def test_visual_genome_pictures_are_looked_for_in_both_archives(root):
    other = root / "images/vg/VG_100K_2/5.jpg"
    other.parent.mkdir(parents=True)
    other.touch()

    images = {record.image for record in read("vg-qa", root, "val")}

    assert images == {"images/vg/VG_100K/4.jpg", "images/vg/VG_100K_2/5.jpg"}


def test_the_last_questions_of_visual_genome_by_id_are_val(root, monkeypatch):
    monkeypatch.setattr("training.data.vg.VAL_QUESTIONS", 3)

    assert sorted(record.id for record in read("vg-qa", root, "val")) == [
        "987285",
        "987452",
        "987453",
    ]
    assert sorted(record.id for record in read("vg-qa", root, "train")) == [
        "966490",
        "987278",
        "987282",
        "987283",
        "987284",
    ]


def test_a_splits_file_deals_visual_genome_pictures_out(root):
    store(root / "vg/splits.json", {"train": [4], "val": [], "novel": [5]})

    assert available_splits("vg-qa", root) == ("train", "novel")
    assert len(list(read("vg-qa", root, "train"))) == 5
    assert len(list(read("vg-qa", root, "novel"))) == 3


def test_a_coco_picture_has_its_captions_without_outer_blanks(root):
    record = first(root, "coco-retrieval", "test")

    assert (record.id, record.image) == ("391895", "images/coco/val2014/COCO_val2014_000000391895.jpg")
    assert len(record.captions) == 5
    assert record.captions[0] == "A man with a red helmet on a small moped on a dirt road."


def test_restval_joins_train_and_an_empty_caption_is_left_out(root):
    assert list(read("coco-retrieval", root, "train")) == [
        CaptionedImage(
            "60623",
            "images/coco/val2014/COCO_val2014_000000060623.jpg",
            ("A young girl eats cake.", "A girl with a fork."),
        ),
        CaptionedImage(
            "9", "images/coco/train2014/COCO_train2014_000000000009.jpg", ("Food in boxes.", "Broccoli and bread.")
        ),
    ]
    assert set(KARPATHY_SPLITS.values()) == {"train", "val", "test", "novel"}


def test_a_flickr30k_picture_is_known_by_its_file_name(root):
    assert list(read("flickr30k-retrieval", root, "val")) == [
        CaptionedImage(
            "1018148011",
            "images/flickr30k/flickr30k-images/1018148011.jpg",
            ("A group of people stand in a yard.",),
        )
    ]


@pytest.fixture
def root_of_12_in_1(root, request):
    """A data root whose captions are in 12-in-1's own form alone."""
    for karpathy in (COCO, FLICKR30K):
        (root / karpathy).unlink()
    shutil.copytree(request.config.rootpath / "tests/data/hand-made-jsonlines", root, dirs_exist_ok=True)
    return root


@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("task_name", ["coco-retrieval", "flickr30k-retrieval"])
def test_captions_are_the_same_in_the_form_of_12_in_1(request, task_name, split):
    before = list(read(task_name, request.getfixturevalue("root"), split))

    assert before
    assert list(read(task_name, request.getfixturevalue("root_of_12_in_1"), split)) == before


def test_karpathys_file_is_read_where_both_forms_are_there(root, request):
    shutil.copytree(request.config.rootpath / "tests/data/hand-made-jsonlines", root, dirs_exist_ok=True)
    damage(root / "coco/all_data_final_train_2014.jsonline", [0, "sentences"], ["Another caption."])

    assert first(root, "coco-retrieval", "train").captions[0] == "A young girl eats cake."


def test_a_missing_caption_file_is_told_in_both_forms(tmp_path):
    with pytest.raises(DataError, match=r"expected in coco/dataset_coco.json or coco/all_data_final_\{train\|val_set0"):
        read("coco-retrieval", tmp_path, "train")


def test_each_sentence_of_a_ref_is_a_record(root):
    records = list(read("refcoco", root, "train"))

    assert [record.expression for record in records] == [
        "THE LADY WITH THE BLUE SHIRT",
        "lady w back to us",
        "blue shirt",
    ]
    assert records[1] == ReferredBox(
        id="1",
        image="images/coco/train2014/COCO_train2014_000000581857.jpg",
        expression="lady w back to us",
        box_px=pytest.approx((103.93, 299.99, 238.15, 477.41)),
        split="train",
    )


@pytest.mark.parametrize(("task_name", "splitter"), [("refcoco", "unc"), ("refcocog", "umd")])
def test_refs_that_google_split_are_read_where_the_others_are_not_there(root, task_name, splitter):
    before = list(read(task_name, root, "train"))
    (root / f"{task_name}/refs({splitter}).p").rename(root / f"{task_name}/refs(google).p")

    assert before
    assert list(read(task_name, root, "train")) == before


@pytest.mark.parametrize("protocol", range(1, 6))
def test_refs_of_any_protocol_are_read(root, protocol):
    before = list(read("refcoco", root, "train"))
    (root / REFS).write_bytes(pickle.dumps(load(root / REFS), protocol=protocol))

    assert list(read("refcoco", root, "train")) == before


def test_refcoco_test_is_its_two_parts_together(root):
    parts = {split: [record.id for record in read("refcoco", root, split)] for split in ("testA", "testB", "test")}

    assert parts == {"testA": ["3"], "testB": ["4", "5"], "test": ["3", "4", "5"]}
    assert [record.split for record in read("refcoco", root, "test")] == ["testA", "testB", "testB"]


def test_splits_of_the_refcocos_are_those_their_refs_are_in(root):
    assert available_splits("refcoco", root) == ("train", "val", "test", "testA", "testB")
    assert available_splits("refcoco+", root) == ("train", "val", "test", "testB")
    assert available_splits("refcocog", root) == ("train", "val", "test")


def test_visual7w_candidates_stand_in_the_order_of_their_ids(root):
    assert first(root, "visual7w", "train") == PointedBox(
        id="650",
        image="images/visual7w/v7w_2317469.jpg",
        question="Which item is used to cut paper?",
        boxes_px=((0, 0, 50, 40), (10, 20, 40, 60), (100, 120, 160, 145), (200, 0, 280, 160)),  # first: from -1, -1
        answer=2,
        box_ids=(701, 702, 703, 704),
    )


@pytest.mark.parametrize("split", ["train", "val"])
def test_both_guesswhat_layouts_give_the_same_records(root, split):
    dialog = (("Is it a person?", "No"), ("Is it red?", "N/A"), ("Is it the car?", "Yes"))
    boxes = (pytest.approx((21.08, 145.54, 68.92, 239.59)), pytest.approx((300.0, 100.0, 380.5, 140.25)))
    image = "images/coco/val2014/COCO_val2014_000000534127.jpg"

    assert list(read("guesswhat", root, split)) == [
        GuessedObject("2416", image, dialog, boxes, 1, (480437, 2159052)),
        GuessedObject("2419", image, dialog, boxes, 0, (480437, 2159052)),
    ]


def test_a_packed_guesswhat_file_is_read_as_well(root):
    before = list(read("guesswhat", root, "val"))
    plain = root / GUESSWHAT_B
    plain.with_suffix(".jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()

    assert list(read("guesswhat", root, "val")) == before


def test_an_nlvr2_row_names_two_pictures_and_a_truth(root):
    records = list(read("nlvr2", root, "val"))

    assert len(records) == 40
    assert records[1] == ComparedImages(
        id="dev-850-2-0",
        images=("images/nlvr2/dev/dev-850-2-img0.png", "images/nlvr2/dev/dev-850-2-img1.png"),
        statement=load(root / NLVR2)[1]["sentence"],
        label=True,
    )
    assert records[0].label is False


def test_nlvr2_train_pictures_lie_in_numbered_folders(root):
    row = load(root / NLVR2)[0] | {"identifier": "train-10171-0-3", "directory": 24}
    (root / "nlvr2/train.json").write_text(json.dumps(row))

    assert first(root, "nlvr2", "train").images[1] == "images/nlvr2/train/24/train-10171-0-img1.png"


def test_an_snli_ve_row_keeps_label_and_annotators(root):
    records = list(read("snli-ve", root, "val"))

    assert len(records) == 16
    assert records[5] == EntailedStatement(
        id="2248275918.jpg#3r1c",
        image="images/flickr30k/flickr30k-images/2248275918.jpg",
        statement=load(root / SNLI_VE)[5]["sentence2"],
        label="neutral",
        annotators=("contradiction", "neutral", "neutral", "neutral", "contradiction"),
    )


def test_the_older_snli_ve_spelling_is_read_and_undecided_rows_are_left_out(root):
    records = list(read("snli-ve", root, "test"))

    assert [record.label for record in records] == ["neutral", "entailment", "contradiction"]
    assert records[0].image == "images/flickr30k/flickr30k-images/4705552913.jpg"


def test_an_entities_caption_is_taken_apart(root):
    captions = list(linked_captions(root, refuse))

    assert len(captions) == 5
    assert captions[3].image_id == "4945942737"
    assert captions[3].text == "A small girl sits on a ledge by the water contemplating life ."
    assert captions[3].phrases == (
        Phrase("A small girl", 0, "221796", ("people",)),
        Phrase("a ledge", 21, "221799", ("other",)),
        Phrase("the water", 32, "221798", ("scene",)),
        Phrase("life", 56, "221802", ("other",)),
    )


def test_an_entities_phrase_may_be_of_several_kinds():
    caption = parse("[/EN#7/people/animals A rider] and [/EN#0/notvisual it]", image_id="1")

    assert [phrase.kinds for phrase in caption.phrases] == [("people", "animals"), ("notvisual",)]


# --- What damaged rows say ---------------------------------------------------------------------------------------

# task, split, file, where in it, what is put there; then the row and the field that the error names
DAMAGES = [
    ("vqa-v2", "train", VQA_QUESTIONS, ["questions", 1, "question_id"], MISSING, "questions[1]", "question_id"),
    ("vqa-v2", "train", VQA_QUESTIONS, ["questions", 1, "question_id"], "12", "questions[1]", "question_id"),
    ("vqa-v2", "train", VQA_QUESTIONS, ["questions", 2, "question_id"], 458752001, "questions[2]", "question_id"),
    ("vqa-v2", "train", VQA_QUESTIONS, ["questions", 0, "image_id"], -4, "questions[0]", "image_id"),
    ("vqa-v2", "train", VQA_QUESTIONS, ["questions", 0, "image_id"], True, "questions[0]", "image_id"),
    ("vqa-v2", "train", VQA_QUESTIONS, ["questions", 2, "question"], " ", "questions[2]", "question"),
    ("vqa-v2", "train", VQA_QUESTIONS, ["questions", 2], [1], "questions[2]", ""),
    ("vqa-v2", "train", VQA_ANNOTATIONS, ["annotations", 0, "answers"], MISSING, "annotations[0]", "answers"),
    ("vqa-v2", "train", VQA_ANNOTATIONS, ["annotations", 0, "answers", 9], MISSING, "annotations[0]", "answers"),
    (
        "vqa-v2",
        "train",
        VQA_ANNOTATIONS,
        ["annotations", 0, "answers", 3, "answer"],
        7,
        "annotations[0]",
        "answers[3].answer",
    ),
    ("vqa-v2", "train", VQA_ANNOTATIONS, ["annotations", 1, "question_id"], None, "annotations[1]", "question_id"),
    ("vqa-v2", "train", VQA_ANNOTATIONS, ["annotations", 1, "question_id"], 458752000, "annotations[1]", "question_id"),
    ("vqa-v2", "train", VQA_ANNOTATIONS, ["annotations", 1, "question_type"], 3, "annotations[1]", "question_type"),
    ("vqa-v2", "train", VQA_ANNOTATIONS, ["annotations", 0, "image_id"], 5, "questions[0]", "image_id"),
    ("gqa", "train", GQA, [GQA_ID, "imageId"], 578564, GQA_ID, "imageId"),
    ("gqa", "train", GQA, [GQA_ID, "imageId"], "../../etc/passwd", GQA_ID, "imageId"),
    ("gqa", "train", GQA, [GQA_ID, "question"], "", GQA_ID, "question"),
    ("gqa", "train", GQA, [GQA_ID, "answer"], MISSING, GQA_ID, "answer"),
    ("gqa", "train", GQA, [GQA_ID, "answer"], ["picture"], GQA_ID, "answer"),
    ("gqa", "train", GQA, [GQA_ID, "types"], MISSING, GQA_ID, "types"),
    ("gqa", "train", GQA, [GQA_ID, "types", "semantic"], 1, GQA_ID, "types.semantic"),
    ("gqa", "train", GQA, [GQA_ID], "text", GQA_ID, ""),
    ("vg-qa", "val", VG, [0, "qas"], MISSING, "[0]", "qas"),
    ("vg-qa", "val", VG, [0, "qas"], {}, "[0]", "qas"),
    ("vg-qa", "val", VG, [0, "qas", 2, "qa_id"], "987283", "[0]", "qas[2].qa_id"),
    ("vg-qa", "val", VG, [0, "qas", 2, "image_id"], MISSING, "[0]", "qas[2].image_id"),
    ("vg-qa", "val", VG, [1, "qas", 0, "question"], None, "[1]", "qas[0].question"),
    ("vg-qa", "val", VG, [1, "qas", 0, "answer"], "", "[1]", "qas[0].answer"),
    ("vg-qa", "val", VG, [1, "qas", 1], None, "[1]", "qas[1]"),
    ("coco-retrieval", "test", COCO, ["images", 1, "split"], "tset", "images[1]", "split"),
    ("coco-retrieval", "test", COCO, ["images", 0, "cocoid"], "391895", "images[0]", "cocoid"),
    ("coco-retrieval", "test", COCO, ["images", 0, "filename"], "391895.jpg", "images[0]", "filename"),
    ("coco-retrieval", "test", COCO, ["images", 0, "filename"], MISSING, "images[0]", "filename"),
    ("coco-retrieval", "test", COCO, ["images", 0, "sentences"], [], "images[0]", "sentences"),
    ("coco-retrieval", "test", COCO, ["images", 0, "sentences", 2, "raw"], 5, "images[0]", "sentences[2].raw"),
    ("coco-retrieval", "test", COCO, ["images", 0, "sentences", 2], "A man.", "images[0]", "sentences[2]"),
    ("flickr30k-retrieval", "val", FLICKR30K, ["images", 0, "split"], MISSING, "images[0]", "split"),
    ("flickr30k-retrieval", "val", FLICKR30K, ["images", 1, "filename"], "../1.jpg", "images[1]", "filename"),
    ("flickr30k-retrieval", "val", FLICKR30K, ["images", 1, "filename"], 1018148011, "images[1]", "filename"),
    ("flickr30k-retrieval", "val", FLICKR30K, ["images", 1, "sentences"], "A group", "images[1]", "sentences"),
    ("flickr30k-retrieval", "val", FLICKR30K, ["images", 1, "sentences", 0, "raw"], "", "images[1]", "sentences"),
    (
        "flickr30k-retrieval",
        "val",
        FLICKR30K,
        ["images", 1, "sentences", 0, "raw"],
        ["A"],
        "images[1]",
        "sentences[0].raw",
    ),
    ("refcoco", "test", REFS, [1, "split"], "testC", "[1]", "split"),
    ("refcoco", "test", REFS, [1, "ann_id"], 77, "[1]", "ann_id"),
    ("refcoco", "test", REFS, [1, "ann_id"], MISSING, "[1]", "ann_id"),
    ("refcoco", "test", REFS, [1, "image_id"], 580957, "[1]", "image_id"),
    ("refcoco", "test", REFS, [2, "sentences", 1, "raw"], MISSING, "[2]", "sentences[1].raw"),
    ("refcoco", "test", REFS, [2, "sentences", 1, "sent_id"], "5", "[2]", "sentences[1].sent_id"),
    ("refcoco", "test", REFS, [2, "sentences"], MISSING, "[2]", "sentences"),
    ("refcoco", "test", REFS, [2], "ref", "[2]", ""),
    ("refcoco", "test", INSTANCES, ["annotations", 1, "bbox"], [1, 2, 3], "annotations[1]", "bbox"),
    ("refcoco", "test", INSTANCES, ["annotations", 1, "bbox", 2], 0, "annotations[1]", "bbox"),
    ("refcoco", "test", INSTANCES, ["annotations", 1, "bbox", 0], float("nan"), "annotations[1]", "bbox"),
    ("refcoco", "test", INSTANCES, ["annotations", 1, "bbox", 0], 10**400, "annotations[1]", "bbox"),
    ("refcoco", "test", INSTANCES, ["annotations", 1, "image_id"], MISSING, "annotations[1]", "image_id"),
    ("refcoco", "test", INSTANCES, ["annotations", 1, "id"], MISSING, "annotations[1]", "id"),
    ("refcoco", "test", INSTANCES, ["images", 0, "file_name"], "a/../b.jpg", "images[0]", "file_name"),
    ("refcoco", "test", INSTANCES, ["images", 0, "id"], 3, "[1]", "image_id"),
    ("visual7w", "train", VISUAL7W, ["boxes", 2, "width"], 0, "boxes[2]", "width"),
    ("visual7w", "train", VISUAL7W, ["boxes", 0, "height"], 1, "boxes[0]", "height"),
    ("visual7w", "train", VISUAL7W, ["boxes", 2, "x"], 1.5, "boxes[2]", "x"),
    ("visual7w", "train", VISUAL7W, ["boxes", 2, "box_id"], MISSING, "boxes[2]", "box_id"),
    ("visual7w", "train", VISUAL7W, ["images", 0, "filename"], "/v7w_1.jpg", "images[0]", "filename"),
    ("visual7w", "train", VISUAL7W, ["images", 1, "split"], None, "images[1]", "split"),
    ("visual7w", "train", VISUAL7W, ["images", 0, "qa_pairs", 0, "answer"], 999, "images[0]", "qa_pairs[0].answer"),
    (
        "visual7w",
        "train",
        VISUAL7W,
        ["images", 0, "qa_pairs", 0, "multiple_choices"],
        [701, 702],
        "images[0]",
        "qa_pairs[0].multiple_choices",
    ),
    (
        "visual7w",
        "train",
        VISUAL7W,
        ["images", 0, "qa_pairs", 0, "multiple_choices", 0],
        703,
        "images[0]",
        "qa_pairs[0].multiple_choices",
    ),
    (
        "visual7w",
        "train",
        VISUAL7W,
        ["images", 0, "qa_pairs", 0, "multiple_choices", 0],
        998,
        "images[0]",
        "qa_pairs[0].multiple_choices",
    ),
    ("visual7w", "train", VISUAL7W, ["images", 0, "qa_pairs", 1, "question"], "", "images[0]", "qa_pairs[1].question"),
    ("guesswhat", "train", GUESSWHAT_A, [0, "status"], "won", "1", "status"),
    ("guesswhat", "train", GUESSWHAT_A, [0, "object_id"], 3, "1", "object_id"),
    ("guesswhat", "train", GUESSWHAT_A, [3, "image"], MISSING, "4", "image"),
    ("guesswhat", "train", GUESSWHAT_A, [3, "image", "file_name"], "COCO_534127.jpg", "4", "image.file_name"),
    ("guesswhat", "train", GUESSWHAT_A, [0, "objects", 1, "bbox"], [1, 2, 3, -4], "1", "objects[1].bbox"),
    ("guesswhat", "train", GUESSWHAT_A, [0, "objects", 1, "id"], "480437", "1", "objects[1].id"),
    ("guesswhat", "train", GUESSWHAT_A, [0, "qas", 2, "answer"], "Maybe", "1", "qas[2].answer"),
    ("guesswhat", "train", GUESSWHAT_A, [0, "id"], MISSING, "1", "id"),
    ("guesswhat", "val", GUESSWHAT_B, [0, "status"], MISSING, "1", "status"),
    ("guesswhat", "val", GUESSWHAT_B, [0, "object_id"], None, "1", "object_id"),
    ("guesswhat", "val", GUESSWHAT_B, [3, "picture", "file_name"], 1, "4", "picture.file_name"),
    ("guesswhat", "val", GUESSWHAT_B, [0, "objects"], [], "1", "objects"),
    ("guesswhat", "val", GUESSWHAT_B, [0, "objects", "480437", "bbox"], "box", "1", "objects[480437].bbox"),
    ("guesswhat", "val", GUESSWHAT_B, [0, "qas", 1, "q"], " ", "1", "qas[1].q"),
    ("guesswhat", "val", GUESSWHAT_B, [0, "qas", 1, "a"], "n/a", "1", "qas[1].a"),
    ("guesswhat", "val", GUESSWHAT_B, [3, "dialogue_id"], "2419", "4", "dialogue_id"),
    ("nlvr2", "val", NLVR2, [4, "identifier"], "dev-850-1", "5", "identifier"),
    ("nlvr2", "val", NLVR2, [4, "identifier"], "../dev-1-0-0", "5", "identifier"),
    ("nlvr2", "val", NLVR2, [4, "label"], True, "5", "label"),
    ("nlvr2", "val", NLVR2, [4, "label"], "true", "5", "label"),
    ("nlvr2", "val", NLVR2, [4, "sentence"], MISSING, "5", "sentence"),
    ("nlvr2", "val", NLVR2, [4, "directory"], "24", "5", "directory"),
    ("nlvr2", "val", NLVR2, [4], ["dev-850-1-1"], "5", ""),
    ("snli-ve", "val", SNLI_VE, [2, "gold_label"], "entails", "3", "gold_label"),
    ("snli-ve", "val", SNLI_VE, [2, "gold_label"], MISSING, "3", "gold_label"),
    ("snli-ve", "val", SNLI_VE, [2, "Flickr30K_ID"], MISSING, "3", "Flickr30K_ID"),
    ("snli-ve", "val", SNLI_VE, [2, "Flickr30K_ID"], 2248275918, "3", "Flickr30K_ID"),
    ("snli-ve", "val", SNLI_VE, [2, "sentence2"], "", "3", "sentence2"),
    ("snli-ve", "val", SNLI_VE, [2, "pairID"], MISSING, "3", "pairID"),
    ("snli-ve", "val", SNLI_VE, [2, "annotator_labels"], "neutral", "3", "annotator_labels"),
    ("snli-ve", "test", SNLI_VE_OLDER, [0, "Flikr30kID"], "4705552913.png", "1", "Flikr30kID"),
    ("snli-ve", "test", SNLI_VE_OLDER, [0, "Flikr30kID"], MISSING, "1", "Flickr30K_ID"),
    ("snli-ve", "test", SNLI_VE_OLDER, [0, "gold_label"], "", "1", "gold_label"),
    ("snli-ve", "test", SNLI_VE_OLDER, [0, "sentence2"], 4, "1", "sentence2"),
    ("snli-ve", "test", SNLI_VE_OLDER, [0, "pairID"], None, "1", "pairID"),
    ("snli-ve", "test", SNLI_VE_OLDER, [0, "annotator_labels", 0], 1, "1", "annotator_labels"),
    ("coco-retrieval", "test", COCO, ["images", 0, "cocoid"], 391896, "images[0]", "cocoid"),
    ("refcoco", "test", INSTANCES, ["images", 0, "width"], 20, "[1]", "ann_id"),
    ("nlvr2", "val", NLVR2, [4, "identifier"], "train-850-1-1", "5", "identifier"),
]


@pytest.mark.parametrize(("task_name", "split", "file", "place", "value", "row", "field"), DAMAGES)
def test_a_damaged_row_is_a_fault_that_names_row_and_field(root, task_name, split, file, place, value, row, field):
    damage(root / file, place, copy.deepcopy(value))
    faults = []

    for _ in read(task_name, root, split, on_fault=faults.append):
        pass

    assert (row, field) in {(fault.row, fault.field) for fault in faults}
    assert all(fault.reason and fault.message.startswith(fault.file) for fault in faults)


@pytest.mark.parametrize(
    ("task_name", "split", "file", "place", "value", "row", "field"),
    {(task_name, split): case for case in DAMAGES for task_name, split in [case[:2]]}.values(),
)
def test_the_first_fault_ends_reading_for_training(root, task_name, split, file, place, value, row, field):
    damage(root / file, place, copy.deepcopy(value))

    with pytest.raises(Fault) as caught:
        list(read(task_name, root, split))

    assert (caught.value.row, caught.value.field) == (row, field)


def test_the_row_that_hides_a_whole_split_is_named(root):
    damage(root / VISUAL7W, ["images", 0, "split"], "trian")

    with pytest.raises(Fault, match=r"images\[0\]: split: expected one of novel, test, train, val, got 'trian'"):
        read("visual7w", root, "train")


def test_a_fault_costs_only_its_own_row(root):
    damage(root / NLVR2, [4, "label"], "true")
    faults = []

    records = list(read("nlvr2", root, "val", on_fault=faults.append))

    assert len(records) == 39
    assert [fault.message for fault in faults] == ["nlvr2/dev.json:5: label: expected one of False, True, got 'true'"]


@pytest.mark.parametrize(
    ("task_name", "split", "file", "place", "row", "field"),
    [
        ("vqa-v2", "train", VQA_QUESTIONS, ["questions"], "questions[1]", "question_id"),
        ("vqa-v2", "train", VQA_ANNOTATIONS, ["annotations"], "annotations[1]", "question_id"),
        ("vg-qa", "val", VG, [0, "qas"], "[0]", "qas[1].qa_id"),
        ("refcoco", "train", INSTANCES, ["images"], "images[1]", "id"),
        ("refcoco", "train", REFS, [0, "sentences"], "[0]", "sentences[1].sent_id"),
        ("visual7w", "train", VISUAL7W, ["boxes"], "boxes[1]", "box_id"),
        ("visual7w", "train", VISUAL7W, ["images", 0, "qa_pairs"], "images[0]", "qa_pairs[1].qa_id"),
        ("guesswhat", "train", GUESSWHAT_A, [], "2", "id"),
        ("guesswhat", "train", GUESSWHAT_A, [0, "objects"], "1", "objects[1].id"),
        ("nlvr2", "val", NLVR2, [], "2", "identifier"),
        ("snli-ve", "val", SNLI_VE, [], "2", "pairID"),
    ],
)
def test_a_row_that_comes_twice_is_a_fault(root, task_name, split, file, place, row, field):
    whole = load(root / file)
    rows = whole
    for step in place:
        rows = rows[step]
    rows[1] = rows[0]
    store(root / file, whole)
    faults = []

    list(read(task_name, root, split, on_fault=faults.append))

    again = [fault for fault in faults if "already" in fault.reason]
    assert (row, field) in [(fault.row, fault.field) for fault in again]


def test_a_gqa_question_that_comes_twice_is_a_fault(root):
    whole = (root / GQA).read_text().rstrip()
    row = whole[whole.index(":") + 1 : -1]
    (root / GQA).write_text(f'{{"{GQA_ID}": {row}, "{GQA_ID}": {row}}}')

    with pytest.raises(Fault, match=f"{GQA_ID}: '{GQA_ID}' stands in an earlier row already"):
        list(read("gqa", root, "train"))


def test_a_message_says_what_was_expected_and_what_was_got(root):
    damage(root / VQA_QUESTIONS, ["questions", 1, "image_id"], "458752")

    with pytest.raises(Fault) as caught:
        list(read("vqa-v2", root, "train"))

    assert caught.value.message == (f"{VQA_QUESTIONS}:questions[1]: image_id: expected an integer, got '458752'")
    assert caught.value.at == "image_id"


def test_an_annotation_without_a_question_is_a_fault(root):
    damage(root / VQA_QUESTIONS, ["questions", 2], MISSING)

    with pytest.raises(Fault, match=r"annotations\[2\]: question_id: no question has the id 458752002"):
        list(read("vqa-v2", root, "train"))


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        ({"train": [4], "tset": [5]}, r"splits\.json:tset\[0\]: expected lists of picture ids"),
        ({"train": ["4"]}, r"splits\.json:train\[0\]: expected lists"),
        ({"train": 4}, r"splits\.json:train: expected lists"),
    ],
)
def test_a_wrong_splits_file_is_a_fault(root, splits, message):
    store(root / "vg/splits.json", splits)

    with pytest.raises(Fault, match=message):
        available_splits("vg-qa", root)


@pytest.mark.parametrize(
    "line", ["[/EN#1/people A girl", "[A girl]", "[/EN#x/people A girl]", "[/EN#1 A girl]", "", "  "]
)
def test_a_caption_with_a_broken_mark_is_a_fault(root, line):
    path = root / "flickr30k/Sentences/4945942737.txt"
    path.write_text(f"[/EN#1/people A girl] sits .\n{line}\n")
    faults = []

    captions = list(linked_captions(root, faults.append))

    assert len(captions) == 1
    assert [fault.row for fault in faults] == ["2"]


# --- Names -------------------------------------------------------------------------------------------------------


def test_every_task_has_a_reader():
    assert set(READERS) == {
        "vqa-v2",
        "vg-qa",
        "gqa",
        "coco-retrieval",
        "flickr30k-retrieval",
        "refcoco",
        "refcoco+",
        "refcocog",
        "visual7w",
        "guesswhat",
        "nlvr2",
        "snli-ve",
    }


def test_an_unknown_task_is_named_with_those_there_are(root):
    with pytest.raises(DataError, match="no reader for task 'vcr'; there are readers for vqa-v2"):
        read("vcr", root, "train")


def test_a_split_that_is_not_there_is_named_with_those_that_are(root):
    with pytest.raises(DataError, match=r"task 'gqa' has no split 'novel' under .*: found train; expected in gqa/"):
        read("gqa", root, "novel")


@pytest.mark.parametrize("task_name", sorted(READERS))
def test_an_empty_root_has_no_splits(tmp_path, task_name):
    assert available_splits(task_name, tmp_path) == ()
