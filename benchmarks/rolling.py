"""What rolling restarts and hot swaps cost: `make prove-rolling`, 50 of each under load through nginx.

Two servers of the default bundle behind nginx, and clients that ask one request after the other on connections they
keep. One restart or swap follows the other at once. What came of each request is kept, and summed up in
benchmarks/rolling.json.
"""

import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, islice
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.progress import track

from handlers import edge_keys
from handlers.torchserve import ROOT
from tests.integration.edge_harness import PORTS_OF_A_SERVER, free_block
from tests.integration.harness import free_ports
from twelve.bundle import MANIFEST

RESULT = ROOT / "benchmarks" / "rolling.json"
PICTURE = ROOT / "docs" / "pictures" / "street.jpg"
READY = "The server is ready"
TIMEOUT_S = 90

console = Console(stderr=True)


@dataclass(frozen=True)
class Reply:
    """One request: when, and what came."""

    began_s: float
    ended_s: float
    outcome: str
    version: str | None


@dataclass
class Load:
    """Clients that ask again and again, and what came of it."""

    url: str
    key: str
    certificate: Path
    pause_s: float
    replies: list[Reply] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def ask_on(self) -> None:
        """Ask until the end, from one client."""
        trusting = ssl.create_default_context(cafile=str(self.certificate))
        headers = {"Authorization": f"Bearer {self.key}"}
        with httpx.Client(verify=trusting, headers=headers, timeout=TIMEOUT_S) as client:
            while not self.ended.is_set():
                self.replies.append(self._ask(client))
                time.sleep(self.pause_s)

    def _ask(self, client: httpx.Client) -> Reply:
        began_s = time.monotonic()
        try:
            reply = client.post(
                f"{self.url}/v1/tasks/vqa-v2",
                data={"question": "What color is the car?"},
                files={"image": PICTURE.read_bytes()},
            )
        except httpx.HTTPError as error:
            return Reply(began_s, time.monotonic(), type(error).__name__, None)
        version = reply.json()["model"]["version"] if reply.status_code == httpx.codes.OK else None
        return Reply(began_s, time.monotonic(), str(reply.status_code), version)


@contextmanager
def asked(load: Load, clients: int) -> Iterator[None]:
    """Let clients ask while something happens."""
    threads = [threading.Thread(target=load.ask_on) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        load.ended.set()
        for thread in threads:
            thread.join()


def versions_of(bundle: Path, folder: Path) -> Iterator[Path]:
    """Give the bundle again and again, each time under another version."""
    number = 0
    while True:
        number += 1
        made = folder / f"swap-{number % 2}" / bundle.name
        shutil.rmtree(made.parent, ignore_errors=True)
        shutil.copytree(bundle, made)
        manifest = json.loads((made / MANIFEST).read_text(encoding="utf-8"))
        (made / MANIFEST).write_text(json.dumps({**manifest, "version": f"swap-{number}"}), encoding="utf-8")
        yield made


def mixed(replies: Sequence[Reply], order: Sequence[str]) -> int:
    """Count answers of an old version to requests that began after a newer one had answered.

    Args:
        replies: All of them.
        order: Versions as they were served.
    """
    place = {version: at for at, version in enumerate(order)}
    answered = [(one, place[one.version]) for one in replies if one.version is not None]
    ends = sorted((one.ended_s, at) for one, at in answered)
    newest = list(accumulate((at for _, at in ends), max))
    before = [bisect_left(ends, (one.began_s,)) for one, _ in answered]
    return sum(count > 0 and newest[count - 1] > at for count, (_, at) in zip(before, answered, strict=True))


def broken_bounds(done: Mapping[str, Any]) -> list[str]:
    """Say which bounds a run broke, a sentence each.

    Args:
        done: Its summary.
    """
    holds = {
        f"requests that failed: {done['failed']}": not done["failed"],
        f"answers of a version that was gone: {done['mixed_versions']}": not done["mixed_versions"],
        f"versions that answered: {done['versions_seen']} of {done['swaps'] + 1}": (
            done["versions_seen"] == done["swaps"] + 1
        ),
    }
    return [sentence for sentence, held in holds.items() if not held]


def main(
    restarts: Annotated[int, typer.Option(help="Rolling restarts.")] = 50,
    swaps: Annotated[int, typer.Option(help="Hot swaps.")] = 50,
    clients: Annotated[int, typer.Option(help="At once.")] = 2,
    pause_s: Annotated[float, typer.Option(help="Between two requests of a client.")] = 0.1,
    bundle: Annotated[Path, typer.Option(help="To serve.")] = ROOT / "model_store" / "small",
    out: Annotated[Path, typer.Option(help="Where the summary goes.")] = RESULT,
) -> None:
    """Restart and swap under load, and write down what was lost."""
    with tempfile.TemporaryDirectory(prefix="rolling-") as folder, ExitStack() as started:
        edge = started.enter_context(running(bundle, Path(folder)))
        load = Load(edge.url, edge.key, edge.run_dir / "nginx" / "certificate.pem", pause_s)
        order, times_s = [json.loads((bundle / MANIFEST).read_text(encoding="utf-8"))["version"]], []
        with asked(load, clients):
            for _ in track(range(restarts), "Restarts", console=console):
                times_s.append(edge.restart())
            made_ones = islice(versions_of(bundle, Path(folder)), swaps)
            for made in track(made_ones, "Swaps", total=swaps, console=console):
                order.append(json.loads((made / MANIFEST).read_text(encoding="utf-8"))["version"])
                times_s.append(edge.restart("--bundle", str(made)))
        summary = {
            "restarts": restarts,
            "swaps": swaps,
            "clients": clients,
            "requests": len(load.replies),
            "outcomes": dict(Counter(one.outcome for one in load.replies)),
            "failed": sum(one.outcome != "200" for one in load.replies),
            "mixed_versions": mixed(load.replies, order),
            "versions_seen": len({one.version for one in load.replies} - {None}),
            "exchange_s": {"median": sorted(times_s)[len(times_s) // 2], "longest": max(times_s)},
            "longest_answer_s": round(max(one.ended_s - one.began_s for one in load.replies), 2),
        }
    summary["broken_bounds"] = broken_bounds(summary)
    out.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(summary, indent=2))
    if summary["broken_bounds"]:
        raise typer.Exit(1)


@dataclass(frozen=True)
class Edge:
    """A running launcher."""

    run_dir: Path
    url: str
    key: str
    environment: dict[str, Any]

    def restart(self, *arguments: str) -> float:
        """Start all servers anew; give the seconds that it took."""
        began_s = time.monotonic()
        command = [sys.executable, "-m", "handlers.edge", "restart", *arguments]
        subprocess.run(command, cwd=ROOT, env=self.environment, check=True)
        return round(time.monotonic() - began_s, 1)


@contextmanager
def running(bundle: Path, folder: Path) -> Iterator[Edge]:
    """Run nginx and two servers in a folder."""
    port, metrics_port = free_ports(2)
    own = {
        "BUNDLE": bundle,
        "RUN_DIR": folder / "run",
        "HTTPS_PORT": port,
        "EDGE_EXPORTER_PORT": metrics_port,
        "INSTANCE_PORT": free_block(2 * PORTS_OF_A_SERVER),
        "PYTHONPATH": ROOT,
    }
    environment = {**os.environ, **{name: str(value) for name, value in own.items()}}
    log = folder / "edge.log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "handlers.edge", "serve"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.STDOUT)
        try:
            while READY not in log.read_text(encoding="utf-8"):
                if process.poll() is not None:
                    raise SystemExit(log.read_text(encoding="utf-8"))
                time.sleep(0.2)
            (key,) = edge_keys.read(folder / "run" / "keys")
            yield Edge(folder / "run", f"https://localhost:{port}", key, environment)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait()


if __name__ == "__main__":
    typer.run(main)
