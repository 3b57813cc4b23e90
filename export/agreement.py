"""Do the engines answer alike? Each request goes through the whole service, once an engine, from bytes to answer."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from twelve.assembly import Settings
from twelve.errors import DataError
from twelve.service import Service
from twelve.wire import JSON, Call

REFERENCE = "eager"
TIE = 1e-4
"""Two answers whose scores are no further apart may stand in either order."""

BOX_NOISE_PX = 0.05
"""Boxes are answered to the hundredth of a pixel; engines may round to neighbouring ones."""


class Verdict(StrEnum):
    """How an engine's answer stands to the reference's."""

    SAME = "same"
    TIED = "tied"
    DIFFERENT = "different"


@dataclass
class Tally:
    """What was counted of one task and one engine.

    Attributes:
        verdicts: How often each was given.
        score_gap: The largest between both engines' best scores, where the answers are the same.
        different: Lines of the requests that were answered differently.
    """

    verdicts: dict[Verdict, int] = field(default_factory=lambda: dict.fromkeys(Verdict, 0))
    score_gap: float = 0.0
    different: list[int] = field(default_factory=list)

    def add(self, line: int, reference: Mapping[str, Any], answer: Mapping[str, Any]) -> None:
        """Count one answer."""
        verdict = judge(reference, answer)
        self.verdicts[verdict] += 1
        if verdict is Verdict.SAME:
            gap = abs(reference["candidates"][0]["score"] - answer["candidates"][0]["score"])
            self.score_gap = max(self.score_gap, gap)
        if verdict is Verdict.DIFFERENT:
            self.different.append(line)


Tallies = dict[tuple[str, str], Tally]
"""By task and engine."""


def compare(bundle: Path, graphs: Path, engines: Sequence[str], requests: Path) -> Iterator[Tallies]:
    """Put each request to the eager engine and to others.

    Args:
        bundle: The bundle's folder.
        graphs: Its exported graphs.
        engines: To compare with eager.
        requests: JSON lines, each the body of a prediction.

    Yields:
        The tallies so far, after each request.

    Raises:
        DataError: A request is one that the eager engine cannot answer; names its line.
        StartupError: An engine cannot be opened.
    """
    services = {
        engine: Service.open(bundle, Settings(engine=engine, graphs=graphs)) for engine in (REFERENCE, *engines)
    }
    tallies: Tallies = {}
    with requests.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            reference = answer_of(services[REFERENCE], line, f"{requests}:{number}")
            for engine in engines:
                answer = answer_of(services[engine], line, f"{requests}:{number}: engine {engine}")
                tallies.setdefault((reference["task"], engine), Tally()).add(number, reference, answer)
            yield tallies


def judge(reference: Mapping[str, Any], answer: Mapping[str, Any]) -> Verdict:
    """Say whether two answers are the same, or differ only by the order of two scores that are as good as equal.

    Args:
        reference: Of the eager engine: answer and candidates, best first.
        answer: Of another.

    Returns:
        The verdict.
    """
    if is_same(reference["answer"], answer["answer"]):
        return Verdict.SAME
    best = reference["candidates"][0]["score"]
    rivals = [one["score"] for one in reference["candidates"] if is_same(one["answer"], answer["answer"])]
    return Verdict.TIED if any(best - rival <= TIE for rival in rivals) else Verdict.DIFFERENT


def is_same(one: Any, other: Any) -> bool:
    """Say whether two answers are the same; boxes by their sides, to a fraction of a pixel."""
    if isinstance(one, list) and isinstance(other, list):
        return all(abs(a - b) <= BOX_NOISE_PX for a, b in zip(one, other, strict=True))
    return bool(one == other)


def answer_of(service: Service, line: bytes, place: str) -> dict[str, Any]:
    """Put a request to a service.

    Raises:
        DataError: It was refused; says where the request stands.
    """
    reply = service.answer_calls([Call(body=line, content_type=JSON)])[0]
    body: dict[str, Any] = json.loads(reply.body)
    if "error" in body:
        raise DataError(f"{place}: the request was refused: {body['error']['message']}")
    return body
