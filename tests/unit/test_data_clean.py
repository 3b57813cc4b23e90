"""No test picture is trained on: the manifest, and what is read through it, against plans counted by hand."""

import dataclasses
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from typer.testing import CliRunner

from tests.data_roots import NUMBERS, SPLITS, WRITERS, Plan, plans, shown, write_root
from training.data import census, clean
from training.data.clean import MANIFEST, PAPER, RELEASED, Manifest
from training.data.command import app
from training.data.identity import Identities
from training.data.readers import READERS, available_splits, read
from training.data.sets import OPENED, DataSets
from training.data.streams import open_text
from twelve.errors import DataError

LEARNED = ("train", "val")
BOTH = {task: LEARNED for task in WRITERS}
RELEASED_SPLITS = {task: ("train",) for task in WRITERS} | {"vg-qa": LEARNED}


def with_tests(plan: Plan) -> Plan:
    """Give every data set a test, as the published ones but for Visual Genome QA have it: a picture of its own."""
    own = NUMBERS[-1]

    def with_test(rows: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
        return {split: [one for one in rows[split] if one != own] for split in LEARNED} | {"test": [own]}

    return {task: rows if rows["test"] or task == "vg-qa" else with_test(rows) for task, rows in plan.items()}


def held_out(plan: Plan) -> set[tuple[str, int]]:
    return {
        picture for task, listed in plan.items() for number in listed["test"] for picture in shown(task, "test", number)
    }


def kept_by_hand(plan: Plan, splits: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], int]:
    """Count, row by row, what cleaning leaves."""
    forbidden = held_out(plan)
    return {
        (task, split): sum(not shown(task, split, number) & forbidden for number in plan[task][split])
        if split in splits[task]
        else len(plan[task][split])
        for task in plan
        for split in LEARNED
    }


def read_through(root: Path) -> dict[tuple[str, str], int]:
    sets = DataSets.cleaned(root)
    return {
        (task, split): sum(1 for _ in sets.read(task, split)) if split in sets.splits(task) else 0
        for task in WRITERS
        for split in LEARNED
    }


any_plan = settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])


@any_plan
@given(plan=plans().map(with_tests))
def test_no_test_picture_is_left_in_any_train_or_val_and_all_else_is(plan, tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    write_root(root, plan)
    clean.write(root)

    identities, sets = Identities(root), DataSets.cleaned(root)
    tested, learned = set(), set()
    for task in WRITERS:
        for split in sets.splits(task):
            seen = learned if split in LEARNED else tested
            seen.update(picture for record in sets.read(task, split) for picture in identities.of_record(record))

    assert not tested & learned
    assert read_through(root) == kept_by_hand(plan, BOTH)


@any_plan
@given(plan=plans().map(with_tests))
def test_the_released_rule_cleans_train_and_the_val_of_visual_genome_alone(plan, tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    write_root(root, plan)
    clean.write(root, RELEASED)

    assert read_through(root) == kept_by_hand(plan, RELEASED_SPLITS)


def beside_nothing(**rows_of: Mapping[str, Sequence[int]]) -> Plan:
    empty: dict[str, Mapping[str, Sequence[int]]] = {task: {split: [] for split in SPLITS} for task in WRITERS}
    named = {task.replace("_", "-"): {**empty["gqa"], **listed} for task, listed in rows_of.items()}
    return with_tests({**empty, **named})


SHARED = beside_nothing(
    vqa_v2={"train": [0, 1, 2, 3], "val": [4, 2]},
    refcoco={"train": [5], "test": [2, 6]},
    gqa={"train": [2, 3, 6, 8], "val": [6, 6]},
    visual7w={"test": [3, 4]},
)
"""COCO's 2, 4 and 6 are Visual Genome's too, its 3 is another picture than Visual Genome's 3."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_root(tmp_path, SHARED)
    return tmp_path


def test_the_manifest_says_what_is_left_out_of_which_files_by_which_rule(root):
    manifest = clean.write(root)

    assert manifest == Manifest.load(root)
    assert manifest.rule == "paper"
    assert manifest.tasks["vqa-v2"].splits["train"] == clean.LeftOut(4, 1, ("coco:3",))
    assert manifest.tasks["vqa-v2"].splits["val"] == clean.LeftOut(2, 2, ("coco:3", "coco:5"))
    assert manifest.tasks["gqa"].splits["train"] == clean.LeftOut(4, 3, ("coco:3", "coco:7", "vg:2300003"))
    assert manifest.tasks["gqa"].splits["val"] == clean.LeftOut(2, 2, ("coco:7",))
    assert "gqa/train_balanced_questions.json" in manifest.tasks["gqa"].files


def test_writing_again_gives_the_same_bytes(root):
    clean.write(root)
    first = (root / MANIFEST).read_bytes()
    clean.write(root)
    assert (root / MANIFEST).read_bytes() == first


def test_what_stays_keeps_its_order(root):
    clean.write(root)
    assert [record.image[-9:] for record in DataSets.cleaned(root).read("vqa-v2", "train")] == [
        "00001.jpg",
        "00002.jpg",
        "00004.jpg",
    ]


def test_tests_are_read_whole(root):
    clean.write(root)
    assert len(list(DataSets.cleaned(root).read("refcoco", "test"))) == 2


def test_what_a_challenge_asks_for_is_no_test(root):
    """GQA's submission file repeats val's questions: were it a test, no picture of val would stay."""
    gqa = root / "gqa"
    clean.write(root)
    before = Manifest.load(root).tasks
    (gqa / "submission_all_questions.json").write_text((gqa / "train_balanced_questions.json").read_text())
    assert "submission" in available_splits("gqa", root)
    after = clean.write(root).tasks
    assert {task: one.splits for task, one in after.items()} == {task: one.splits for task, one in before.items()}


def test_every_file_that_is_read_is_stamped(root, monkeypatch):
    opened = []

    def noted(folder, name):
        opened.append(name)
        return open_text(folder, name)

    monkeypatch.setattr("training.data.streams.open_text", noted)
    manifest = clean.write(root)
    assert opened
    assert set(opened) <= set(manifest.sha256)
    assert {"refcoco/refs(unc).p", "refcoco+/refs(unc).p", "refcocog/refs(umd).p"} <= set(manifest.sha256)


def test_a_file_that_changed_is_refused_by_name(root):
    clean.write(root)
    path = root / "refcoco/instances.json"
    path.write_text(path.read_text() + " ")
    with pytest.raises(
        DataError, match=r"refcoco/instances\.json: has changed since clean\.json .* data clean .* again"
    ):
        DataSets.cleaned(root)


def test_a_list_of_shared_pictures_that_changed_is_refused(root):
    clean.write(root)
    (root / "vg/image_data.json").write_text("[]")
    with pytest.raises(DataError, match=r"image_data\.json: has changed"):
        DataSets.cleaned(root)


def test_a_file_that_is_gone_or_new_is_refused_by_name(root):
    snli = root / "snli-ve/snli_ve_dev.jsonl"
    snli.write_bytes((root / "snli-ve/snli_ve_test.jsonl").read_bytes())
    content = snli.read_bytes()
    clean.write(root)
    snli.unlink()
    with pytest.raises(DataError, match=r"snli_ve_dev\.jsonl: is gone since"):
        DataSets.cleaned(root)
    clean.write(root)
    snli.write_bytes(content)
    with pytest.raises(DataError, match=r"snli_ve_dev\.jsonl: is new since"):
        DataSets.cleaned(root)


@pytest.mark.parametrize("content", ["", "[]", "{}", "[" * 99_999, '{"format": 1}', '{"format": 2, "rule": "paper"}'])
def test_a_file_that_is_no_manifest_is_refused(root, content):
    (root / MANIFEST).write_text(content)
    with pytest.raises(DataError, match=r"clean\.json: is no manifest of format 2 .* data clean"):
        DataSets.cleaned_if_stated(root)


def altered(root: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads((root / MANIFEST).read_text())
    change(values)
    (root / MANIFEST).write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda made: made["tasks"]["vqa-v2"]["splits"]["train"].update(pictures=[]), "digest: .* was altered"),
        (lambda made: made["tasks"].pop("vqa-v2"), "digest: .* was altered"),
        (lambda made: made["sha256"].popitem(), "digest: .* was altered"),
        (lambda made: made.pop("digest"), "digest: expected a text"),
        (lambda made: made.update(rule="nothing"), "rule: expected one of paper, released, got 'nothing'"),
        (lambda made: made.update(sha256=[]), r"sha256: expected an object, got \[\]"),
        (lambda made: made.update(tasks=[]), r"tasks: expected an object of objects, got \[\]"),
        (
            lambda made: made["tasks"]["vqa-v2"]["splits"]["train"].update(pictures="coco:1"),
            r"tasks\[vqa-v2\]\.splits\[train\]\.pictures: expected a list of texts, got 'coco:1'",
        ),
    ],
)
def test_a_manifest_that_was_altered_by_hand_is_refused(root, change, message):
    clean.write(root)
    altered(root, change)
    with pytest.raises(DataError, match=rf"clean\.json: is no manifest of format 2 \({message}.*data clean .* again"):
        DataSets.cleaned_if_stated(root)


def test_a_manifest_that_is_a_folder_is_refused_and_not_written_over(root):
    (root / MANIFEST).mkdir()
    with pytest.raises(DataError, match=r"clean\.json: cannot be read \(Is a directory\)"):
        DataSets.cleaned_if_stated(root)
    with pytest.raises(DataError, match=r"clean\.json: cannot be written: Is a directory"):
        clean.write(root)


def test_a_manifest_that_is_a_link_to_nowhere_is_refused(root):
    (root / MANIFEST).symlink_to(root / "nowhere")
    with pytest.raises(DataError, match=r"clean\.json: cannot be read \(No such file"):
        DataSets.cleaned_if_stated(root)


def test_a_manifest_of_another_version_that_leaves_out_the_same_has_the_same_digest(root):
    made = clean.write(root)
    assert dataclasses.replace(made, made_by="twelve 99").digest == made.digest
    assert dataclasses.replace(made, rule="released").digest != made.digest


@pytest.mark.parametrize("work", [clean.write, census.take])
@pytest.mark.parametrize(("kept", "missed"), [(slice(1), 4), (slice(4, None), 2)])
def test_a_list_of_visual_genome_that_is_cut_short_is_refused(root, work, kept, missed):
    """Rows show 2, 3, 4, 6 and, n9 being GQA's own, no other."""
    listed = json.loads((root / "vg/image_data.json").read_text())
    (root / "vg/image_data.json").write_text(json.dumps(listed[kept]))
    with pytest.raises(DataError, match=rf"vg/image_data\.json: {missed} pictures .* not in it, such as 230000\d"):
        work(root)


def test_a_data_set_whose_test_was_emptied_is_refused_by_name(root):
    (root / "nlvr2/test1.json").write_text("")
    with pytest.raises(DataError, match=r"nlvr2/test1\.json: expected at least one row, got none"):
        clean.write(root)
    assert not (root / MANIFEST).exists()


def test_a_data_set_without_any_test_is_refused_by_name(root):
    coco = root / "coco/dataset_coco.json"
    coco.write_text(coco.read_text().replace('"test"', '"train"'))
    with pytest.raises(DataError, match=r"task 'coco-retrieval': .* its split 'test' holds no row"):
        clean.write(root)


def test_the_command_says_which_tests_nothing_protects(root):
    shutil.rmtree(root / "nlvr2")
    shutil.rmtree(root / "vg")
    shutil.rmtree(root / "gqa")
    shutil.rmtree(root / "visual7w")
    result = CliRunner().invoke(app, ["clean", str(root)])
    assert result.exit_code == 0, result.output
    assert "task 'nlvr2': no file of it is here, so nothing keeps the pictures of its test out" in result.output
    assert "task 'vg-qa'" not in result.output


def test_a_recipe_may_ask_for_cleaning_always_never_or_where_there_is_a_manifest(root):
    def rows_read(word: str) -> int:
        return len(list(OPENED[word](root).read("vqa-v2", "train")))

    assert rows_read("auto") == 4
    with pytest.raises(DataError, match=r"clean\.json: there is none; run `python -m training data clean"):
        rows_read("always")
    clean.write(root)
    assert [rows_read(word) for word in ("auto", "always", "never")] == [3, 3, 4]


def test_pictures_of_visual_genome_cannot_be_told_apart_without_its_list(root):
    (root / "vg/image_data.json").unlink()
    with pytest.raises(DataError, match=r"vg/image_data\.json: the file is missing"):
        clean.write(root)


def test_a_root_without_data_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"no data set is here; expected at least one of vqa/"):
        clean.write(tmp_path)
    assert not (tmp_path / MANIFEST).exists()


@pytest.mark.parametrize(
    ("image", "identity"),
    [
        ("images/coco/train2014/COCO_train2014_000000000007.jpg", "coco:7"),
        ("images/coco/test2015/COCO_test2015_000000000007.jpg", "coco:7"),
        ("images/vg/VG_100K/2300006.jpg", "coco:7"),
        ("images/vg/VG_100K_2/2300006.jpg", "coco:7"),
        ("images/gqa/2300006.jpg", "coco:7"),
        ("images/visual7w/v7w_2300006.jpg", "coco:7"),
        ("images/visual7w/v7w_2300007.jpg", "vg:2300007"),
        ("images/gqa/n7.jpg", "gqa:n7"),
        ("images/vg/VG_100K/n7.jpg", "gqa:n7"),
        ("images/flickr30k/flickr30k-images/7.jpg", "flickr30k:7"),
        ("images/nlvr2/train/3/train-7-0-img1.png", "nlvr2:train-7-0-img1"),
        ("images/nlvr2/dev/dev-7-0-img1.png", "nlvr2:dev-7-0-img1"),
    ],
)
def test_a_picture_is_told_by_its_path_wherever_it_lies(root, image, identity):
    assert Identities(root).of(image) == identity


def test_a_path_of_no_source_is_refused(root):
    with pytest.raises(DataError, match=r"^holiday\.jpg: expected a picture of COCO"):
        Identities(root).of("holiday.jpg")


def test_every_picture_that_a_reader_names_has_an_identity(root):
    identities = Identities(root)
    for task in READERS:
        for split in available_splits(task, root):
            assert all(identities.of_record(record) for record in read(task, root, split))


def test_the_command_writes_the_manifest_and_names_the_rule(root):
    result = CliRunner().invoke(app, ["clean", str(root), "--rule", "released"])
    assert result.exit_code == 0, result.output
    assert "rule of 'released'" in result.output
    assert json.loads((root / MANIFEST).read_text())["rule"] == "released"


def test_the_command_names_the_rules_there_are(root):
    result = CliRunner().invoke(app, ["clean", str(root), "--rule", "mine"])
    assert result.exit_code == 2
    assert PAPER.name in result.output
    assert RELEASED.name in result.output
