"""The official VQA answer normaliser, and the two scores that count agreeing annotators.

Source: the VQA challenge's evaluation code (visualqa.org/evaluation; PythonEvaluationTools/vqaEvaluation/vqaEval.py),
whose oddities are kept, because published figures contain them:

- whether a mark becomes a space or vanishes depends on where *any* of its occurrences stands;
- one number with a thousands comma anywhere in the text makes every mark vanish;
- full stops go unless a digit follows, so "3." loses it and ".5" keeps it.
"""

import re
from collections import Counter
from collections.abc import Sequence

AGREEMENT = 3
"""That many annotators, of those asked, make an answer fully right."""

VOTE_SCORES = (0.0, 0.3, 0.6, 0.9, 1.0)
"""By votes; four or more count 1 (bottom-up attention, arXiv:1707.07998; used by 12-in-1)."""

_MARKS = ';/[]"{}()=+\\_-><@`,?!'
_THOUSANDS_COMMA = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")
_ARTICLES = frozenset({"a", "an", "the"})
_NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = {"none": "0"} | {word: str(number) for number, word in enumerate(_NUMBERS)}

_CONTRACTED = """
    ain't aren't can't couldn't didn't doesn't don't hadn't hasn't haven't isn't mightn't mustn't needn't oughtn't
    shan't shouldn't wasn't weren't won't wouldn't
    could've might've must've not've should've they've we've what've where've who've would've you've
    how'll it'll somebody'll someone'll something'll they'll what'll who'll why'll you'll
    he'd how'd it'd someone'd something'd there'd they'd where'd who'd you'd
    he's how's somebody's someone's that's there's what's when's where's who's why's
    there're they're what're why're you're
    ma'am o'clock y'all 'twas
    couldn't've hadn't've mightn't've shouldn't've wouldn't've
    he'd've it'd've she'd've somebody'd've someone'd've something'd've there'd've they'd've we'd've who'd've you'd've
    y'all'll y'all'd've 'ow's'at
"""
"""What the official table restores; not words that are others without their apostrophe (well, were, its, id)."""


def without_marks(text: str) -> str:
    """Turn marks into spaces where they join words ("red/blue"), into nothing where they stand at a word's end."""
    has_thousands = _THOUSANDS_COMMA.search(text) is not None
    cleaned = text
    for mark in _MARKS:
        is_at_end = f"{mark} " in text or f" {mark}" in text
        cleaned = cleaned.replace(mark, "" if is_at_end or has_thousands else " ")
    return _FULL_STOP.sub("", cleaned)


def _misspelt(word: str) -> list[str]:
    """Give the spellings of a contraction that lack one apostrophe."""
    return [word[:at] + word[at + 1 :] for at, letter in enumerate(word) if letter == "'"]


_CONTRACTIONS = {wrong: word for word in _CONTRACTED.split() for wrong in _misspelt(word)} | {
    "somebody'd": "somebodyd"  # the official table has this pair the wrong way round
}


def normalise_answer(answer: str) -> str:
    """Give an answer as the official evaluation compares it.

    Lower case; marks, articles and line breaks gone; "none" to "ten" as digits; apostrophes put back into contractions.
    """
    words = without_marks(" ".join(answer.split())).lower().split()
    digits = [_DIGITS.get(word, word) for word in words]
    return " ".join(_CONTRACTIONS.get(word, word) for word in digits if word not in _ARTICLES)


def vqa_accuracy(answer: str, answers: Sequence[str]) -> float:
    """Give the official VQA accuracy of one answer, in [0, 1].

    Leaves out each annotator in turn, counts how many of the others gave the answer, and gives the mean of
    min(count / 3, 1).

    Args:
        answer: What the model said.
        answers: What the annotators said; ten in VQAv2.

    Raises:
        ValueError: There are fewer than two annotators, so that nobody is left to agree with.

    Differs: both sides are always fully normalised. The official code strips marks only from the annotators' side, and
        only where they disagree, so that for instance a "none" can never be matched: the answer to compare is "0".
    """
    if len(answers) < 2:
        raise ValueError(f"leaving one annotator out needs at least 2 answers, got {len(answers)}")
    said = normalise_answer(answer)
    agrees = [normalise_answer(other) == said for other in answers]
    matches = sum(agrees)
    return sum(min((matches - own) / AGREEMENT, 1.0) for own in agrees) / len(answers)


def soft_scores(answers: Sequence[str]) -> dict[str, float]:
    """Give each distinct normalised answer its training target by its votes: 0.3, 0.6, 0.9, then 1.

    Differs: votes are counted after normalisation; the published code counts the texts as they stand.
    """
    votes = Counter(normalise_answer(answer) for answer in answers)
    return {answer: VOTE_SCORES[min(count, len(VOTE_SCORES) - 1)] for answer, count in votes.items()}
