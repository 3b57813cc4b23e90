"""Are the world's official files as the official files are? Names and types of fields are those of the real rows."""

import hashlib
import io
import json
import pickle
from collections import Counter
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from training.data.check import inspect
from training.data.readers import READERS, read
from training.world.assembly import FORMAT_VERSION, Identity, assemble, is_whole
from training.world.command import world
from training.world.kinds import KINDS, is_novel
from training.world.official.corpus import SPLITS
from training.world.official.pickles import write_pickle
from training.world.official.vqa import answer_type, question_type
from training.world.profiles import PROFILES
from training.world.scenes import read_scenes
from training.world.words.report import balance
from twelve.errors import DataError

SEED = 3
TINY = PROFILES["tiny"]

VQA_QUESTION = {"image_id": int, "question": str, "question_id": int}
VQA_ANNOTATION = {
    "question_type": str,
    "multiple_choice_answer": str,
    "answers": list,
    "image_id": int,
    "answer_type": str,
    "question_id": int,
}
VQA_ANSWER = {"answer": str, "answer_confidence": str, "answer_id": int}
GQA_QUESTION = {
    "semantic": list,
    "entailed": list,
    "equivalent": list,
    "question": str,
    "imageId": str,
    "isBalanced": bool,
    "groups": dict,
    "answer": str,
    "semanticStr": str,
    "annotations": dict,
    "types": dict,
    "fullAnswer": str,
}
GQA_OBJECT = {"name": str, "x": int, "y": int, "w": int, "h": int, "attributes": list, "relations": list}
VG_QUESTION = {"a_objects": list, "question": str, "image_id": int, "qa_id": int, "answer": str, "q_objects": list}
KARPATHY_SENTENCE = {"tokens": list, "raw": str, "imgid": int, "sentid": int}
REF = {
    "sent_ids": list,
    "file_name": str,
    "ann_id": int,
    "ref_id": int,
    "image_id": int,
    "split": str,
    "sentences": list,
    "category_id": int,
}
REF_SENTENCE = {"tokens": list, "raw": str, "sent_id": int, "sent": str}
ANNOTATION = {
    "segmentation": list,
    "area": int,
    "iscrowd": int,
    "image_id": int,
    "bbox": list,
    "category_id": int,
    "id": int,
}
V7W_QUESTION = {"qa_id": int, "question": str, "answer": int, "multiple_choices": list, "type": str, "image_id": int}
V7W_BOX = {"box_id": int, "name": str, "x": int, "y": int, "width": int, "height": int}
GAME = {
    "status": str,
    "picture": dict,
    "picture_id": int,
    "qas": list,
    "questioner_id": int,
    "timestamp": str,
    "object_id": int,
    "dialogue_id": int,
    "objects": dict,
}
GAME_OBJECT = {
    "category": str,
    "area": float,
    "iscrowd": bool,
    "object_id": int,
    "bbox": list,
    "category_id": int,
    "segment": list,
}
NLVR2 = {
    "validation": dict,
    "sentence": str,
    "left_url": str,
    "writer": str,
    "label": str,
    "right_url": str,
    "synset": str,
    "query": str,
    "identifier": str,
}
SNLI_VE = {
    "Flickr30K_ID": str,
    "annotator_labels": list,
    "captionID": str,
    "gold_label": str,
    "pairID": str,
    "sentence1": str,
    "sentence1_binary_parse": str,
    "sentence1_parse": str,
    "sentence2": str,
    "sentence2_binary_parse": str,
    "sentence2_parse": str,
}


def silent(name, steps):
    return lambda done: None


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    assemble(TINY, SEED, folder, stage=silent, processes=1)
    return folder


def load(root, name):
    return json.loads((root / name).read_text())


def load_lines(root, name):
    return [json.loads(line) for line in (root / name).read_text().splitlines()]


def types(row):
    return {name: type(value) for name, value in row.items()}


def test_the_readers_of_the_real_files_find_no_fault_and_every_split(root):
    inspection = inspect(root)
    assert inspection.faults == []
    for name in READERS:
        assert all(inspection.counts[name].get(split, 0) > 0 for split in SPLITS), (name, inspection.counts[name])


def test_every_picture_that_a_record_names_is_there(root):
    for name in READERS:
        for split in SPLITS:
            for record in read(name, root, split):
                images = record.images if hasattr(record, "images") else (record.image,)
                assert all((root / image).is_file() for image in images), record


def test_boxes_lie_in_their_pictures(root):
    for name in ("refcoco", "visual7w", "guesswhat"):
        for record in read(name, root, "train"):
            for x1, y1, x2, y2 in getattr(record, "boxes_px", None) or (record.box_px,):
                assert 0 <= x1 < x2 <= TINY.width
                assert 0 <= y1 < y2 <= TINY.height


def test_vqa_rows_have_the_official_fields(root):
    for split in ("train2014", "val2014", "test2015", "novel2015"):
        questions = load(root, f"vqa/v2_OpenEnded_mscoco_{split}_questions.json")
        annotations = load(root, f"vqa/v2_mscoco_{split}_annotations.json")
        assert all(types(row) == VQA_QUESTION for row in questions["questions"])
        assert all(types(row) == VQA_ANNOTATION for row in annotations["annotations"])
        assert all(types(answer) == VQA_ANSWER for row in annotations["annotations"] for answer in row["answers"])
        assert questions["task_type"] == "Open-Ended"
        assert questions["data_subtype"] == annotations["data_subtype"] == split


def test_complementary_pairs_name_questions_with_one_text_and_two_answers(root):
    pairs = load(root, "vqa/v2_mscoco_train2014_complementary_pairs.json")
    rows = load(root, "vqa/v2_OpenEnded_mscoco_train2014_questions.json")["questions"]
    texts = {row["question_id"]: row["question"] for row in rows}
    answers = {record.id: Counter(record.answers).most_common(1)[0][0] for record in read("vqa-v2", root, "train")}
    assert pairs
    for one, other in pairs:
        assert texts[one] == texts[other]
        assert answers[str(one)] != answers[str(other)]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("What color is the car?", "what color is the"),
        ("What color does the car have?", "what color"),
        ("Is there a dog?", "is there a"),
        ("Is there an apple?", "is there"),
        ("How many cars are there?", "how many"),
        ("Are we on the beach?", "are"),
        ("Nobody asks so?", "none of the above"),
    ],
)
def test_a_question_type_is_the_longest_official_beginning(text, kind):
    assert question_type(text) == kind


def test_an_answer_type_is_one_of_the_three():
    assert [answer_type(answer) for answer in ("no", "3", "red")] == ["yes/no", "number", "other"]


def test_gqa_rows_have_the_official_fields(root):
    for split in ("train", "val", "testdev", "novel"):
        questions = load(root, f"gqa/{split}_balanced_questions.json")
        for row in questions.values():
            assert types(row) == GQA_QUESTION
            assert all(
                types(step) == {"operation": str, "dependencies": list, "argument": str} for step in row["semantic"]
            )
            assert set(row["types"]) == {"detailed", "semantic", "structural"}
            assert set(row["groups"]) == {"global", "local"}
            assert set(row["annotations"]) == {"answer", "question", "fullAnswer"}
            assert set(row["entailed"]) | set(row["equivalent"]) <= set(questions)


def test_gqa_programs_point_at_things_of_the_scene_graph(root):
    questions, graphs = (load(root, f"gqa/train_{name}.json") for name in ("balanced_questions", "sceneGraphs"))
    for graph in graphs.values():
        assert all(types(node) == GQA_OBJECT for node in graph["objects"].values())
    for row in questions.values():
        objects = graphs[row["imageId"]]["objects"]
        for words, pointers in ((row["question"], "question"), (row["fullAnswer"], "fullAnswer")):
            for span, thing in row["annotations"][pointers].items():
                start, _, end = span.partition(":")
                named = " ".join(words.split()[int(start) : int(end or int(start) + 1)]).strip(".,?").lower()
                assert named == objects[thing]["name"]


def test_visual_genome_rows_have_the_official_fields(root):
    rows = load(root, "vg/question_answers.json")
    assert all(set(row) == {"id", "qas"} for row in rows)
    questions = [question for row in rows for question in row["qas"]]
    assert all(types(question) == VG_QUESTION for question in questions)
    for answer in (question["answer"] for question in questions):
        assert answer.endswith(".")
        assert answer[0] == answer[0].upper()
    assert len({question["qa_id"] for question in questions}) == len(questions)


def test_half_of_the_genome_pictures_are_coco_pictures_too(root):
    images = load(root, "vg/image_data.json")
    shared = [image for image in images if image["coco_id"] is not None]
    assert 0.3 < len(shared) / len(images) < 0.7
    for image in shared:
        genome = root / f"images/vg/VG_100K/{image['image_id']}.jpg"
        coco = next((root / "images/coco").glob(f"*/COCO_*_{image['coco_id']:012d}.jpg"))
        assert genome.samefile(coco)


@pytest.mark.parametrize("name", ["coco", "flickr30k"])
def test_caption_rows_have_the_official_fields(root, name):
    content = load(root, f"{name}/dataset_{name}.json")
    own = {"filepath", "cocoid"} if name == "coco" else set()
    assert content["dataset"] == name
    for image in content["images"]:
        assert set(image) == own | {"sentids", "filename", "imgid", "split", "sentences"}
        assert image["sentids"] == [sentence["sentid"] for sentence in image["sentences"]]
        assert all(types(sentence) == KARPATHY_SENTENCE for sentence in image["sentences"])
        assert len(image["sentences"]) == 5


class NoClasses(pickle.Unpickler):
    def find_class(self, module, name):
        raise pickle.UnpicklingError(f"the pickle wants {module}.{name}")


@pytest.mark.parametrize(("name", "splitter"), [("refcoco", "unc"), ("refcoco+", "unc"), ("refcocog", "umd")])
def test_refs_are_pickles_of_plain_containers_with_the_official_fields(root, name, splitter):
    content = (root / name / f"refs({splitter}).p").read_bytes()
    content.decode("ascii")  # protocol 0 is text
    refs = NoClasses(io.BytesIO(content)).load()
    instances = load(root, f"{name}/instances.json")
    annotations = {row["id"]: row for row in instances["annotations"]}
    assert all(types(row) == ANNOTATION for row in instances["annotations"])
    assert {row["id"] for row in instances["categories"]} == {kind.category_id for kind in KINDS.values()}
    for ref in refs:
        assert types(ref) == REF
        assert all(types(sentence) == REF_SENTENCE for sentence in ref["sentences"])
        assert annotations[ref["ann_id"]]["image_id"] == ref["image_id"]


def test_test_a_shows_the_living_and_test_b_all_else(root):
    refs = NoClasses(io.BytesIO((root / "refcoco/refs(unc).p").read_bytes())).load()
    living = {kind.category_id for kind in KINDS.values() if kind.is_living}
    for ref in refs:
        assert ref["split"] != "test"
        assert ref["split"] not in ("testA", "testB") or (ref["split"] == "testA") == (ref["category_id"] in living)


def test_visual7w_rows_have_the_official_fields(root):
    content = load(root, "visual7w/dataset_v7w_pointing.json")
    assert set(content) == {"dataset", "images", "boxes"}
    assert all(types(box) == V7W_BOX for box in content["boxes"])
    for image in content["images"]:
        assert set(image) == {"image_id", "split", "filename", "qa_pairs"}
        assert all(types(row) == V7W_QUESTION and len(row["multiple_choices"]) == 3 for row in image["qa_pairs"])


def test_guesswhat_games_have_the_official_fields(root):
    for game in load_lines(root, "guesswhat/guesswhat.train.jsonl"):
        assert types(game) == GAME
        assert all(types(turn) == {"q": str, "a": str, "id": int} for turn in game["qas"])
        assert all(types(thing) == GAME_OBJECT for thing in game["objects"].values())
        assert str(game["object_id"]) in game["objects"]


def test_nlvr2_rows_have_the_official_fields(root):
    assert all(types(row) == {**NLVR2, "directory": int} for row in load_lines(root, "nlvr2/train.json"))
    assert all(types(row) == {**NLVR2, "extra_validations": dict} for row in load_lines(root, "nlvr2/dev.json"))


def test_snli_ve_rows_have_the_official_fields(root):
    rows = load_lines(root, "snli-ve/snli_ve_train.jsonl")
    assert all(types(row) == SNLI_VE for row in rows)
    assert len({row["pairID"] for row in rows}) == len(rows)


def test_novel_expressions_mean_novel_things(root):
    scenes = {scene.id: scene for scene in read_scenes(root / "scenes.jsonl")}
    for ref in NoClasses(io.BytesIO((root / "refcocog/refs(umd).p").read_bytes())).load():
        if ref["split"] == "novel":
            thing = scenes[ref["image_id"]].things[ref["ann_id"] % 100]
            assert is_novel(thing.kind, thing.color)


def test_the_same_seed_gives_the_same_bytes(root, tmp_path):
    assemble(TINY, SEED, tmp_path / "again", stage=silent, processes=1)
    assert digests(tmp_path / "again") == digests(root)


def digests(root):
    files = sorted(path for path in Path(root).rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_report_has_a_line_for_every_split_of_every_task_with_answers(root):
    lines = list(balance(root))
    assert {(line.task, line.split) for line in lines} >= {("nlvr2", split) for split in SPLITS}
    assert all(line.by_text == 0.5 for line in lines if line.task == "nlvr2")


def run_world(*arguments):
    app = Typer()
    app.command()(world)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_command_leaves_a_whole_world_of_the_same_seed_alone(root):
    before = digests(root)
    result = run_world("--profile", "tiny", "--seed", SEED, "--out", root)
    assert result.exit_code == 0
    assert "already" in result.output
    assert digests(root) == before


def test_the_command_refuses_a_folder_with_anything_else(root, tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    foreign = run_world("--profile", "tiny", "--out", tmp_path)
    other_seed = run_world("--profile", "tiny", "--seed", SEED + 1, "--out", root)
    assert foreign.exit_code == other_seed.exit_code == DataError.exit_code
    assert "files that are no world" in foreign.output
    assert f"the world of seed {SEED}" in other_seed.output
    assert is_whole(root, Identity(SEED, "tiny"))


def test_a_world_that_was_cut_off_is_begun_again(root, tmp_path):
    (tmp_path / "world.partial.json").write_text(
        json.dumps({"seed": SEED, "profile": "tiny", "format_version": FORMAT_VERSION})
    )
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/1.jpg").write_bytes(b"half a pict")
    assert run_world("--profile", "tiny", "--seed", SEED, "--out", tmp_path, "--processes", 1).exit_code == 0
    assert digests(tmp_path) == digests(root)


def test_the_command_names_the_profiles_there_are(tmp_path):
    result = run_world("--profile", "huge", "--out", tmp_path)
    assert result.exit_code == 2
    assert "tiny" in result.output


def test_a_pickle_holds_any_text(tmp_path):
    content = [{"raw": "a\\b\nc é", "ids": [1, -2, 3_000_000_000], "empty": []}]
    write_pickle(tmp_path / "refs.p", content)
    assert NoClasses(io.BytesIO((tmp_path / "refs.p").read_bytes())).load() == content
