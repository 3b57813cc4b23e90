"""The README's command blocks that ask a server, run against the tests' own."""

import shutil

import pytest

from tests.checkout import ROOT
from tests.integration.harness import LiveServer
from tests.markdown import Block, blocks, run

pytestmark = pytest.mark.integration

README = (ROOT / "README.md").read_text(encoding="utf-8")
SERVED = [block for block in blocks(README) if block.with_server]
DOCUMENTED = ("127.0.0.1:8080", "localhost:8080")


@pytest.mark.skipif(shutil.which("curl") is None, reason="the README asks with curl, which is not on this machine")
@pytest.mark.parametrize("block", SERVED, ids=lambda block: f"line-{block.line}")
def test_a_block_of_the_readme_asks_a_server(block: Block, server: LiveServer):
    done = run(block, replacing=dict.fromkeys(DOCUMENTED, f"127.0.0.1:{server.ports['PORT']}"))
    assert done.returncode == 0, f"README.md line {block.line}:\n{block.body}\n{done.stdout}\n{done.stderr}"
    assert '"answer"' in done.stdout
