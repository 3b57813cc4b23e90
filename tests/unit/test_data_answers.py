import json

import pytest

from training.data import answers
from twelve.errors import DataError
from twelve.tasks.base import AnswerList
from twelve.tasks.records import AnsweredQuestion


def question(*given):
    return AnsweredQuestion(id="1", image="p.jpg", question="What?", answers=given)


def test_the_most_frequent_answer_comes_first_and_equals_by_text():
    questions = [question(text) for text in ["dog", "cat", "owl", "cat", "bee", "owl"]]

    assert answers.build(questions, minimum_count=1).answers == ("cat", "owl", "bee", "dog")


def test_the_order_of_the_questions_does_not_matter():
    questions = [question(text, "x", text) for text in ["dog", "cat", "owl", "cat", "bee", "owl"]]

    assert answers.build(questions[::-1], minimum_count=1) == answers.build(questions, minimum_count=1)


def test_rarer_answers_are_left_out():
    questions = [question("cat")] * 9 + [question("dog")] * 8

    assert answers.build(questions).answers == ("cat",)


def test_a_question_counts_once_for_what_most_annotators_said():
    questions = [question(*["net"] * 6, *["mesh"] * 4)] * 2

    assert answers.build(questions, minimum_count=1).answers == ("net",)


def test_of_equally_many_votes_the_first_by_text_counts():
    assert answers.build([question("y", "x", "y", "x")], minimum_count=1).answers == ("x",)


def test_answers_are_normalised_before_they_are_counted():
    questions = [question("Two"), question("2."), question("the two")]

    assert answers.build(questions, minimum_count=3).answers == ("2",)


def test_texts_may_be_kept_as_they_are():
    assert answers.build([question("T-shirt")], minimum_count=1, canonical=str).answers == ("T-shirt",)


def test_questions_without_answers_and_empty_answers_add_nothing():
    assert answers.build([question(), question("the")], minimum_count=1).answers == ()


def test_what_is_saved_is_loaded(tmp_path):
    saved = AnswerList(("yes", "no", "café", 'a "b"'))

    answers.save(saved, tmp_path / "answers.json")

    assert answers.load(tmp_path / "answers.json") == saved
    assert json.loads((tmp_path / "answers.json").read_text()) == list(saved.answers)


def test_the_published_answers_load(request):
    published = answers.load(request.config.rootpath / "tests/data/official-rows/vqa_label2ans_3129.json")

    assert len(published.answers) == 3129
    assert published.index["trash can"] == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{}", "expected a JSON list of answers, got: dict"),
        ('["yes", 2]', r":\[1\]: expected a text, got 2"),
        ('["yes", "no", "yes"]', r":\[0\]: expected each answer once, got 'yes' again"),
        ('["yes"', "expected a JSON list of answers, got: Expecting"),
    ],
)
def test_a_wrong_answer_file_says_what_is_wrong(tmp_path, content, message):
    path = tmp_path / "answers.json"
    path.write_text(content)

    with pytest.raises(DataError, match=message):
        answers.load(path)


def test_a_missing_answer_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent\.json"):
        answers.load(tmp_path / "absent.json")


def test_an_empty_answer_counts_as_none():
    silent = AnsweredQuestion("1", "a.jpg", "What?", ("", "", " ", "cat"))

    assert answers.build([silent], minimum_count=1).answers == ("cat",)
