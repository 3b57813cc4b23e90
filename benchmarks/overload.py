"""What ten times too many requests do: `make prove-overload`, some three minutes.

nginx and two servers of the default bundle have one core, the clients another: so the clients can offer what they
claim to, and nobody takes from the servers what is measured of them. The most that is answered a second is measured
before and after, and the larger counts. The summary goes to benchmarks/overload.json; the exit code is 1 if a bound was
broken.
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import cycle
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.crowd import Crowd, Question, crowd
from benchmarks.fleet import GENEROUS, cpu_s, launched, trusting_of
from benchmarks.wires import GONE, Reply, Wire, written
from handlers.healthcheck import MODEL
from tests.checkout import ROOT
from tests.integration.edge_harness import LiveEdge

RESULT = ROOT / "benchmarks" / "overload.json"
PATH = f"/predictions/{MODEL}"
PICTURES = 20

TIMES_PEAK, TIMES_OFFERED = 10, 11.5
"""What the overload has to be, and what is aimed at: the peak may turn out higher afterwards, clients be late."""

LIGHT_SHARE = 0.5
"""Of the peak: what is normal."""

PEAK_CLIENTS = 16
MOST_WIRES = 400
"""Connections of the clients: more than the servers hold, and those that are being refused."""

TICK_S = 0.005
WARMING_S, PEAK_S, LIGHT_S, OVERLOAD_S = 30.0, 20.0, 15.0, 30.0

GOODPUT_SHARE = 0.9
AT_ONCE_S = 0.1
"""By when 99 of 100 refusals are there."""

RECOVERED_WITHIN_S = 5
LOST = 0
"""In place of a status: the connection broke, or the answer was somebody else's."""


@dataclass(frozen=True)
class Outcome:
    """What came of a request.

    Attributes:
        began_s: Since the phase began.
        seconds: Until the reply.
        status: Of the reply, or LOST.
        retry_after: Whether it says when to ask again.
    """

    began_s: float
    seconds: float
    status: int
    retry_after: bool = False


@dataclass
class Phase:
    """A while under one load.

    Attributes:
        name: Of the load.
        outcomes: Of all requests that began in it.
        took_s: From its begin until the last request of it began.
        unsent: Requests for which there was no connection left.
        cpu_s: That was used, by kind of process.
    """

    name: str
    outcomes: list[Outcome] = field(default_factory=list)
    took_s: float = 0.0
    unsent: int = 0
    cpu_s: Counter[str] = field(default_factory=Counter)

    @property
    def goodput(self) -> float:
        """Give answers a second, of those that came in this phase."""
        good = (one for one in self.outcomes if one.status == HTTPStatus.OK)
        return sum(one.began_s + one.seconds <= self.took_s for one in good) / self.took_s

    @property
    def offered(self) -> float:
        """Give requests a second."""
        return len(self.outcomes) / self.took_s

    def seconds(self, status: int) -> list[float]:
        """Give how long replies of a status took, in order."""
        return sorted(one.seconds for one in self.outcomes if one.status == status)

    def slices(self) -> list[list[Outcome]]:
        """Part the outcomes by the second in which they began."""
        parts: list[list[Outcome]] = [[] for _ in range(int(self.took_s))]
        for one in self.outcomes:
            if int(one.began_s) < len(parts):
                parts[int(one.began_s)].append(one)
        return parts

    def figures(self) -> dict[str, Any]:
        """Sum it up."""
        good = self.seconds(HTTPStatus.OK)
        return {
            "phase": self.name,
            "offered_per_s": round(self.offered, 1),
            "unsent": self.unsent,
            "answered_per_s": round(self.goodput, 1),
            "statuses": dict(Counter(str(one.status) for one in self.outcomes)),
            "answer_s": {"p50": quantile(good, 0.5), "p99": quantile(good, 0.99)},
            "cores_busy": {kind: round(used_s / self.took_s, 3) for kind, used_s in sorted(self.cpu_s.items())},
        }


class Load:
    """The clients, and their connections, which are kept from phase to phase."""

    def __init__(self, edge: LiveEdge, questions: Crowd) -> None:
        own = {"Authorization": f"Bearer {edge.key}"}
        self._edge = edge
        self._wires = [Wire(edge.port, trusting_of(edge)) for _ in range(MOST_WIRES)]
        self._introductions = [written(PATH, one.body, own) for one in questions.sent]
        self._asks = cycle([(one, written(PATH, one.body, own)) for one in questions.named])
        self._on_their_way: set[asyncio.Task[None]] = set()

    async def introduce(self) -> None:
        """Send the pictures that are named from then on."""
        for request in self._introductions:
            reply = await self._wires[0].ask(request)
            assert reply.status == HTTPStatus.OK, reply

    async def connect(self) -> None:
        """Open all connections: who comes to a full server has been there before."""
        for wire in self._wires:
            await wire.open()

    async def in_turn(self, name: str, clients: int, for_s: float) -> Phase:
        """Ask from so many clients, each as soon as it has its answer."""
        with phase_of(name, self._edge) as (phase, began_s):

            async def keep_asking() -> None:
                while time.monotonic() - began_s < for_s:
                    await self._ask(phase, began_s)

            await asyncio.gather(*(keep_asking() for _ in range(clients)))
        return phase

    async def at_rate(self, name: str, per_s: float, for_s: float) -> Phase:
        """Ask so often, whatever becomes of earlier requests; those on their way come back in the next phase."""
        with phase_of(name, self._edge) as (phase, began_s):
            due = 0
            while (passed_s := time.monotonic() - began_s) < for_s:
                for _ in range(int(passed_s * per_s) - due):
                    self._send(phase, began_s)
                due = int(passed_s * per_s)
                await asyncio.sleep(TICK_S)
        return phase

    async def settle(self) -> None:
        """Wait for all that is on its way."""
        await asyncio.gather(*self._on_their_way)

    def _send(self, phase: Phase, began_s: float) -> None:
        if not self._wires:
            phase.unsent += 1
            return
        task = asyncio.create_task(self._ask(phase, began_s))
        self._on_their_way.add(task)
        task.add_done_callback(self._on_their_way.discard)

    async def _ask(self, phase: Phase, began_s: float) -> None:
        if not self._wires:
            phase.unsent += 1
            return
        wire, (question, request), since_s = self._wires.pop(), next(self._asks), time.monotonic()
        try:
            reply = await wire.ask(request)
            status, retry_after = status_of(question, reply), "retry-after" in reply.headers
        except GONE:
            status, retry_after = LOST, False
        phase.outcomes.append(Outcome(since_s - began_s, time.monotonic() - since_s, status, retry_after))
        self._wires.append(wire)


@contextmanager
def phase_of(name: str, edge: LiveEdge) -> Iterator[tuple[Phase, float]]:
    """Give a phase and when it began; leaving ends it."""
    used = cpu_s(edge)
    phase, began_s = Phase(name), time.monotonic()
    yield phase, began_s
    phase.took_s, phase.cpu_s = time.monotonic() - began_s, cpu_s(edge) - used


def status_of(question: Question, reply: Reply) -> int:
    """Give a reply's status, or LOST where it is about another picture: cheaper than to read the whole answer."""
    if reply.status == HTTPStatus.OK and question.answer["images"][0].encode() not in reply.body:
        return LOST
    return reply.status


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """Give a quantile of what stands in order; None where there is nothing."""
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 4) if ordered else None


async def phases(load: Load) -> list[Phase]:
    """Put one load after the other on the servers."""
    await load.introduce()
    await load.in_turn("warming", PEAK_CLIENTS, WARMING_S)
    peak = await load.in_turn("peak before", PEAK_CLIENTS, PEAK_S)
    light = await load.at_rate("normal before", LIGHT_SHARE * peak.goodput, LIGHT_S)
    await load.settle()
    await load.connect()
    over = await load.at_rate("overload", TIMES_OFFERED * peak.goodput, OVERLOAD_S)
    after = await load.at_rate("normal after", LIGHT_SHARE * peak.goodput, LIGHT_S)
    await load.settle()
    return [peak, light, over, after, await load.in_turn("peak after", PEAK_CLIENTS, PEAK_S)]


def recovered_after_s(normal: Phase, after: Phase) -> int | None:
    """Say when all was as before.

    Args:
        normal: The same load before.
        after: It began when the overload ended.

    Returns:
        Whole seconds, from which on half of the answers take no longer than the slowest twentieth did before, and
        nobody is refused; None where that never came.
    """
    usual_s = quantile(normal.seconds(HTTPStatus.OK), 0.95)

    def is_usual(part: Sequence[Outcome]) -> bool:
        median = quantile(sorted(one.seconds for one in part), 0.5)
        are_good = all(one.status == HTTPStatus.OK for one in part)
        return are_good and median is not None and usual_s is not None and median <= usual_s

    parts = [is_usual(part) for part in after.slices()]
    return next((second for second in range(len(parts)) if all(parts[second:])), None)


def summary(peak_before: Phase, normal: Phase, over: Phase, after: Phase, peak_after: Phase) -> dict[str, Any]:
    """Put the phases into figures."""
    refused = [one for one in over.outcomes if one.status == HTTPStatus.TOO_MANY_REQUESTS]
    peak = max(peak_before.goodput, peak_after.goodput)
    waits_s = over.seconds(HTTPStatus.TOO_MANY_REQUESTS)
    return {
        "peak_per_s": round(peak, 1),
        "overload_times_peak": round(over.offered / peak, 2),
        "goodput_per_s": round(over.goodput, 1),
        "goodput_share_of_peak": round(over.goodput / peak, 3),
        "refused": len(refused),
        "refused_without_retry_after": sum(not one.retry_after for one in refused),
        "refusal_s": {"p50": quantile(waits_s, 0.5), "p99": quantile(waits_s, 0.99), "longest": quantile(waits_s, 1)},
        "neither_answered_nor_refused": len(over.outcomes) - len(refused) - len(over.seconds(HTTPStatus.OK)),
        "normal_again_after_s": recovered_after_s(normal, after),
        "phases": [phase.figures() for phase in (peak_before, normal, over, after, peak_after)],
    }


def broken_bounds(done: Mapping[str, Any]) -> list[str]:
    """Say which bounds a run broke.

    Args:
        done: Its summary.

    Returns:
        A sentence each.
    """
    again, refusal_s = done["normal_again_after_s"], done["refusal_s"]["p99"]
    holds = {
        f"offered: {done['overload_times_peak']} times the peak, at least {TIMES_PEAK}": (
            done["overload_times_peak"] >= TIMES_PEAK
        ),
        f"goodput: {done['goodput_share_of_peak']:.1%} of the peak, at least {GOODPUT_SHARE:.0%}": (
            done["goodput_share_of_peak"] >= GOODPUT_SHARE
        ),
        "refusals: none": done["refused"] > 0,
        f"refusals without Retry-After: {done['refused_without_retry_after']}": not done["refused_without_retry_after"],
        f"refusals: p99 {refusal_s} s, at most {AT_ONCE_S}": refusal_s is not None and refusal_s <= AT_ONCE_S,
        f"neither answered nor refused: {done['neither_answered_nor_refused']}": not done[
            "neither_answered_nor_refused"
        ],
        f"normal again after {again} s, at most {RECOVERED_WITHIN_S}": again is not None
        and again <= RECOVERED_WITHIN_S,
    }
    return [sentence for sentence, held in holds.items() if not held]


def measured(bundle: Path, servers_core: int, clients_core: int) -> dict[str, Any]:
    """Launch everything and put load on it.

    Args:
        bundle: To serve.
        servers_core: Of nginx, the servers and their workers.
        clients_core: Of this process.
    """
    os.sched_setaffinity(0, {servers_core})  # what is started inherits it
    with launched(bundle, **GENEROUS) as edge:
        os.sched_setaffinity(0, {clients_core})
        questions = crowd(bundle, PICTURES, 0)
        return summary(*asyncio.run(phases(Load(edge, questions))))


def main(
    bundle: Annotated[Path, typer.Option(help="To serve.")] = ROOT / "model_store" / "small",
    out: Annotated[Path, typer.Option(help="Where the summary goes.")] = RESULT,
) -> None:
    """Overload the servers, and write down what came of it."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise typer.BadParameter("needs two cores, one for the servers and one for the clients")
    done = measured(bundle, *cores[:2])
    broken = broken_bounds(done)
    text = json.dumps({**done, "broken_bounds": broken}, indent=2)
    out.write_text(text + "\n", encoding="utf-8")
    print(text)
    raise typer.Exit(bool(broken))


if __name__ == "__main__":
    typer.run(main)
