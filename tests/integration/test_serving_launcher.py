"""The launcher: one command that serves, says plainly why it does not, and leaves nothing behind."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.checkout import ROOT
from tests.integration.harness import STOP_TIMEOUT_S, free_ports, serving

pytestmark = pytest.mark.integration


def launch(folder: Path, **environment: object) -> subprocess.CompletedProcess[str]:
    ports = {"PORT": free_ports(1)[0], "RUN_DIR": folder / "run", "PYTHONPATH": ROOT, "ENGINE": "eager"}
    settings = {**os.environ, **{name: str(value) for name, value in {**ports, **environment}.items()}}
    command = [sys.executable, "-m", "handlers.serve"]
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, timeout=120, check=False)


def healthcheck(run_dir: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "handlers.healthcheck", "--run-dir", str(run_dir)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_a_missing_bundle_is_named_with_exit_code_2(tmp_path):
    done = launch(tmp_path, BUNDLE=tmp_path / "nowhere")
    assert done.returncode == 2
    assert "nowhere holds no bundle" in done.stderr


def test_a_damaged_bundle_is_refused_with_exit_code_2(tmp_path, tiny_bundle):
    damaged = shutil.copytree(tiny_bundle, tmp_path / "damaged")
    (damaged / "vocab.txt").write_text("nothing\n")
    done = launch(tmp_path, BUNDLE=damaged)
    assert done.returncode == 2
    assert "vocab.txt has sha256" in done.stderr


def test_a_port_in_use_is_named_with_exit_code_2(tmp_path, tiny_bundle):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = launch(tmp_path, BUNDLE=tiny_bundle, PORT=free_ports(1)[0], MANAGEMENT_PORT=port)
    assert done.returncode == 2
    assert f"port {port} on 127.0.0.1 cannot be had" in done.stderr
    assert "--management-port" in done.stderr


def test_a_worker_that_cannot_start_is_told_and_nothing_is_left_running(tmp_path, tiny_bundle):
    wordless = shutil.copytree(tiny_bundle, tmp_path / "wordless")
    manifest = wordless / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"vqa-v2": 1', '"vqa-v2": 19'))
    done = launch(tmp_path, BUNDLE=wordless)
    assert done.returncode == 2
    assert "task 'vqa-v2' was trained with token 19, here it is 1" in done.stderr


def test_the_healthcheck_fails_where_no_server_was_started(tmp_path):
    done = healthcheck(tmp_path)
    assert done.returncode == 1
    assert "no server was started" in done.stderr


def test_the_healthcheck_passes_while_a_server_answers(server):
    done = healthcheck(server.run_dir)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_sigterm_ends_the_launcher_and_all_it_started(tmp_path, tiny_bundle):
    with serving(tiny_bundle, tmp_path, ENGINE="eager") as live:
        family = psutil.Process(live.process.pid).children(recursive=True)
        assert any("ModelServer" in " ".join(process.cmdline()) for process in family)
        live.process.send_signal(signal.SIGTERM)
        assert live.process.wait(STOP_TIMEOUT_S) == 0
        _, alive = psutil.wait_procs(family, timeout=5)
        assert alive == []
        assert healthcheck(live.run_dir).returncode == 1


@pytest.mark.slow
def test_a_server_that_dies_takes_the_launcher_with_it(tmp_path, tiny_bundle):
    with serving(tiny_bundle, tmp_path, ENGINE="eager") as live:
        java, *_ = psutil.Process(live.process.pid).children()
        java.kill()
        assert live.process.wait(STOP_TIMEOUT_S) == 128 + signal.SIGKILL
        assert b"TorchServe ended" in (tmp_path / "serve.log").read_bytes()
