"""Whether everybody gets an answer, and their own, while workers are killed: `make prove-chaos`.

nginx before two servers of the default bundle, each with one worker. Clients ask all tasks at once; of a hundred, some
send their request drop by drop, and some leave before it is answered. Every few seconds one worker is killed. Each
request bears a name and a deadline, and its answer was computed beforehand: what came back is compared with it. At the
end nginx's own log must have one line a name. The summary goes to benchmarks/chaos.json.
"""

import asyncio
import contextlib
import json
import os
import signal
import ssl
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.progress import Progress

from benchmarks.crowd import JSON, Came, Question, judged, questions
from benchmarks.rolling import Edge, running
from handlers.healthcheck import MODEL
from handlers.torchserve import OPTIONS, ROOT

RESULT = ROOT / "benchmarks" / "chaos.json"
SERVERS = 2
GENEROUS = {"RATE": "100000", "BURST": "100000", "PER_CLIENT": "1000", "PER_ADDRESS": "1000"}
"""The proof is about workers: nobody is refused for asking often."""

DROPS, BETWEEN_DROPS_S = 8, 0.3
SLOW_IN, VANISHING_IN = 50, 50
SLOW, VANISHES = 1, 2
"""Which of so many requests is sent slowly, and which is left alone."""

HUNG_AFTER = 3.0
"""Deadlines; who has nothing by then has waited in vain."""

GRACE_S = 1.0
"""nginx waits half a second longer than a deadline for the worker's own word on it; the rest is the client's."""


@dataclass(frozen=True)
class Ask:
    """One request on its way."""

    name: str
    question: Question
    deadline_ms: int

    @property
    def headers(self) -> dict[str, str]:
        """Give its own headers."""
        return {**JSON, "X-Request-Id": self.name, "X-Request-Timeout-Ms": str(self.deadline_ms)}


@dataclass
class Tally:
    """What came of all of them."""

    came: Counter[str] = field(default_factory=Counter)
    details: Counter[str] = field(default_factory=Counter)
    vanished: int = 0
    late: int = 0
    misnamed: int = 0
    more_than_one: int = 0
    seconds: list[float] = field(default_factory=list)

    def note(self, came: Came, detail: str, seconds: float, *, deadline_ms: int) -> None:
        """Count one that has ended."""
        self.came[came] += 1
        self.details[f"{came}: {detail}"] += came is not Came.RIGHT
        self.late += seconds > deadline_ms / 1000 + GRACE_S
        self.seconds.append(seconds)


@dataclass(frozen=True)
class Clients:
    """Everybody who asks.

    Attributes:
        edge: That is asked.
        plain: An ordinary client's connections.
        trusting: TLS of the others.
        tally: Of all.
    """

    edge: Edge
    plain: httpx.AsyncClient
    trusting: ssl.SSLContext
    tally: Tally

    async def ask(self, ask: Ask) -> None:
        """Ask as most do."""
        began_s = time.monotonic()
        try:
            reply = await self.plain.post(
                f"{self.edge.url}/predictions/{MODEL}", content=ask.question.body, headers=ask.headers
            )
        except httpx.TimeoutException:
            return self._note(ask, Came.HUNG, "", began_s)
        except httpx.HTTPError as error:
            return self._note(ask, Came.BROKEN, type(error).__name__, began_s)
        self.tally.misnamed += reply.headers.get("x-request-id") != ask.name
        self._note(ask, *judged(ask.question, reply.status_code, reply.content), began_s)

    async def ask_slowly(self, ask: Ask) -> None:
        """Send a request drop by drop, and read whatever comes until the connection is closed."""
        async with self._connected() as (reader, writer):
            sent = self._written(ask)
            step = len(sent) // DROPS + 1
            for start in range(0, len(sent), step):
                writer.write(sent[start : start + step])
                await writer.drain()
                await asyncio.sleep(BETWEEN_DROPS_S)
            began_s = time.monotonic()
            try:
                received = await asyncio.wait_for(reader.read(-1), HUNG_AFTER * ask.deadline_ms / 1000)
            except TimeoutError:
                return self._note(ask, Came.HUNG, "slow", began_s)
            except OSError as error:
                return self._note(ask, Came.BROKEN, type(error).__name__, began_s)
        head, _, body = received.partition(b"\r\n\r\n")
        self.tally.more_than_one += body.count(b"HTTP/1.1 ")
        self.tally.misnamed += f"x-request-id: {ask.name}".encode() not in head.lower()
        self._note(ask, *judged(ask.question, int(head.split()[1]), body), began_s)

    async def vanish(self, ask: Ask) -> None:
        """Send a request and leave."""
        async with self._connected() as (_, writer):
            writer.write(self._written(ask))
            await writer.drain()
            writer.transport.abort()
        self.tally.vanished += 1

    def _note(self, ask: Ask, came: Came, detail: str, began_s: float) -> None:
        self.tally.note(came, detail, time.monotonic() - began_s, deadline_ms=ask.deadline_ms)

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        port = int(self.edge.url.rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection("localhost", port, ssl=self.trusting)
        try:
            yield reader, writer
        finally:
            writer.close()
            with contextlib.suppress(OSError, ssl.SSLError):
                await writer.wait_closed()

    def _written(self, ask: Ask) -> bytes:
        own = {
            **ask.headers,
            "Host": "localhost",
            "Authorization": f"Bearer {self.edge.key}",
            "Content-Length": str(len(ask.question.body)),
            "Connection": "close",
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in own.items())
        return f"POST /predictions/{MODEL} HTTP/1.1\r\n{lines}\r\n".encode() + ask.question.body


async def everybody(asks: Sequence[Ask], clients: Clients, *, at_once: int) -> None:
    """Let so many ask at once until all have."""
    waiting = iter(enumerate(asks))

    def manner(place: int) -> Callable[[Ask], Awaitable[None]]:
        if place % SLOW_IN == SLOW:
            return clients.ask_slowly
        return clients.vanish if place % VANISHING_IN == VANISHES else clients.ask

    with Progress(transient=True) as progress:
        bar = progress.add_task("asked", total=len(asks))

        async def one_after_the_other() -> None:
            for place, ask in waiting:
                await manner(place)(ask)
                progress.advance(bar)

        await asyncio.gather(*(one_after_the_other() for _ in range(at_once)))


async def kill_on(edge: Edge, every_s: float, killed: list[int]) -> None:
    """Kill a worker every so often, each server's in turn."""
    async with httpx.AsyncClient() as client:
        while True:
            await asyncio.sleep(every_s)
            address = f"{addresses(edge, 'management')[len(killed) % SERVERS]}/models/{MODEL}"
            with contextlib.suppress(httpx.HTTPError, ProcessLookupError, LookupError):
                worker = (await client.get(address)).json()[0]["workers"][0]["pid"]
                os.kill(worker, signal.SIGKILL)
                killed.append(worker)


def addresses(edge: Edge, port: str) -> list[str]:
    """Give where each server listens.

    Args:
        edge: The launcher.
        port: Name of one of a server's ports.
    """
    first, step = int(edge.environment["INSTANCE_PORT"]), len(OPTIONS)
    return [f"http://127.0.0.1:{first + step * place + list(OPTIONS).index(port)}" for place in range(SERVERS)]


def lines_by_name(edge: Edge) -> Counter[str]:
    """Count nginx's lines of each request."""
    log = (edge.run_dir / "nginx" / "logs" / "access.log").read_text(encoding="utf-8")
    return Counter(json.loads(line)["request"] for line in log.splitlines())


async def proved(
    edge: Edge, asked: Sequence[Question], *, count: int, at_once: int, deadline_ms: int, kill_every_s: float
) -> dict[str, Any]:
    """Ask everything and kill meanwhile.

    Args:
        edge: To ask.
        asked: Questions, in turn.
        count: Of requests.
        at_once: Of clients.
        deadline_ms: Of each request.
        kill_every_s: Between two deaths.

    Returns:
        The summary.
    """
    trusting = ssl.create_default_context(cafile=str(edge.run_dir / "nginx" / "certificate.pem"))
    asks = [Ask(f"chaos-{place}", asked[place % len(asked)], deadline_ms) for place in range(count)]
    killed: list[int] = []
    limits = httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once)
    async with httpx.AsyncClient(
        verify=trusting,
        timeout=HUNG_AFTER * deadline_ms / 1000,
        limits=limits,
        headers={"Authorization": f"Bearer {edge.key}"},
    ) as plain:
        clients, began_s = Clients(edge, plain, trusting, Tally()), time.monotonic()
        killer = asyncio.create_task(kill_on(edge, kill_every_s, killed))
        await everybody(asks, clients, at_once=at_once)
        killer.cancel()
    return summary(clients.tally, count, len(killed), time.monotonic() - began_s, lines_by_name(edge), deadline_ms)


def summary(
    tally: Tally, count: int, deaths: int, took_s: float, lines: Counter[str], deadline_ms: int
) -> dict[str, Any]:
    """Put what came into figures."""
    ordered = sorted(tally.seconds)
    answered = count - tally.vanished
    return {
        "requests": count,
        "vanished": tally.vanished,
        "workers_killed": deaths,
        "took_s": round(took_s),
        "deadline_ms": deadline_ms,
        "came": {came.value: tally.came[came] for came in Came},
        "right_share": round(tally.came[Came.RIGHT] / answered, 5),
        "not_right": {name: times for name, times in tally.details.items() if times},
        "later_than_deadline_and_grace": tally.late,
        "misnamed": tally.misnamed,
        "more_than_one_reply": tally.more_than_one,
        "names_with_more_than_one_line": sum(times > 1 for name, times in lines.items() if name.startswith("chaos-")),
        "names_without_a_line": sum(
            f"chaos-{place}" not in lines for place in range(count) if place % VANISHING_IN != VANISHES
        ),
        "seconds": {
            "p50": round(ordered[len(ordered) // 2], 4),
            "p99": round(ordered[len(ordered) * 99 // 100], 4),
            "longest": round(ordered[-1], 3),
        },
    }


def main(
    requests: Annotated[int, typer.Option(help="In all.")] = 100_000,
    at_once: Annotated[int, typer.Option(help="Clients.")] = 24,
    pictures: Annotated[int, typer.Option(help="Each is asked about by every task.")] = 20,
    deadline_ms: Annotated[int, typer.Option(help="Of each request.")] = 10_000,
    kill_every_s: Annotated[float, typer.Option(help="Between two deaths.")] = 15.0,
    bundle: Annotated[Path, typer.Option(help="To serve.")] = ROOT / "model_store" / "small",
    out: Annotated[Path, typer.Option(help="Where the summary goes.")] = RESULT,
) -> None:
    """Ask, kill, and write down what came of each request."""
    os.environ.update(GENEROUS)
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder, running(bundle, Path(folder)) as edge:
        own = [f"{address}/predictions/{MODEL}" for address in addresses(edge, "inference")]
        asked = questions(own, pictures)
        done = asyncio.run(
            proved(edge, asked, count=requests, at_once=at_once, deadline_ms=deadline_ms, kill_every_s=kill_every_s)
        )
    out.write_text(json.dumps(done, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(done, indent=2))


if __name__ == "__main__":
    typer.run(main)
