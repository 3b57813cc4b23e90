"""Lists of answers that belong to a checkpoint: as JSON, or as the authors pickled them."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

from twelve.convert.pickles import Refused, load_plain
from twelve.errors import WeightsInvalid

OUR_FORM = "write it as a JSON list of texts, in the order of the head's outputs"


def read(path: Path, *, outputs: int) -> tuple[str, ...]:
    """Read a list of answers.

    Args:
        path: JSON, or a pickle like the published `trainval_label2ans.pkl`; told apart by content.
        outputs: Of the head that chooses among them.

    Returns:
        The answers, in the order of the outputs.

    Raises:
        WeightsInvalid: The file is missing or broken, holds anything but different texts, or too many or too few.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise WeightsInvalid(f"{path}: there is no such list of answers; check the path") from error
    answers = _json(path, content) if content.lstrip()[:1] in (b"[", b"{", b'"') else _pickled(path, content)
    if not isinstance(answers, list):
        raise WeightsInvalid(f"{path}: holds a {type(answers).__name__}, expected a list of answers; {OUR_FORM}")
    for place, answer in enumerate(answers):
        if not isinstance(answer, str):
            raise WeightsInvalid(f"{path}: [{place}] is of type {type(answer).__name__}, expected a text")
        _refuse_half_characters(path, place, answer)
    _refuse_other_length(path, answers, outputs)
    answer, count = Counter(answers).most_common(1)[0]
    if count > 1:
        raise WeightsInvalid(f"{path}: lists {answer!r} {count} times; each output of a head is another answer")
    return tuple(answers)


def _json(path: Path, content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise WeightsInvalid(f"{path}: is no JSON ({error}); {OUR_FORM}") from error


def _pickled(path: Path, content: bytes) -> Any:
    try:
        return load_plain(content)
    except Refused as error:
        raise WeightsInvalid(f"{path}: is neither JSON nor a plain pickle ({error}); {OUR_FORM}") from error


def _refuse_half_characters(path: Path, place: int, answer: str) -> None:
    """Refuse a text that no file can hold: one half of a surrogate pair, as JSON and pickles may write it."""
    try:
        answer.encode()
    except UnicodeEncodeError as error:
        raise WeightsInvalid(
            f"{path}: [{place}] is {answer!r:.60}, which has half a character at {error.start}; write the whole one"
        ) from error


def _refuse_other_length(path: Path, answers: list[str], outputs: int) -> None:
    if len(answers) != outputs:
        raise WeightsInvalid(
            f"{path}: lists {len(answers):,} answers, the head has {outputs:,} outputs; "
            "name the list that was trained with this checkpoint, and see that the two lists are not swapped"
        )
