import json
import random

import pytest

from twelve.tasks.kinds.normalise import normalise_answer, soft_scores, vqa_accuracy

EXACT = 1e-12  # sums of thirds


@pytest.mark.parametrize(
    ("answer", "normalised"),
    [
        ("Yes", "yes"),
        ("  two\tDogs\n", "2 dogs"),
        ("None", "0"),
        ("ten", "10"),
        ("eleven", "eleven"),
        ("The man on a horse", "man on horse"),
        ("an", ""),
        ("dont", "don't"),
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("yall'd've", "y'all'd've"),
        ("oclock", "o'clock"),
        ("somebody'd", "somebodyd"),
        ("Im", "im"),  # the official table has "Im", which is never met after lower-casing
        ("well were its id", "well were its id"),
        ("t-shirt", "t shirt"),
        ("t-shirt - red", "tshirt red"),  # one dash at a word's end: every dash vanishes
        ("red/blue", "red blue"),
        ("red, blue", "red blue"),
        ("yes!", "yes"),
        ("1,000", "1000"),
        ("1,000 red-blue", "1000 redblue"),  # a thousands comma makes every mark vanish
        ("5.00", "5.00"),
        ("U.S.A.", "usa"),
        ("3.", "3"),
        (".5", ".5"),
        ("12:35", "12:35"),
        ("(left)", "left"),
        ("what?", "what"),
        ("", ""),
    ],
)
def test_an_answer_is_normalised_as_the_official_evaluation_does(answer, normalised):
    assert normalise_answer(answer) == normalised


def test_normalising_twice_changes_nothing_more_for_a_published_answer(published_answers):
    assert [normalise_answer(answer) for answer in published_answers] == published_answers


@pytest.mark.parametrize(
    ("votes", "accuracy"),
    # With k of ten votes, k annotators left out leave k - 1 matches and 10 - k leave k.
    [(0, 0.0), (1, 9 / 30), (2, (2 * 1 + 8 * 2) / 30), (3, (3 * 2 + 7 * 3) / 30), (4, 1.0), (10, 1.0)],
)
def test_vqa_accuracy_leaves_one_annotator_out(votes, accuracy):
    answers = ["net"] * votes + [f"other {number}" for number in range(10 - votes)]

    assert vqa_accuracy("net", answers) == pytest.approx(accuracy, abs=EXACT)


def test_vqa_accuracy_compares_normalised_answers():
    assert vqa_accuracy("Two.", ["2"] * 4 + ["two"] * 3 + ["a two"] * 3) == 1.0


def test_vqa_accuracy_of_a_real_row_is_the_hand_computed_one(real_votes):
    assert vqa_accuracy("net", real_votes) == 1.0  # 6 of 10
    assert vqa_accuracy("mesh", real_votes) == pytest.approx(0.3, abs=EXACT)  # 1 of 10
    assert vqa_accuracy("fence", real_votes) == 0.0


def test_vqa_accuracy_needs_somebody_to_agree_with():
    with pytest.raises(ValueError, match="at least 2 answers, got 1"):
        vqa_accuracy("net", ["net"])


def test_vqa_accuracy_equals_a_count_over_every_choice_of_nine():
    random_source = random.Random(7)
    for _ in range(1000):
        answers = [random_source.choice("abcde") + "x" for _ in range(10)]
        said = random_source.choice("abcde") + "x"
        parts = []
        for left_out in range(10):
            others = [answer for place, answer in enumerate(answers) if place != left_out]
            parts.append(min(1.0, others.count(said) / 3))

        assert vqa_accuracy(said, answers) == pytest.approx(sum(parts) / 10, abs=EXACT)


def test_votes_become_soft_scores():
    answers = ["a lot"] * 4 + ["b", "B."] + ["c"] * 3 + ["d"]

    assert soft_scores(answers) == {"lot": 1.0, "b": 0.6, "c": 0.9, "d": 0.3}


def test_nobody_answering_leaves_no_soft_score():
    assert soft_scores([]) == {}


@pytest.fixture
def real_votes():
    return ["net", "net", "net", "netting", "net", "net", "mesh", "net", "pitcher", "orange"]


@pytest.fixture
def published_answers(request):
    path = request.config.rootpath / "tests/data/official-rows/vqa_label2ans_3129.json"
    return json.loads(path.read_text())
