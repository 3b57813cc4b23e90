"""Everything can run on one machine as it comes: no two ports are alike, and whoever asks knows where."""

import inspect
import re

import yaml

from handlers import access_log, edge, edge_proxy, exporter, serve
from handlers.edge import MOST_INSTANCES, lay_out
from handlers.torchserve import OPTIONS
from tests.checkout import ROOT

PROMETHEUS, GRAFANA = 9090, 3000  # their own defaults
STANDARD = 2  # of `make serve-edge`


def default(command, name) -> int:
    return inspect.signature(command).parameters[name].default


def ports_of(instance) -> list[int]:
    return [getattr(instance.ports, name) for name in OPTIONS]


SERVER = range(default(serve.main, "port"), default(serve.main, "port") + len(OPTIONS))
FLEET = [
    port
    for instance in lay_out(ROOT, default(edge.serve_command, "instance_port"), MOST_INSTANCES)
    for port in ports_of(instance)
]
HTTPS = default(edge.serve_command, "https_port")


def targets(name: str) -> dict[str, list[str]]:
    jobs = yaml.safe_load((ROOT / "ops" / name).read_text())["scrape_configs"]
    return {job["job_name"]: job["static_configs"][0]["targets"] for job in jobs}


def local(ports) -> list[str]:
    return [f"127.0.0.1:{port}" for port in ports]


def test_no_two_things_listen_on_one_port_unless_told_to():
    all_of_them = [*SERVER, *FLEET, HTTPS, access_log.PORT, PROMETHEUS, GRAFANA]
    assert len(set(all_of_them)) == len(all_of_them)


def test_nginx_tells_its_figures_on_one_port_however_it_is_started():
    assert {default(command, "metrics_port") for command in (edge.serve_command, edge_proxy.main)} == {access_log.PORT}


def test_prometheus_looks_where_a_server_tells():
    _, _, torchserves, ours, *_ = SERVER
    assert targets("prometheus.yml") == {"twelve": local([ours]), "torchserve": local([torchserves])}
    assert default(exporter.main, "port") == ours


def test_prometheus_looks_where_nginx_and_its_servers_tell():
    fleet = lay_out(ROOT, default(edge.serve_command, "instance_port"), STANDARD)
    assert default(edge.serve_command, "instances") == STANDARD
    assert targets("prometheus-edge.yml") == {
        "twelve": local(instance.ports.exporter for instance in fleet),
        "torchserve": local(instance.ports.metrics for instance in fleet),
        "edge": local([access_log.PORT]),
    }


def test_the_images_open_the_ports_that_are_asked():
    inference, _, _, ours, *_, health = SERVER
    opened = re.findall(r"^EXPOSE (.+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert opened == [f"{inference} {ours} {health}", f"{HTTPS} {access_log.PORT}"]
    services = yaml.safe_load((ROOT / "ops" / "compose.yaml").read_text())["services"]
    assert services["nginx"]["environment"]["SERVERS"] == f"server:{inference}/{health}"
    assert targets("prometheus-compose.yml")["edge"] == [f"nginx:{access_log.PORT}"]
