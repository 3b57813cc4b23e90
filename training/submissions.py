"""Prediction files as each challenge takes them, written row by row: a run cut short goes on where it stopped."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from training.metrics.prediction import Prediction
from twelve.errors import DataError

Row = Callable[[Prediction], str]


@dataclass(frozen=True)
class Format:
    """How a file of predictions reads.

    Attributes:
        row: One prediction, on one line.
        start: Before the rows.
        between: Two rows.
        end: After the rows.
    """

    row: Row
    start: str = "[\n"
    between: str = ",\n"
    end: str = "\n]\n"


def format_of(task: str) -> Format:
    """Give the format that a task's predictions are handed in.

    Raises:
        DataError: There is none.
    """
    if task not in FORMATS:
        raise DataError(
            f"task {task!r}: nobody takes its predictions as a file; there are formats for {', '.join(FORMATS)}. "
            "Retrieval is rated on a gallery: `python -m training evaluate RECIPE --gallery 1000`"
        )
    return FORMATS[task]


class Draft:
    """The rows of a file that is still being written, beside the place it will have.

    A first line says what the rows are of; rows of anything else are thrown away. A row that a kill cut in two is too.
    """

    def __init__(self, path: Path, of: Mapping[str, Any]) -> None:
        self.path = path.with_name(path.name + ".part")
        self._heading = json.dumps(of, sort_keys=True)

    def done(self) -> int:
        """Count the rows that are there, dropping what cannot be gone on from."""
        whole = self._whole_lines()
        kept = whole if whole[:1] == [self._heading] else [self._heading]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")
        return len(kept) - 1

    def append(self, rows: Iterable[str]) -> None:
        """Add rows, each on the disk before the next is made."""
        with self.path.open("a", encoding="utf-8", buffering=1) as file:
            for row in rows:
                file.write(f"{row}\n")

    def rows(self) -> Iterator[str]:
        """Read the rows."""
        with self.path.open(encoding="utf-8") as file:
            next(file)
            yield from (line.removesuffix("\n") for line in file)

    def _whole_lines(self) -> list[str]:
        with suppress(FileNotFoundError):
            return self.path.read_text(encoding="utf-8").split("\n")[:-1]
        return []


def write(draft: Draft, chosen: Format, path: Path) -> None:
    """Make the file of a finished draft, and let go of the draft."""
    fresh = path.with_name(path.name + ".new")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(chosen.start)
        for place, row in enumerate(draft.rows()):
            file.write(chosen.between * bool(place) + row)
        file.write(chosen.end)
    fresh.replace(path)
    draft.path.unlink()


def _json(fields: Callable[[Prediction], Mapping[str, Any]]) -> Row:
    return lambda one: json.dumps(fields(one), ensure_ascii=False)


def _vqa(one: Prediction) -> dict[str, Any]:
    return {"question_id": int(one.record.id), "answer": one.answer}


def _gqa(one: Prediction) -> dict[str, Any]:
    return {"questionId": one.record.id, "prediction": one.answer}


def _genome(one: Prediction) -> dict[str, Any]:
    return {"qa_id": int(one.record.id), "answer": one.answer}


def _visual7w(one: Prediction) -> dict[str, Any]:
    candidates = [{"answer": one.record.box_ids[place]} for place in one.ranked]
    return {"qa_id": int(one.record.id), "question": one.record.question, "candidates": candidates}


def _guesswhat(one: Prediction) -> dict[str, Any]:
    return {"id": int(one.record.id), "object_id": one.record.box_ids[one.answer]}


def _refer(one: Prediction) -> dict[str, Any]:
    x1, y1, x2, y2 = one.answer
    return {"sent_id": int(one.record.id), "bbox": [x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)]}


def _nlvr2(one: Prediction) -> str:
    return f"{one.record.id},{one.answer}"


def _snli_ve(one: Prediction) -> dict[str, Any]:
    return {"pairID": one.record.id, "prediction": one.answer}


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        "vqa-v2": Format(_json(_vqa)),
        "vg-qa": Format(_json(_genome)),
        "gqa": Format(_json(_gqa)),
        "visual7w": Format(_json(_visual7w)),
        "guesswhat": Format(_json(_guesswhat)),
        "refcoco": Format(_json(_refer)),
        "refcoco+": Format(_json(_refer)),
        "refcocog": Format(_json(_refer)),
        "nlvr2": Format(_nlvr2, start="", between="\n", end="\n"),
        "snli-ve": Format(_json(_snli_ve)),
    }
)
"""By task. VQAv2, GQA, Visual7W and NLVR2 have evaluators that read theirs; the others have no challenge."""
