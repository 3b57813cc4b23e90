import shutil

import pytest
from typer.testing import CliRunner

from training.data.check import check, inspect
from training.data.command import app

DATA_FAULT = 65
SNLI_VE = "snli-ve/snli_ve_dev.jsonl"
VISUAL7W = "visual7w/dataset_v7w_pointing.json"


@pytest.fixture
def root(tmp_path, request):
    for rows in ("official-rows", "hand-made-rows"):
        shutil.copytree(request.config.rootpath / "tests/data" / rows, tmp_path, dirs_exist_ok=True)
    return tmp_path


def replace(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_good_files_have_no_fault_and_are_counted(root):
    inspection = inspect(root)

    assert inspection.faults == []
    assert inspection.counts == {
        "vqa-v2": {"train": 3},
        "vg-qa": {"train": 0, "val": 8},
        "gqa": {"train": 1},
        "coco-retrieval": {"train": 2, "val": 1, "test": 1},
        "flickr30k-retrieval": {"train": 1, "val": 1, "test": 1},
        "refcoco": {"train": 3, "val": 1, "test": 3, "testA": 1, "testB": 2},
        "refcoco+": {"train": 2, "val": 1, "test": 1, "testB": 1},
        "refcocog": {"train": 1, "val": 1, "test": 1},
        "visual7w": {"train": 2, "val": 1, "test": 0},
        "guesswhat": {"train": 2, "val": 2},
        "nlvr2": {"val": 40},
        "snli-ve": {"val": 16, "test": 3},
    }
    assert inspection.beside == {"gqa facts": 1, "flickr30k entities": 5}


def test_every_fault_of_every_file_is_found_once(root):
    replace(root / SNLI_VE, '"gold_label": "neutral"', '"gold_label": "maybe"')
    replace(root / SNLI_VE, '"pairID": "2248275918.jpg#3r1e"', '"pairID": 4')
    replace(root / VISUAL7W, '"qa_id": 652', '"qa_id": null')
    replace(root / VISUAL7W, '"width": 60', '"width": 0')  # read with each of three splits

    faults = check(root)

    assert [(fault.file, fault.row, fault.field) for fault in faults] == [
        (VISUAL7W, "boxes[2]", "width"),
        (VISUAL7W, "images[0]", "qa_pairs[0].answer"),
        (VISUAL7W, "images[0]", "qa_pairs[1].multiple_choices"),
        (VISUAL7W, "images[1]", "qa_pairs[0].qa_id"),
        (SNLI_VE, "2", "gold_label"),
        (SNLI_VE, "4", "pairID"),
    ]


def test_a_file_that_breaks_off_does_not_hide_the_others(root):
    whole = (root / "vg/question_answers.json").read_text()
    (root / "vg/question_answers.json").write_text(whole[: len(whole) // 2])
    replace(root / SNLI_VE, '"gold_label": "neutral"', '"gold_label": "maybe"')

    assert {fault.file for fault in check(root)} == {"vg/question_answers.json", SNLI_VE}


def test_a_row_whose_split_is_wrong_is_found_although_its_split_is_gone(root):
    replace(root / VISUAL7W, '"split": "train"', '"split": "trian"')

    assert [(fault.row, fault.field) for fault in check(root)] == [("images[0]", "split")]


def test_a_file_that_nothing_reads_is_spoken_of_but_is_no_fault(root):
    (root / "nlvr2/val.json").write_text("not even JSON")
    (root / "notes").mkdir()
    (root / "notes/mine.jsonl").write_text("{}\n")
    (root / "images/coco").mkdir(parents=True)
    (root / "images/coco/readme.json").write_text("{}")

    result = CliRunner().invoke(app, ["check", str(root)])

    assert result.exit_code == 0
    unread = [line for line in result.output.splitlines() if "nothing reads this file" in line]
    assert unread == [
        "vqa_label2ans_3129.json: nothing reads this file; no data set keeps files here",
        "nlvr2/val.json: nothing reads this file; expected here: nlvr2/{train|dev|test1}.json",
        "notes/mine.jsonl: nothing reads this file; no data set keeps files here",
    ]


def test_of_two_forms_of_one_data_set_the_one_that_is_not_read_is_spoken_of(root):
    (root / "coco/all_data_final_train_2014.jsonline").write_text("")
    (root / "refcoco/refs(google).p").write_bytes(b"")
    shutil.copy(root / "guesswhat/guesswhat.train.jsonl", root / "guesswhat/guesswhat.train.jsonl.gz")

    inspection = inspect(root)

    assert inspection.faults == []
    assert [note.file for note in inspection.unread] == [
        "vqa_label2ans_3129.json",
        "coco/all_data_final_train_2014.jsonline",
        "guesswhat/guesswhat.train.jsonl.gz",
        "refcoco/refs(google).p",
    ]


def test_a_root_without_data_is_a_fault(tmp_path):
    assert "no data set is here; expected at least one of vqa/" in check(tmp_path)[0].message


def test_the_command_counts_what_is_right(root):
    result = CliRunner().invoke(app, ["check", str(root)])

    assert result.exit_code == 0
    assert "vqa-v2               train 3" in result.output
    assert "0 faults in 12 data sets" in result.output


def test_the_command_reports_like_a_compiler_and_fails(root):
    replace(root / SNLI_VE, '"gold_label": "neutral"', '"gold_label": "maybe"')

    result = CliRunner().invoke(app, ["check", str(root)])

    assert result.exit_code == DATA_FAULT
    expected = "expected one of -, contradiction, entailment, neutral, got 'maybe'"
    assert f"{SNLI_VE}:2: gold_label: {expected}" in result.output
    assert "1 fault in 12 data sets" in result.output


def test_a_hostile_pickle_is_a_fault_of_its_file(root):
    (root / "refcoco/refs(unc).p").write_bytes(b"cos\nsystem\n(S'true'\ntR.")

    faults = check(root)

    assert [fault.file for fault in faults] == ["refcoco/refs(unc).p"]
