"""Wait until a server answers nobody any more: `python -m handlers.drain`, for rolling restarts and preStop hooks.

Whoever sends requests must have stopped before, for TorchServe ends without answering what it has accepted. Its count
of pending requests leaves out those that a worker has taken, so the open connections to it are counted as well: nginx
opens one a request.
"""

import json
import time
import urllib.request
from pathlib import Path
from typing import Annotated

import psutil
import typer

from handlers.healthcheck import HALF_WRITTEN, MODEL, NotReady, Server

LONGEST_S = 75.0
"""Longer than the longest deadline: what is older was given up by whoever asked."""

BETWEEN_LOOKS_S = 0.05
LOOKS = 3
"""In a row that find nobody: between two of them a connection may just be opening."""


def drain(server: Server, *, longest_s: float = LONGEST_S) -> bool:
    """Wait until nobody waits for an answer.

    Args:
        server: Gets no new requests.
        longest_s: For all of it.

    Returns:
        Whether it is idle; False if time passed, and whoever still waits will have to ask again.
    """
    deadline, idle = time.monotonic() + longest_s, 0
    while idle < LOOKS:
        idle = 0 if waiting(server) else idle + 1
        if time.monotonic() > deadline:
            return False
        time.sleep(BETWEEN_LOOKS_S)
    return True


def waiting(server: Server) -> int:
    """Count the requests that a server holds; none if it is not there at all."""
    return _pending(server) + _connected(int(server.inference.rsplit(":", 1)[1]))


def _pending(server: Server) -> int:
    try:
        with urllib.request.urlopen(f"{server.management}/models/{MODEL}", timeout=5) as reply:
            return int(json.load(reply)[0]["jobQueueStatus"]["pendingRequests"])
    except HALF_WRITTEN:
        return 0


def _connected(port: int) -> int:
    return sum(
        one.status == psutil.CONN_ESTABLISHED and one.laddr.port == port for one in psutil.net_connections("tcp")
    )


def main(
    run_dir: Annotated[Path, typer.Option(envvar="RUN_DIR", help="The server's run directory.")],
    longest: Annotated[float, typer.Option(min=0, help="Seconds to wait at most.")] = LONGEST_S,
) -> None:
    """Wait until a server answers nobody; exit code 1 if it still does when time is up."""
    try:
        is_idle = drain(Server.of(run_dir), longest_s=longest)
    except NotReady as error:
        typer.echo(f"drain: {error}", err=True)
        raise typer.Exit(1) from error
    if not is_idle:
        typer.echo(f"drain: requests are still on their way after {longest:g} s", err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
