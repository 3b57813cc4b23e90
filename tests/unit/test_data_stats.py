"""What `stats` counts."""

import json
import shutil

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tests.data_roots import WRITERS, write_root
from training.data import clean, stats
from training.data.command import app
from training.data.readers import READERS, available_splits, read
from training.data.sets import DataSets
from training.data.stats import BAR_WIDTH, LENGTH_BINS, Statistics
from twelve.errors import DataError
from twelve.tasks.records import CaptionedImage, GuessedObject, PointedBox, ReferredBox

NONE = {"train": [], "val": [], "test": []}


def counted(*records):
    made = Statistics()
    for record in records:
        made.add(record)
    return made


def test_every_kind_of_record_is_counted(tmp_path):
    write_root(tmp_path, {task: {"train": [1, 2], "val": [3], "test": [4]} for task in WRITERS})
    gathered = stats.gather(DataSets(tmp_path), READERS)
    assert set(gathered) == set(READERS)
    for task, splits in gathered.items():
        for split in available_splits(task, tmp_path):
            assert splits[split].rows == sum(1 for _ in read(task, tmp_path, split))


def test_captions_are_texts_of_one_row():
    one = counted(CaptionedImage("1", "a.jpg", ("A cat.", "A cat sleeps."))).as_json()
    assert (one["rows"], one["texts"], one["pictures"], one["words"]) == (1, 2, 1, {2: 1, 3: 1})


def test_a_box_that_two_rows_name_is_one_box_of_its_picture():
    first = ReferredBox("1", "a.jpg", "the cat", (0, 0, 2, 2))
    again = ReferredBox("2", "a.jpg", "a cat", (0, 0, 2, 2))
    other = PointedBox("3", "b.jpg", "Which?", ((0, 0, 1, 1), (0, 0, 2, 2), (1, 1, 2, 2)), 0)
    made = counted(first, again, other)
    assert made.boxes_by_number == {1: 1, 3: 1}
    assert made.mean_boxes == 2


def test_a_game_is_one_text_of_all_its_turns_and_answers_are_the_oracles():
    game = GuessedObject("1", "a.jpg", (("Is it red?", "No"), ("A cat?", "Yes")), ((0, 0, 1, 1),), 0)
    made = counted(game)
    assert made.words == {7: 1}
    assert made.answers == {"Yes": 1, "No": 1}


def test_lengths_are_gathered_into_bins_that_hold_each_text_once():
    made = counted(*(CaptionedImage(str(n), "a.jpg", (" ".join(["cat"] * n),)) for n in range(1, 36)))
    shown = drawn({"coco-retrieval": {"train": made}})
    lines = [line.split() for line in shown.splitlines()[1:] if line.strip()]
    assert len(lines) <= LENGTH_BINS
    assert lines[0][0] == "1–4"
    assert sum(int(line[-1]) for line in lines) == 35


def drawn(gathered):
    console = Console(width=100, record=True, file=None, quiet=False)
    with console.capture() as captured:
        for plot in stats.plots(gathered):
            console.print(plot)
    return captured.get()


def test_the_longest_bar_is_as_wide_as_there_is_room_and_others_in_proportion():
    rows = [CaptionedImage("1", "a.jpg", ("a", "b", "c", "d", "a b", "c d"))]
    lines = [line for line in drawn({"coco-retrieval": {"train": counted(*rows)}}).splitlines() if "█" in line]
    assert [line.count("█") for line in lines] == [BAR_WIDTH, BAR_WIDTH // 2]


@pytest.fixture
def root(tmp_path):
    plan = {"vqa-v2": {**NONE, "train": [0, 0, 2], "test": [9]}, "refcoco": {**NONE, "test": [2]}}
    write_root(tmp_path, plan)
    return tmp_path


def test_the_command_prints_a_row_a_split_and_writes_the_numbers(root):
    to = root / "stats.json"
    result = CliRunner().invoke(app, ["stats", str(root), "--task", "vqa-v2", "--json", str(to)])
    assert result.exit_code == 0, result.output
    row = next(line for line in result.output.splitlines() if "vqa-v2" in line and "train" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")][:6] == ["vqa-v2", "train", "3", "3", "2", "1"]
    assert "vqa-v2: words of a text" in result.output
    assert json.loads(to.read_text())["vqa-v2"]["train"]["answers"] == {"a cat": 30}


def test_the_command_counts_what_cleaning_leaves(root):
    clean.write(root)
    result = CliRunner().invoke(app, ["stats", str(root), "--task", "vqa-v2", "--cleaned", "--no-bars"])
    row = next(line for line in result.output.splitlines() if "train" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")][:3] == ["vqa-v2", "train", "2"]


def test_the_real_rows_are_counted(tmp_path, request):
    for rows in ("official-rows", "hand-made-rows"):
        shutil.copytree(request.config.rootpath / "tests/data" / rows, tmp_path, dirs_exist_ok=True)
    made = stats.gather(DataSets(tmp_path), ["vqa-v2"])["vqa-v2"]["train"].as_json()
    assert (made["rows"], sum(made["answers"].values())) == (3, 30)


def test_a_root_without_data_is_refused_with_what_is_expected(tmp_path):
    result = CliRunner().invoke(app, ["stats", str(tmp_path), "--task", "nlvr2"])

    assert isinstance(result.exception, DataError)
    assert result.exception.exit_code == 65
    assert result.exception.message.endswith(
        "no data set is here; expected at least one of nlvr2/{train|dev|test1}.json"
    )


@pytest.mark.parametrize("command", ["stats", "overlap"])
@pytest.mark.parametrize("place", ["", "nowhere/numbers.json"])
def test_a_place_that_cannot_be_written_is_refused_before_the_work(tmp_path, command, place):
    result = CliRunner().invoke(app, [command, str(tmp_path), "--json", str(tmp_path / place)])

    assert result.exit_code == 2
    assert "--json" in result.output
