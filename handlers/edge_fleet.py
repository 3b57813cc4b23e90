"""The servers behind nginx: started, looked after, and exchanged half by half without a request lost.

Each is a `python -m handlers.serve` of its own, with its own ports and run directory.
"""

import logging
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from handlers.drain import drain
from handlers.edge_nginx import Backend, halves, to_ask
from handlers.healthcheck import HALF_WRITTEN, NotReady, Server
from handlers.ready import READY
from handlers.serve import CPU, repeated
from handlers.torchserve import HERE, ROOT, START_TIMEOUT_S, Ports, ServerDied
from twelve.errors import ConfigInvalid

log = logging.getLogger(__name__)

STOP_TIMEOUT_S = 30.0
BETWEEN_LOOKS_S = 0.1
BETWEEN_STARTS_S = 5.0
"""Of a server that ended by itself or could not be started."""

LOOK_TIMEOUT_S = 1.0
TAIL_BYTES = 3000

Choose = Callable[[frozenset[int]], None]
"""Lets nginx ask these servers alone."""


@dataclass(frozen=True)
class Plan:
    """How each server is started.

    Attributes:
        bundle: Folder of the bundle.
        engine: What runs the graphs.
        workers: Of each server.
        threads: Of each worker.
        batch_size: Most requests that a worker takes at once.
        cache: Folder of pictures seen, one for all servers: a ref must hold whichever of them is asked next.
        device: "cpu", "cuda", or "cuda:1" and so on.
        image_hosts: Where pictures named by URL are fetched from; none = they are refused.
        image_networks: Networks these hosts may lie in beside the public ones.
    """

    bundle: Path
    engine: str
    workers: int
    threads: int
    batch_size: int
    cache: Path
    device: str = CPU
    image_hosts: tuple[str, ...] = ()
    image_networks: tuple[str, ...] = ()

    def options(self) -> list[str]:
        """Give the command line's options of `handlers.serve`; the graphs are exported beforehand, once for all."""
        named = {
            "--bundle": self.bundle,
            "--engine": self.engine,
            "--workers": self.workers,
            "--threads": self.threads,
            "--batch-size": self.batch_size,
            "--cache": self.cache,
            "--device": self.device,
        }
        return [
            "--no-export",
            *(str(part) for pair in named.items() for part in pair),
            *repeated("--image-host", self.image_hosts),
            *repeated("--image-network", self.image_networks),
        ]


@dataclass
class Instance:
    """One server: where it listens and writes, and its process while it runs."""

    ports: Ports
    run_dir: Path
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    started_s: float = 0.0

    @property
    def backend(self) -> Backend:
        """Give where nginx finds it."""
        return Backend(f"{HERE}:{self.ports.inference}", f"{HERE}:{self.ports.health}")

    def start(self, plan: Plan) -> None:
        """Start it; it is ready later."""
        self.started_s = time.monotonic()
        self.run_dir.mkdir(parents=True, exist_ok=True)
        own = {
            "PORT": self.ports.inference,
            "MANAGEMENT_PORT": self.ports.management,
            "METRICS_PORT": self.ports.metrics,
            "EXPORTER_PORT": self.ports.exporter,
            "GRPC_PORT": self.ports.grpc_inference,
            "GRPC_MANAGEMENT_PORT": self.ports.grpc_management,
            "HEALTH_PORT": self.ports.health,
            "RUN_DIR": self.run_dir,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        }
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "handlers.serve", *plan.options()],
                env={**os.environ, **{name: str(value) for name, value in own.items()}},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def is_running(self) -> bool:
        """Say whether it has a process that has not ended."""
        return self.process is not None and self.process.poll() is None

    def is_ready(self) -> bool:
        """Say whether it answers requests, as its own prober has it."""
        return is_ready(self.backend)

    def wait_ready(self) -> None:
        """Wait until it answers requests.

        Raises:
            ServerDied: It ended, or time is up; shows the end of what it wrote.
        """
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.is_ready():
            if not self.is_running() or time.monotonic() > deadline:
                code = self.process.poll() if self.process else None
                raise ServerDied(f"the server in {self.run_dir} does not start\n{self._tail()}", code or 1)
            time.sleep(BETWEEN_LOOKS_S)

    def drain(self) -> None:
        """Wait until it answers nobody; it gets no new requests."""
        try:
            drain(Server.of(self.run_dir))
        except NotReady:
            return  # it has never listened

    def end(self) -> None:
        """Ask it to end."""
        if self.process is not None:
            self.process.terminate()

    def stop(self) -> None:
        """End it: gently, and if that does not help, at once."""
        if self.process is None:
            return
        self.end()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    @property
    def _log(self) -> Path:
        return self.run_dir / "serve.log"

    def _tail(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")[-TAIL_BYTES:]


def is_ready(backend: Backend) -> bool:
    """Say whether a server answers requests, as its own prober has it."""
    try:
        urllib.request.urlopen(f"http://{backend.health}{READY}", timeout=LOOK_TIMEOUT_S).close()
    except HALF_WRITTEN:
        return False
    return True


class Fleet:
    """All servers of one nginx."""

    def __init__(self, instances: Iterable[Instance], plan: Plan, choose: Choose) -> None:
        self._instances = list(instances)
        self._plan = plan
        self._choose = choose
        self._chosen = self._everything = frozenset(range(len(self._instances)))

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start all and wait until they are ready; leaving stops them all.

        Raises:
            ServerDied: One does not start.
        """
        try:
            self._start(self._everything, self._plan)
            self._serve(self._everything)
            yield
        finally:
            for instance in self._instances:
                instance.end()
            for instance in self._instances:
                instance.stop()

    def exchange(self, bundle: Path | None = None) -> None:
        """Start every server anew, half by half, while the other half answers.

        With another bundle the answers change from the old to the new all at once, between the halves; from then on no
        request is answered by the old one.

        Args:
            bundle: To serve from now on; None = the same.

        Raises:
            ConfigInvalid: There is one server alone.
            ServerDied: The new ones do not start. The old bundle is served again.
        """
        first, second = halves(len(self._instances))
        if not first:
            raise ConfigInvalid("a restart that loses no request needs two servers; start with INSTANCES=2 or more")
        plan = self._plan if bundle is None else replace(self._plan, bundle=bundle)
        self._serve(second)
        self._stop(first)
        try:
            self._start(first, plan)
            self._serve(first)
        except Exception:  # whatever it is, the two bundles must not answer side by side
            for place in first:
                self._instances[place].stop()  # nobody was sent there
            self._start(first, self._plan)
            self._serve(self._everything)
            raise
        self._plan = plan
        self._stop(second)
        self._start(second, plan)
        self._serve(self._everything)

    def tend(self) -> None:
        """Start again what does not run, and let nginx ask the half that answers while the other does not.

        What the machine refuses meanwhile (a process, room on its disk) is tried again: the servers that run go on.
        """
        for instance in self._instances:
            if not instance.is_running() and time.monotonic() - instance.started_s > BETWEEN_STARTS_S:
                with _logged():
                    instance.start(self._plan)
        ready = {place for place, instance in enumerate(self._instances) if instance.is_ready()}
        wanted = to_ask(ready, len(self._instances))
        if wanted != self._chosen:
            with _logged():
                self._serve(wanted)

    def _serve(self, members: frozenset[int]) -> None:
        self._choose(members)
        self._chosen = members

    def _start(self, members: frozenset[int], plan: Plan) -> None:
        for place in members:
            self._instances[place].start(plan)
        for place in members:
            self._instances[place].wait_ready()

    def _stop(self, members: frozenset[int]) -> None:
        for place in members:
            self._instances[place].drain()
            self._instances[place].stop()


@contextmanager
def _logged() -> Iterator[None]:
    try:
        yield
    except OSError:
        log.exception("the machine refused; tried again")
