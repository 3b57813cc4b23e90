"""The manifests are such as Kubernetes takes, and name what images, launchers and nginx have."""

import copy
import inspect
import re
from collections.abc import Mapping
from functools import reduce
from typing import Annotated, get_origin

import kubernetes_validate
import pytest
import typer.models
import yaml

import twelve
from handlers import access_log, drain, edge_nginx, edge_proxy, serve
from handlers.ready import ALIVE, READY
from tests.checkout import ROOT
from twelve.regions.cache import DEFAULT_BYTES

FOLDER = ROOT / "ops" / "kubernetes"
VERSIONS = ("1.30", "1.37")  # the oldest that is promised, and the newest that the validator knows
DOCKERFILE = (ROOT / "Dockerfile").read_text()
FILES = {file.stem: list(yaml.safe_load_all(file.read_text())) for file in sorted(FOLDER.glob("*.yaml"))}
MANIFESTS = {f"{one['kind']} {one['metadata']['name']}": one for documents in FILES.values() for one in documents}
KINDS = ("ConfigMap", "Deployment", "Service", "PodDisruptionBudget", "NetworkPolicy")
WHOLE = ("nginx", "server")
DEPLOYMENTS = {name: one for name, one in MANIFESTS.items() if one["kind"] == "Deployment"}
CONTAINER = ("spec", "template", "spec", "containers", 0)
STAGES = {"twelve": "serve", "twelve-edge": "edge"}
LAUNCHERS = {"Deployment twelve-server": serve.main, "Deployment twelve-nginx": edge_proxy.main}
SIDE_BY_SIDE_S = 30  # beyond what a preStop hook may take: TorchServe's end and a reserve


def at(manifest, path):
    return reduce(lambda value, key: value[key], path, manifest)


def changed(manifest: Mapping, path: tuple, value: object) -> dict:
    """Give a manifest with one value in another's place."""
    other = copy.deepcopy(manifest)
    at(other, path[:-1])[path[-1]] = value
    return other


def check(manifest, version: str = VERSIONS[-1]) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def pod(deployment) -> dict:
    return deployment["spec"]["template"]["spec"]


def stage(image: str) -> str:
    """Give the lines of the Dockerfile's stage that an image is built from."""
    name = STAGES[image.partition(":")[0]]
    return re.search(rf"^FROM \S+ AS {name}\n(.*?)(?=^FROM|\Z)", DOCKERFILE, re.MULTILINE | re.DOTALL)[1]


def variables(command) -> set[str]:
    """Give the environment variables that a launcher reads."""
    annotations = [one.annotation for one in inspect.signature(command).parameters.values()]
    options = [part for one in annotations if get_origin(one) is Annotated for part in one.__metadata__]
    return {one.envvar for one in options if isinstance(one, typer.models.OptionInfo)}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", MANIFESTS)
def test_kubernetes_takes_each_manifest(name, version):
    check(MANIFESTS[name], version)


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("ConfigMap twelve-server", ("data", "WORKERS"), 1),
        ("Deployment twelve-server", ("spec", "replicas"), "two"),
        ("Deployment twelve-server", ("spec", "replica"), 2),
        ("Deployment twelve-server", ("spec", "selector"), {"matchlabels": {}}),
        ("Deployment twelve-server", (*CONTAINER, "readinessProbe", "httpGet"), {"path": READY}),
        ("Deployment twelve-server", (*CONTAINER, "readinessProbe", "httpget"), {"path": READY, "port": 1}),
        ("Deployment twelve-server", (*CONTAINER, "securityContext", "readOnlyRootFilesystem"), "yes"),
        ("Deployment twelve-nginx", (*CONTAINER, "volumeMounts", 0), {"name": "run"}),
        ("Service twelve", ("spec", "ports", 0), {"name": "https"}),
        ("Service twelve", ("apiVersion",), "v2"),
        ("PodDisruptionBudget twelve-server", ("spec", "minavailable"), 1),
        ("NetworkPolicy twelve-server", ("spec", "ingress"), {}),
        ("NetworkPolicy twelve-server", ("kind",), "NetworkPolice"),
    ],
)
def test_a_wrong_manifest_is_refused(name, path, value):
    with pytest.raises((kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError)):
        check(changed(MANIFESTS[name], path, value))


@pytest.mark.parametrize("file", WHOLE)
def test_servers_and_nginx_each_have_all_that_belongs_to_them(file):
    assert tuple(one["kind"] for one in FILES[file]) == KINDS


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_images_have_a_version_and_are_built_here(name):
    own = pod(DEPLOYMENTS[name])
    for container in (*own["containers"], *own.get("initContainers", ())):
        assert container["image"].endswith(f":{twelve.__version__}")
        assert "USER twelve" in stage(container["image"])


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_the_ports_are_those_that_the_images_open(name):
    (container,) = pod(DEPLOYMENTS[name])["containers"]
    opened = re.search(r"^EXPOSE (.+)$", stage(container["image"]), re.MULTILINE)[1].split()
    assert [str(port["containerPort"]) for port in container["ports"]] == opened


def test_probes_ask_the_pages_of_health():
    (server,) = pod(MANIFESTS["Deployment twelve-server"])["containers"]
    assert server["startupProbe"]["httpGet"] == server["livenessProbe"]["httpGet"] == {"path": ALIVE, "port": "health"}
    assert server["readinessProbe"]["httpGet"] == {"path": READY, "port": "health"}
    (nginx,) = pod(MANIFESTS["Deployment twelve-nginx"])["containers"]
    assert nginx["readinessProbe"]["httpGet"] == {"path": READY, "port": "https", "scheme": "HTTPS"}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_nobody_is_root_or_writes_beside_what_is_meant_for_it(name):
    own = pod(DEPLOYMENTS[name])
    user = re.search(r"useradd .*--uid (\d+) twelve", DOCKERFILE)[1]
    assert own["securityContext"]["runAsNonRoot"]
    assert own["securityContext"]["runAsUser"] == own["securityContext"]["fsGroup"] == int(user)
    for container in (*own["containers"], *own.get("initContainers", ())):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert set(container["resources"]["requests"]) == {"cpu", "memory"}
        assert "memory" in container["resources"]["limits"]


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_what_an_image_writes_has_a_volume(name):
    (container,) = pod(DEPLOYMENTS[name])["containers"]
    run_dir = re.search(r"RUN_DIR=(\S+)", stage(container["image"]))[1]
    mounted = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    empty = {volume["name"] for volume in pod(DEPLOYMENTS[name])["volumes"] if "emptyDir" in volume}
    assert {mounted[run_dir], mounted["/tmp"]} <= empty


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_each_setting_is_one_that_the_launcher_reads(name):
    settings = MANIFESTS[name.replace("Deployment", "ConfigMap")]["data"]
    (container,) = pod(DEPLOYMENTS[name])["containers"]
    assert container["envFrom"] == [{"configMapRef": {"name": name.split()[1]}}]
    assert settings.keys() <= variables(LAUNCHERS[name])


def test_all_servers_have_one_cache_so_that_a_ref_holds_at_each():
    own = pod(MANIFESTS["Deployment twelve-server"])
    mounted = {mount["mountPath"]: mount["name"] for mount in own["containers"][0]["volumeMounts"]}
    folder = mounted[MANIFESTS["ConfigMap twelve-server"]["data"]["CACHE"]]
    (volume,) = (volume for volume in own["volumes"] if volume["name"] == folder)
    claim = MANIFESTS[f"PersistentVolumeClaim {volume['persistentVolumeClaim']['claimName']}"]
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert int(claim["spec"]["resources"]["requests"]["storage"].removesuffix("Gi")) << 30 > DEFAULT_BYTES


def test_the_bodies_of_two_keys_and_the_logs_fit_nginxs_volume():
    (volume,) = (one for one in pod(MANIFESTS["Deployment twelve-nginx"])["volumes"] if one["name"] == "run")
    bodies = int(MANIFESTS["ConfigMap twelve-nginx"]["data"]["PER_CLIENT"]) * edge_nginx.most_bytes(edge_nginx.TEMPLATE)
    logs = 2 * len(edge_nginx.LOGS) * edge_nginx.LOG_BYTES
    assert 2 * bodies + logs < int(volume["emptyDir"]["sizeLimit"].removesuffix("Gi")) << 30


def test_nginx_finds_the_servers_by_the_name_and_ports_of_their_service():
    service = MANIFESTS["Service twelve-server"]
    predictions, health = (port["port"] for port in service["spec"]["ports"])
    servers = MANIFESTS["ConfigMap twelve-nginx"]["data"]["SERVERS"]
    assert servers == f"{service['metadata']['name']}:{predictions}/{health}"
    assert edge_proxy.parse(servers)


def test_a_server_is_left_time_to_answer_what_it_has_taken():
    own = pod(MANIFESTS["Deployment twelve-server"])
    *_, command = own["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    waits_s = float(re.fullmatch(r"sleep (\d+) && python3 -m handlers\.drain", command)[1])
    assert own["terminationGracePeriodSeconds"] >= waits_s + drain.LONGEST_S + SIDE_BY_SIDE_S


def test_nginx_is_left_time_to_answer_what_is_on_its_way():
    own = pod(MANIFESTS["Deployment twelve-nginx"])
    _, waits_s = own["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    assert own["terminationGracePeriodSeconds"] >= float(waits_s) + edge_nginx.STOP_TIMEOUT_S + SIDE_BY_SIDE_S


@pytest.mark.parametrize("file", WHOLE)
def test_selectors_find_the_pods_and_nothing_else(file):
    _, deployment, service, budget, policy = FILES[file]
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert labels == deployment["spec"]["selector"]["matchLabels"] == service["spec"]["selector"]
    assert labels == budget["spec"]["selector"]["matchLabels"] == policy["spec"]["podSelector"]["matchLabels"]
    assert budget["spec"]["minAvailable"] < deployment["spec"]["replicas"]


def test_only_nginx_is_reached_from_anywhere_and_the_server_reaches_nobody():
    server, nginx = (MANIFESTS[f"NetworkPolicy twelve-{name}"]["spec"] for name in ("server", "nginx"))
    assert server["policyTypes"] == nginx["policyTypes"] == ["Ingress", "Egress"]
    assert server["egress"] == []
    assert [rule["ports"] for rule in nginx["ingress"] if "from" not in rule] == [
        [{"protocol": "TCP", "port": "https"}]
    ]
    assert all("from" in rule for rule in server["ingress"])
    ports = {
        port["name"]: port["containerPort"] for port in at(MANIFESTS["Deployment twelve-nginx"], CONTAINER)["ports"]
    }
    assert ports["metrics"] == access_log.PORT
