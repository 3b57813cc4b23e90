"""Ranks and recalls on galleries: hand-computed cases, and brute force written with plain loops."""

import random

import pytest
import torch

from training.metrics.ranks import folded, image_retrieval, ranks, recalls, text_retrieval
from twelve.errors import DataError

CASES = 1000
ROUNDED = 6e-5  # reports have four decimals


def test_a_rank_is_one_more_than_the_wrong_entries_before_the_best_right_one():
    scores = torch.tensor([[0.9, 0.5, 0.1], [0.9, 0.5, 0.1], [0.9, 0.5, 0.1]])
    is_right = torch.tensor([[True, False, False], [False, False, True], [False, True, True]])

    assert ranks(scores, is_right).tolist() == [1, 3, 2]


def test_a_wrong_entry_of_the_same_score_stands_before_the_right_one():
    assert ranks(torch.zeros(1, 1000), torch.arange(1000)[None] == 3).tolist() == [1000]


def test_right_entries_do_not_stand_in_one_anothers_way():
    scores = torch.tensor([[0.5, 0.5, 0.5, 0.1]])

    assert ranks(scores, torch.tensor([[True, True, False, False]])).tolist() == [2]


def test_a_score_that_is_no_number_is_refused():
    with pytest.raises(DataError, match="query 1 has a score that is no number"):
        ranks(torch.tensor([[0.0, 1.0], [float("nan"), 1.0]]), torch.eye(2, dtype=torch.bool))


def test_a_query_without_its_partner_is_refused():
    with pytest.raises(DataError, match="query 0 has no right entry"):
        ranks(torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool))


def test_recalls_count_ranks_up_to_their_depth():
    assert recalls(torch.tensor([1, 1, 5, 6, 10, 11, 40, 1000])) == {
        "R@1": 0.25,
        "R@5": 0.375,
        "R@10": 0.625,
        "median rank": 8,  # between 6 and 10
    }


@pytest.mark.parametrize(("found", "median"), [([1, 2], 1), ([2, 3, 9], 3), ([1, 1, 4, 9], 2), ([7], 7)])
def test_the_median_rank_between_two_is_rounded_down(found, median):
    assert recalls(torch.tensor(found))["median rank"] == median


def test_both_directions_of_two_pictures_by_hand():
    scores = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.7, 0.6]])  # the third caption takes the wrong picture
    picture_of = torch.tensor([0, 1, 1])

    assert image_retrieval(scores, picture_of)["R@1"] == pytest.approx(2 / 3, abs=ROUNDED)
    assert text_retrieval(scores, picture_of)["R@1"] == 1.0  # each picture's best caption is its own


def test_a_picture_that_is_found_by_any_of_its_captions_is_found():
    scores = torch.tensor([[0.1, 0.5], [0.9, 0.2], [0.3, 0.8]])

    assert text_retrieval(scores, torch.tensor([0, 0, 1]))["R@1"] == 1.0


def test_galleries_follow_one_another_and_a_rest_is_left_out():
    scores = torch.eye(5)
    scores[3] = torch.tensor([9.0, 0.0, 5.0, 1.0, 9.0])  # in its gallery, of pictures 2 and 3, the other is better

    found = folded(scores, torch.arange(5), pictures=2)

    assert (found["pictures"], found["galleries"]) == (2, 2)
    assert found["image retrieval"] == {"R@1": 0.75, "R@5": 1.0, "R@10": 1.0, "median rank": 1.0}


def test_a_gallery_larger_than_the_split_is_refused():
    with pytest.raises(DataError, match="a gallery of 1,000 pictures was asked for, 3 are scored"):
        folded(torch.eye(3), torch.arange(3), pictures=1000)


def rank_slowly(row, rights):
    best = None
    for place in rights:
        before = 0
        for other, score in enumerate(row):
            if other not in rights and not score < row[place]:
                before += 1
        if best is None or before < best:
            best = before
    return best + 1


def rate_slowly(found):
    ordered = sorted(found)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) // 2
    rated = {"median rank": median}
    for depth in (1, 5, 10):
        hits = 0
        for rank in found:
            if rank <= depth:
                hits += 1
        rated[f"R@{depth}"] = hits / len(found)
    return rated


def test_both_directions_equal_a_brute_force_over_random_scores():
    draw = random.Random(17)
    for _ in range(CASES):
        pictures = draw.randint(1, 14)
        picture_of = [*range(pictures), *(draw.randrange(pictures) for _ in range(draw.randint(0, 8)))]
        draw.shuffle(picture_of)
        scores = [[draw.randint(0, 6) / 4 for _ in range(pictures)] for _ in picture_of]  # many are equal
        forward = [rank_slowly(row, [right]) for row, right in zip(scores, picture_of, strict=True)]
        back = []
        for picture in range(pictures):
            own = [caption for caption, of in enumerate(picture_of) if of == picture]
            back.append(rank_slowly([row[picture] for row in scores], own))

        table, owners = torch.tensor(scores), torch.tensor(picture_of)

        assert image_retrieval(table, owners) == pytest.approx(rate_slowly(forward), abs=ROUNDED)
        assert text_retrieval(table, owners) == pytest.approx(rate_slowly(back), abs=ROUNDED)


def test_galleries_cut_from_a_larger_one_equal_a_brute_force():
    draw = random.Random(19)
    for _ in range(CASES):
        pictures = draw.randint(2, 9)
        size = draw.randint(1, min(4, pictures))
        picture_of = [picture for picture in range(pictures) for _ in range(draw.randint(1, 3))]
        scores = [[draw.randint(0, 9) for _ in range(pictures)] for _ in picture_of]
        recall = []
        for start in range(0, pictures - size + 1, size):
            hits = asked = 0
            for row, right in zip(scores, picture_of, strict=True):
                if start <= right < start + size:
                    asked += 1
                    hits += rank_slowly(row[start : start + size], [right - start]) == 1
            recall.append(hits / asked)

        found = folded(torch.tensor(scores).float(), torch.tensor(picture_of), pictures=size)

        assert found["galleries"] == len(recall)
        assert found["image retrieval"]["R@1"] == pytest.approx(sum(recall) / len(recall), abs=2 * ROUNDED)
