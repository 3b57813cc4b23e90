"""Table 1 of any data root, against a count by hand."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from typer.testing import CliRunner

from tests.data_roots import SPLITS, plans, shown, write_root
from training.data import census
from training.data.command import app
from training.data.overlap import overlaps

GENOME_QA = "vg-qa"


def pictures(plan, task, splits):
    return {picture for split in splits for number in plan[task][split] for picture in shown(task, split, number)}


@settings(deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
@given(plan=plans())
def test_the_table_equals_a_count_by_hand(plan, tmp_path_factory):
    root = tmp_path_factory.mktemp("root")
    write_root(root, plan)

    found = overlaps(census.take(root))

    for task, one in found.items():
        tested = pictures(plan, task, ["test"])
        assert one.tested == len(tested)
        for other in found:
            assert one.seen[other] == len(tested & pictures(plan, other, ["train", "val"]))


@pytest.fixture
def root(tmp_path):
    none = {split: [] for split in SPLITS}
    plan = {
        "vqa-v2": {**none, "train": [0, 2], "val": [4]},
        GENOME_QA: {**none, "train": [2, 4, 5]},
        "refcoco": {**none, "train": [1], "test": [2, 4, 5, 6]},
    }
    write_root(tmp_path, plan)
    return tmp_path


def test_a_share_is_of_the_rows_test_and_there_is_none_without_a_test(root):
    found = overlaps(census.take(root))
    assert list(found) == ["vqa-v2", GENOME_QA, "refcoco"]
    assert found["refcoco"].share("vqa-v2") == 0.5
    assert found["refcoco"].share(GENOME_QA) == 0.5  # COCO's 5 is not Visual Genome's 5
    assert found["refcoco"].share("refcoco") == 0
    assert found["vqa-v2"].share("refcoco") is None


def test_the_command_prints_the_table_and_writes_the_numbers(root, tmp_path):
    to = tmp_path / "overlap.json"
    result = CliRunner().invoke(app, ["overlap", str(root), "--json", str(to)])
    assert result.exit_code == 0, result.output
    row = next(line for line in result.output.splitlines() if "C refcoco" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["C refcoco", "4", "50", "50", "·"]
    assert json.loads(to.read_text())["refcoco"] == {"tested": 4, "seen": {"vqa-v2": 2, "vg-qa": 2, "refcoco": 0}}
