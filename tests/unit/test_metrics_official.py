"""Official figures of answers and choices: hand-computed cases, and brute force written with plain loops."""

import random
from types import SimpleNamespace

import pytest

from training.data.gqa import QuestionChoices, QuestionFacts
from training.metrics import accuracy, gqa, official, verdicts, vqa
from training.metrics.figures import figure
from training.metrics.prediction import Prediction, Rated
from twelve.tasks.kinds.referring import RIGHT_OVERLAP
from twelve.tasks.records import AnsweredQuestion, ComparedImages, EntailedStatement, ReferredBox
from twelve.tasks.registry import TASKS

CASES = 1000
EXACT = 1e-12  # sums of thirds
ROUNDED = 6e-5  # reports have four decimals


def question(id_="1", answers=(), kind="", answer_kind=""):
    return AnsweredQuestion(id_, "p.jpg", "What?", tuple(answers), kind, answer_kind)


def said(answer, *, value=1.0, **record):
    return Rated(question(**record), answer, value=value)


# --- VQAv2 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "answers", "score"),
    [
        ("net", ["net"] * 10, 1.0),
        ("net", ["net"] * 4 + list("abcdef"), 1.0),
        ("net", ["net"] * 3 + list("abcdefg"), (3 * 2 + 7 * 3) / 30),  # the three lack themselves
        ("net", ["net"] * 2 + list("abcdefgh"), (2 * 1 + 8 * 2) / 30),
        ("net", ["net", *"abcdefghi"], 9 / 30),
        ("net", list("abcdefghij"), 0.0),
        ("Red, white", ["red white"] * 10, 1.0),
        ("red white", ["red, white"] * 10, 0.0),  # all agree, so no annotator's marks are stripped
        ("red white", ["red, white"] * 9 + ["red"], 1.0),  # one differs, so they are
        ("two", ["2"] * 10, 1.0),
        ("two", ["two"] * 10, 0.0),  # number words of annotators stay
        ("none", ["none"] * 9 + ["0"], 9 / 30),
        ("a cat", ["cat"] * 10, 1.0),
        ("the cat", ["the cat"] * 9 + ["dog"], 0.0),  # articles of annotators stay
        ("dont", ["don't"] * 10, 1.0),
        ("yes", ["Yes"] * 10, 0.0),  # so does their case
        ("\tyes\n", ["yes"] * 10, 1.0),
    ],
)
def test_a_vqa_answer_is_rated_as_the_challenge_rates_it(answer, answers, score):
    assert vqa.challenge_accuracy(answer, answers) == pytest.approx(score, abs=EXACT)


def test_a_vqa_answer_that_nobody_answered_cannot_be_rated():
    with pytest.raises(ValueError, match="annotators; got none"):
        vqa.challenge_accuracy("yes", [])


def strip_marks_slowly(text):
    marks = [";", "/", "[", "]", '"', "{", "}", "(", ")", "=", "+", "\\", "_", "-", ">", "<", "@", "`", ",", "?", "!"]
    thousands = False
    for place in range(1, len(text) - 1):
        if text[place] == "," and text[place - 1].isdigit() and text[place + 1].isdigit():
            thousands = True
    out = ""
    for letter in text:
        if letter in marks:
            beside_blank = False
            for at, other in enumerate(text):
                if other == letter and (
                    (at > 0 and text[at - 1] == " ") or (at + 1 < len(text) and text[at + 1] == " ")
                ):
                    beside_blank = True
            out += "" if beside_blank or thousands else " "
        else:
            out += letter
    kept = ""
    for place, letter in enumerate(out):
        if letter != "." or (place + 1 < len(out) and out[place + 1].isdigit()):
            kept += letter
    return kept


def normalise_slowly(text):
    numbers = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    words = []
    for word in strip_marks_slowly(text.replace("\n", " ").replace("\t", " ").strip()).lower().split():
        if word == "none":
            word = "0"
        if word in numbers:
            word = str(numbers.index(word))
        if word not in ("a", "an", "the"):
            words.append({"dont": "don't", "isnt": "isn't"}.get(word, word))
    return " ".join(words)


def vqa_slowly(answer, answers):
    different = False
    for other in answers:
        if other != answers[0]:
            different = True
    compared = []
    for other in answers:
        compared.append(strip_marks_slowly(other) if different else other)
    total = 0.0
    for left_out in range(len(compared)):
        matches = 0
        for place, other in enumerate(compared):
            if place != left_out and other == normalise_slowly(answer):
                matches += 1
        total += 1.0 if matches >= 3 else matches / 3
    return total / len(compared)


def random_answer(draw):
    words = [
        "a",
        "the",
        "net",
        "two",
        "none",
        "dont",
        "isnt",
        "1,000",
        "2.5",
        "5.",
        "red/blue",
        "t-shirt",
        "up!",
        "?",
        "No",
        "no",
    ]
    return draw.choice(["", " ", "\n"]) + draw.choice([" ", "  "]).join(draw.choices(words, k=draw.randint(1, 2)))


def test_vqa_accuracy_equals_a_brute_force_over_random_answers():
    draw, rights = random.Random(3), 0
    for _ in range(2 * CASES):
        pool = [random_answer(draw) for _ in range(draw.randint(1, 3))]
        answer, answers = draw.choice(pool), [draw.choice(pool).strip() for _ in range(10)]
        score = vqa.challenge_accuracy(answer, answers)
        rights += score > 0
        assert score == pytest.approx(vqa_slowly(answer, answers), abs=EXACT), (answer, answers)
    assert rights > CASES / 4


def test_vqa_is_reported_by_answer_type_and_by_question_type():
    asked = [
        said("net", answers=["net"] * 10, kind="what is", answer_kind="other"),
        said("net", answers=["mesh"] * 10, kind="what is", answer_kind="other"),
        said("2", answers=["2"] + ["3"] * 9, kind="how many", answer_kind="number"),
    ]

    assert vqa.report(asked) == {
        "accuracy": {"score": 0.4333, "items": 3},  # 1, 0 and 0.3
        "by answer type": {"number": {"score": 0.3, "items": 1}, "other": {"score": 0.5, "items": 2}},
        "by question type": {"how many": {"score": 0.3, "items": 1}, "what is": {"score": 0.5, "items": 2}},
    }


# --- GQA -----------------------------------------------------------------------------------------------------------


def facts(structural="query", *, detailed="", group="", entailed=(), is_balanced=True):
    return QuestionFacts(structural, detailed, group, tuple(entailed), is_balanced)


def asked_gqa(id_, answer, right, kind="attr"):
    return Prediction(question(id_, [right], kind), answer)


def test_gqa_is_what_its_evaluation_gives_by_hand():
    asked = [
        asked_gqa("1", "red", "red"),  # entails 2 (right) and 3 (wrong): 1/2
        asked_gqa("2", "yes", "yes", "obj"),  # entails itself only: does not count
        asked_gqa("3", "no", "yes", "obj"),  # wrong: does not count
        asked_gqa("4", "blue", "red"),
        asked_gqa("5", "yes", "yes", "obj"),  # not balanced: serves consistency alone
    ]
    known = {
        "1": facts(group="color", entailed=["1", "2", "3", "9"]),
        "2": facts("verify", entailed=["2"]),
        "3": facts("verify", entailed=["1"]),
        "4": facts("query", group="color", entailed=["2"]),
        "5": facts("verify", entailed=["2"], is_balanced=False),
    }

    assert gqa.report(asked, known, {}) == {
        "accuracy": {"score": 0.5, "items": 4},
        "binary": {"score": 0.5, "items": 2},
        "open": {"score": 0.5, "items": 2},
        "consistency": {"score": 0.5, "items": 1},
        "distribution": 0.005,  # red: twice right, once given: (1 - 2)**2 / 2 = 0.5, over 100
        "by structural type": {"query": {"score": 0.5, "items": 2}, "verify": {"score": 0.5, "items": 2}},
        "by semantic type": {"attr": {"score": 0.5, "items": 2}, "obj": {"score": 0.5, "items": 2}},
    }


def test_gqa_answers_are_valid_and_plausible_by_the_choices_file():
    asked = [asked_gqa("1", "pizza", "red"), asked_gqa("2", "blue", "red"), asked_gqa("3", "shape", "color")]
    known = {"1": facts(), "2": facts(), "3": facts(detailed="twoCommon")}
    colors = QuestionChoices(frozenset({"red", "blue"}), frozenset({"red"}))
    nothing = QuestionChoices(frozenset(), frozenset())

    found = gqa.report(asked, known, {"1": colors, "2": colors, "3": nothing})

    assert found["validity"] == {"score": 0.6667, "items": 3}  # what things have in common is color, material or shape
    assert found["plausibility"] == {"score": 0.3333, "items": 3}


def gqa_slowly(asked, known, choices):
    total = right = valid = plausible = 0
    consistency = []
    gold, given = {}, {}
    answers = {}
    for one in asked:
        answers[one.record.id] = (one.answer, one.record.answers[0])
    for id_, (answer, truth) in answers.items():
        of = known[id_]
        if not of.is_balanced:
            continue
        total += 1
        right += answer == truth
        allowed = ["color", "material", "shape"] if "Common" in of.detailed else choices[id_].valid
        valid += answer in allowed
        allowed = ["color", "material", "shape"] if "Common" in of.detailed else choices[id_].plausible
        plausible += answer in allowed
        if of.group:
            gold.setdefault(of.group, {})
            gold[of.group][truth] = gold[of.group].get(truth, 0) + 1
            given[of.group, answer] = given.get((of.group, answer), 0) + 1
        if answer == truth:
            hits = followed = 0
            for other in of.entailed:
                if other != id_ and other in answers:
                    followed += 1
                    hits += answers[other][0] == answers[other][1]
            if followed:
                consistency.append(hits / followed)
    weighted = overall = 0.0
    for group, counts in gold.items():
        chi, size = 0.0, 0
        for truth, expected in counts.items():
            chi += (given.get((group, truth), 0) - expected) ** 2 / expected
            size += expected
        weighted += chi * size
        overall += size
    return {
        "accuracy": right / total if total else None,
        "validity": valid / total if total else None,
        "plausibility": plausible / total if total else None,
        "consistency": sum(consistency) / len(consistency) if consistency else None,
        "distribution": weighted / overall / 100 if overall else None,
    }


def test_gqa_equals_a_brute_force_over_random_questions():
    draw = random.Random(5)
    for _ in range(CASES):
        ids = [str(number) for number in range(draw.randint(1, 9))]
        words = ["red", "blue", "color", "yes"]
        asked = [asked_gqa(id_, draw.choice(words), draw.choice(words)) for id_ in ids]
        known = {
            id_: facts(
                draw.choice(["query", "verify"]),
                detailed=draw.choice(["twoCommon", "relS"]),
                group=draw.choice(["", "color", "thing"]),
                entailed=draw.sample([*ids, "99"], k=draw.randint(0, len(ids))),
                is_balanced=draw.random() < 0.8,
            )
            for id_ in ids
        }
        some = [frozenset(draw.sample(words, k=2)) for _ in ids]
        choices = {id_: QuestionChoices(one, frozenset(sorted(one)[:1])) for id_, one in zip(ids, some, strict=True)}

        found = gqa.report(asked, known, choices)

        for name, value in gqa_slowly(asked, known, choices).items():
            reported = found[name] if name == "distribution" else found[name]["score"]
            assert reported == (None if value is None else pytest.approx(value, abs=ROUNDED)), name


# --- NLVR2 ---------------------------------------------------------------------------------------------------------


def judged(identifier, value):
    return Rated(ComparedImages(identifier, ("a", "b"), "Two.", True), True, value=value)


def test_nlvr2_counts_a_statement_as_consistent_if_all_its_pairs_are_judged_right():
    values = {"dev-1-0-0": 1.0, "dev-1-1-0": 1.0, "dev-1-0-1": 1.0, "dev-1-1-1": 0.0, "dev-2-0-0": 1.0}

    found = verdicts.report([judged(id_, value) for id_, value in values.items()], list(values))

    assert found == {"accuracy": {"score": 0.8, "items": 5}, "consistency": {"score": 0.6667, "items": 3}}


def test_nlvr2_consistency_leaves_out_a_statement_of_which_some_pairs_were_not_asked():
    found = verdicts.report(
        [judged("dev-1-0-0", 1.0), judged("dev-2-0-0", 0.0)], ["dev-1-0-0", "dev-1-1-0", "dev-2-0-0"]
    )

    assert found["consistency"] == {"score": 0.0, "items": 1}


def test_nlvr2_equals_a_brute_force_over_random_verdicts():
    draw, compared = random.Random(7), 0
    while compared < CASES:
        pairs = [f"dev-{s}-{p}-{n}" for s in range(2) for p in range(3) for n in range(2) if draw.random() < 0.8]
        values = {pair: float(draw.random() < 0.8) for pair in pairs if draw.random() < 0.9}
        if not values:
            continue
        compared += 1
        right, whole, consistent = 0.0, 0, 0
        for value in values.values():
            right += value
        for statements in range(2):
            for sentence in range(2):
                own = [pair for pair in pairs if pair[4] == str(statements) and pair[8] == str(sentence)]
                if own and all(pair in values for pair in own):
                    whole += 1
                    consistent += all(values[pair] == 1 for pair in own)

        found = verdicts.report([judged(pair, value) for pair, value in values.items()], pairs)

        assert found["accuracy"]["score"] == pytest.approx(right / len(values), abs=ROUNDED)
        assert found["consistency"]["items"] == whole
        assert found["consistency"]["score"] == (pytest.approx(consistent / whole, abs=ROUNDED) if whole else None)


# --- Boxes, labels, choices ----------------------------------------------------------------------------------------


def overlap_slowly(box, other):
    shared = total = 0
    for x in range(12):
        for y in range(12):
            inside = box[0] <= x < box[2] and box[1] <= y < box[3]
            inside_other = other[0] <= x < other[2] and other[1] <= y < other[3]
            shared += inside and inside_other
            total += inside or inside_other
    return shared / total


def random_box(draw):
    x, y = draw.randrange(6), draw.randrange(6)
    return (x, y, x + draw.randint(1, 6), y + draw.randint(1, 6))


def test_a_box_is_right_where_a_count_of_pixels_says_so():
    draw, rights = random.Random(9), 0
    for _ in range(2 * CASES):
        box = random_box(draw)
        other = tuple(side + draw.choice([0, 0, 1]) for side in box) if draw.random() < 0.5 else random_box(draw)
        is_right = overlap_slowly(box, other) >= RIGHT_OVERLAP
        rights += is_right
        assert TASKS["refcoco"].metric(list(box), other) == float(is_right), (box, other)
    assert CASES / 4 < rights < 7 * CASES / 4


def test_boxes_that_overlap_by_exactly_one_half_are_right():
    assert TASKS["refcocog"].metric([0, 0, 10, 10], (0, 0, 10, 5)) == 1.0
    assert TASKS["refcocog"].metric([0, 0, 10, 10], (0, 0, 10, 4.99)) == 0.0


def test_right_boxes_are_reported_by_official_split():
    asked = [
        Rated(ReferredBox("1", "p.jpg", "it", (0, 0, 1, 1), split), (0, 0, 1, 1), value=value)
        for split, value in [("testA", 1.0), ("testB", 0.0), ("testA", 0.0), ("testB", 0.0)]
    ]

    assert official.report("refcoco", asked, official.Split(None, "test", [])) == {
        "accuracy": {"score": 0.25, "items": 4},
        "by split": {"testA": {"score": 0.5, "items": 2}, "testB": {"score": 0.0, "items": 2}},
    }


def test_right_labels_are_reported_by_right_label():
    labels = [("neutral", 1.0), ("entailment", 0.0), ("neutral", 0.0), ("contradiction", 1.0)]
    asked = [Rated(EntailedStatement("1", "p.jpg", "It.", label), "", value=value) for label, value in labels]

    assert accuracy.by_class(asked) == {
        "accuracy": {"score": 0.5, "items": 4},
        "by class": {
            "contradiction": {"score": 1.0, "items": 1},
            "entailment": {"score": 0.0, "items": 1},
            "neutral": {"score": 0.5, "items": 2},
        },
    }


@pytest.mark.parametrize("name", ["snli-ve", "refcoco+"])
def test_figures_by_group_equal_a_brute_force_over_random_values(name):
    draw = random.Random(11)
    for _ in range(CASES):
        groups, values = [], []
        for _ in range(draw.randint(1, 12)):
            groups.append(draw.choice(["a", "b", "c"]))
            values.append(float(draw.random() < 0.5))
        asked = [
            Rated(SimpleNamespace(split=group, label=group), "", value=value)
            for group, value in zip(groups, values, strict=True)
        ]
        found = official.report(name, asked, official.Split(None, "test", []))
        assert found["accuracy"]["score"] == pytest.approx(sum(values) / len(values), abs=ROUNDED)
        (parts,) = [part for key, part in found.items() if key != "accuracy"]
        for group in "abc":
            count = right = 0
            for place, other in enumerate(groups):
                if other == group:
                    count += 1
                    right += values[place]
            assert (group in parts) == (count > 0)
            assert not count or parts[group] == {"score": pytest.approx(right / count, abs=ROUNDED), "items": count}


@pytest.mark.parametrize("name", ["vg-qa", "visual7w", "guesswhat", "a thirteenth task"])
def test_a_task_without_an_evaluation_of_its_own_is_rated_by_its_accuracy(name):
    asked = [said("a", value=1.0), said("b", value=0.0), said("c", value=0.0)]

    assert official.report(name, asked, official.Split(None, "test", [])) == {"accuracy": {"score": 0.3333, "items": 3}}


def test_choices_and_top_answers_equal_a_brute_force_over_random_items():
    draw = random.Random(13)
    for _ in range(CASES):
        right, chosen = draw.randrange(4), draw.randrange(4)
        assert TASKS["visual7w"].metric(chosen, right) == (1.0 if chosen == right else 0.0)
        assert TASKS["guesswhat"].metric(chosen, right) == (1.0 if chosen == right else 0.0)
        words = ["left", "on left", "cat", ""]
        answer, truth = draw.choice(words), draw.choice(words)
        assert TASKS["vg-qa"].metric(answer, (truth,)) == (1.0 if answer == truth else 0.0)


def test_a_figure_of_nothing_is_no_number():
    assert figure([]) == {"score": None, "items": 0}
