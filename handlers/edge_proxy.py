"""nginx alone, before servers that something else runs: `python -m handlers.edge_proxy`, which the image `edge` runs.

With containers, whoever runs them starts and ends the servers. What is left to do: TLS, keys and limits as
`handlers.edge` has them, requests to servers that are ready, and their addresses, which change when they move.
"""

import shutil
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from handlers import access_log, edge_nginx
from handlers.edge import make_certificate, make_first_key, told
from handlers.edge_fleet import is_ready
from handlers.edge_nginx import Backend, Limits, Nginx, Site
from handlers.serve import ignore_signals, signals_interrupt
from handlers.torchserve import HERE
from twelve.errors import ConfigInvalid

BETWEEN_LOOKS_S = 1.0


@dataclass(frozen=True)
class Proxy:
    """What to run and with what.

    Attributes:
        site: What nginx serves.
        tasks: File with the answer to `GET /v1/tasks`.
        metrics_host: Where it is told what nginx answered.
        metrics_port: Likewise.
    """

    site: Site
    tasks: Path
    metrics_host: str
    metrics_port: int


def parse(servers: str) -> tuple[Backend, ...]:
    """Read where the servers are.

    Args:
        servers: Each as `HOST:PORT/HEALTH_PORT`, with spaces between.

    Raises:
        ConfigInvalid: There is none, or one is written otherwise.
    """
    return tuple(map(_parse_one, servers.split() or [servers]))


def serve(proxy: Proxy) -> None:
    """Serve until a signal comes.

    Args:
        proxy: What and with what.

    Raises:
        ConfigInvalid: Certificate, keys or limits are not as they should be.
        ServerDied: nginx does not start, or ended by itself.
    """
    site = proxy.site
    make_certificate(site)
    make_first_key(site)
    edge_nginx.write(site)
    shutil.copyfile(proxy.tasks, site.folder / "tasks.json")
    known = wait_named(site.backends)
    with ExitStack() as started:
        nginx = started.enter_context(edge_nginx.running(site))
        log = site.folder / "logs" / "access.log"
        started.callback(access_log.start(log, host=proxy.metrics_host, port=proxy.metrics_port))
        started.callback(ignore_signals)
        print(f"nginx serves on port {site.port} for {len(site.backends)} servers.", flush=True)
        keep(nginx, site, known)


def keep(nginx: Nginx, site: Site, known: Sequence[str]) -> None:
    """Let nginx ask the servers that are ready, where they are now, until a signal comes.

    Args:
        nginx: Runs.
        site: Its own.
        known: The addresses that it has read.
    """
    count, chosen = len(site.backends), edge_nginx.to_ask(set(), len(site.backends))
    edge_nginx.choose(site, chosen)
    while True:
        nginx.check_alive()
        nginx.rotate()
        now = addresses(site.backends)
        if now and now != known:  # a server that is gone may have no name: the old address does no harm
            nginx.reload()
            known = now
        ready = {place for place, backend in enumerate(site.backends) if is_ready(backend)}
        if (wanted := edge_nginx.to_ask(ready, count)) != chosen:
            edge_nginx.choose(site, wanted)
            chosen = wanted
        time.sleep(BETWEEN_LOOKS_S)


def wait_named(backends: Sequence[Backend]) -> list[str]:
    """Wait until every server has an address, without which nginx does not start, and give them."""
    while not (found := addresses(backends)):
        print("Waiting until each server's name is known.", flush=True)
        time.sleep(BETWEEN_LOOKS_S)
    return found


def addresses(backends: Sequence[Backend]) -> list[str]:
    """Look up where the servers are; nowhere, if one has no address now."""
    try:
        return [socket.gethostbyname(backend.inference.rpartition(":")[0]) for backend in backends]
    except OSError:
        return []


def _parse_one(server: str) -> Backend:
    host, _, ports = server.rpartition(":")
    inference, _, health = ports.partition("/")
    if not (host and inference.isdigit() and health.isdigit()):
        raise ConfigInvalid(f"SERVERS: {server!r} is not written as HOST:PORT/HEALTH_PORT, such as server-1:8080/8086")
    return Backend(f"{host}:{inference}", f"{host}:{health}")


def main(
    servers: Annotated[str, typer.Option(envvar="SERVERS", help="HOST:PORT/HEALTH_PORT of each, spaces between.")],
    tasks: Annotated[Path, typer.Option(envvar="TASKS", exists=True, help="As handlers.task_list writes it.")],
    run_dir: Annotated[Path, typer.Option(envvar="RUN_DIR", help="Where all of it is written.")],
    host: Annotated[str, typer.Option(help="Where HTTPS and metrics are listened for.")] = HERE,
    https_port: Annotated[int, typer.Option(envvar="HTTPS_PORT", help="Of HTTPS.")] = 8443,
    certificate: Annotated[Path | None, typer.Option(envvar="TLS_CERTIFICATE", help="With its chain; PEM.")] = None,
    private_key: Annotated[Path | None, typer.Option(envvar="TLS_PRIVATE_KEY", help="Of the certificate.")] = None,
    keys: Annotated[Path | None, typer.Option(envvar="KEYS", help="File of API keys; RUN_DIR/keys if absent.")] = None,
    rate: Annotated[int, typer.Option(envvar="RATE", min=1, help="Requests a second of one key.")] = Limits.rate,
    burst: Annotated[int, typer.Option(envvar="BURST", min=1, help="Beyond it at once.")] = Limits.burst,
    per_client: Annotated[
        int, typer.Option(envvar="PER_CLIENT", min=1, help="Requests of one key on their way.")
    ] = Limits.per_client,
    per_address: Annotated[
        int, typer.Option(envvar="PER_ADDRESS", min=1, help="Requests of one address on their way.")
    ] = Limits.per_address,
    in_flight: Annotated[
        int, typer.Option(envvar="IN_FLIGHT", min=1, help="Requests that one server holds.")
    ] = Limits.in_flight,
    metrics_port: Annotated[
        int, typer.Option(envvar="EDGE_EXPORTER_PORT", help="Of what nginx answered.")
    ] = access_log.PORT,
) -> None:
    """Run nginx before servers until a signal comes."""
    folder = (run_dir / "nginx").resolve()
    with told(), signals_interrupt():
        site = Site(
            folder=folder,
            listen=host,
            port=https_port,
            http_port=None,
            backends=parse(servers),
            certificate=certificate or folder / "certificate.pem",
            private_key=private_key or folder / "private-key.pem",
            keys=keys or run_dir / "keys",
            limits=Limits(rate, burst, per_client, per_address, in_flight),
        )
        serve(Proxy(site, tasks, host, metrics_port))


if __name__ == "__main__":
    typer.run(main)
