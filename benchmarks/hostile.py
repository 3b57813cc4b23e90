"""Hostile pictures and bodies through nginx and TorchServe to the workers: `make prove-hostile`.

Every reply has to be an answer or an error of the contract that is the caller's, the workers have to be the same
processes at the end, and none may hold much more memory than it did when it was warm. The same is then asked of workers
in which a leak is planted, and has to find it.

Bodies are made in a process of their own while others are asked; a body is named by its seed.
"""

import asyncio
import base64
import json
import multiprocessing
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from benchmarks.fleet import GENEROUS, launched, trusting_of
from benchmarks.hostile_bodies import CROWDS, Body, as_form, hostile_bodies
from benchmarks.hostile_pictures import hostile_pictures
from benchmarks.hostile_replies import MOST_GROWTH_BYTES, fault_of
from benchmarks.wires import GONE, Wire, written
from tests.checkout import ROOT
from tests.integration.edge_harness import LiveEdge

RESULT = ROOT / "benchmarks" / "hostile.json"
PATH = "/predictions/twelve"
SERVERS = 2
CLIENTS, PICTURE_CLIENTS = 8, 2
MADE_AT_ONCE = 1000
WARMING = 3000
FIRST_SEED = 1_000_000
SHOWN = 20
PATIENCE_S = 90.0
"""For one reply; nginx's longest deadline is 60 s."""

MIB = 1 << 20

LEAK = """\
import json
KEPT, READ = [], json.loads
def loads(*given, **named):
    KEPT.append(b"\\1" * 20_000)
    return READ(*given, **named)
json.loads = loads
"""
"""As sitecustomize.py on the path, it makes every process keep 20 kB of each JSON text that it reads."""


@dataclass
class Tally:
    """What came of the requests."""

    statuses: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    longest_s: float = 0.0

    def add(self, name: str, status: str, fault: str | None, seconds: float) -> None:
        """Count one."""
        self.statuses[status] += 1
        self.longest_s = max(self.longest_s, seconds)
        if fault is not None:
            self.faults.append(f"{name}: {fault}")


@dataclass(frozen=True)
class Asker:
    """Clients of one server, each on a connection that is kept."""

    edge: LiveEdge
    tally: Tally

    async def ask_all(self, bodies: Sequence[tuple[str, Body]], clients: int) -> None:
        """Post named bodies, some at once."""
        waiting = iter(bodies)
        await asyncio.gather(*(self._ask_each(waiting) for _ in range(clients)))

    async def _ask_each(self, waiting: Iterator[tuple[str, Body]]) -> None:
        wire = Wire(self.edge.port, trusting_of(self.edge))
        for name, body in waiting:
            began_s = time.monotonic()
            status, fault = await self._ask(wire, body)
            self.tally.add(name, status, fault, time.monotonic() - began_s)
        wire.cut()

    async def _ask(self, wire: Wire, body: Body) -> tuple[str, str | None]:
        """Post a body; give the reply's status and what is wrong with it."""
        headers = {"Content-Type": body.content_type, "X-Api-Key": self.edge.key}
        try:
            async with asyncio.timeout(PATIENCE_S):
                reply = await wire.ask(written(PATH, body.data, headers))
        except (*GONE, TimeoutError) as error:
            return type(error).__name__, repr(error)
        return str(reply.status), fault_of(reply.status, reply.body)


async def fuzz(edge: LiveEdge, first_seed: int, count: int) -> Tally:
    """Post so many bodies."""
    asker = Asker(edge, Tally())
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as workshop:
        sizes = [min(MADE_AT_ONCE, count - made) for made in range(0, count, MADE_AT_ONCE)]
        coming = workshop.submit(named_bodies, first_seed, sizes[0])
        for place in range(len(sizes)):
            bodies = await asyncio.wrap_future(coming)
            if place + 1 < len(sizes):
                coming = workshop.submit(named_bodies, first_seed + (place + 1) * MADE_AT_ONCE, sizes[place + 1])
            await asker.ask_all(bodies, CLIENTS)
    return asker.tally


def named_bodies(first_seed: int, count: int) -> list[tuple[str, Body]]:
    """Make bodies, named by their seeds."""
    return [(f"seed {first_seed + n}", body) for n, body in enumerate(islice(hostile_bodies(first_seed), count))]


async def show(edge: LiveEdge, pictures: Sequence[tuple[str, Body]]) -> Tally:
    """Post each picture and crowd, large ones among them."""
    asker = Asker(edge, Tally())
    await asker.ask_all(pictures, PICTURE_CLIENTS)
    return asker.tally


def asked_pictures() -> list[tuple[str, Body]]:
    """Give each hostile picture in a question, as a file of a form."""
    question = {"task": "vqa-v2", "question": "What is it?"}
    return [
        (name, as_form({**question, "image": base64.b64encode(data).decode()}))
        for name, data in hostile_pictures().items()
    ]


def crowds() -> list[tuple[str, Body]]:
    """Give each body of very many values."""
    return [(name, make()) for name, make in CROWDS.items()]


def memory_bytes(edge: LiveEdge) -> dict[int, int]:
    """Give what each worker holds, by its process id."""
    pids = [pid for server in range(SERVERS) for pid in edge.workers(server)]
    return {pid: psutil.Process(pid).memory_info().rss for pid in pids}


async def at_rest(edge: LiveEdge, first_seed: int) -> tuple[Tally, dict[int, int]]:
    """Ask small bodies, then see what each worker holds: behind a large picture it is what the last batch left."""
    calmed = await fuzz(edge, first_seed, WARMING)
    return calmed, memory_bytes(edge)


async def prove(edge: LiveEdge, count: int, pictures: Sequence[tuple[str, Body]]) -> dict[str, Any]:
    """Warm up with all pictures and other bodies, then ask the bodies and the pictures again.

    Args:
        edge: Just started.
        count: Of bodies.
        pictures: To show.

    Returns:
        What came of it; `passed` says whether that is as it should be.
    """
    began = memory_bytes(edge)
    first_shown = await show(edge, pictures)
    warmed, warm = await at_rest(edge, 0)
    began_s = time.monotonic()
    bodies = await fuzz(edge, FIRST_SEED, count)
    seconds = time.monotonic() - began_s
    shown = await show(edge, pictures)
    full = memory_bytes(edge)
    calmed, ended = await at_rest(edge, WARMING)
    faults = [fault for tally in (first_shown, warmed, bodies, shown, calmed) for fault in tally.faults]
    grown = max(ended.get(pid, 0) - held for pid, held in warm.items())
    return {
        "bodies": bodies.statuses.total(),
        "bodies_by_status": dict(sorted(bodies.statuses.items())),
        "bodies_a_second": round(count / seconds),
        "pictures": shown.statuses.total(),
        "pictures_by_status": dict(sorted(shown.statuses.items())),
        "longest_s": {"of_bodies": round(bodies.longest_s, 2), "of_pictures": round(shown.longest_s, 2)},
        "replies_outside_the_contract": len(faults),
        "the_first_of_them": faults[:SHOWN],
        "worker_deaths": len(set(began) - set(ended)),
        "workers_mib": {
            when: [held // MIB for held in kept.values()]
            for when, kept in (("began", began), ("warm", warm), ("behind_pictures", full), ("ended", ended))
        },
        "most_growth_mib": round(grown / MIB, 1),
        "allowed_growth_mib": MOST_GROWTH_BYTES // MIB,
        "passed": not faults and set(began) == set(ended) and grown <= MOST_GROWTH_BYTES,
    }


@contextmanager
def served(bundle: Path, *, leak: bool) -> Iterator[LiveEdge]:
    """Serve a bundle, on request by workers that leak."""
    with tempfile.TemporaryDirectory(prefix="planted-") as planted:
        (Path(planted) / "sitecustomize.py").write_text(LEAK if leak else "", encoding="utf-8")
        with launched(bundle, INSTANCES=SERVERS, PYTHONPATH=f"{planted}:{ROOT}", **GENEROUS) as edge:
            yield edge


def main(
    bodies: Annotated[int, typer.Option(help="To ask.")] = 100_000,
    leaky_bodies: Annotated[int, typer.Option(help="To ask of workers that leak; 0 leaves them out.")] = 20_000,
    bundle: Annotated[Path, typer.Option(help="To serve.")] = ROOT / "model_store" / "small",
    out: Annotated[Path, typer.Option(help="Where the summary goes.")] = RESULT,
) -> None:
    """Ask real servers what nobody should ask, and write down what came of it."""
    pictures = asked_pictures() + crowds()
    with served(bundle, leak=False) as edge:
        summary = asyncio.run(prove(edge, bodies, pictures))
    if leaky_bodies:
        with served(bundle, leak=True) as edge:
            planted = asyncio.run(prove(edge, leaky_bodies, []))
        summary["planted_leak"] = planted
        summary["planted_leak_was_found"] = planted["most_growth_mib"] > planted["allowed_growth_mib"]
    text = json.dumps(summary, indent=2) + "\n"
    print(text)
    out.write_text(text, encoding="utf-8")
    if not (summary["passed"] and summary.get("planted_leak_was_found", True)):
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
