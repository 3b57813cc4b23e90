"""nginx in front of the servers: its configuration from ops/nginx, which servers it asks, its start and its end."""

import os
import re
import shutil
import signal
import socket
import string
import subprocess
import time
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from handlers.torchserve import ROOT, TEMPLATE, ServerDied
from twelve.errors import ConfigInvalid

TEMPLATES = ROOT / "ops" / "nginx"
MAIN = "nginx.conf"
NOT_WHOLE = {MAIN, "within.conf", "plain.conf"}
"""Templates that become one file: all others are rendered as they stand."""

FOLDERS = ("logs", "temp/body", "temp/proxy", "temp/cache")

TRIES = 2
"""Of one request, of which the second may meet another server."""

WAITS_S = (*range(1, 10), *range(10, 70, 10))
"""What nginx takes for a request's deadline: the first of these that is no shorter. The last is the longest."""

STEP_MS = 250
"""nginx knows what is left of that time to so much, rounded up; the patterns of $age in nginx.conf go by it, too."""

DEFAULT_S = 30
GRACE_MS = 250
"""The worker's own answer to a deadline that passed is better than nginx's: it may arrive this much later."""

SHUTDOWN_S = WAITS_S[-1] + 15
"""After it was told to end, nginx answers what is on its way for so long: to the longest deadline and beyond it."""

LOG_BYTES = 64 << 20
"""Of a log before it is moved away; the one moved before goes then."""

LOGS = ("access.log", "error.log")

STOP_TIMEOUT_S = SHUTDOWN_S + 5.0
START_TIMEOUT_S, BETWEEN_LOOKS_S = 10.0, 0.05


@dataclass(frozen=True)
class Limits:
    """What one client, one address and one server may have.

    Attributes:
        rate: Requests a second of one key.
        burst: Requests that one key may send at once beyond its rate.
        per_client: Requests of one key on their way.
        per_address: Requests of one address on their way.
        in_flight: Requests that one server holds, those in its queue included; at most half of its own queue, whose
            place a request may keep for a while after nginx has given it up.
    """

    rate: int = 100
    burst: int = 200
    per_client: int = 256
    per_address: int = 512
    in_flight: int = 32


@dataclass(frozen=True)
class Backend:
    """Where one server answers: host and port of its predictions, and of its health."""

    inference: str
    health: str


@dataclass(frozen=True)
class Site:
    """What nginx is to serve and how.

    Attributes:
        folder: Where it runs and writes.
        listen: Address of its ports.
        port: Of HTTPS.
        http_port: Redirects to HTTPS; None = there is none.
        backends: The servers.
        certificate: Of TLS, with its chain.
        private_key: Of the certificate.
        keys: The file of API keys.
        limits: Of clients and servers.
    """

    folder: Path
    listen: str
    port: int
    http_port: int | None
    backends: tuple[Backend, ...]
    certificate: Path
    private_key: Path
    keys: Path
    limits: Limits

    @property
    def in_service(self) -> Path:
        """Give the folder whose file, if there is one, names the only pool that is asked."""
        return self.folder / "only"


class Braces(string.Template):
    """A template with its gaps in %{braces}, for nginx's own variables begin with a dollar."""

    delimiter = "%"


def former(log: Path) -> Path:
    """Give where a log is moved to when it has grown long."""
    return log.with_name(f"{log.name}.1")


def halves(count: int) -> tuple[frozenset[int], frozenset[int]]:
    """Split servers into two halves, of which one serves while the other is exchanged."""
    first = frozenset(range(count // 2))
    return first, frozenset(range(count)) - first


def to_ask(ready: Set[int], count: int) -> frozenset[int]:
    """Choose the servers to ask: one half while none of the other is ready, else all.

    Args:
        ready: Those that answer.
        count: Of all.
    """
    everything = frozenset(range(count))
    return next((half for half in halves(count) if ready and ready <= half), everything)


def pool_name(members: frozenset[int]) -> str:
    """Name a set of servers; errors.conf knows such names by their form."""
    return "twelve-" + "".join(str(member + 1) for member in sorted(members))


def pools(count: int) -> list[frozenset[int]]:
    """List the sets of servers that may be in service: all, and each half where there are two."""
    return [frozenset(range(count)), *(half for half in halves(count) if 0 < len(half) < count)]


def at_most(most: int) -> str:
    """Write the pattern of whole numbers from 1 to a bound that is one digit and zeros.

    Args:
        most: Such as 5000.
    """
    first, zeros = int(str(most)[0]), len(str(most)) - 1
    if most != first * 10**zeros:
        raise ValueError(f"a bound is one digit and zeros, got {most}")
    below = f"|[1-{first - 1}][0-9]{{{zeros}}}" if first > 1 else ""
    return f"^([1-9][0-9]{{0,{zeros - 1}}}{below}|{most})$"


def lefts() -> Iterator[str]:
    """Write what is left of each deadline at each age, in milliseconds."""
    for wait in WAITS_S:
        for age_ms in range(0, 1000 * wait, STEP_MS):
            yield f'        "{wait}s {age_ms / 1000:.2f}" {1000 * wait - age_ms};'


def write(site: Site) -> Path:
    """Write the configuration of a site into its folder.

    Args:
        site: What is to be served.

    Returns:
        The main file.
    """
    for folder in (*FOLDERS, site.in_service.name):
        (site.folder / folder).mkdir(parents=True, exist_ok=True)
    values = _values(site)
    for template in TEMPLATES.glob("*.conf"):
        if template.name not in NOT_WHOLE:
            (site.folder / template.name).write_text(_filled(template.name, values), encoding="utf-8")
    (site.folder / "in-service.conf").write_text(_in_service(site), encoding="utf-8")
    (site.folder / MAIN).write_text(_filled(MAIN, values), encoding="utf-8")
    return site.folder / MAIN


def choose(site: Site, members: frozenset[int]) -> None:
    """Let nginx ask these servers alone, from the next request on. One request sees either the old set or the new.

    nginx looks for the files in the same order for each request and the last one found holds. So a new file either is
    found last and holds at once, or holds as soon as the old one is gone. Nothing is reloaded: that would close
    connections that clients keep open.

    Args:
        site: Whose nginx runs.
        members: One of `pools`.
    """
    everything, *parts = pools(len(site.backends))
    if members != everything:
        if members not in parts:
            raise ValueError(f"there is no pool of {sorted(members)}, only of all and of each half")
        (site.in_service / pool_name(members)).touch()
    for old in site.in_service.iterdir():
        if old.name != pool_name(members):
            old.unlink()


@contextmanager
def running(site: Site) -> Iterator["Nginx"]:
    """Run nginx for a site; leaving ends it when the requests on their way are answered.

    Args:
        site: Its configuration is written.

    Yields:
        The process.

    Raises:
        ConfigInvalid: nginx is not there, or refuses the configuration.
        ServerDied: It does not start.
    """
    nginx = Nginx(site, _program())
    nginx.check()
    nginx.start()
    try:
        yield nginx
    finally:
        nginx.stop()


class Nginx:
    """nginx as a process of ours."""

    def __init__(self, site: Site, program: str) -> None:
        self._site = site
        self._command = [program, "-p", f"{site.folder}/", "-c", MAIN, "-e", "logs/error.log"]
        self._process: subprocess.Popen[bytes] | None = None

    def check(self) -> None:
        """Let nginx read its configuration.

        Raises:
            ConfigInvalid: It refuses it; the sentence is nginx's own.
        """
        done = subprocess.run([*self._command, "-t", "-q"], capture_output=True, text=True, check=False)
        if done.returncode:
            raise ConfigInvalid(f"nginx refuses its configuration: {done.stderr.strip()}")

    def start(self) -> None:
        """Start, and wait until it listens.

        Raises:
            ServerDied: It ends instead.
        """
        self._process = subprocess.Popen(
            [*self._command, "-g", "daemon off;"], stdin=subprocess.DEVNULL, start_new_session=True
        )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._listens():
            self.check_alive()
            if time.monotonic() > deadline:
                raise ServerDied(f"nginx does not listen after {START_TIMEOUT_S:.0f} s", 1)
            time.sleep(BETWEEN_LOOKS_S)

    def check_alive(self) -> None:
        """See that it runs.

        Raises:
            ServerDied: It has ended; shows the end of its log.
        """
        if self._process is None or self._process.poll() is not None:
            log = (self._site.folder / "logs" / "error.log").read_text(encoding="utf-8", errors="replace")
            raise ServerDied(f"nginx ended by itself\n{log[-2000:]}", 1)

    def reload(self) -> None:
        """Read the configuration and the keys again; requests on their way are answered by the old ones."""
        self.check()
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def rotate(self) -> None:
        """Move away each log that has grown long, in place of the one before it, and let nginx begin another."""
        logs = [self._site.folder / "logs" / name for name in LOGS]
        long = [log for log in logs if log.exists() and log.stat().st_size > LOG_BYTES]
        for log in long:
            log.replace(former(log))
        if long and self._process is not None:
            self._process.send_signal(signal.SIGUSR1)

    def stop(self) -> None:
        """End it gently, and if that does not help, at once."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGQUIT)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait()

    def _listens(self) -> bool:
        host = self._site.listen.replace("0.0.0.0", "127.0.0.1")
        try:
            socket.create_connection((host, self._site.port), timeout=1).close()
        except OSError:
            return False
        return True


def _program() -> str:
    found = shutil.which("nginx", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin")))
    if found is None:
        raise ConfigInvalid("nginx: is not on this machine; ops/install_edge.sh installs Debian's")
    return found


def _filled(name: str, values: Mapping[str, object]) -> str:
    return Braces((TEMPLATES / name).read_text(encoding="utf-8")).substitute(values)


def _values(site: Site) -> dict[str, object]:
    own = {
        "user": "user root;" if os.geteuid() == 0 else "# nginx keeps the user that started it",
        "processes": min(4, len(os.sched_getaffinity(0))),
        "listen": site.listen,
        "port": site.port,
        "http_port": site.http_port,
        "certificate": site.certificate.resolve(),
        "private_key": site.private_key.resolve(),
        "keys": site.keys.resolve(),
        "most_bytes": most_bytes(TEMPLATE),
        "tries": TRIES,
        "shutdown_s": SHUTDOWN_S,
        "default_ms": 1000 * DEFAULT_S,
        "longest_ms": 1000 * WAITS_S[-1],
        "up_to_longest": at_most(1000 * WAITS_S[-1]),
        "waits": "\n".join(f'        "~{at_most(1000 * wait)}" {wait}s;' for wait in WAITS_S),
        "lefts": "\n".join(lefts()),
        "pools": "\n".join(_pool(site, members) for members in pools(len(site.backends))),
        "health": "\n".join(f"        server {backend.health} max_fails=0;" for backend in site.backends),
        **asdict(site.limits),
    }
    own["locations"] = "".join(
        _filled("within.conf", own | {"wait": left_ms, "wait_ms": left_ms + GRACE_MS})
        for left_ms in range(STEP_MS, 1000 * WAITS_S[-1] + STEP_MS, STEP_MS)
    )
    own["plain"] = _filled("plain.conf", own) if site.http_port else ""
    return own


def most_bytes(config: Path) -> int:
    """Read from a config.properties how long a request may be: nginx refuses what TorchServe would."""
    found = re.search(r"^max_request_size=(\d+)$", config.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise ConfigInvalid(f"{config.name}: has no line max_request_size=…, put it back")
    return int(found[1])


def _pool(site: Site, members: frozenset[int]) -> str:
    name = pool_name(members)
    servers = "".join(
        f"        server {site.backends[member].inference} max_conns={site.limits.in_flight} max_fails=0;\n"
        for member in sorted(members)
    )
    return f"    upstream {name} {{\n        zone {name} 64k;\n        least_conn;\n{servers}    }}"


def _in_service(site: Site) -> str:
    everything, *parts = (pool_name(members) for members in pools(len(site.backends)))
    choices = [f'if (-f "{site.in_service.resolve()}/{part}") {{\n    set $pool {part};\n}}\n' for part in parts]
    return "".join((f"set $pool {everything};\n", *choices))
