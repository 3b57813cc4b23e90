"""docs/python.md, run as a reader would; and what it names is there."""

import re
from importlib import import_module
from operator import attrgetter

import pytest

from tests.checkout import ROOT
from tests.markdown import Block, blocks, run

PAGE = (ROOT / "docs/python.md").read_text(encoding="utf-8")
RUNNABLE = [block for block in blocks(PAGE) if block.reason is None and not block.with_server]
PROMISED = re.findall(r"^\| `(twelve\.[\w.]+)", PAGE, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("block", RUNNABLE, ids=lambda block: f"line-{block.line}")
def test_a_block_of_the_page_runs(block: Block) -> None:
    done = run(block)
    assert done.returncode == 0, f"docs/python.md line {block.line}:\n{block.body}\n{done.stdout}\n{done.stderr}"
    assert done.stdout.strip()


@pytest.mark.parametrize("name", PROMISED)
def test_what_the_page_promises_is_there_and_says_what_it_is(name: str) -> None:
    parent, _, last = name.rpartition(".")
    try:
        found = import_module(name)
    except ModuleNotFoundError:
        found = attrgetter(last)(import_module(parent))
    assert found.__doc__


def test_the_page_promises_something() -> None:
    assert "twelve.load" in PROMISED
    assert len(RUNNABLE) >= 4
