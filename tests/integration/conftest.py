"""One server for all tests that ask one: the default bundle with two workers, or a tiny one where there is none yet."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bundles import make_tiny_bundle
from tests.checkout import ROOT
from tests.integration.edge_harness import edge_serving
from tests.integration.harness import LiveServer, serving
from tests.integration.ways import Way, through_nginx, through_torchserve, through_uvicorn

DEFAULT_BUNDLE = ROOT / "model_store" / "small"
WORKERS = 2


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("tiny") / "tiny").path


@pytest.fixture(scope="session")
def served_bundle(tiny_bundle: Path) -> tuple[Path, str]:
    """Give the bundle of the common server and its engine; random weights are not worth an export."""
    is_there = (DEFAULT_BUNDLE / "manifest.json").is_file()
    return (DEFAULT_BUNDLE, "onnxruntime") if is_there else (tiny_bundle, "eager")


@pytest.fixture(scope="session")
def server(served_bundle: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    bundle, engine = served_bundle
    with serving(bundle, tmp_path_factory.mktemp("empty"), ENGINE=engine, WORKERS=str(WORKERS), THREADS="1") as live:
        yield live


@pytest.fixture(scope="session")
def feature_width(served_bundle: tuple[Path, str]) -> int:
    return json.loads((served_bundle[0] / "config.json").read_text())["v_feature_size"]


@pytest.fixture(scope="session")
def torchserve(server: LiveServer) -> Way:
    return through_torchserve(server)


@pytest.fixture(scope="session")
def asgi(served_bundle: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    with through_uvicorn(served_bundle[0], tmp_path_factory.mktemp("asgi")) as way:
        yield way


@pytest.fixture(scope="session")
def nginx(served_bundle: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Way]:
    """Give nginx before as many servers as there are by default."""
    settings = {"RATE": 100_000, "BURST": 100_000, "ENGINE": "eager", "THREADS": 1}
    with edge_serving(served_bundle[0], tmp_path_factory.mktemp("front"), **settings) as live:
        yield through_nginx(live)


@pytest.fixture(scope="session", params=["torchserve", "asgi", pytest.param("nginx", marks=pytest.mark.edge)])
def way(request: pytest.FixtureRequest) -> Way:
    """Give each way to the service in turn."""
    return request.getfixturevalue(request.param)
