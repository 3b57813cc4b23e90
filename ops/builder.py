"""Images without a container engine: Debian's buildah, in a folder of its own, on a base image made by debootstrap.

Mirror, certificates and package registry are those that apt and pip are configured with on this machine; they are
mounted while an image is built and do not end up in it. Chroot isolation shares the machine's network, so a server in a
container is given free ports.
"""

import json
import os
import shlex
import shutil
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import psutil

ROOT = Path(__file__).resolve().parents[1]
HERE = "127.0.0.1"
CODENAME = "bookworm"
BASE_IMAGE = f"debian:{CODENAME}-slim"
TOOLS = ("buildah", "debootstrap")
WITHOUT_NAMESPACES = {"BUILDAH_ISOLATION": "chroot"}
"""What works inside a container, where the kernel grants no namespaces."""
CERTIFICATES_INSIDE = "/opt/host-certificates.crt"
CPU_TORCH = "torch-*+cpu-*.whl"
READY_TIMEOUT_S = 300
BETWEEN_PROBES_S = 1
STOP_TIMEOUT_S = 30
PORTS_OF_A_SERVER = 7
"""Neighbours; the first is that of predictions, the last that of its health."""


class Failed(Exception):
    """A step did not do what it should; the message says which, and its last words."""


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Say how long a step took."""
    began = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - began:.0f} s", flush=True)


def run(*command: str) -> str:
    """Run a command and give what it printed.

    Args:
        command: Program and arguments.

    Returns:
        Its standard output.

    Raises:
        Failed: It exited with another status than 0.
    """
    environment = {**os.environ, **WITHOUT_NAMESPACES}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise Failed(
            f"{shlex.join(command)[:200]} exited with {done.returncode}:\n{(done.stdout + done.stderr)[-4000:]}"
        )
    return done.stdout


def install_tools() -> None:
    """Install the builder and the maker of base images where they are missing."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        run("apt-get", "update", "-qq")
        run("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "--no-install-recommends", *missing)


@dataclass(frozen=True)
class Pip:
    """How pip is configured on this machine.

    Attributes:
        options: Name to value, without the section; the environment beats the files.
    """

    options: Mapping[str, str]

    @classmethod
    def here(cls) -> "Pip":
        """Ask pip."""
        lines = run(sys.executable, "-m", "pip", "config", "list").splitlines()
        pairs = sorted((line.split("=", 1) for line in lines), key=lambda pair: pair[0].startswith(":env:"))
        return cls({name.rpartition(".")[2]: value.strip("'\"") for name, value in pairs})

    @property
    def certificates(self) -> Path:
        """Give the bundle that pip trusts, or else the one that Python trusts."""
        paths = ssl.get_default_verify_paths()
        return Path(self.options.get("cert") or paths.cafile or paths.openssl_cafile)

    @property
    def folders(self) -> list[Path]:
        """List the folders of this machine that pip takes packages from."""
        places = " ".join(self.options.get(name, "") for name in ("find-links", "extra-index-url", "index-url")).split()
        paths = [Path(urlparse(place).path) for place in places if urlparse(place).scheme in ("", "file")]
        # An index's pages link to files beside it: its parent folder holds both.
        return sorted({path.parent if path.name == "simple" else path for path in paths})

    @property
    def has_cpu_torch(self) -> bool:
        """Say whether a CPU build of torch lies in one of the folders."""
        return any(next(folder.glob(CPU_TORCH), None) for folder in self.folders)

    def written_for_inside(self, path: Path) -> Path:
        """Write the configuration as it holds inside a container, and give the file's path."""
        kept = {
            name: self.options[name] for name in ("find-links", "extra-index-url", "index-url") if name in self.options
        }
        lines = [f"{name} = {value}" for name, value in {**kept, "cert": CERTIFICATES_INSIDE}.items()]
        path.write_text("\n".join(["[global]", *lines, ""]), encoding="utf-8")
        return path


class Builder:
    """buildah with a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def command(self, *arguments: str) -> list[str]:
        """Give the command line of a buildah command."""
        store = ["--root", str(self.folder / "store"), "--runroot", str(self.folder / "run")]
        return ["buildah", *store, *arguments]

    def __call__(self, *arguments: str) -> str:
        """Run a buildah command and give what it printed, stripped."""
        return run(*self.command(*arguments)).strip()

    def make_base_image(self) -> None:
        """Make the image that the Dockerfile starts from, from the machine's own Debian mirror."""
        filters = ["Created-By: Packages", f"Codename: {CODENAME}"]
        mirror = run("apt-get", "indextargets", *filters, "--format", "$(REPO_URI)").splitlines()[0]
        tree = self.folder / "base"
        run("debootstrap", "--variant=minbase", CODENAME, str(tree), mirror)
        policy = tree / "usr/sbin/policy-rc.d"  # Debian's own image has it too: what is installed starts no service
        policy.write_text("#!/bin/sh\nexit 101\n", encoding="ascii")
        policy.chmod(0o755)
        name = self("from", "scratch")
        self("add", "--quiet", name, str(tree), "/")
        self("commit", "--quiet", "--rm", name, BASE_IMAGE)
        shutil.rmtree(tree)

    def build(self, target: str, pip: Pip, **arguments: str) -> None:
        """Build one stage of the Dockerfile and name the image for it.

        Args:
            target: The stage.
            pip: As it is configured here.
            **arguments: Of the build.
        """
        inside = pip.written_for_inside(self.folder / "pip.conf")
        mounts = {
            pip.certificates: CERTIFICATES_INSIDE,
            inside: "/etc/pip.conf",
            **{path: path for path in pip.folders},
        }
        volumes = [f"--volume={path.resolve()}:{place}:ro" for path, place in mounts.items()]
        given = ({"TORCH_INDEX": ""} if pip.has_cpu_torch else {}) | arguments
        values = [f"--build-arg={name}={value}" for name, value in given.items()]
        form = ["--format=docker", "--pull-never", "--network=host"]  # a health check exists in docker's format only
        form += ["--no-cache", "--force-rm"]  # else a build that fails leaves mounts, and the folder cannot be removed
        self("bud", *form, *volumes, *values, f"--target={target}", f"--tag={target}", ".")

    def size(self, image: str) -> str:
        """Give an image's size, as buildah prints it."""
        return self("images", "--format", "{{.Size}}", f"localhost/{image}")

    @contextmanager
    def container(self, image: str) -> Iterator[str]:
        """Make a container of an image, and remove it."""
        name = self("from", "--pull-never", f"localhost/{image}")
        try:
            yield name
        finally:
            self("rm", name)

    def configuration(self, image: str) -> Mapping[str, Any]:
        """Give what an image says of its user, ports, command and health check."""
        kept: Mapping[str, Any] = json.loads(self("inspect", "--type=image", f"localhost/{image}"))["Docker"]["config"]
        return kept

    @contextmanager
    def server(self, container: str, image: str) -> Iterator[str]:
        """Run the server in a container.

        Args:
            container: Of the image.
            image: Whose command, user and health check count.

        Yields:
            Where predictions are asked for.

        Raises:
            Failed: It ends by itself, or is not healthy in time.
        """
        port = free_ports(PORTS_OF_A_SERVER)
        with self.running(container, image, {"PORT": port, "HEALTH_PORT": port + PORTS_OF_A_SERVER - 1}):
            yield f"http://{HERE}:{port}"

    @contextmanager
    def running(
        self, container: str, image: str, environment: Mapping[str, object]
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run a container's own command until it says that it is healthy, and end it.

        Args:
            container: Of the image.
            image: Whose command, user and health check count.
            environment: Given to the command and to the check.

        Yields:
            The process that runs the container.

        Raises:
            Failed: It ends by itself, or is not healthy in time.
        """
        configuration = self.configuration(image)
        given = [f"--env={name}={value}" for name, value in environment.items()]
        log = self.log(container)
        with log.open("wb") as output:
            process = subprocess.Popen(
                self.command("run", *given, container, "--", *configuration["Entrypoint"]),
                env={**os.environ, **WITHOUT_NAMESPACES},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            self._wait_healthy(process, [*given, container, "--", *health_check(configuration)], log)
            yield process
        finally:
            stop(process, configuration["Entrypoint"])

    def log(self, container: str) -> Path:
        """Give the file of what a container's command printed."""
        return self.folder / f"{container}.log"

    def _wait_healthy(self, process: subprocess.Popen[bytes], check: list[str], log: Path) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while True:
            if process.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"{log.stem} is not healthy; its last words:\n{log.read_text(errors='replace')[-4000:]}")
            with suppress(Failed):
                self("run", *check)
                return
            time.sleep(BETWEEN_PROBES_S)


def health_check(configuration: Mapping[str, Any]) -> list[str]:
    """Give the command of an image's health check.

    Args:
        configuration: Of the image.

    Raises:
        Failed: It has none.
    """
    match configuration.get("Healthcheck", {}).get("Test", []):
        case ["CMD", *command]:
            return command
        case ["CMD-SHELL", command]:
            return ["/bin/sh", "-c", command]
    raise Failed("the image has no health check; its stage in the Dockerfile needs a HEALTHCHECK line")


def stop(buildah: subprocess.Popen[bytes], entrypoint: Sequence[str]) -> None:
    """End a container's own command as an engine does, by SIGTERM; buildah ends with it, and would not pass it on.

    Args:
        buildah: Runs the container.
        entrypoint: The container's command; the program may be written with another path.

    Raises:
        subprocess.TimeoutExpired: It does not end.
    """
    below = psutil.Process(buildah.pid).children(recursive=True) if buildah.poll() is None else []
    for process in [one for one in below if _command(one)[1:] == entrypoint[1:]]:
        process.terminate()
    buildah.wait(STOP_TIMEOUT_S)


def _command(process: psutil.Process) -> list[str]:
    """Give a process's command line; nothing, where it has just ended."""
    try:
        command: list[str] = process.cmdline()
    except psutil.NoSuchProcess:
        return []
    return command


def free_ports(count: int) -> int:
    """Find the first of so many neighbouring ports that nobody listens on."""
    for first in range(18080, 28080, 100):
        with ExitStack() as held, suppress(OSError):
            for port in range(first, first + count):
                held.enter_context(socket.socket()).bind((HERE, port))
            return first
    raise Failed(f"no {count} neighbouring ports are free")
