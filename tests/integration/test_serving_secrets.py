"""A real worker, watched from outside: it gets no secrets, and unpickles nothing from its start to its answers."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.checkout import ROOT
from tests.integration.harness import LiveServer, example, serving

pytestmark = pytest.mark.integration

SECRETS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_CLIENT_SECRET",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "HF_TOKEN",
    "GITHUB_TOKEN",
    "OPENAI_API_KEY",
    "PGPASSWORD",
    "DATABASE_URL",
    "API_KEYS",
    "TLS_PRIVATE_KEY",
    "JAVA_KEYSTORE_PASSWORD",
    "PYTHON_SECRET",
    "OTEL_API_KEY",
    "CUDA_PASSPHRASE",
    "SSH_AUTH_SOCK",
    "https_proxy",
    "ANYTHING_ELSE",
)
HARMLESS = "OMP_WAIT_POLICY"
PLANTED = "planted-and-secret"

WATCH = """\
import os, sys
def watch(event, told):
    if event == "pickle.find_class":
        with open(os.path.join({folder!r}, str(os.getpid())), "a") as seen:
            seen.write(f"{{told[0]}}.{{told[1]}}\\n")
if "model_service_worker" in " ".join(sys.orig_argv):
    open(os.path.join({folder!r}, str(os.getpid())), "w").close()
    sys.addaudithook(watch)
"""
"""As sitecustomize.py on the path: each worker writes down what it unpickles beyond plain containers."""


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("seen")


@pytest.fixture(scope="module")
def planted(seen: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give a path for Python with the watch on it."""
    folder = tmp_path_factory.mktemp("planted")
    (folder / "sitecustomize.py").write_text(WATCH.format(folder=str(seen)))
    return f"{folder}:{ROOT}"


@pytest.fixture(scope="module")
def watched(tiny_bundle: Path, planted: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    variables = {**dict.fromkeys(SECRETS, PLANTED), HARMLESS: "passive", "PYTHONPATH": planted}
    own = {"ENGINE": "eager", "WORKERS": "1", "THREADS": "1"}
    with serving(tiny_bundle, tmp_path_factory.mktemp("empty"), **own, **variables) as live:
        yield live


def environment(pid: int) -> dict[str, str]:
    entries = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
    return dict(entry.split("=", 1) for entry in entries if entry)


def test_no_secret_of_the_launcher_is_in_a_workers_environment(watched: LiveServer) -> None:
    assert PLANTED in environment(watched.process.pid).values()
    for pid in watched.workers():
        own = environment(pid)
        assert {name for name, value in own.items() if PLANTED in value} == set()
        assert own[HARMLESS] == "passive"


def test_a_worker_unpickles_nothing(watched: LiveServer, seen: Path) -> None:
    status, _ = watched.ask_json(example("vqa-v2"))
    assert status == 200
    assert [(seen / str(pid)).read_text() for pid in watched.workers()] == [""]


def test_the_watch_sees_what_is_unpickled(planted: str, seen: Path) -> None:
    unpickling = "import os, pickle; pickle.loads(pickle.dumps(print)); print(os.getpid())"
    command = [sys.executable, "-c", unpickling, "model_service_worker"]
    run = subprocess.run(command, env={"PYTHONPATH": planted}, check=True, capture_output=True, text=True)
    assert (seen / run.stdout.strip()).read_text() == "builtins.print\n"
