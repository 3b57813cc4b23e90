"""The metrics of all workers on a port of their own, for Prometheus: `python -m handlers.exporter`.

`handlers.serve` runs it inside itself; as a program of its own it serves whoever starts TorchServe by other means. A
worker could not do it: there are several, and each dies now and then.
"""

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from prometheus_client import start_http_server

from twelve.metrics import DIRECTORY_VARIABLE, collected


def empty(directory: Path) -> None:
    """Make the workers' folder anew. For the start of a server, never of a worker: what a dead one counted must stay.

    Args:
        directory: Where the workers of the server that is about to start will write.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)


def start(directory: Path, *, host: str, port: int) -> Callable[[], None]:
    """Serve `/metrics` from a thread of this process.

    Args:
        directory: Where the workers write.
        host: Address to listen on.
        port: Likewise.

    Returns:
        What stops it.

    Raises:
        OSError: The port is taken.
    """
    server, thread = start_http_server(port, addr=host, registry=collected(directory))

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


def main(
    directory: Annotated[Path, typer.Option(envvar=DIRECTORY_VARIABLE, exists=True, help="Where the workers write.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="EXPORTER_PORT", help="Port to listen on.")] = 8083,
) -> None:
    """Serve the metrics of all workers until a signal comes."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))  # before the thread, which inherits it
    os.environ.pop(DIRECTORY_VARIABLE, None)
    stop = start(directory, host=host, port=port)
    signal.sigwait((signal.SIGINT, signal.SIGTERM))
    stop()


if __name__ == "__main__":
    typer.run(main)
