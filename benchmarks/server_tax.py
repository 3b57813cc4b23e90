"""What a server adds to the service it runs: `make prove-tax`.

Twice: over a model that costs nothing, against a bare loop over the same service in this process; and over a model of
the published size, to see how much of all CPU is spent inside it. Its weights are drawn by lot and exported once
(2.1 GB, some minutes), and so are each picture's 100 regions.

nginx, TorchServe and one worker of one thread, with all that they count and log; one client asks one request after the
other, about pictures that were sent before. The summary goes to benchmarks/server_tax.json.
"""

import asyncio
import base64
import json
import os
import ssl
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from benchmarks.crowd import pictures
from benchmarks.fleet import cpu_by_kind
from benchmarks.tax_engine import NOTE, effortless, noted_ns, noting
from benchmarks.wires import Wire, written
from export.archive import DIRECTORY, HANDLER, Serving, make_model_directory
from handlers import edge, edge_keys, edge_nginx, exporter
from handlers.edge_nginx import Backend, Limits, Site
from handlers.healthcheck import MODEL
from handlers.java import find_java
from handlers.serve import run_python
from handlers.torchserve import HERE, Ports, RunDirectory, running, wait_ready, write_config
from tests.checkout import ROOT
from tests.integration.harness import free_ports
from twelve.assembly import BUILD, Settings
from twelve.bundle import MANIFEST
from twelve.schema import Answer
from twelve.service import Service
from twelve.tasks import TASKS
from twelve.wire import JSON, Call

RESULT = ROOT / "benchmarks" / "server_tax.json"
PATH = f"/predictions/{MODEL}"
PICTURES = 5
ROUNDS, FULL_ROUNDS = 7, 3
NOOP_REPEATS = 20
"""Of every task and picture, in a round."""

WARMING = 3000
"""Requests that are refused at once: Java's compiler has seen the way of a request often enough."""

GENEROUS = Limits(rate=100_000, burst=100_000, per_client=1000, per_address=1000)
PATIENCE_MS = "60000"
"""The longest deadline there is: a model of that size is slow where others compute as well."""

INSIDE_SHARE = 0.9

HANDLER_TEXT = """\
from benchmarks.tax_engine import {assemble}
from handlers import twelve_handler

twelve_handler.assemble = {assemble}


class Measured(twelve_handler.TwelveHandler):
    pass
"""
"""The worker's handler; the checkout is on its path."""


@dataclass(frozen=True)
class Way:
    """A way to the service.

    Attributes:
        port: That is asked.
        trusting: TLS; None where there is none.
        headers: Of each request.
    """

    port: int
    trusting: ssl.SSLContext | None
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Served:
    """A running server, before which nginx runs."""

    plain: Way
    nginx: Way
    note: Path


@dataclass(frozen=True)
class Round:
    """What a round took.

    Attributes:
        cpu_s: By kind of process.
        seconds: Of each request, in order.
        model_cpu_s: Of the CPU, that inside the model.
    """

    cpu_s: Counter[str]
    seconds: Sequence[float]
    model_cpu_s: float = 0.0

    @property
    def cpu_ms(self) -> float:
        """Give the CPU of a request."""
        return 1000 * sum(self.cpu_s.values()) / len(self.seconds)

    @property
    def p50_ms(self) -> float:
        """Give the median request."""
        return 1000 * statistics.median(self.seconds)


@contextmanager
def served(bundle: Path, graphs: Path, folder: Path, assemble: str) -> Iterator[Served]:
    """Run nginx, TorchServe and a worker whose service is assembled otherwise.

    Args:
        bundle: To serve.
        graphs: Its exported graphs.
        folder: Where all of it writes.
        assemble: Name of a function in `benchmarks.tax_engine`.
    """
    run, ports = RunDirectory(folder / "run"), Ports(*free_ports(len(fields(Ports))))
    make_model_directory(bundle, graphs, run.model_store, Serving(batch_size=1, cache=str(run.cache)))
    (run.model_store / DIRECTORY / HANDLER.name).write_text(HANDLER_TEXT.format(assemble=assemble), encoding="utf-8")
    write_config(run, ports, HERE)
    exporter.empty(run.metrics)
    site = site_of(ports, folder / "nginx")
    key = edge_keys.add(site.keys, "tax")
    edge.make_certificate(site)
    edge_nginx.write(site)
    with ExitStack() as started:
        server = started.enter_context(running(find_java(os.environ), run, threads=1, console=False))
        wait_ready(server, run)
        started.enter_context(edge_nginx.running(site))
        trusting = ssl.create_default_context(cafile=str(site.certificate))
        nginx = Way(site.port, trusting, {"Authorization": f"Bearer {key}", "X-Request-Timeout-Ms": PATIENCE_MS})
        yield Served(Way(ports.inference, None, {}), nginx, run.cache / NOTE)


def site_of(ports: Ports, folder: Path) -> Site:
    """Give what nginx serves: one server, nobody refused for asking often."""
    return Site(
        folder=folder,
        listen=HERE,
        port=free_ports(1)[0],
        http_port=None,
        backends=(Backend(f"{HERE}:{ports.inference}", f"{HERE}:{ports.health}"),),
        certificate=folder / "certificate.pem",
        private_key=folder / "private-key.pem",
        keys=folder.parent / "keys",
        limits=GENEROUS,
    )


async def asked(way: Way, bodies: Sequence[bytes]) -> tuple[list[float], list[bytes]]:
    """Ask one request after the other.

    Args:
        way: To ask.
        bodies: Of the requests.

    Returns:
        Seconds and bodies of the replies.
    """
    wire, seconds, replies = Wire(way.port, way.trusting), [], []
    for request in [written(PATH, body, way.headers) for body in bodies]:
        began_s = time.monotonic()
        reply = await wire.ask(request)
        seconds.append(time.monotonic() - began_s)
        replies.append(reply.body)
    wire.cut()
    return seconds, replies


def through(server: Served, way: Way, bodies: Sequence[bytes]) -> Round:
    """Ask a server a round of questions."""
    noted, used = noted_ns(server.note), cpu_by_kind(psutil.Process().children(recursive=True))
    seconds, replies = asyncio.run(asked(way, bodies))
    for reply in replies:
        Answer.model_validate_json(reply)
    now = cpu_by_kind(psutil.Process().children(recursive=True))
    return Round(now - used, seconds, (noted_ns(server.note) - noted) / 1e9)


def bare(service: Service, bodies: Sequence[bytes]) -> Round:
    """Ask a service in this process."""
    seconds, used_s = [], time.process_time()
    for body in bodies:
        began_s = time.monotonic()
        (reply,) = service.answer_calls([Call(body, JSON)])
        seconds.append(time.monotonic() - began_s)
        assert reply.status == HTTPStatus.OK, reply.body
    return Round(Counter({"bare": time.process_time() - used_s}), seconds)


def introductions() -> list[bytes]:
    """Give requests that send the pictures."""
    files = (base64.b64encode(file).decode() for file in pictures(range(PICTURES)))
    return [json.dumps({"task": "vqa-v2", "question": "What is it?", "image": file}).encode() for file in files]


def questions(introduced: Sequence[bytes]) -> list[bytes]:
    """Give every task's question about every picture, by ref.

    Args:
        introduced: Answers to the introductions.
    """
    refs = [{"ref": json.loads(answer)["images"][0]} for answer in introduced]
    return [
        json.dumps({"task": task.name, **task.example((refs * 2)[place : place + task.pictures_in_example])}).encode()
        for place in range(PICTURES)
        for task in TASKS.values()
    ]


def introduced(server: Served) -> list[bytes]:
    """Send the pictures, and let Java's compiler see a request often enough; give the questions about them."""
    for way in (server.plain, server.nginx):
        asyncio.run(asked(way, [b"{}"] * WARMING))
    _, answers = asyncio.run(asked(server.nginx, introductions()))
    return questions(answers)


def noop(bundle: Path, graphs: Path, folder: Path) -> dict[str, Any]:
    """Compare TorchServe, without nginx and with it, with a bare loop, in turn.

    Args:
        bundle: To serve.
        graphs: Its exported graphs.
        folder: Where all of it writes.

    Returns:
        The figures: medians of the rounds.
    """
    settings = Settings(graphs=graphs, cache=folder / "bare")
    service = Service(effortless(bundle, settings), settings)
    for body in introductions():
        service.answer_calls([Call(body, JSON)])
    with served(bundle, graphs, folder, effortless.__name__) as server:
        bodies = introduced(server) * NOOP_REPEATS
        ways: Mapping[str, Callable[[], Round]] = {
            "bare loop": lambda: bare(service, bodies),
            "TorchServe and handler": lambda: through(server, server.plain, bodies),
            "nginx, TorchServe and handler": lambda: through(server, server.nginx, bodies),
        }
        for ask in ways.values():
            ask()
        rounds = [{name: ask() for name, ask in ways.items()} for _ in range(ROUNDS)]
    return {"requests": ROUNDS * len(bodies), "ways": {name: figures([one[name] for one in rounds]) for name in ways}}


def figures(rounds: Sequence[Round]) -> dict[str, Any]:
    """Give the medians of one way's rounds."""
    kinds = sorted({kind for one in rounds for kind in one.cpu_s})
    return {
        "cpu_ms": round(statistics.median(one.cpu_ms for one in rounds), 3),
        "p50_ms": round(statistics.median(one.p50_ms for one in rounds), 3),
        "cpu_ms_by_kind": {
            kind: round(statistics.median(1000 * one.cpu_s[kind] / len(one.seconds) for one in rounds), 3)
            for kind in kinds
        },
    }


def full(bundle: Path, graphs: Path, folder: Path) -> dict[str, Any]:
    """Measure how much of all CPU is spent inside the published model's size.

    Args:
        bundle: Of that size.
        graphs: Its exported graphs.
        folder: Where all of it writes.

    Returns:
        The figures: sums of the rounds.
    """
    with served(bundle, graphs, folder, noting.__name__) as server:
        bodies = introduced(server)
        through(server, server.nginx, bodies)
        rounds = [through(server, server.nginx, bodies) for _ in range(FULL_ROUNDS)]
    inside_s, whole_s = sum(one.model_cpu_s for one in rounds), sum(sum(one.cpu_s.values()) for one in rounds)
    return {
        "requests": FULL_ROUNDS * len(bodies),
        **figures(rounds),
        "model_cpu_ms": round(1000 * inside_s / (FULL_ROUNDS * len(bodies)), 3),
        "share_inside_the_model": round(inside_s / whole_s, 4),
        "share_wanted": INSIDE_SHARE,
    }


def full_size(work: Path) -> tuple[Path, Path]:
    """Make a bundle of the published size and export it, unless they are there already.

    Args:
        work: Keeps both.

    Returns:
        The bundle and its graphs.
    """
    bundle, graphs = work / "bundle", work / "graphs"
    if not (bundle / MANIFEST).is_file():
        run_python("-m", "benchmarks.export_full", "make", str(bundle))
    run_python("-m", "export", "onnx", str(bundle), "--out", str(graphs))
    return bundle, graphs


def main(
    bundle: Annotated[Path, typer.Option(help="For the model that costs nothing.")] = ROOT / "model_store" / "small",
    work: Annotated[Path, typer.Option(help="Keeps the bundle of the published size, 2.1 GB.")] = ROOT / BUILD / "tax",
    out: Annotated[Path, typer.Option(help="Where the summary goes.")] = RESULT,
) -> None:
    """Measure both, and write them down."""
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    run_python("-m", "export", "all", str(bundle))
    with tempfile.TemporaryDirectory(prefix="tax-") as folder:
        done = {"noop": noop(bundle, ROOT / BUILD / bundle.name, Path(folder, "noop"))}
        done["full"] = full(*full_size(work), Path(folder, "full"))
    text = json.dumps(done, indent=2)
    out.write_text(text + "\n", encoding="utf-8")
    print(text)
    raise typer.Exit(done["full"]["share_inside_the_model"] < INSIDE_SHARE)


if __name__ == "__main__":
    typer.run(main)
