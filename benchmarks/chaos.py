"""Whether everybody gets an answer, and their own, while workers are killed: `make prove-chaos`.

nginx before two servers of the default bundle, each with one worker. Clients ask all tasks at once; of a hundred, some
send their request drop by drop, and some leave before it is answered. Every few seconds one worker is killed. Each
request bears a name and a deadline, and its answer was computed beforehand: what came back is compared with it. At the
end nginx's own log must have one line a name. The summary goes to benchmarks/chaos.json; the exit code is 1 if a bound
was broken. Workers that start anew import the code anew: run it from a checkout that nobody edits.
"""

import asyncio
import json
import re
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.progress import Progress

from benchmarks.crowd import Came, Crowd, Question, crowd, judged
from benchmarks.fleet import GENEROUS, cpu_ms_each, cpu_s, launched, trusting_of, workers
from benchmarks.wires import GONE, Reply, Wire, read, written
from handlers.healthcheck import MODEL
from tests.checkout import ROOT
from tests.integration.edge_harness import LiveEdge

RESULT = ROOT / "benchmarks" / "chaos.json"
PATH = f"/predictions/{MODEL}"

DROPS, BETWEEN_DROPS_S = 8, 0.3
ODD_IN = 50
SLOW, VANISHES, VANISHES_HALFWAY = 1, 2, 27
"""Which of so many requests is sent slowly, and which are left alone: with their whole body sent, or half of it."""

DEADLINES_MS = (5_000, 10_000, 30_000)
"""In turn: shorter and longer than a worker that was killed is missed. The last is what requests have by default."""

GRACE_S = 1.0
"""nginx waits up to half a second longer than a deadline for the worker's own word on it; the rest is the clients'."""

HUNG_AFTER = 3.0
"""Deadlines; who has nothing by then has waited in vain."""

PATIENCE_MS = 60_000
"""Before the first death there is no hurry."""

RIGHT_SHARE = 0.95
AGAIN = re.compile("[,:]")
"""Between the statuses of a request's tries, in nginx's log."""

LOG_WAIT_S = 2.0
"""nginx writes a request's line after the answer."""


@dataclass(frozen=True)
class Ask:
    """One request on its way."""

    name: str
    question: Question
    deadline_ms: int
    key: str

    @property
    def deadline_s(self) -> float:
        """Give the deadline in seconds."""
        return self.deadline_ms / 1000

    def written(self, **headers: str) -> bytes:
        """Give what is sent."""
        own = {
            "X-Request-Id": self.name,
            "X-Request-Timeout-Ms": str(self.deadline_ms),
            "Authorization": f"Bearer {self.key}",
        }
        return written(PATH, self.question.body, {**own, **headers})


@dataclass
class Tally:
    """What came of all of them.

    Attributes:
        came: By verdict.
        details: Of what was not right.
        vanished: Names of requests that nobody waited for.
        late: Replies after the deadline.
        too_late: Those of them that came after the grace, too.
        misnamed: Replies with another request's name.
        more_than_one: Replies with something behind them.
        seconds: Of those that were neither slow nor left alone.
    """

    came: Counter[str] = field(default_factory=Counter)
    details: Counter[str] = field(default_factory=Counter)
    vanished: set[str] = field(default_factory=set)
    late: int = 0
    too_late: int = 0
    misnamed: int = 0
    more_than_one: int = 0
    seconds: list[float] = field(default_factory=list)

    def reply(self, ask: Ask, reply: Reply, seconds: float) -> None:
        """Count a request that got one."""
        self.misnamed += reply.headers.get("x-request-id") != ask.name
        self.late += seconds > ask.deadline_s
        self.too_late += seconds > ask.deadline_s + GRACE_S
        self.note(*judged(ask.question, reply.status, reply.body))

    def note(self, came: Came, detail: str) -> None:
        """Count a verdict."""
        self.came[came] += 1
        self.details[f"{came}: {detail}"] += came is not Came.RIGHT


@dataclass(frozen=True)
class Clients:
    """Everybody who asks.

    Attributes:
        port: That is asked.
        trusting: TLS.
        tally: Of all.
    """

    port: int
    trusting: ssl.SSLContext
    tally: Tally

    async def ask(self, ask: Ask, wire: Wire) -> None:
        """Ask as most do, on the client's own connection."""
        began_s = time.monotonic()
        reply = await self._reply(ask, wire.ask(ask.written()))
        if reply is not None:
            seconds = time.monotonic() - began_s
            self.tally.seconds.append(seconds)
            self.tally.reply(ask, reply, seconds)

    async def ask_slowly(self, ask: Ask, _: Wire) -> None:
        """Send a request drop by drop, and read whatever comes until the connection is closed."""
        began_s = time.monotonic()
        reply = await self._reply(ask, self._drop_by_drop(ask.written(Connection="close")))
        if reply is not None:
            self.tally.reply(ask, reply, time.monotonic() - began_s)

    async def vanish(self, ask: Ask, _: Wire) -> None:
        """Send a request and leave."""
        await self._sent_and_left(ask, ask.written())

    async def vanish_halfway(self, ask: Ask, _: Wire) -> None:
        """Leave before the body is sent."""
        await self._sent_and_left(ask, ask.written()[: -len(ask.question.body) // 2])

    async def _reply(self, ask: Ask, asked: Awaitable[Reply]) -> Reply | None:
        try:
            return await asyncio.wait_for(asked, HUNG_AFTER * ask.deadline_s)
        except TimeoutError:
            self.tally.note(Came.HUNG, "")
        except GONE as error:
            self.tally.note(Came.BROKEN, type(error).__name__)
        return None

    async def _drop_by_drop(self, request: bytes) -> Reply:
        wire = Wire(self.port, self.trusting)
        reader, writer = await wire.open()
        try:
            step = len(request) // DROPS + 1
            for start in range(0, len(request), step):
                writer.write(request[start : start + step])
                await asyncio.sleep(BETWEEN_DROPS_S)
            reply = await read(reader)
            self.tally.more_than_one += bool(await reader.read())
        finally:
            wire.cut()
        return reply

    async def _sent_and_left(self, ask: Ask, request: bytes) -> None:
        wire = Wire(self.port, self.trusting)
        _, writer = await wire.open()
        writer.write(request)
        await writer.drain()
        wire.cut()
        self.tally.vanished.add(ask.name)


async def everybody(asks: Sequence[Ask], clients: Clients, *, at_once: int) -> None:
    """Let so many ask at once until all have."""
    waiting = iter(enumerate(asks))
    odd: Mapping[int, Callable[[Ask, Wire], Awaitable[None]]] = {
        SLOW: clients.ask_slowly,
        VANISHES: clients.vanish,
        VANISHES_HALFWAY: clients.vanish_halfway,
    }
    with Progress(transient=True) as progress:
        bar = progress.add_task("asked", total=len(asks))

        async def one_after_the_other() -> None:
            wire = Wire(clients.port, clients.trusting)
            for place, ask in waiting:
                await odd.get(place % ODD_IN, clients.ask)(ask, wire)
                progress.advance(bar)
            wire.cut()

        await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))


async def introduce(edge: LiveEdge, questions: Crowd) -> None:
    """Send the pictures that are named from then on; the servers share what they know of them."""
    wire = Wire(edge.port, trusting_of(edge))
    for question in questions.sent:
        reply = await wire.ask(Ask("introduction", question, PATIENCE_MS, edge.key).written())
        assert judged(question, reply.status, reply.body)[0] is Came.RIGHT, reply
    wire.cut()


async def kill_on(edge: LiveEdge, every_s: float, killed: list[int]) -> None:
    """Kill the oldest worker every so often, which takes each server's in turn."""
    while True:
        await asyncio.sleep(every_s)
        for worker in workers(edge)[:1]:
            try:
                worker.kill()
            except psutil.NoSuchProcess:
                continue
            killed.append(worker.pid)


async def asked(edge: LiveEdge, asks: Sequence[Ask], *, at_once: int, kill_every_s: float) -> tuple[Tally, int]:
    """Ask everything and kill meanwhile.

    Args:
        edge: To ask.
        asks: All requests.
        at_once: Of clients.
        kill_every_s: Between two deaths.

    Returns:
        What came of the requests, and the number of deaths.
    """
    killed: list[int] = []
    clients = Clients(edge.port, trusting_of(edge), Tally())
    killer = asyncio.create_task(kill_on(edge, kill_every_s, killed))
    await everybody(asks, clients, at_once=at_once)
    killer.cancel()
    return clients.tally, len(killed)


def summary(asks: Sequence[Ask], tally: Tally, lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Put what came into figures.

    Args:
        asks: All requests.
        tally: What came of them.
        lines: Of nginx's log.
    """
    ordered, count = sorted(tally.seconds), Counter(line["request"] for line in lines)
    awaited = [ask.name for ask in asks if ask.name not in tally.vanished]
    return {
        "requests": len(asks),
        "vanished": len(tally.vanished),
        "came": {came.value: tally.came[came] for came in Came},
        "right_share": round(tally.came[Came.RIGHT] / len(awaited), 5),
        "not_right": {name: times for name, times in tally.details.items() if times},
        "after_their_deadline": tally.late,
        "after_their_deadline_and_grace": tally.too_late,
        "misnamed": tally.misnamed,
        "more_than_one_reply": tally.more_than_one,
        "names_with_more_than_one_line": sum(count[ask.name] > 1 for ask in asks),
        "names_without_a_line": sum(count[name] == 0 for name in awaited),
        "asked_a_second_server": sum(bool(AGAIN.search(line["upstream_status"])) for line in lines),
        "seconds": {
            "p50": round(ordered[len(ordered) // 2], 4),
            "p99": round(ordered[len(ordered) * 99 // 100], 4),
            "longest": round(ordered[-1], 3),
        },
    }


MUST_BE_NONE = (
    "after_their_deadline_and_grace",
    "misnamed",
    "more_than_one_reply",
    "names_with_more_than_one_line",
    "names_without_a_line",
)


def broken_bounds(done: Mapping[str, Any]) -> list[str]:
    """Say which bounds a run broke.

    Args:
        done: Its summary.

    Returns:
        A sentence each.
    """
    found = [f"{name}: {done[name]}, must be 0" for name in MUST_BE_NONE if done[name]]
    for came in set(Came) - {Came.RIGHT, Came.TYPED}:
        if done["came"][came.value]:
            found.append(f"{came.value}: {done['came'][came.value]}, must be 0")
    if sum(done["came"].values()) + done["vanished"] != done["requests"]:
        found.append(
            f"of {done['requests']} requests {sum(done['came'].values()) + done['vanished']} ended, must be all"
        )
    if done["right_share"] < RIGHT_SHARE:
        found.append(f"right: {done['right_share']:.1%}, must be {RIGHT_SHARE:.0%}")
    if not done["workers_killed"]:
        found.append("workers killed: none; ask more or kill sooner")
    return found


def proved(edge: LiveEdge, questions: Crowd, *, requests: int, **manner: Any) -> dict[str, Any]:
    """Ask everything, and sum up.

    Args:
        edge: To ask.
        questions: All of them.
        requests: In all.
        **manner: See `asked`.
    """
    asyncio.run(introduce(edge, questions))
    asks = [
        Ask(f"chaos-{place}", questions[place], DEADLINES_MS[place % len(DEADLINES_MS)], edge.key)
        for place in range(requests)
    ]
    used, began_s = cpu_s(edge), time.monotonic()
    tally, deaths = asyncio.run(asked(edge, asks, **manner))
    own = {
        "workers_killed": deaths,
        "took_s": round(time.monotonic() - began_s),
        "deadlines_ms": DEADLINES_MS,
        "grace_s": GRACE_S,
        "cpu_ms_a_request": cpu_ms_each(used, cpu_s(edge), requests),
    }
    time.sleep(LOG_WAIT_S)
    return {**own, **summary(asks, tally, edge.log())}


def main(
    requests: Annotated[int, typer.Option(help="In all.")] = 100_000,
    at_once: Annotated[int, typer.Option(help="Clients.")] = 24,
    pictures: Annotated[int, typer.Option(help="Each is asked about by every task.")] = 20,
    kill_every_s: Annotated[float, typer.Option(help="Between two deaths.")] = 15.0,
    bundle: Annotated[Path, typer.Option(help="To serve.")] = ROOT / "model_store" / "small",
    out: Annotated[Path, typer.Option(help="Where the summary goes.")] = RESULT,
) -> None:
    """Ask, kill, and write down what came of each request."""
    with launched(bundle, **GENEROUS) as edge:
        questions = crowd(bundle, pictures, requests)
        done = proved(edge, questions, requests=requests, at_once=at_once, kill_every_s=kill_every_s)
    broken = broken_bounds(done)
    text = json.dumps({**done, "broken_bounds": broken}, indent=2)
    out.write_text(text + "\n", encoding="utf-8")
    print(text)
    raise typer.Exit(bool(broken))


if __name__ == "__main__":
    typer.run(main)
