"""nginx and servers for the proofs: started on free ports, their workers, and the CPU of each kind of process."""

import ssl
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from tests.checkout import ROOT
from tests.integration.edge_harness import LiveEdge, edge_serving
from twelve.assembly import BUILD

GENEROUS = {"RATE": 100_000, "BURST": 100_000, "PER_CLIENT": 10_000, "PER_ADDRESS": 10_000}
"""Settings of a proof that is not about clients: nobody is refused for asking often."""

WORKER_PROGRAM = "model_service_worker"
"""In the command line of TorchServe's workers."""

CLIENTS, NGINX, FRONTEND, WORKERS, OTHERS = "clients", "nginx", "TorchServe", "workers", "launchers and exporters"


@contextmanager
def launched(bundle: Path, **settings: object) -> Iterator[LiveEdge]:
    """Run what `make serve-edge` runs, in a folder that is thrown away.

    The checkout's own exported graphs are used, and the servers share what they know of pictures.

    Args:
        bundle: To serve.
        **settings: Of the launcher: WORKERS, RATE, …
    """
    graphs = ROOT / BUILD
    graphs.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="twelve-") as folder:
        (Path(folder) / BUILD).symlink_to(graphs)
        with edge_serving(bundle, Path(folder), **{"CACHE": Path(folder) / "cache", **settings}) as edge:
            yield edge


def trusting_of(edge: LiveEdge) -> ssl.SSLContext:
    """Give a context that believes the launched nginx."""
    return ssl.create_default_context(cafile=str(edge.run_dir / "nginx" / "certificate.pem"))


def workers(edge: LiveEdge) -> list[psutil.Process]:
    """Give the workers, the oldest first."""
    found = [process for process in _below(edge) if _kind(process) == WORKERS]
    return sorted(found, key=lambda process: process.create_time())


def cpu_s(edge: LiveEdge) -> Counter[str]:
    """Give the CPU seconds used so far by each kind of process, that of this one and of workers that died included."""
    return Counter({CLIENTS: time.process_time()}) + cpu_by_kind(_below(edge))


def cpu_by_kind(processes: Iterable[psutil.Process]) -> Counter[str]:
    """Give the CPU seconds of processes.

    Args:
        processes: nginx, TorchServe, workers and others.
    """
    used: Counter[str] = Counter()
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            kind, times = _kind(process), process.cpu_times()
            used[kind] += times.user + times.system
            if kind == FRONTEND:  # whose children are workers
                used[WORKERS] += times.children_user + times.children_system
    return used


def cpu_ms_each(before: Counter[str], after: Counter[str], count: int) -> dict[str, float]:
    """Give the CPU of one request by kind of process.

    Args:
        before: See `cpu_s`.
        after: Likewise.
        count: Of requests in between.
    """
    return {kind: round(1000 * (after[kind] - before[kind]) / count, 3) for kind in sorted(after)}


def _below(edge: LiveEdge) -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process(edge.process.pid).children(recursive=True)
    return found


def _kind(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        line = process.cmdline()
        if any(WORKER_PROGRAM in part for part in line):
            return WORKERS
        return {"nginx": NGINX, "java": FRONTEND}.get(process.name(), OTHERS)
    return OTHERS
