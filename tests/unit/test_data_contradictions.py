"""What `check` finds where files are hollow, cannot be opened, or say two things that cannot both be true."""

import json
import os
import shutil

import pytest

from training.data.check import inspect

COCO = "coco/dataset_coco.json"
FLICKR30K = "flickr30k/dataset_flickr30k.json"
VISUAL7W = "visual7w/dataset_v7w_pointing.json"
GUESSWHAT = "guesswhat/guesswhat.valid.jsonl"
VG = "vg/question_answers.json"
NLVR2 = "nlvr2/dev.json"
GQA = "gqa/train_balanced_questions"


@pytest.fixture
def root(tmp_path, request):
    for rows in ("official-rows", "hand-made-rows"):
        shutil.copytree(request.config.rootpath / "tests/data" / rows, tmp_path, dirs_exist_ok=True)
    return tmp_path


def edit(path, change):
    """Change a file's first object, or the whole of a file that is one."""
    lines = path.read_text().splitlines() if path.suffix == ".jsonl" or "nlvr2" in path.parts else [path.read_text()]
    first = json.loads(lines[0])
    change(first)
    path.write_text("\n".join([json.dumps(first), *lines[1:]]) + "\n")


def another_split(file):
    first = file["images"][0]
    file["images"].append({**first, "split": "val" if first["split"] != "val" else "test"})


def box_outside(game):
    for thing in game["objects"].values():
        thing["bbox"] = [9000, 9000, 5, 5]


@pytest.mark.parametrize(
    ("file", "change", "field"),
    [
        (COCO, another_split, "filename"),
        (FLICKR30K, another_split, "filename"),
        (VISUAL7W, another_split, "split"),
        (VISUAL7W, lambda file: file["images"][0].update(image_id=999), "image_id"),
        (VISUAL7W, lambda file: file["images"][0]["qa_pairs"][0].update(image_id=999), "qa_pairs[0].image_id"),
        (GUESSWHAT, lambda game: game.update(picture_id=1), "picture_id"),
        (GUESSWHAT, box_outside, "objects[2159052].bbox"),
        (VG, lambda pictures: pictures[0].update(id=424242), "qas[0].image_id"),
        (NLVR2, lambda row: row.update(identifier="dev-1-\u0661-0"), "identifier"),
    ],
)
def test_what_cannot_both_be_true_is_a_fault(root, file, change, field):
    edit(root / file, change)

    assert (file, field) in {(fault.file, fault.field) for fault in inspect(root).faults}


def hollow(root):
    (root / NLVR2).write_text("")


def folder_in_its_place(root):
    (root / NLVR2).unlink()
    (root / NLVR2).mkdir()


def link_to_nothing(root):
    (root / NLVR2).unlink()
    (root / NLVR2).symlink_to(root / "nothing")


def gqa_holding(content):
    return lambda root: (root / f"{GQA}.json").write_text(content)


def gqa_empty_folder(root):
    (root / f"{GQA}.json").unlink()
    (root / GQA).mkdir()


def entities_emptied(root):
    next(iter(sorted((root / "flickr30k/Sentences").glob("*.txt")))).write_text("")


@pytest.mark.parametrize(
    ("spoil", "file"),
    [
        (hollow, NLVR2),
        (folder_in_its_place, NLVR2),
        (link_to_nothing, NLVR2),
        (gqa_holding("{}"), f"{GQA}.json"),
        (gqa_holding("[]"), f"{GQA}.json"),
        (gqa_empty_folder, GQA),
        (entities_emptied, "flickr30k/Sentences/"),
    ],
)
def test_a_file_that_is_there_and_says_nothing_is_a_fault(root, spoil, file):
    spoil(root)

    faults = inspect(root).faults

    assert faults
    assert all(fault.file.startswith(file) for fault in faults)


def test_what_may_not_be_opened_is_a_fault_and_the_rest_is_checked(root, monkeypatch):
    lstat, scandir = type(root).lstat, os.scandir

    def guarded(look):
        def guard(path="."):
            if "nlvr2" in str(path):
                raise PermissionError(13, "Permission denied", str(path))
            return look(path)

        return guard

    monkeypatch.setattr(type(root), "lstat", guarded(lstat))
    monkeypatch.setattr(os, "scandir", guarded(scandir))
    inspection = inspect(root)

    assert {fault.reason for fault in inspection.faults} == {"cannot be read: Permission denied"}
    assert all(fault.file.startswith("nlvr2") for fault in inspection.faults)
    assert len(inspection.counts) == 11
