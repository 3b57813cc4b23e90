"""Grounding consistency: hand-computed cases, and brute force written with plain loops."""

import random

import pytest

from training.metrics.consistency import Pair, pairs, report
from training.metrics.prediction import Rated
from training.metrics.words import content_words
from twelve.tasks.records import AnsweredQuestion, ReferredBox

CASES = 1000
ROUNDED = 6e-5  # reports have four decimals


def asked(text, *, value, image="p.jpg"):
    return Rated(AnsweredQuestion("1", image, text, ("yes",)), "yes", value=value)


def meant(text, *, value, image="p.jpg"):
    return Rated(ReferredBox("1", image, text, (0, 0, 1, 1)), (0, 0, 1, 1), value=value)


def paired(questions, expressions):
    return list(pairs(questions, expressions, picture=str))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("What color is the man's shirt?", {"color", "man", "shirt"}),
        ("the left red cars", {"left", "red", "car"}),
        ("Are these people standing on the grass?", {"person", "grass"}),
        ("glasses on benches, two berries", {"glass", "bench", "berry"}),
        ("Is it on the bus", {"bus"}),
        ("tree with leaves", {"tree", "leaf"}),
        ("how many are there", set()),
    ],
)
def test_content_words_are_nouns_and_adjectives_in_the_singular(text, words):
    assert content_words(text) == words


def test_a_pair_is_as_heavy_as_the_words_it_shares_and_drops_out_without_any():
    questions = [asked("What color is the big dog?", value=1.0), asked("Is it night?", value=1.0)]

    assert paired(questions, [meant("big brown dog", value=1.0)]) == [Pair(2, True, True)]


def test_only_texts_about_one_picture_are_paired():
    assert paired([asked("A dog?", value=1.0)], [meant("dog", value=1.0, image="q.jpg")]) == []


def test_two_names_of_one_picture_are_one_picture():
    questions, expressions = [asked("A dog?", value=1.0)], [meant("dog", value=0.0, image="q.jpg")]

    assert list(pairs(questions, expressions, picture=lambda image: "same")) == [Pair(1, True, False)]


@pytest.mark.parametrize(("value", "answered"), [(0.3, False), (0.6, True)])
def test_a_question_counts_as_answered_if_two_annotators_said_so(value, answered):
    assert paired([asked("A dog?", value=value)], [meant("dog", value=1.0)])[0].answered is answered


def test_consistency_by_hand():
    listed = [Pair(2, True, True), Pair(1, True, False), Pair(1, False, True), Pair(4, False, False)]

    assert report(listed) == {
        "consistency": 0.25,  # 2 of 8
        "answered": 0.375,  # 3 of 8
        "found": 0.375,
        "independent": 0.1406,  # 9 of 64
        "excess": 0.1094,  # 7 of 64
        "pairs": 4,
    }


def test_errors_that_know_nothing_of_one_another_have_no_excess():
    listed = [Pair(1, answered, found) for answered in (True, False) for found in (True, False)]

    assert report(listed)["excess"] == 0.0


def test_nothing_paired_gives_no_figure():
    assert report([]) == {"consistency": None, "pairs": 0}


def test_consistency_equals_a_brute_force_over_random_texts():
    draw, shared_often = random.Random(23), 0
    for _ in range(CASES):
        words, images = ["dog", "cat", "red", "tree"], ["p.jpg", "q.jpg"]
        questions = [
            asked(" ".join(draw.sample(words, k=draw.randint(1, 4))), value=draw.choice([0, 0.3, 0.6, 1]), image=image)
            for image in draw.choices(images, k=4)
        ]
        expressions = [
            meant(" ".join(draw.sample(words, k=draw.randint(1, 4))), value=draw.choice([0, 1]), image=image)
            for image in draw.choices(images, k=4)
        ]
        both = answered = found = weight = count = 0
        for question in questions:
            for expression in expressions:
                shared = 0
                for word in words:
                    if word in question.record.question and word in expression.record.expression:
                        shared += 1
                if question.record.image != expression.record.image or not shared:
                    continue
                count += 1
                weight += shared
                is_answered, is_found = question.value in (0.6, 1), expression.value == 1
                answered += shared * is_answered
                found += shared * is_found
                both += shared * (is_answered and is_found)

        measured = report(paired(questions, expressions))

        assert measured["pairs"] == count
        if count:
            shared_often += 1
            assert measured["consistency"] == pytest.approx(both / weight, abs=ROUNDED)
            assert measured["independent"] == pytest.approx(answered / weight * found / weight, abs=ROUNDED)
            assert measured["excess"] == pytest.approx((both - answered * found / weight) / weight, abs=ROUNDED)
    assert shared_often > CASES / 2
