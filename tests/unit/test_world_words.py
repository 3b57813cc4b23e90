"""Is what the words say true? Every sentence is read back by an eye that shares no code with its writers."""

import random
import re
from collections import Counter

import pytest

from tests.world_eye import (
    AT,
    COLOR,
    DIRECTION,
    NUMBERS,
    PLURALS,
    Eye,
    entailment_label,
    looked_up,
    oracle,
    pair_truth,
    which_is_meant,
)
from training.world.build import plan_world
from training.world.kinds import is_novel
from training.world.official.corpus import SPLITS, Corpus
from training.world.profiles import Profile
from training.world.words.annotators import votes
from training.world.words.captions import Phrase, living_captions, scene_captions
from training.world.words.comparisons import comparison_sets
from training.world.words.dialogs import games
from training.world.words.entailment import hypotheses
from training.world.words.entails import entails
from training.world.words.expressions import long_expressions, placed_expressions, placeless_expressions
from training.world.words.phrasing import GQA, VG, VQA
from training.world.words.pointing import which_questions
from training.world.words.questions import question_set
from training.world.words.seen import Seen

SEED = 5
PROFILE = Profile("words", {"train": 260, "val": 40, "test": 60, "novel": 60})
AMOUNTS = {"train": 2400, "val": 200, "test": 300, "novel": 200}
STYLES = {"VQA": (VQA, "coco"), "GQA": (GQA, "vg"), "VG": (VG, "vg")}


@pytest.fixture(scope="module")
def corpus():
    scenes = [sketch.scene for sketch in plan_world(PROFILE, SEED, processes=1)]
    return Corpus.deal(scenes, seed=SEED, amounts=AMOUNTS)


def asked(corpus, style, split):
    manner, source = STYLES[style]
    return question_set(corpus.of(source, split), manner, amount=AMOUNTS[split], rng=corpus.rng(style, split))


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("style", STYLES)
def test_every_answer_is_what_an_independent_eye_sees(corpus, style, split):
    for question in asked(corpus, style, split).questions:
        assert looked_up(question.scene, question.text) == question.ask.answer, (question.text, question.scene)


@pytest.mark.parametrize("style", ["VQA", "GQA"])
def test_yes_and_no_are_equally_frequent_in_every_family(corpus, style):
    answers = {}
    for question in asked(corpus, style, "train").questions:
        if question.ask.answer in ("yes", "no"):
            answers.setdefault(question.ask.family, Counter())[question.ask.answer] += 1
    assert len(answers) >= 5
    assert all(abs(counts["yes"] - counts["no"]) <= 2 + 2 for counts in answers.values()), answers


def test_counts_are_balanced_and_may_be_zero(corpus):
    questions = asked(corpus, "VQA", "train").questions
    counts = Counter(question.ask.answer for question in questions if question.ask.family == "count")
    assert set(counts) == {"0", "1", "2", "3", "4"}
    assert max(counts.values()) <= 1.5 * min(counts.values()) + 2, counts


def test_relations_stay_under_a_fifth_and_counts_under_an_eighth(corpus):
    families = Counter(question.ask.family for question in asked(corpus, "VQA", "train").questions)
    assert sum(families[name] for name in families if "relation" in name) < families.total() / 5
    assert families["count"] < families.total() / 8


def test_complementary_questions_have_one_text_two_pictures_and_two_answers(corpus):
    found = asked(corpus, "VQA", "train")
    assert found.complementary
    for one, other in ((found.questions[a], found.questions[b]) for a, b in found.complementary):
        assert one.text == other.text
        assert one.ask.answer != other.ask.answer
        assert other.scene.twin == one.scene.id


@pytest.mark.parametrize("style", STYLES)
def test_novel_scenes_are_asked_for_their_novelty(corpus, style):
    for question in asked(corpus, style, "novel").questions:
        assert any(is_novel(kind, color) for kind, color in question.ask.pairs), question.text


@pytest.mark.parametrize("style", STYLES)
def test_no_question_speaks_of_colors_by_night(corpus, style):
    for split in SPLITS:
        by_night = [q.text for q in asked(corpus, style, split).questions if q.scene.light == "night"]
        assert not [text for text in by_night if re.search(rf"\b(colou?r|{COLOR})\b", text)]


def test_the_majority_of_ten_annotators_is_right(corpus):
    rng = random.Random(1)
    for question in asked(corpus, "VQA", "val").questions:
        answers = Counter(vote.answer for vote in votes(question.ask, rng))
        assert answers.total() == 10
        assert answers[question.ask.answer] >= 6


def test_who_says_the_color_of_a_car_has_said_that_there_is_one(corpus):
    questions = asked(corpus, "GQA", "train").questions
    by_scene = {}
    for question in questions:
        by_scene.setdefault(question.scene.id, []).append(question.ask)
    pairs = [(a, b) for listed in by_scene.values() for a in listed for b in listed if entails(a, b)]
    assert pairs
    assert all(other.answer == "yes" for one, other in pairs)


@pytest.mark.parametrize("describe", [scene_captions, living_captions])
def test_captions_name_what_is_there_as_it_looks(corpus, describe):
    for split in SPLITS:
        scenes = corpus.of("flickr30k", split)
        captions = describe(scenes, corpus.rng("captions", split))
        for scene in scenes:
            assert len(captions[scene.id]) == 5
            for caption in captions[scene.id]:
                check_caption(scene, caption)


def check_caption(scene, caption):
    eye = Eye(scene)
    for piece in caption.pieces:
        if not isinstance(piece, Phrase) or not piece.things:
            continue
        things = [scene.things[index] for index in piece.things]
        if len(things) == 1:
            assert things[0] in eye.called(piece.words), (caption.text, scene)
        else:
            number, _, noun = piece.words.partition(" ")
            assert NUMBERS[number] == len(things) == len(eye.called(PLURALS[noun]))
    places = [place for words, place in AT.items() if f" {words}" in caption.text]
    assert places in ([], [scene.place])
    assert ("at night" in caption.text) <= (scene.light == "night")
    if found := re.search(r"but no (.+)\.", caption.text):
        assert not eye.called(found[1])
    if found := re.fullmatch(
        rf"(An? [^,]+?) (?:is \w+ )?({DIRECTION}) (an? [^,]+?)(?: (?:{'|'.join(AT)})(?: at night)?)?\.", caption.text
    ):
        assert any(
            eye.stands(one, found[2], two)
            for one in eye.called(found[1][0].lower() + found[1][1:])
            for two in eye.called(found[3])
        )


def test_captions_mostly_tell_a_picture_from_its_twin(corpus):
    scenes = corpus.of("coco", "train")
    captions = scene_captions(scenes, random.Random(2))
    by_id = {scene.id: scene for scene in scenes}
    told = [
        not caption.holds(Seen(other))
        for scene in scenes
        if scene.twin in by_id
        for one, other in ((scene, by_id[scene.twin]), (by_id[scene.twin], scene))
        for caption in captions[one.id]
    ]
    assert len(told) > 100
    assert sum(told) / len(told) > 0.6


@pytest.mark.parametrize("refer", [placed_expressions, placeless_expressions, long_expressions])
def test_an_expression_means_exactly_one_thing(corpus, refer):
    rng, checked = random.Random(3), 0
    for scene in corpus.all_of("coco"):
        for index, expressions in refer(scene, rng).items():
            assert len(set(expressions)) == len(expressions) > 0
            for expression in expressions:
                assert Eye(scene).the(expression) is scene.things[index], (expression, scene)
                checked += 1
    assert checked > 500


def test_refcoco_plus_names_no_places(corpus):
    rng = random.Random(3)
    for scene in corpus.all_of("coco"):
        for expressions in placeless_expressions(scene, rng).values():
            assert not [text for text in expressions if re.search(r"left|right|above|below|side", text)]


@pytest.mark.parametrize("refer", [placed_expressions, placeless_expressions, long_expressions])
def test_in_novel_scenes_only_novel_things_are_referred_to(corpus, refer):
    for scene in corpus.of("coco", "novel"):
        for index in refer(scene, random.Random(3)):
            assert is_novel(scene.things[index].kind, scene.things[index].color)


def test_a_which_question_has_one_right_box_among_four_of_its_picture(corpus):
    for split in SPLITS:
        questions = which_questions(corpus.of("vg", split), amount=AMOUNTS[split], rng=random.Random(4))
        assert questions
        for question in questions:
            assert len({question.answer, *question.wrong}) == 4
            assert which_is_meant(Eye(question.scene), question.text) is question.scene.things[question.answer]


def test_a_dialog_leaves_exactly_the_target(corpus):
    for split in SPLITS:
        played = games(corpus.of("coco", split), amount=AMOUNTS[split], rng=random.Random(5))
        assert played
        for game in played:
            assert 2 <= len(game.turns) <= 5
            left = [
                index
                for index, thing in enumerate(game.scene.things)
                if all(oracle(game.scene, thing, turn.question) == turn.answer for turn in game.turns)
            ]
            assert game.target in left
            assert left == [game.target] or not game.is_success


def test_some_games_fail_and_targets_are_spread(corpus):
    played = games(corpus.of("coco", "train"), amount=2000, rng=random.Random(5))
    assert 0.02 < sum(not game.is_success for game in played) / len(played) < 0.09
    assert Counter(game.target for game in played)[0] < 0.3 * len(played)


@pytest.mark.parametrize("split", SPLITS)
def test_a_statement_about_two_pictures_is_true_of_half_of_its_pairs(corpus, split):
    sets = comparison_sets(corpus.of("nlvr2", split), amount=AMOUNTS[split], rng=random.Random(6))
    assert sum(len(made.statements) for made in sets) * 4 >= AMOUNTS[split]
    for made in sets:
        for statement in made.statements:
            assert sum(statement.labels) * 2 == len(statement.labels) == len(made.pairs) == 4
            assert [pair_truth(pair, statement.text) for pair in made.pairs] == list(statement.labels), statement


@pytest.mark.parametrize("split", SPLITS)
def test_a_hypothesis_has_the_label_that_the_picture_gives_it(corpus, split):
    stated = hypotheses(corpus.of("flickr30k", split), amount=AMOUNTS[split], rng=random.Random(7))
    assert stated
    for one in stated:
        assert entailment_label(one.scene, one.text) == one.label, (one.text, one.scene)


def test_every_hypothesis_comes_with_all_three_labels_equally_often(corpus):
    labels = {}
    for one in hypotheses(corpus.of("flickr30k", "train"), amount=AMOUNTS["train"], rng=random.Random(7)):
        labels.setdefault(one.text, Counter())[one.label] += 1
    assert len(labels) > 50
    for counts in labels.values():
        assert counts["entailment"] == counts["neutral"] == counts["contradiction"]
