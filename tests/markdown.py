"""Markdown as the tests need it: its links, and its command blocks with what stands above them.

A command block is fenced as `sh` or `python`. By default a test runs it from the root of the checkout. A comment on the
line above says otherwise:

    <!-- not run: trains for hours -->      nothing runs it, for this reason
    <!-- run with a server -->              tests/integration runs it against its own server
"""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.checkout import ROOT

LANGUAGES = ("sh", "bash", "python")
NOT_RUN = re.compile(r"<!-- not run: (?P<reason>\S.*?) -->")
WITH_SERVER = "<!-- run with a server -->"
FENCE = re.compile(r"^```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^```\s*$", re.MULTILINE | re.DOTALL)
LINK = re.compile(
    r"\[[^\]]*\]\((?P<target>[^)\s]+)(?:\s+\"[^\"]*\")?\)|^\[[^\]]+\]:\s*(?P<reference>\S+)", re.MULTILINE
)
HEADING = re.compile(r"^#+\s+(?P<title>.+?)\s*$", re.MULTILINE)
BLOCK_TIMEOUT_S = 300


@dataclass(frozen=True)
class Block:
    """One command block.

    Attributes:
        language: As the fence names it.
        body: The commands.
        line: Where its fence opens, from 1.
        reason: Why nothing runs it, or None.
        with_server: Whether it needs a server that answers.
    """

    language: str
    body: str
    line: int
    reason: str | None
    with_server: bool


def blocks(text: str) -> list[Block]:
    """Find the command blocks of a Markdown text, in order."""
    found = FENCE.finditer(text)
    return [_block(text, match) for match in found if match["language"] in LANGUAGES]


def _block(text: str, match: re.Match[str]) -> Block:
    above = text[: match.start()].rstrip("\n").rsplit("\n", 1)[-1].strip()
    not_run = NOT_RUN.fullmatch(above)
    return Block(
        language=match["language"],
        body=match["body"],
        line=text.count("\n", 0, match.start()) + 1,
        reason=not_run["reason"] if not_run else None,
        with_server=above == WITH_SERVER,
    )


def run(block: Block, *, replacing: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a block from the root of the checkout, the environment's commands first on the path.

    Args:
        block: What to run.
        replacing: Texts to put in place of others, such as the test server's address for the documented one.

    Returns:
        What it printed, and its exit status.
    """
    body = block.body
    for documented, actual in (replacing or {}).items():
        body = body.replace(documented, actual)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = [sys.executable, "-c", body] if block.language == "python" else ["bash", "-euo", "pipefail", "-c", body]
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=BLOCK_TIMEOUT_S,
        check=False,
    )


def links(text: str) -> list[str]:
    """List the targets of the links and pictures of a Markdown text; code does not count."""
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))
    return [match["target"] or match["reference"] for match in LINK.finditer(prose)]


def anchors(text: str) -> set[str]:
    """List the anchors that the headings of a Markdown text give, as a code host makes them."""
    titles = (match["title"].replace("`", "") for match in HEADING.finditer(FENCE.sub("", text)))
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
