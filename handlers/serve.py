"""The server from one command: `python -m handlers.serve`, which is what `make serve` runs.

Exports whatever of the bundle's graphs is not up to date, starts TorchServe and the metrics exporter, waits until a
request has really been answered, says how to ask, and stops everything that it started on Ctrl-C or SIGTERM.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from handlers import exporter
from handlers.healthcheck import Server
from handlers.java import find_java
from handlers.ready import health
from handlers.torchserve import (
    HERE,
    ROOT,
    Ports,
    RunDirectory,
    ServerDied,
    check_alive,
    running,
    wait_ready,
    write_config,
)
from twelve.bundle import Bundle
from twelve.errors import StartupError

BUILD = Path("build")
"""As `twelve.assembly` has it, whose import would cost this small process all of torch."""

EAGER = "eager"
Engine = Literal["onnxruntime", "onnxruntime-int8", "torchscript", "eager"]

CPU = "cpu"
DeviceName = Annotated[str, typer.Option(envvar="DEVICE", help="cpu, cuda, or cuda:1 and so on.")]
ImageHosts = Annotated[
    list[str] | None,
    typer.Option("--image-host", envvar="IMAGE_HOSTS", help="Pictures are fetched by URL from there; may be repeated."),
]
ImageNetworks = Annotated[
    list[str] | None,
    typer.Option("--image-network", envvar="IMAGE_NETWORKS", help="Where these hosts may lie beside public addresses."),
]

BATCH_SIZE = 8
"""Requests that a worker takes at once."""

EXAMPLES = """\
The server is ready. One question of each group:

# what is in this picture
curl -s {url} -F task=vqa-v2 -F question='Is there a pig?' -F image=@{pictures}/street.jpg

# which picture does this sentence describe
curl -s {url} -F task=coco-retrieval -F caption='A white car and a pig on a street.' \\
    -F image_0=@{pictures}/street.jpg -F image_1=@{pictures}/beach.jpg

# where in the picture is it
curl -s {url} -F task=refcoco -F expression='the yellow guitar' -F image=@{pictures}/street.jpg

# is this statement true of it
curl -s {url} -F task=snli-ve -F statement='The car is white.' -F image=@{pictures}/street.jpg

Metrics for Prometheus: http://{host}:{exporter}/metrics   Log: {log}   Ctrl-C stops."""
PICTURES = ROOT / "docs" / "pictures"


@dataclass(frozen=True)
class Wish:
    """What to serve and how.

    Attributes:
        bundle: Folder of the bundle.
        engine: What runs the graphs.
        workers: Processes, each with the whole model.
        threads: Of each worker.
        host: Where predictions and metrics are listened for; all else listens on this machine alone.
        ports: To listen on.
        run: Where the server writes.
        console: Whether TorchServe's log also goes to the terminal.
        stores: Feature stores of pictures' regions; what they hold is not looked at again.
        exports: Whether graphs are brought up to date first; where the exporter is not installed, as in the image, they
            must be there already, and a worker refuses those of another bundle.
        batch_size: Most requests that a worker takes at once.
        cache: Folder of pictures seen, which servers of one bundle may share; None = one of its own in `run`.
        device: "cpu", "cuda", or "cuda:1" and so on.
        image_hosts: Where pictures named by URL are fetched from; none = they are refused. See `twelve.origins`.
        image_networks: Networks these hosts may lie in beside the public ones.
    """

    bundle: Path
    engine: str
    workers: int
    threads: int
    host: str
    ports: Ports
    run: RunDirectory
    console: bool
    stores: tuple[Path, ...] = ()
    exports: bool = True
    batch_size: int = BATCH_SIZE
    cache: Path | None = None
    device: str = CPU
    image_hosts: tuple[str, ...] = ()
    image_networks: tuple[str, ...] = ()


def serve(wish: Wish) -> None:
    """Serve until a signal comes.

    Args:
        wish: What and how.

    Raises:
        StartupError: Something is not fit to be served.
        ServerDied: TorchServe ended by itself.
    """
    bundle = Bundle.open(wish.bundle)
    bundle.verify()
    java = find_java(os.environ)
    wish.ports.check_free(wish.host)
    export(bundle, wish)
    write_config(wish.run, wish.ports, wish.host)
    exporter.empty(wish.run.metrics)
    with ExitStack() as started:
        watched = exporter.watched(wish.run.path)
        started.callback(exporter.start(wish.run.metrics, host=wish.host, port=wish.ports.exporter, others=watched))
        server = started.enter_context(running(java, wish.run, threads=wish.threads, console=wish.console))
        started.callback(ignore_signals)  # nothing interrupts the stopping of the two above
        wait_ready(server, wish.run)
        started.enter_context(health(Server.of(wish.run.path), host=wish.host, port=wish.ports.health))
        say_how_to_ask(wish)
        server.wait()
        check_alive(server, wish.run)


def export(bundle: Bundle, wish: Wish) -> None:
    """Bring the bundle's graphs and the model directory up to date, in processes of their own: they need torch.

    Args:
        bundle: To serve.
        wish: How.

    Raises:
        ServerDied: The export failed; it has said why.
    """
    graphs = BUILD / bundle.path.resolve().name
    if wish.exports and wish.engine != EAGER:  # the export knows what is up to date, its own code and versions included
        run_python("-m", "export", "all", str(bundle.path))
    run_python(
        *("-m", "export.archive", str(bundle.path)),
        *("--graphs", str(graphs), "--out", str(wish.run.model_store), "--cache", str(wish.cache or wish.run.cache)),
        *("--engine", wish.engine, "--workers", str(wish.workers), "--threads", str(wish.threads)),
        *("--batch-size", str(wish.batch_size), "--device", wish.device),
        *repeated("--store", wish.stores),
        *repeated("--image-host", wish.image_hosts),
        *repeated("--image-network", wish.image_networks),
    )


def repeated(option: str, values: Iterable[object]) -> list[str]:
    """Give an option of a command line once for each value."""
    return [part for value in values for part in (option, str(value))]


def say_how_to_ask(wish: Wish) -> None:
    """Print a command line for each of the four groups."""
    host = HERE if wish.host == "0.0.0.0" else wish.host
    url = f"http://{host}:{wish.ports.inference}/predictions/twelve"
    pictures = os.path.relpath(PICTURES)
    log = wish.run.logs / "server.log"
    print(EXAMPLES.format(url=url, pictures=pictures, host=host, exporter=wish.ports.exporter, log=log), flush=True)


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end the program in order, also where a shell had it ignore Ctrl-C."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    except KeyboardInterrupt:
        print("Stopped.", flush=True)


def ignore_signals() -> None:
    """From now on, be deaf to what would interrupt."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def run_python(*arguments: str) -> None:
    """Run a Python module of the checkout in a process of its own.

    Args:
        *arguments: Of the interpreter.

    Raises:
        ServerDied: It failed; it has said why.
    """
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, *arguments], env={**os.environ, "PYTHONPATH": path}, check=False, stdout=sys.stderr
    )
    if done.returncode:
        raise ServerDied(f"`python {' '.join(arguments)}` failed", done.returncode)


def main(
    bundle: Annotated[Path, typer.Option(envvar="BUNDLE", help="Folder of the bundle.")] = ROOT
    / "model_store"
    / "small",
    port: Annotated[int, typer.Option(envvar="PORT", help="Of predictions. The ports below follow it.")] = 8080,
    management_port: Annotated[int | None, typer.Option(envvar="MANAGEMENT_PORT", help="PORT + 1 if absent.")] = None,
    metrics_port: Annotated[int | None, typer.Option(envvar="METRICS_PORT", help="PORT + 2 if absent.")] = None,
    exporter_port: Annotated[int | None, typer.Option(envvar="EXPORTER_PORT", help="PORT + 3 if absent.")] = None,
    grpc_port: Annotated[int | None, typer.Option(envvar="GRPC_PORT", help="PORT + 4 if absent.")] = None,
    grpc_management_port: Annotated[
        int | None, typer.Option(envvar="GRPC_MANAGEMENT_PORT", help="PORT + 5 if absent.")
    ] = None,
    health_port: Annotated[int | None, typer.Option(envvar="HEALTH_PORT", help="PORT + 6 if absent.")] = None,
    host: Annotated[str, typer.Option(help="Where predictions and metrics are listened for.")] = HERE,
    engine: Annotated[Engine, typer.Option(envvar="ENGINE", help="What runs the graphs.")] = "onnxruntime",
    workers: Annotated[int, typer.Option(envvar="WORKERS", min=1, help="Processes, each with the whole model.")] = 1,
    threads: Annotated[
        int | None, typer.Option(envvar="THREADS", min=1, help="Of each worker; absent, cores / workers.")
    ] = None,
    batch_size: Annotated[
        int, typer.Option(envvar="BATCH_SIZE", min=1, help="Most requests that a worker takes at once.")
    ] = BATCH_SIZE,
    run_dir: Annotated[
        Path | None, typer.Option(envvar="RUN_DIR", help="Where it writes; build/serve-PORT if absent.")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(envvar="CACHE", help="Pictures seen; servers may share it. RUN_DIR/cache if absent.")
    ] = None,
    store: Annotated[
        list[Path] | None,
        typer.Option(envvar="STORES", help="Feature store of pictures' regions; may be repeated."),
    ] = None,
    device: DeviceName = CPU,
    image_hosts: ImageHosts = None,
    image_networks: ImageNetworks = None,
    foreground: Annotated[bool, typer.Option(help="Copy TorchServe's log to the terminal.")] = False,
    export_first: Annotated[
        bool,
        typer.Option("--export/--no-export", help="Bring the graphs up to date first, or serve those that are there."),
    ] = True,
) -> None:
    """Serve a bundle with TorchServe until Ctrl-C."""
    chosen = (management_port, metrics_port, exporter_port, grpc_port, grpc_management_port, health_port)
    following = (own or port + place for place, own in enumerate(chosen, start=1))
    wish = Wish(
        bundle=bundle,
        engine=engine,
        workers=workers,
        threads=threads or max(1, cores() // workers),
        host=host,
        ports=Ports(port, *following),
        run=RunDirectory((run_dir or BUILD / f"serve-{port}").resolve()),
        console=foreground,
        stores=tuple(store or ()),
        exports=export_first,
        batch_size=batch_size,
        cache=cache and cache.resolve(),
        device=device,
        image_hosts=tuple(image_hosts or ()),
        image_networks=tuple(image_networks or ()),
    )
    with signals_interrupt():
        try:
            serve(wish)
        except StartupError as error:
            typer.echo(f"serve: {error.message}", err=True)
            raise typer.Exit(StartupError.exit_code) from error
        except ServerDied as error:
            typer.echo(f"serve: {error}", err=True)
            raise typer.Exit(error.exit_code) from error


def cores() -> int:
    """Count the processors that this process may use."""
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    typer.run(main)
