"""TorchServe as a process of ours: its ports, its effective configuration, its start, its readiness and its end.

Java is started directly. TorchServe's own launcher leaves Java running when it is stopped, returns 0 whatever happens
later, and lets one server a machine run.
"""

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from importlib.util import find_spec
from pathlib import Path

from handlers.healthcheck import CONFIG, NotReady, Server
from twelve.errors import ConfigInvalid, StartupError
from twelve.metrics import DIRECTORY_VARIABLE

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / CONFIG
LOGGING = ROOT / "ops" / "log4j2.xml"
HERE = "127.0.0.1"
MOST_HELD = 64
"""Requests that TorchServe holds: those of its queue, as `export.archive` sets it, whose import would cost torch. nginx
sends half as many at most, which leaves each of them a copy on its way to the worker."""

RESERVE_BYTES = 512 << 20
"""Of Java's heap: its classes, its threads, and the batches that workers have taken from the queue. Buffers of the
network lie outside it; Java bounds them by the same number."""

BODY_LIMIT = "max_request_size"

REFUSAL = "refuses to start: "
"""What the handler writes before it ends a worker on purpose."""

WORKER_DIED = "Backend worker process died."
MOST_DEATHS = 3
"""Of workers before the server is given up; TorchServe would go on for minutes."""

SIGNALLED = 128
"""Shells add it to the number of the signal that ended a process."""

START_TIMEOUT_S = 240.0
STOP_TIMEOUT_S = 15.0
PROBE_TIMEOUT_S = 60.0
BETWEEN_PROBES_S = 0.25

ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": str(512 << 10)}
"""Of glibc: a picture's features (0.8 MB) go back to the system when a worker forgets them. Left to itself the
allocator raises the threshold as it goes, and a worker with 256 MiB of features grows by half as much in holes."""

INHERITED = re.compile(
    r"PATH|HOME|USER|LOGNAME|HOSTNAME|LANG|TZ|TMPDIR|SSL_CERT_FILE|SSL_CERT_DIR"
    r"|(LC|LD|PYTHON|JAVA|OMP|MKL|KMP|OPENBLAS|MALLOC|CUDA|CUDNN|CUBLAS|NVIDIA|TORCH|PYTORCH|ORT|OTEL)\w*"
)
"""Variables that TorchServe and the workers get of the launcher's: where programs and libraries lie, how many threads,
which devices, where traces go. All others stay behind, for whoever breaks into a worker reads its environment first."""

SECRET = re.compile(r"SECRET|TOKEN|PASS(WORD|WD|PHRASE)|KEY|CREDENTIAL", re.IGNORECASE)
"""In the name of a variable that stays behind in any case."""

TAIL_LINES = 30


@dataclass(frozen=True)
class Ports:
    """Seven ports of one server; all but the first follow it where they are not chosen."""

    inference: int
    management: int
    metrics: int
    exporter: int
    grpc_inference: int
    grpc_management: int
    health: int

    def check_free(self, host: str) -> None:
        """See that all are different and free.

        Args:
            host: Where predictions and our metrics will be listened for; the others listen on this machine alone.

        Raises:
            ConfigInvalid: One is taken; names it.
        """
        taken: dict[int, str] = {}
        for name, port in ((field.name, getattr(self, field.name)) for field in fields(self)):
            option = OPTIONS[name]
            if port in taken:
                raise ConfigInvalid(f"port {port} is wanted twice, by {taken[port]} and {option}; choose another")
            taken[port] = option
            _check_free(host if name in PUBLIC else HERE, port, option)


PUBLIC = {"inference", "exporter", "health"}
OPTIONS = {
    "inference": "--port",
    "management": "--management-port",
    "metrics": "--metrics-port",
    "exporter": "--exporter-port",
    "grpc_inference": "--grpc-port",
    "grpc_management": "--grpc-management-port",
    "health": "--health-port",
}


class ServerDied(Exception):
    """TorchServe ended by itself, or its workers cannot live.

    Attributes:
        exit_code: To end with.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class RunDirectory:
    """Everything that one server writes, below one absolute path."""

    path: Path

    @property
    def model_store(self) -> Path:
        """Give the folder of the model directory."""
        return self.path / "model_store"

    @property
    def logs(self) -> Path:
        """Give the folder of TorchServe's log."""
        return self.path / "logs"

    @property
    def metrics(self) -> Path:
        """Give the folder that workers count in."""
        return self.path / "metrics"

    @property
    def cache(self) -> Path:
        """Give the folder of pictures seen."""
        return self.path / "cache"

    @property
    def config(self) -> Path:
        """Give the effective configuration."""
        return self.path / CONFIG

    def log(self) -> str:
        """Give what TorchServe and Java have written."""
        files = [self.logs / "server.log", self.logs / "java.log"]
        return "".join(file.read_text(encoding="utf-8", errors="replace") for file in files if file.is_file())


def effective_config(template: str, values: Mapping[str, object]) -> str:
    """Put values into a configuration.

    Args:
        template: Text of a config.properties.
        values: By key; each key stands in the template.

    Returns:
        The text with these lines replaced.

    Raises:
        ConfigInvalid: A key is missing from the template.
    """
    lines = template.splitlines()
    places = {line.split("=", 1)[0]: place for place, line in enumerate(lines) if "=" in line and line[0] != "#"}
    for key, value in values.items():
        if key not in places:
            raise ConfigInvalid(f"{CONFIG}: has no line {key}=…, which the launcher sets; put it back")
        lines[places[key]] = f"{key}={value}"
    return "\n".join(lines) + "\n"


def write_config(run: RunDirectory, ports: Ports, host: str) -> None:
    """Write the effective configuration of a server into its run directory.

    Args:
        run: The directory.
        ports: To listen on.
        host: Where predictions are listened for.
    """
    values = {
        "inference_address": f"http://{host}:{ports.inference}",
        "management_address": f"http://{HERE}:{ports.management}",
        "metrics_address": f"http://{HERE}:{ports.metrics}",
        "grpc_inference_port": ports.grpc_inference,
        "grpc_management_port": ports.grpc_management,
        "model_store": run.model_store,
    }
    run.config.write_text(effective_config(TEMPLATE.read_text(encoding="utf-8"), values), encoding="utf-8")


def _check_free(host: str, port: int, option: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigInvalid(
                f"port {port} on {host} cannot be had ({error.strerror}); "
                f"choose another with {option}, or stop what listens there"
            ) from error


@contextlib.contextmanager
def running(java: Path, run: RunDirectory, *, threads: int, console: bool) -> Iterator[subprocess.Popen[bytes]]:
    """Run TorchServe; leaving ends it, with all its workers.

    Args:
        java: The program.
        run: Its directory, the configuration in it.
        threads: Of each worker.
        console: Whether its log also goes to the terminal.

    Yields:
        The process.
    """
    run.logs.mkdir(parents=True, exist_ok=True)
    for old in run.logs.iterdir():
        old.unlink()
    with (
        tempfile.TemporaryDirectory(
            prefix="twelve-"
        ) as temporary,  # short: sockets are in it, with 107 characters at most
        (run.logs / "java.log").open("wb") as log,
    ):
        process = subprocess.Popen(
            command(java, run, temporary, console=console),
            cwd=temporary,
            env=environment(run, threads=threads),
            stdin=subprocess.DEVNULL,
            stdout=None if console else log,
            stderr=None if console else log,
            start_new_session=True,  # Ctrl-C reaches us alone, and we end it in order
        )
        try:
            yield process
        finally:
            stop(process)


def command(java: Path, run: RunDirectory, temporary: str, *, console: bool) -> list[str]:
    """Give the command line of TorchServe's Java half."""
    spec = find_spec("ts")
    if spec is None or spec.origin is None:
        raise ConfigInvalid("torchserve: is not installed; `pip install torchserve==0.12.0 pyyaml`")
    site = Path(spec.origin).parents[1]
    return [
        str(java),
        f"-Xmx{heap_bytes(run.config.read_text(encoding='utf-8')) >> 20}m",
        f"-Dmodel_server_home={site}",
        f"-Djava.io.tmpdir={temporary}",
        f"-Dlog4j.configurationFile=file://{LOGGING}",
        f"-Dtwelve.console={'info' if console else 'off'}",
        "-cp",
        f"{site}/ts/frontend/*",
        "org.pytorch.serve.ModelServer",
        *("--python", sys.executable),
        *("-f", str(run.config)),
        *("-s", str(run.model_store)),
        *("-w", str(run.model_store)),
        "-ncs",
    ]


def heap_bytes(config: str) -> int:
    """Give the most that Java's heap may become: all requests that may wait, each as large as allowed, and a reserve.

    Left to itself Java takes a quarter of the machine, whatever that is.

    Args:
        config: Text of a config.properties.

    Raises:
        ConfigInvalid: It does not say how large a request may be.
    """
    found = re.search(rf"^{BODY_LIMIT}=(\d+)$", config, re.MULTILINE)
    if found is None:
        raise ConfigInvalid(f"{CONFIG}: has no line {BODY_LIMIT}=… with a number of bytes; put it back")
    return MOST_HELD * int(found[1]) + RESERVE_BYTES


def environment(run: RunDirectory, *, threads: int) -> dict[str, str]:
    """Give TorchServe's environment, which its workers inherit: our own settings, and what is harmless of ours."""
    own = {
        "LOG_LOCATION": str(run.logs),
        DIRECTORY_VARIABLE: str(run.metrics),
        "OMP_NUM_THREADS": str(threads),
        **ALLOCATOR,
    }
    inherited = {name: value for name, value in os.environ.items() if _is_inherited(name)}
    return inherited | own


def _is_inherited(name: str) -> bool:
    return INHERITED.fullmatch(name) is not None and SECRET.search(name) is None


def stop(process: subprocess.Popen[bytes]) -> None:
    """End TorchServe: gently, and if that does not help, at once. Its workers end with it."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def wait_ready(process: subprocess.Popen[bytes], run: RunDirectory, *, timeout_s: float = START_TIMEOUT_S) -> None:
    """Wait until every worker is ready and a request has been answered.

    Args:
        process: TorchServe.
        run: Its directory.
        timeout_s: For all of it.

    Raises:
        StartupError: A worker refuses to start.
        ServerDied: The server ended, its workers die, or time is up.
    """
    server, deadline = Server.of(run.path), time.monotonic() + timeout_s
    while True:
        try:
            return server.check(timeout_s=PROBE_TIMEOUT_S)
        except NotReady as not_ready:
            check_alive(process, run)
            if time.monotonic() > deadline:
                raise ServerDied(f"not ready after {timeout_s:.0f} s: {not_ready}\n{tail(run)}", 1) from not_ready
        time.sleep(BETWEEN_PROBES_S)


def check_alive(process: subprocess.Popen[bytes], run: RunDirectory) -> None:
    """See that TorchServe runs and that its workers can live.

    Args:
        process: TorchServe.
        run: Its directory.

    Raises:
        StartupError: A worker refuses to start; the sentence is the worker's own.
        ServerDied: The server ended, or its workers die again and again.
    """
    if (code := process.poll()) is not None:
        ended = code if code >= 0 else SIGNALLED - code
        raise ServerDied(f"TorchServe ended with exit code {ended}\n{tail(run)}", ended or 1)
    log = run.log()
    if REFUSAL in log:
        raise StartupError(log.split(REFUSAL, 1)[1].splitlines()[0])
    if log.count(WORKER_DIED) >= MOST_DEATHS:
        raise ServerDied(f"the workers cannot start\n{tail(run)}", 1)


def tail(run: RunDirectory) -> str:
    """Give the last lines of the log."""
    return "\n".join(run.log().splitlines()[-TAIL_LINES:])
