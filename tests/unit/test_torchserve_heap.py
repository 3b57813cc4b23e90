"""Java's heap has room for all requests that may wait, each as large as allowed; containers have room for that heap."""

import re

import pytest
import yaml

from export import archive
from handlers.edge_nginx import Limits
from handlers.serve import BATCH_SIZE
from handlers.torchserve import MOST_HELD, RESERVE_BYTES, TEMPLATE, RunDirectory, command, heap_bytes
from tests.checkout import ROOT
from twelve.errors import ConfigInvalid

MIB, GIB = 1 << 20, 1 << 30
JAVA_BYTES = 2 * heap_bytes(TEMPLATE.read_text(encoding="utf-8"))
"""Its heap, and its network buffers outside, which Java lets grow as far."""

COPIES = 2
"""Of a body on its way: as it came, and as it is written to the worker."""

WORKER_BYTES = 2 * GIB
"""Of a worker of the default bundle that opens pictures as large as allowed: it holds 0.4 GB between them."""

CONFIG = TEMPLATE.read_text(encoding="utf-8")
BODY_BYTES = int(re.search(r"^max_request_size=(\d+)$", CONFIG, re.MULTILINE)[1])


def test_torchserve_holds_as_many_requests_as_its_queue_has_places():
    assert MOST_HELD == archive.QUEUE


def test_the_heap_has_room_for_a_full_queue_and_for_copies_of_all_that_nginx_sends():
    assert heap_bytes(CONFIG) - RESERVE_BYTES >= archive.QUEUE * BODY_BYTES
    assert heap_bytes(CONFIG) - RESERVE_BYTES >= COPIES * Limits.in_flight * BODY_BYTES
    assert RESERVE_BYTES >= BATCH_SIZE * BODY_BYTES + 256 * MIB


def test_the_heap_follows_the_limit_of_a_body():
    other = CONFIG.replace(f"={BODY_BYTES}\n", f"={2 * BODY_BYTES}\n")
    assert heap_bytes(other) - heap_bytes(CONFIG) == MOST_HELD * BODY_BYTES


def test_java_is_told(tmp_path):
    run = RunDirectory(tmp_path)
    run.config.write_text(CONFIG, encoding="utf-8")
    assert f"-Xmx{heap_bytes(CONFIG) // MIB}m" in command(ROOT, run, str(tmp_path), console=False)


def test_a_configuration_without_the_limit_is_refused():
    with pytest.raises(ConfigInvalid, match=r"^config\.properties: has no line max_request_size=…"):
        heap_bytes("model_store=x\n")


def test_containers_have_room_for_the_heap_and_a_worker():
    compose = yaml.safe_load((ROOT / "ops/compose.yaml").read_text(encoding="utf-8"))
    assert int(compose["services"]["server"]["mem_limit"].removesuffix("g")) * GIB >= JAVA_BYTES + WORKER_BYTES
    documents = yaml.safe_load_all((ROOT / "ops/kubernetes/server.yaml").read_text(encoding="utf-8"))
    [deployment] = [one for one in documents if one["kind"] == "Deployment"]
    [server] = deployment["spec"]["template"]["spec"]["containers"]
    limit = server["resources"]["limits"]["memory"]
    assert int(limit.removesuffix("Gi")) * GIB >= JAVA_BYTES + WORKER_BYTES


def test_the_page_on_sizing_says_how_large_the_heap_may_become():
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    assert f"its heap grows to {heap_bytes(CONFIG) / GIB:.1f} GiB at most" in page
