"""The README's command blocks, run as a reader would; those that need a server run in tests/integration."""

import pytest

from tests.checkout import ROOT
from tests.markdown import Block, blocks, run

README = (ROOT / "README.md").read_text(encoding="utf-8")
RUNNABLE = [block for block in blocks(README) if block.reason is None and not block.with_server]


@pytest.mark.slow
@pytest.mark.parametrize("block", RUNNABLE, ids=lambda block: f"line-{block.line}")
def test_a_command_block_of_the_readme_runs(block: Block):
    done = run(block)
    assert done.returncode == 0, f"README.md line {block.line}:\n{block.body}\n{done.stdout}\n{done.stderr}"


def test_the_readme_has_command_blocks():
    assert blocks(README)
