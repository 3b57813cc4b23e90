"""Start what ops/compose.yaml starts, without a container engine, and ask it: `make compose-check`.

nginx and the server run from images built by ops/builder.py, with the environment that the file gives them; Prometheus
is Debian's. Names and ports are the only things that change: chroot isolation has one network, where all are 127.0.0.1.
Grafana is no package of Debian's; Prometheus is asked all that its dashboard would ask. Needs root.
"""

import base64
import itertools
import json
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml

from handlers import access_log, edge_keys
from handlers.edge import FIRST_CLIENT
from ops.builder import (
    BASE_IMAGE,
    HERE,
    PORTS_OF_A_SERVER,
    ROOT,
    STOP_TIMEOUT_S,
    Builder,
    Failed,
    Pip,
    free_ports,
    install_tools,
    run,
    timed,
)
from ops.grafana import dashboard
from ops.image_check import PICTURES
from twelve.tasks.registry import TASKS

OPS = ROOT / "ops"
SERVICES = yaml.safe_load((OPS / "compose.yaml").read_text(encoding="utf-8"))["services"]
SCRAPES = (OPS / "prometheus-compose.yml").read_text(encoding="utf-8")
SERVER, TORCHSERVE, EXPORTER, HEALTH = 8080, 8082, 8083, 8086
"""As the images have them."""

BUILT_FROM: dict[str, dict[str, str]] = {"server": {}, "nginx": {"EXPORTED": "localhost/serve"}}
"""Services that are built here, in this order, with the arguments of their builds."""

ASKED = 5
"""Requests of each task."""

WRITABLE = ("/var/lib/twelve", "/tmp")
"""What the file mounts; all else is read-only there, which chroot isolation cannot make it."""

FROM_OUTSIDE = ("/proc", "/sys", "/dev", "/run", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf")
"""What buildah mounts or writes."""

OK = 200
BEGAN = "/tmp/began"
TIMEOUT_S = 60.0
BETWEEN_LOOKS_S = 0.5


class Stack:
    """Everything that runs, seen from outside.

    Attributes:
        client: Asks nginx, with a key.
        prometheus: Where Prometheus answers.
    """

    def __init__(self, client: httpx.Client, prometheus: str) -> None:
        self.client = client
        self.prometheus = prometheus

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Ask Prometheus.

        Args:
            expression: PromQL.

        Returns:
            The series.

        Raises:
            Failed: It does not understand.
        """
        reply = httpx.get(f"{self.prometheus}/api/v1/query", params={"query": expression}).json()
        if reply["status"] != "success":
            raise Failed(f"Prometheus does not understand {expression!r}: {reply['error']}")
        found: list[dict[str, Any]] = reply["data"]["result"]
        return found

    def value(self, expression: str) -> float:
        """Ask Prometheus for one number; 0 where there is none."""
        return sum(float(series["value"][1]) for series in self.query(expression))


@contextmanager
def started(builder: Builder) -> Iterator[Stack]:
    """Start server, nginx and Prometheus as the file says, and end them.

    Args:
        builder: Has built the images.

    Yields:
        What runs.

    Raises:
        Failed: One of them does not become healthy.
    """
    first = free_ports(PORTS_OF_A_SERVER + 3)
    https, metrics, prometheus = (first + PORTS_OF_A_SERVER + place for place in range(3))
    health = first + HEALTH - SERVER
    servers = f"{HERE}:{first}/{health}"
    own = {"PORT": first, "HEALTH_PORT": health}
    front = {"SERVERS": servers, "HTTPS_PORT": https, "EDGE_EXPORTER_PORT": metrics}
    with ExitStack() as running:
        server, nginx = (running.enter_context(builder.container(target(name))) for name in BUILT_FROM)
        for container in (server, nginx):
            builder("run", container, "--", "touch", BEGAN)
        with timed("server healthy"):
            running.enter_context(builder.running(server, target("server"), {**environment("server"), **own}))
        with timed("nginx healthy"):
            running.enter_context(builder.running(nginx, target("nginx"), {**environment("nginx"), **front}))
        ports = {SERVER: first, TORCHSERVE: first + 2, EXPORTER: first + 3, access_log.PORT: metrics}
        running.enter_context(watching(builder.folder, ports, prometheus))
        client = running.enter_context(client_of(builder, nginx, https))
        yield Stack(client, f"http://{HERE}:{prometheus}")
        for container in (server, nginx):
            check_written(builder, container)


def check_written(builder: Builder, container: str) -> None:
    """See that a container has written nowhere but where it may.

    Raises:
        Failed: It has; names the files.
    """
    left_out = [word for path in (*WRITABLE, *FROM_OUTSIDE) for word in ("-path", path, "-prune", "-o")]
    search = ["find", "/", *left_out, "-type", "f", "-newer", BEGAN, "-print"]
    if written := builder("run", "--user", "root", container, "--", *search):
        raise Failed(f"{container} writes to what is read-only in ops/compose.yaml: {written}")


def target(service: str) -> str:
    """Give the stage of the Dockerfile that a service is built from."""
    return str(SERVICES[service]["build"]["target"])


def environment(service: str) -> dict[str, str]:
    """Give the variables that the file gives a service."""
    given: dict[str, str] = SERVICES[service].get("environment", {})
    return given


@contextmanager
def client_of(builder: Builder, nginx: str, port: int) -> Iterator[httpx.Client]:
    """Give a client that trusts nginx's own certificate and has the key that it made."""
    certificate = builder("run", nginx, "--", "cat", "/var/lib/twelve/nginx/certificate.pem")
    keys = edge_keys.LINE.findall(builder("run", nginx, "--", "cat", "/var/lib/twelve/keys"))
    if [name for _, name in keys] != [FIRST_CLIENT]:
        raise Failed(f"nginx has made keys for {[name for _, name in keys]}, should for {FIRST_CLIENT}")
    if keys[0][0] in builder.log(nginx).read_text(encoding="utf-8"):
        raise Failed("nginx's log shows a key")
    trusting = ssl.create_default_context(cadata=certificate)
    headers = {"Authorization": f"Bearer {keys[0][0]}"}
    with httpx.Client(
        base_url=f"https://localhost:{port}", verify=trusting, headers=headers, timeout=TIMEOUT_S
    ) as client:
        yield client


@contextmanager
def watching(folder: Path, ports: Mapping[int, int], port: int) -> Iterator[None]:
    """Run Debian's Prometheus with the committed configuration, at other ports; queries are answered from the start.

    Raises:
        Failed: It is not ready in time.
    """
    text = SCRAPES.replace("nginx:", f"{HERE}:")
    for written, real in ports.items():
        text = text.replace(f":{written}]", f":{real}]")
    (folder / "prometheus.yml").write_text(text, encoding="utf-8")
    (folder / "alerts").symlink_to(OPS / "alerts")
    options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/prometheus"]
    command = ["prometheus", *options, f"--web.listen-address={HERE}:{port}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    ready = f"http://{HERE}:{port}/-/ready"
    try:
        wait_until(lambda: httpx.get(ready).status_code == OK, "Prometheus is not ready for queries")
        yield
    finally:
        process.terminate()
        process.wait(STOP_TIMEOUT_S)


def ask_everything(stack: Stack) -> None:
    """Ask every task through nginx, and once without a key.

    Raises:
        Failed: An answer is not as it should be.
    """
    for task in TASKS.values():
        statuses = [stack.client.post(f"/v1/tasks/{task.name}", json=example).status_code for example in examples(task)]
        if statuses != [200] * ASKED:
            raise Failed(f"{task.name} through nginx answers {statuses}")
    listed = [task["task"] for task in stack.client.get("/v1/tasks").json()["tasks"]]
    if sorted(listed) != sorted(TASKS):
        raise Failed(f"/v1/tasks lists {listed}")
    refused = stack.client.post("/v1/tasks/gqa", json={}, headers={"Authorization": "Bearer none"})
    if (refused.status_code, refused.json()["error"]["code"]) != (401, "unauthorised"):
        raise Failed(f"without a key nginx answers {refused.status_code}: {refused.text}")


def examples(task: Any) -> list[dict[str, object]]:
    """Give requests of a task, with our own pictures."""
    pictures = [base64.b64encode(path.read_bytes()).decode() for path in sorted(PICTURES.glob("*.jpg"))]
    shown = list(itertools.islice(itertools.cycle(pictures), task.pictures_in_example))
    return [task.example(shown)] * ASKED


def see_it_counted(stack: Stack) -> dict[str, object]:
    """Wait until Prometheus has the figures of all that was asked, and let it evaluate the dashboard.

    Returns:
        What it says.

    Raises:
        Failed: It says something else, or does not understand a panel.
    """
    asked = ASKED * len(TASKS)
    wanted = {
        "count(up == 1)": 3,
        'sum(twelve_requests_total{code="ok"})': asked,
        'sum(twelve_edge_requests_total{status="200"})': asked,
        'sum(twelve_edge_requests_total{status="401"})': 1,
        "count(twelve_model_info)": 1,
    }
    wait_until(lambda: {query: stack.value(query) for query in wanted} == wanted, f"Prometheus has not {wanted}")
    panels = json.loads(dashboard.text())["panels"]
    queries = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    for query in queries:
        stack.query(query.replace("$__rate_interval", "1m"))
    return {**wanted, "the dashboard's queries understood": len(queries)}


def wait_until(holds: Callable[[], bool], otherwise: str) -> None:
    """Wait until something holds.

    Raises:
        Failed: It does not in time.
    """
    until = time.monotonic() + TIMEOUT_S
    while not _holds(holds):
        if time.monotonic() > until:
            raise Failed(otherwise)
        time.sleep(BETWEEN_LOOKS_S)


def _holds(holds: Callable[[], bool]) -> bool:
    try:
        return holds()
    except httpx.TransportError:  # Prometheus is just starting
        return False


def check(folder: Path) -> None:
    """Build the images in a folder, start everything and ask it.

    Args:
        folder: Empty; a few gigabytes are written to it.

    Raises:
        Failed: Something is not as it should be.
    """
    builder, pip = Builder(folder), Pip.here()
    with timed(f"{BASE_IMAGE} from Debian's mirror"):
        builder.make_base_image()
    for service, arguments in BUILT_FROM.items():
        with timed(f"image of {service}"):
            builder.build(target(service), pip, **arguments)
    with started(builder) as stack:
        with timed(f"{ASKED} requests of each task through nginx"):
            ask_everything(stack)
        with timed("counted"):
            counted = see_it_counted(stack)
    print(f"compose-check: Prometheus says {json.dumps(counted)}")
    print(f"compose-check: sizes: {', '.join(f'{name} {builder.size(target(name))}' for name in BUILT_FROM)}")


def main() -> None:
    """Check in a temporary folder."""
    with timed("all"), tempfile.TemporaryDirectory(prefix="compose-check-") as folder:
        try:
            install_tools()
            run("bash", str(OPS / "install_edge.sh"))
            check(Path(folder))
        except Failed as failed:
            sys.exit(f"compose-check: {failed}")


if __name__ == "__main__":
    main()
