"""The small world's splits overlap on purpose, and cleaning gives back what would be there without the overlap."""

import pytest

from training.data import census, clean
from training.data.overlap import overlaps
from training.data.readers import READERS, available_splits, read
from training.data.sets import DataSets
from training.world.assembly import assemble
from training.world.official import corpus
from training.world.official.write import write_comparisons, write_data_sets
from training.world.profiles import PROFILES
from training.world.scenes import FILE_NAME as SCENES
from training.world.scenes import read_scenes

TINY = PROFILES["tiny"]
SEED = 0
OVERLAPPING = {
    "vqa-v2": {"train", "val"},
    "gqa": {"train", "val"},
    "guesswhat": {"train", "val"},
    "snli-ve": {"train"},  # of val's one picture there is nothing that fits two pictures
}


def silent(name, steps):
    return lambda done: None


@pytest.fixture(scope="module")
def overlapping(tmp_path_factory):
    root = tmp_path_factory.mktemp("overlapping")
    assemble(TINY, SEED, root, stage=silent, processes=1)
    clean.write(root)
    return root


@pytest.fixture(scope="module")
def disjoint(overlapping, tmp_path_factory):
    """The official files of the same world, had nobody put test pictures into train and val."""
    root = tmp_path_factory.mktemp("disjoint")
    scenes = list(read_scenes(overlapping / SCENES))
    dealt = corpus.Corpus.deal(scenes, seed=SEED, amounts=corpus.AMOUNTS[TINY.name])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(corpus, "OVERLAPPING", {})
        list(write_data_sets(root, dealt))
        write_comparisons(root, dealt)
    return root


@pytest.mark.parametrize("task", READERS)
def test_what_cleaning_leaves_is_what_there_is_without_the_overlap_in_the_same_order(overlapping, disjoint, task):
    sets = DataSets.cleaned(overlapping)
    assert sets.splits(task) == available_splits(task, disjoint)
    for split in sets.splits(task):
        assert list(sets.read(task, split)) == list(read(task, disjoint, split)), split


@pytest.mark.parametrize("task", OVERLAPPING)
def test_train_and_val_hold_rows_about_test_pictures_after_all_others(overlapping, disjoint, task):
    for split in available_splits(task, overlapping):
        whole, own = list(read(task, overlapping, split)), list(read(task, disjoint, split))
        assert whole[: len(own)] == own
        assert (len(whole) > len(own)) == (split in OVERLAPPING[task]), split


def test_cleaning_removes_nothing_else(overlapping):
    manifest = clean.Manifest.load(overlapping)
    touched = {
        task: {split for split, one in cleaned.splits.items() if one.left_out}
        for task, cleaned in manifest.tasks.items()
    }
    assert {task: splits for task, splits in touched.items() if splits} == OVERLAPPING


def files_of(root):
    return sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())


def test_every_byte_of_the_world_without_overlap_is_where_it_was(overlapping, disjoint):
    """A list ends later, and nothing else is changed: tests and other data sets are the same files."""
    changed = []
    for name in files_of(disjoint):
        before, after = (disjoint / name).read_bytes(), (overlapping / name).read_bytes()
        if before != after:
            changed.append(name.name)
            assert starts_alike(before.decode(), after.decode()), name
    assert sorted(changed) == [
        "guesswhat.train.jsonl",
        "guesswhat.valid.jsonl",
        "snli_ve_train.jsonl",
        "train_balanced_questions.json",
        "train_sceneGraphs.json",
        "v2_OpenEnded_mscoco_train2014_questions.json",
        "v2_OpenEnded_mscoco_val2014_questions.json",
        "v2_mscoco_train2014_annotations.json",
        "v2_mscoco_val2014_annotations.json",
        "val_balanced_questions.json",
        "val_sceneGraphs.json",
    ]


def starts_alike(before: str, after: str) -> bool:
    return after.startswith(before.rstrip("]}"))


def test_the_table_shows_test_pictures_in_train_and_none_after_cleaning(overlapping):
    found = overlaps(census.take(overlapping))
    assert found["refcoco"].seen["vqa-v2"] > 0
    assert found["coco-retrieval"].seen["gqa"] > 0  # a Visual Genome picture that is COCO's too
    assert found["flickr30k-retrieval"].seen["snli-ve"] > 0
    assert not any(found["nlvr2"].seen.values())


def test_every_picture_that_an_overlapping_row_shows_is_there(overlapping):
    for task, splits in OVERLAPPING.items():
        for split in splits:
            assert all((overlapping / record.image).is_file() for record in read(task, overlapping, split))


def test_the_new_rows_have_ids_of_their_own(overlapping):
    for task, splits in OVERLAPPING.items():
        for split in splits:
            ids = [record.id for record in read(task, overlapping, split)]
            assert len(ids) == len(set(ids)), (task, split)
