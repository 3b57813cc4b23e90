"""A server people can put on a network, from one command: `python -m handlers.edge serve`, which is `make serve-edge`.

nginx with TLS, keys and limits, and behind it one server or several. `restart` starts them anew without losing a
request, with another bundle if one is named; `key` makes a key.
"""

import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from handlers import access_log, edge_keys, edge_nginx
from handlers.edge_fleet import Fleet, Instance, Plan
from handlers.edge_nginx import Limits, Nginx, Site
from handlers.edge_orders import Orders
from handlers.serve import (
    BUILD,
    CPU,
    EAGER,
    DeviceName,
    Engine,
    ImageHosts,
    ImageNetworks,
    cores,
    ignore_signals,
    run_python,
    signals_interrupt,
)
from handlers.torchserve import HERE, OPTIONS, ROOT, Ports, ServerDied
from twelve.bundle import Bundle
from twelve.errors import ConfigInvalid, StartupError

BETWEEN_LOOKS_S = 0.5
MOST_INSTANCES = 9
ONE_REQUEST = 1
"""A batch: those that wait for company are lost when a worker dies (docs/decisions/0006)."""

FIRST_CLIENT = "first"
CERTIFICATE_DAYS = 365

FIRST_KEY = """\
There was no key: made one, which is in a file for you alone. Before you ask:
export KEY=$(grep -m1 '^"' {path} | cut -d'"' -f2)"""

GREETING = """\
The server is ready at https://{host}:{port}, with {count} servers behind nginx.

curl -s {trust}https://{host}:{port}/v1/tasks/vqa-v2 -H "Authorization: Bearer $KEY" \\
    -F question='Is there a pig?' -F image=@docs/pictures/street.jpg

Log: {log}   Another key: python -m handlers.edge key NAME   Ctrl-C stops."""

app = typer.Typer(help=__doc__, no_args_is_help=True)


@dataclass(frozen=True)
class Edge:
    """What to serve and how.

    Attributes:
        plan: Of each server.
        instances: The servers.
        site: What nginx serves.
        run_dir: Where all of it is written.
        exports: Whether graphs are brought up to date before they are served.
        metrics_port: Where it is told what nginx answered.
    """

    plan: Plan
    instances: Sequence[Instance]
    site: Site
    run_dir: Path
    exports: bool
    metrics_port: int = access_log.PORT


RunDir = Annotated[Path, typer.Option(envvar="RUN_DIR", help="Where the launcher writes.")]
DEFAULT_RUN_DIR = BUILD / "edge"


def serve(edge: Edge) -> None:
    """Serve until a signal comes.

    Args:
        edge: What and how.

    Raises:
        StartupError: Something is not fit to be served.
        ServerDied: nginx or a server does not start, or nginx ended by itself.
    """
    orders, site = Orders(edge.run_dir), edge.site
    if orders.are_taken():
        raise ConfigInvalid(f"{edge.run_dir}: another launcher runs here; stop it, or name another RUN_DIR")
    make_certificate(site)
    make_first_key(site)
    edge_nginx.write(site)
    export(edge.plan.bundle, edge)
    list_tasks(edge.plan.bundle, site)
    fleet = Fleet(edge.instances, edge.plan, lambda members: edge_nginx.choose(site, members))
    with ExitStack() as started:
        started.enter_context(fleet.running())
        nginx = started.enter_context(edge_nginx.running(site))
        started.callback(access_log.start(site.folder / "logs" / "access.log", host=HERE, port=edge.metrics_port))
        orders.open()
        started.callback(orders.close)
        started.callback(ignore_signals)
        greet(edge)
        keep(fleet, nginx, orders, edge)


def keep(fleet: Fleet, nginx: Nginx, orders: Orders, edge: Edge) -> None:
    """Look after everything and carry out orders, until a signal comes."""

    def restart(_: Mapping[str, Any]) -> None:
        fleet.exchange()

    def swap(order: Mapping[str, Any]) -> None:
        bundle = Path(order["bundle"])
        export(bundle, edge)
        fleet.exchange(bundle)
        list_tasks(bundle, edge.site)

    carry = {"restart": restart, "swap": swap, "reload": lambda _: nginx.reload()}
    while True:
        nginx.check_alive()
        nginx.rotate()
        fleet.tend()
        orders.carry_out(carry)
        time.sleep(BETWEEN_LOOKS_S)


def lay_out(run_dir: Path, first_port: int, count: int) -> list[Instance]:
    """Give each server its ports, one after the other, and its run directory.

    Args:
        run_dir: Of the launcher.
        first_port: Of the first server.
        count: Of servers.
    """
    each = len(OPTIONS)
    return [
        Instance(Ports(*range(first, first + each)), (run_dir / f"server-{number}").resolve())
        for number, first in enumerate(range(first_port, first_port + each * count, each), start=1)
    ]


def make_certificate(site: Site) -> None:
    """Make a certificate for this machine where none was given and none was made before.

    Raises:
        ConfigInvalid: One of the two files is missing, or openssl is.
    """
    if site.certificate.is_file() and site.private_key.is_file():
        return
    if site.certificate.parent != site.folder:
        raise ConfigInvalid(f"TLS: {site.certificate} and {site.private_key} must both be there; name them or neither")
    if shutil.which("openssl") is None:
        raise ConfigInvalid("TLS: no certificate was named, and without openssl none can be made; name one")
    site.folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", str(CERTIFICATE_DAYS), "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", str(site.private_key), "-out", str(site.certificate)),
        ],
        check=True,
        capture_output=True,
    )
    print(f"No certificate was named: made {site.certificate} for localhost, which nobody else trusts.", flush=True)


def make_first_key(site: Site) -> None:
    """Make a key where there is none, and say where it is: what is printed may be collected and kept."""
    if not edge_keys.read(site.keys):
        edge_keys.add(site.keys, FIRST_CLIENT)
        print(FIRST_KEY.format(path=shlex.quote(str(site.keys.resolve()))), flush=True)


def export(bundle: Path, edge: Edge) -> None:
    """Bring a bundle's graphs up to date."""
    if edge.exports and edge.plan.engine != EAGER:
        run_python("-m", "export", "all", str(bundle))


def list_tasks(bundle: Path, site: Site) -> None:
    """Write what `GET /v1/tasks` answers."""
    run_python("-m", "handlers.task_list", str(bundle), str(site.folder / "tasks.json"))


def greet(edge: Edge) -> None:
    """Print how to ask."""
    site = edge.site
    host = "localhost" if site.listen in ("0.0.0.0", HERE) else site.listen
    trust = f"--cacert {shlex.quote(str(site.certificate))} " if site.certificate.parent == site.folder else ""
    log = site.folder / "logs" / "access.log"
    print(GREETING.format(host=host, port=site.port, count=len(edge.instances), trust=trust, log=log), flush=True)


@app.command(name="serve")
def serve_command(
    bundle: Annotated[Path, typer.Option(envvar="BUNDLE", help="Folder of the bundle.")] = ROOT
    / "model_store"
    / "small",
    host: Annotated[str, typer.Option(envvar="HOST", help="Where nginx listens; 0.0.0.0 = everywhere.")] = HERE,
    https_port: Annotated[int, typer.Option(envvar="HTTPS_PORT", help="Of nginx.")] = 8443,
    http_port: Annotated[
        int | None, typer.Option(envvar="HTTP_PORT", help="Redirects to HTTPS; absent = there is none.")
    ] = None,
    instance_port: Annotated[
        int,
        typer.Option(envvar="INSTANCE_PORT", help="First of the servers' ports, seven each, on this machine alone."),
    ] = 8100,
    instances: Annotated[int, typer.Option(envvar="INSTANCES", min=1, max=MOST_INSTANCES, help="Servers.")] = 2,
    engine: Annotated[Engine, typer.Option(envvar="ENGINE", help="What runs the graphs.")] = "onnxruntime",
    workers: Annotated[int, typer.Option(envvar="WORKERS", min=1, help="Of each server.")] = 1,
    threads: Annotated[int | None, typer.Option(envvar="THREADS", min=1, help="Of each worker.")] = None,
    batch_size: Annotated[
        int, typer.Option(envvar="BATCH_SIZE", min=1, help="Most requests that a worker takes at once.")
    ] = ONE_REQUEST,
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
        int, typer.Option(envvar="EDGE_EXPORTER_PORT", help="Of nginx's metrics, on this machine alone.")
    ] = access_log.PORT,
    run_dir: RunDir = DEFAULT_RUN_DIR,
    cache: Annotated[
        Path | None, typer.Option(envvar="CACHE", help="Pictures seen, of all servers; RUN_DIR/cache if absent.")
    ] = None,
    device: DeviceName = CPU,
    image_hosts: ImageHosts = None,
    image_networks: ImageNetworks = None,
    export_first: Annotated[
        bool, typer.Option("--export/--no-export", help="Bring the graphs up to date first.")
    ] = True,
) -> None:
    """Serve a bundle over HTTPS until Ctrl-C."""
    folder = (run_dir / "nginx").resolve()
    own_threads = threads or max(1, cores() // (instances * workers))
    servers = lay_out(run_dir, instance_port, instances)
    site = Site(
        folder=folder,
        listen=host,
        port=https_port,
        http_port=http_port,
        backends=tuple(server.backend for server in servers),
        certificate=certificate or folder / "certificate.pem",
        private_key=private_key or folder / "private-key.pem",
        keys=keys or run_dir / "keys",
        limits=Limits(rate, burst, per_client, per_address, in_flight),
    )
    plan = Plan(
        bundle=bundle.resolve(),
        engine=engine,
        workers=workers,
        threads=own_threads,
        batch_size=batch_size,
        cache=(cache or run_dir / "cache").resolve(),
        device=device,
        image_hosts=tuple(image_hosts or ()),
        image_networks=tuple(image_networks or ()),
    )
    with told(), signals_interrupt():
        serve(Edge(plan, servers, site, run_dir, export_first, metrics_port))


@app.command()
def restart(
    bundle: Annotated[Path | None, typer.Option(help="To serve from now on; absent, the same.")] = None,
    run_dir: RunDir = DEFAULT_RUN_DIR,
) -> None:
    """Start every server anew, one half after the other, without losing a request."""
    orders = Orders(run_dir)
    with told():
        if bundle is None:
            return orders.give("restart")
        Bundle.open(bundle).verify()
        orders.give("swap", bundle=str(bundle.resolve()))


@app.command()
def key(
    name: Annotated[str, typer.Argument(help="Whose key it is; stands in the log.")],
    keys: Annotated[Path | None, typer.Option(envvar="KEYS", help="File of API keys; RUN_DIR/keys if absent.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the key away.")] = False,
    run_dir: RunDir = DEFAULT_RUN_DIR,
) -> None:
    """Make a key and show it this once, or take one away; a launcher that runs honours it at once."""
    change = edge_keys.remove if remove else edge_keys.add
    with told():
        made = change(keys or run_dir / "keys", name)
        if Orders(run_dir).are_taken():
            Orders(run_dir).give("reload")
    if made is not None:
        typer.echo(made)


@contextmanager
def told() -> Iterator[None]:
    """Tell in a sentence why it does not go on, and leave with the error's own exit code."""
    try:
        yield
    except StartupError as error:
        typer.echo(f"edge: {error.message}", err=True)
        raise typer.Exit(StartupError.exit_code) from error
    except ServerDied as error:
        typer.echo(f"edge: {error}", err=True)
        raise typer.Exit(error.exit_code) from error


if __name__ == "__main__":
    app()
