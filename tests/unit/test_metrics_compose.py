"""What Grafana and Compose are given is well-formed, and each file names what the others have."""

import json
import re
from pathlib import Path

import httpx
import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from handlers import access_log, edge_nginx
from ops import builder, compose_check
from tests.checkout import ROOT
from twelve.roster import roster
from twelve.schema import ModelName
from twelve.tasks.registry import TASKS

OPS = ROOT / "ops"
PROVISIONING = OPS / "grafana" / "provisioning"
SCHEMA = json.loads((OPS / "grafana" / "provisioning.schema.json").read_text())
FILES = sorted(PROVISIONING.rglob("*.yml"))
COMPOSE = yaml.safe_load((OPS / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
RULE_FILES = "rule_files: [alerts/twelve.rules.yml]"


def mounts(service: str) -> dict[str, Path]:
    """Give the files and folders of ours that a service sees, by where it sees them."""
    split = [volume.split(":") for volume in SERVICES[service]["volumes"]]
    return {parts[1]: (OPS / parts[0]).resolve() for parts in split if parts[0].startswith(".")}


def provisioned(folder: str) -> dict:
    (file,) = (PROVISIONING / folder).glob("*.yml")
    return yaml.safe_load(file.read_text())


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_grafanas_files_have_the_fields_that_its_documentation_names(file):
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator(SCHEMA).validate(yaml.safe_load(file.read_text()))


@pytest.mark.parametrize(
    "wrong",
    [
        {"datasources": [{"name": "a", "type": "prometheus", "access": "proxy", "url": "http://a"}]},
        {"apiVersion": 1, "datasources": [{"name": "a", "type": "prometheus", "access": "any", "url": "http://a"}]},
        {"apiVersion": 1, "datasources": [{"name": "a", "type": "prometheus", "access": "proxy"}]},
        {"apiVersion": 1, "providers": [{"name": "a", "type": "file", "options": {"folder": "/a"}}]},
        {"apiVersion": 1, "providers": [{"name": "a", "type": "file", "options": {"path": "a"}, "isDefault": True}]},
    ],
)
def test_the_schema_refuses_what_grafana_would_not_understand(wrong):
    with pytest.raises(ValidationError):
        Draft202012Validator(SCHEMA).validate(wrong)


def test_all_four_services_are_started():
    assert set(SERVICES) == {"nginx", "server", "prometheus", "grafana"}


@pytest.mark.parametrize("service", ["prometheus", "grafana"])
def test_what_a_service_is_to_see_is_there(service):
    assert {path for path in mounts(service).values() if not path.exists()} == set()


def test_grafana_finds_its_files_and_its_dashboards():
    seen = mounts("grafana")
    assert seen["/etc/grafana/provisioning"] == PROVISIONING
    dashboards = seen[provisioned("dashboards")["providers"][0]["options"]["path"]]
    assert [json.loads(file.read_text())["uid"] for file in dashboards.glob("*.json")] == ["twelve"]


def test_grafana_asks_the_prometheus_that_runs():
    assert SERVICES["prometheus"]["network_mode"] == "service:server"
    assert provisioned("datasources")["datasources"][0]["url"] == "http://server:9090"


def test_only_nginx_can_be_reached_from_outside():
    ports = {name: service.get("ports", []) for name, service in SERVICES.items()}
    assert ports == {"nginx": ["8443:8443"], "grafana": ["127.0.0.1:3000:3000"], "server": [], "prometheus": []}


def test_each_image_is_built_here_or_has_a_version():
    for service in SERVICES.values():
        assert "build" in service or ":" in service["image"]


@pytest.mark.parametrize("name", ["prometheus.yml", "prometheus-edge.yml", "prometheus-compose.yml"])
def test_every_prometheus_reads_the_alerts(name):
    assert RULE_FILES in (OPS / name).read_text()


def test_nginx_is_left_time_to_answer_what_is_on_its_way():
    assert float(SERVICES["nginx"]["stop_grace_period"].removesuffix("s")) > edge_nginx.STOP_TIMEOUT_S


def test_no_service_names_a_volume_that_is_not_declared():
    named = {volume.split(":")[0] for service in SERVICES.values() for volume in service["volumes"]}
    assert {name for name in named if not name.startswith(".")} == set(COMPOSE["volumes"])


def test_the_check_builds_every_image_that_is_built_here():
    assert set(compose_check.BUILT_FROM) == {name for name, service in SERVICES.items() if "build" in service}
    stages = re.findall(r"^FROM \S+ AS (\w+)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert {compose_check.target(name) for name in compose_check.BUILT_FROM} <= set(stages)


def test_the_check_knows_every_port_that_prometheus_looks_at():
    looked_at = {int(port) for port in re.findall(r":(\d+)\]", compose_check.SCRAPES)}
    assert looked_at == {compose_check.TORCHSERVE, compose_check.EXPORTER, access_log.PORT}


def test_the_check_lets_containers_write_where_the_file_does():
    for name in compose_check.BUILT_FROM:
        volumes = [volume.split(":")[1] for volume in SERVICES[name]["volumes"]]
        assert SERVICES[name]["read_only"]
        assert (*volumes, *SERVICES[name]["tmpfs"]) == compose_check.WRITABLE


def as_nginx_answers(request: httpx.Request) -> httpx.Response:
    if request.headers.get("Authorization") == "Bearer none":
        return httpx.Response(401, json={"error": {"code": "unauthorised"}})
    if request.url.path == "/v1/tasks":
        listed = roster(ModelName(name="small", version="1"), TASKS)
        return httpx.Response(200, text=listed.model_dump_json())
    return httpx.Response(200 if request.url.path.removeprefix("/v1/tasks/") in TASKS else 404)


def test_the_check_finds_right_what_is_right():
    with httpx.Client(transport=httpx.MockTransport(as_nginx_answers), base_url="https://nginx") as client:
        compose_check.ask_everything(compose_check.Stack(client, "http://prometheus"))


def test_the_check_finds_a_task_that_is_not_listed():
    def forgets(request: httpx.Request) -> httpx.Response:
        is_list = request.url.path == "/v1/tasks"
        return httpx.Response(200, json={"tasks": [{"task": "gqa"}]}) if is_list else as_nginx_answers(request)

    with (
        httpx.Client(transport=httpx.MockTransport(forgets), base_url="https://nginx") as client,
        pytest.raises(builder.Failed, match=r"/v1/tasks lists \['gqa'\]"),
    ):
        compose_check.ask_everything(compose_check.Stack(client, "http://prometheus"))
