"""The metrics of all workers on a port of their own, for Prometheus: `python -m handlers.exporter`.

`handlers.serve` runs it inside itself; as a program of its own it serves whoever starts TorchServe by other means. A
worker could not do it: there are several, and each dies now and then. To what they counted it adds what only TorchServe
knows, which it asks the management port at each scrape:

    twelve_server_up          1, or 0 where TorchServe does not answer; the next four are absent then
    twelve_queue_depth        requests that wait for a worker
    twelve_queue_capacity     requests that may wait; the next one is refused
    twelve_workers_ready      workers that take requests
    twelve_workers_wanted     workers that there should be
    twelve_model_info         1, with the name and the version of the model and the digest of its bundle
"""

import http.client
import json
import shutil
import signal
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from handlers.healthcheck import MODEL, SELF_TEST, Server
from twelve.bundle import Bundle
from twelve.metrics import DIRECTORY_VARIABLE, collected

ASK_TIMEOUT_S = 1.0
"""For TorchServe's answer; a scrape that comes too late shows nothing at all."""

READY = "READY"


class ServerState(Collector):
    """Asks TorchServe's management port, at each scrape, what waits and who works."""

    def __init__(self, management: str, *, timeout_s: float = ASK_TIMEOUT_S) -> None:
        self._url = f"{management}/models/{MODEL}/all"
        self._timeout_s = timeout_s

    def collect(self) -> Iterator[Metric]:
        """Give the figures of this moment, of all versions together."""
        versions = self._ask()
        yield GaugeMetricFamily("twelve_server_up", "Whether TorchServe answers.", value=float(versions is not None))
        if versions is None:
            return
        queues = [version["jobQueueStatus"] for version in versions]
        waiting = sum(queue["pendingRequests"] for queue in queues)
        room = sum(queue["remainingCapacity"] for queue in queues)
        ready = sum(worker["status"] == READY for version in versions for worker in version["workers"])
        wanted = sum(version["minWorkers"] for version in versions)
        yield GaugeMetricFamily("twelve_queue_depth", "Requests that wait for a worker.", value=waiting)
        yield GaugeMetricFamily("twelve_queue_capacity", "Requests that may wait for a worker.", value=waiting + room)
        yield GaugeMetricFamily("twelve_workers_ready", "Workers that take requests.", value=ready)
        yield GaugeMetricFamily("twelve_workers_wanted", "Workers that there should be.", value=wanted)

    def describe(self) -> Iterator[Metric]:
        """Give nothing: registration asks nobody."""
        return iter(())

    def _ask(self) -> list[dict[str, Any]] | None:
        try:
            with urllib.request.urlopen(self._url, timeout=self._timeout_s) as reply:
                versions: list[dict[str, Any]] = json.load(reply)
        except (OSError, http.client.HTTPException, ValueError):
            return None
        return versions


class ModelInfo(Collector):
    """Tells which model is served."""

    def __init__(self, bundle: Bundle) -> None:
        names = {"name": bundle.manifest.name, "version": bundle.manifest.version, "bundle": bundle.digest()}
        self._info = InfoMetricFamily("twelve_model", "The model that is served.", value=names)

    def collect(self) -> Iterator[Metric]:
        """Give the one sample."""
        yield self._info


def watched(run_dir: Path) -> list[Collector]:
    """Give what can be told of a server beside what its workers count.

    Args:
        run_dir: The server's run directory, its configuration and model directory in it.

    Returns:
        Collectors for `start`.

    Raises:
        NotReady: No server was set up there.
        BundleMissing: Its model directory holds no bundle.
    """
    model_directory = (run_dir / SELF_TEST).parent
    return [ServerState(Server.of(run_dir).management), ModelInfo(Bundle.open(model_directory / "bundle"))]


def empty(directory: Path) -> None:
    """Make the workers' folder anew. For the start of a server, never of a worker: what a dead one counted must stay.

    Args:
        directory: Where the workers of the server that is about to start will write.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)


def start(directory: Path, *, host: str, port: int, others: Sequence[Collector] = ()) -> Callable[[], None]:
    """Serve `/metrics` from a thread of this process.

    Args:
        directory: Where the workers write.
        host: Address to listen on.
        port: Likewise.
        others: What else is told.

    Returns:
        What stops it.

    Raises:
        OSError: The port is taken.
    """
    registry = collected(directory)
    for collector in others:
        registry.register(collector)
    return listen(registry, host=host, port=port)


def listen(registry: CollectorRegistry, *, host: str, port: int) -> Callable[[], None]:
    """Serve a registry from a thread of this process; gives what stops it."""
    server, thread = start_http_server(port, addr=host, registry=registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


def main(
    directory: Annotated[Path, typer.Option(envvar=DIRECTORY_VARIABLE, exists=True, help="Where the workers write.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="EXPORTER_PORT", help="Port to listen on.")] = 8083,
    run_dir: Annotated[
        Path | None, typer.Option(envvar="RUN_DIR", help="The server's; absent, only its workers' counts are told.")
    ] = None,
) -> None:
    """Serve the metrics of all workers until a signal comes."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))  # before the thread, which inherits it
    stop = start(directory, host=host, port=port, others=watched(run_dir) if run_dir else ())
    signal.sigwait((signal.SIGINT, signal.SIGTERM))
    stop()


if __name__ == "__main__":
    typer.run(main)
