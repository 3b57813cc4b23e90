"""The blocks of the README and of docs/python.md that ask a server, run against the tests' own."""

import shutil

import pytest

from tests.checkout import ROOT
from tests.integration.harness import LiveServer
from tests.markdown import Block, blocks, run

pytestmark = pytest.mark.integration

PAGES = ("README.md", "docs/python.md")
SERVED = [
    pytest.param(page, block, id=f"{page}-line-{block.line}")
    for page in PAGES
    for block in blocks((ROOT / page).read_text(encoding="utf-8"))
    if block.with_server
]
DOCUMENTED = ("127.0.0.1:8080", "localhost:8080")


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README asks with curl, which is not on this machine")
@pytest.mark.parametrize(("page", "block"), SERVED)
def test_a_block_that_asks_a_server_is_answered(page: str, block: Block, server: LiveServer):
    done = run(block, replacing=dict.fromkeys(DOCUMENTED, f"127.0.0.1:{server.ports['PORT']}"))
    assert done.returncode == 0, f"{page} line {block.line}:\n{block.body}\n{done.stdout}\n{done.stderr}"
    assert "answer" in done.stdout
