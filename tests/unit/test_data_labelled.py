"""Every row of the fixtures, read as a record, is a request that its task accepts and an answer it can train on."""

import shutil

import pytest

from training.data import READERS, answers, available_splits, read
from twelve.schema import StoredImage
from twelve.tasks import TASKS
from twelve.tasks.base import Seen

PUBLISHED = "tests/data/official-rows/vqa_label2ans_3129.json"


class FirstOthers:
    """Draws the same every time."""

    def others(self, image, count):
        return [f"images/other-{place}.jpg" for place in range(count)]

    def place(self, count):
        return 0


@pytest.fixture(scope="module")
def root(tmp_path_factory, pytestconfig):
    folder = tmp_path_factory.mktemp("rows")
    for rows in ("official-rows", "hand-made-rows"):
        shutil.copytree(pytestconfig.rootpath / "tests/data" / rows, folder, dirs_exist_ok=True)
    return folder


def records(root, task_name):
    return [record for split in available_splits(task_name, root) for record in read(task_name, root, split)]


@pytest.mark.parametrize("task_name", sorted(READERS))
def test_a_record_is_a_request_with_its_pictures_and_a_text(root, task_name):
    task = TASKS[task_name]

    for record in records(root, task_name):
        for one in task.expand(record):
            labelled = task.labelled(one, FirstOthers())
            prompt = task.rows(labelled.request)
            paths = {image.key for image in prompt.images if isinstance(image, StoredImage)}
            assert paths >= {*(getattr(one, "images", None) or [one.image])}
            assert all(text.strip() for text, _ in prompt.rows)
            assert labelled.target is not None


def test_ten_answers_of_a_vqa_question_train_the_published_outputs_softly(root, pytestconfig):
    task, published = TASKS["vqa-v2"], answers.load(pytestconfig.rootpath / PUBLISHED)
    record = records(root, "vqa-v2")[0]  # net 6 times; netting, mesh, pitcher, orange once each

    target = task.target(task.labelled(record, FirstOthers()).target, Seen((), answers=published))

    scores = {published.answers[place]: round(float(target[place]), 6) for place in target.nonzero().flatten()}
    assert len(target) == 3129
    assert scores == {
        answer: score
        for answer, score in {"net": 1.0, "netting": 0.3, "mesh": 0.3, "pitcher": 0.3, "orange": 0.3}.items()
        if answer in published.index
    }
    assert "net" in scores
    assert "orange" in scores
