"""Hostile pictures and bodies through nginx and TorchServe to the workers: `make prove-hostile`.

Every reply has to be an answer or an error of the contract that is the caller's, the workers have to be the same
processes at the end, and none may hold much more memory than it did when it was warm. `--leak` plants a leak in the
workers, which has to be found.
"""

import base64
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import httpx
import psutil
import typer

from benchmarks.hostile_bodies import Body, as_form, hostile_bodies
from benchmarks.hostile_pictures import hostile_pictures
from benchmarks.hostile_replies import MOST_GROWTH_BYTES, fault_of
from tests.checkout import ROOT
from tests.integration.edge_harness import LiveEdge, edge_serving

RESULT = ROOT / "benchmarks" / "hostile.json"
PATH = "/predictions/twelve"
SERVERS = 2
WARMING = 3000
FIRST_SEED = 1_000_000
SHOWN = 20
NO_LIMIT = 1_000_000
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

    def add(self, status: str, fault: str | None, seconds: float) -> None:
        """Count one."""
        self.statuses[status] += 1
        self.longest_s = max(self.longest_s, seconds)
        if fault is not None:
            self.faults.append(fault)


def ask(edge: LiveEdge, body: Body, tally: Tally) -> None:
    """Post a body and judge the reply."""
    began_s = time.monotonic()
    try:
        headers = {"Content-Type": body.content_type}
        reply = edge.client.post(edge.url + PATH, content=body.data, headers=headers)
    except httpx.HTTPError as error:
        return tally.add(type(error).__name__, repr(error), time.monotonic() - began_s)
    tally.add(str(reply.status_code), fault_of(reply.status_code, reply.content), time.monotonic() - began_s)
    return None


def ask_all(edge: LiveEdge, bodies: Iterable[Body], clients: int) -> Tally:
    """Post bodies, some at once."""
    tally, waiting = Tally(), iter(bodies)
    with ThreadPoolExecutor(clients) as pool:
        while together := list(islice(waiting, 50 * clients)):  # so that few are held at a time
            list(pool.map(lambda body: ask(edge, body, tally), together))
    return tally


def pictures() -> Iterable[Body]:
    """Give each hostile picture in a question, as a file of a form."""
    for data in hostile_pictures().values():
        yield as_form({"task": "vqa-v2", "question": "What is it?", "image": base64.b64encode(data).decode()})


def memory_bytes(edge: LiveEdge) -> dict[int, int]:
    """Give what each worker holds, by its process id."""
    pids = [pid for server in range(SERVERS) for pid in edge.workers(server)]
    return {pid: psutil.Process(pid).memory_info().rss for pid in pids}


def prove(edge: LiveEdge, bodies: int, clients: int) -> dict[str, Any]:
    """Warm up with the first bodies and all pictures, then ask all the others and the pictures again."""
    began = memory_bytes(edge)
    warm_up = ask_all(edge, islice(hostile_bodies(seed=0), WARMING), clients)
    first = ask_all(edge, pictures(), 2)
    warm = memory_bytes(edge)
    began_s = time.monotonic()
    fuzzed = ask_all(edge, islice(hostile_bodies(FIRST_SEED), bodies), clients)
    seconds = time.monotonic() - began_s
    again = ask_all(edge, pictures(), 2)
    ended = memory_bytes(edge)
    faults = [fault for tally in (warm_up, first, fuzzed, again) for fault in tally.faults]
    grown = max(ended.get(pid, 0) - held for pid, held in warm.items())
    return {
        "bodies": sum(fuzzed.statuses.values()),
        "bodies_by_status": dict(sorted(fuzzed.statuses.items())),
        "pictures": sum(again.statuses.values()),
        "pictures_by_status": dict(sorted(again.statuses.items())),
        "bodies_a_second": round(bodies / seconds),
        "longest_s": round(max(first.longest_s, fuzzed.longest_s, again.longest_s), 2),
        "replies_outside_the_contract": len(faults),
        "the_first_of_them": faults[:SHOWN],
        "worker_deaths": len(set(began) - set(ended)),
        "workers_mib": {
            when: [held // MIB for held in kept.values()]
            for when, kept in (("began", began), ("warm", warm), ("ended", ended))
        },
        "most_growth_mib": round(grown / MIB, 1),
        "passed": not faults and set(began) == set(ended) and grown <= MOST_GROWTH_BYTES,
    }


def main(
    bodies: Annotated[int, typer.Option(help="To ask.")] = 100_000,
    clients: Annotated[int, typer.Option(help="At once.")] = 8,
    leak: Annotated[bool, typer.Option(help="Plant a leak in the workers, which has to be found.")] = False,
    bundle: Annotated[Path, typer.Option(help="To serve.")] = ROOT / "model_store" / "small",
    out: Annotated[Path | None, typer.Option(help="Where the summary goes.")] = None,
) -> None:
    """Ask a real server what nobody should ask, and write down what came of it."""
    with tempfile.TemporaryDirectory(prefix="hostile-") as name:
        folder = Path(name)
        planted = folder / "planted"
        planted.mkdir()
        path = f"{planted}:{ROOT}" if leak else str(ROOT)
        if leak:
            (planted / "sitecustomize.py").write_text(LEAK, encoding="utf-8")
        limits = dict.fromkeys(("RATE", "BURST"), NO_LIMIT)
        with edge_serving(bundle, folder, INSTANCES=SERVERS, PYTHONPATH=path, **limits) as edge:
            summary = {"leak": leak, **prove(edge, bodies, clients)}
    text = json.dumps(summary, indent=2) + "\n"
    print(text)
    if out is not None:
        out.write_text(text, encoding="utf-8")
    if summary["passed"] is leak:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
