"""Where it runs and what it fetches: from the launchers' options and variables to the handler's section."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from typer.testing import CliRunner

from export import archive
from handlers import edge, serve
from handlers.edge_fleet import Plan
from tests.bundles import make_tiny_bundle
from tests.checkout import ROOT

CHOSEN = (
    *("--device", "cuda:1"),
    *("--image-host", "one.test"),
    *("--image-host", "http://two.test:8080"),
    *("--image-network", "10.1.0.0/16"),
)
VARIABLES = {"DEVICE": "cuda:1", "IMAGE_HOSTS": "one.test http://two.test:8080", "IMAGE_NETWORKS": "10.1.0.0/16"}
ARRIVES = {
    "device": "cuda:1",
    "image_hosts": ["one.test", "http://two.test:8080"],
    "image_networks": ["10.1.0.0/16"],
}
OFF = {"device": "cpu", "image_hosts": [], "image_networks": []}


@dataclass
class Chain:
    """The launchers as they call each other, with nothing started: the last one writes the handler's section."""

    bundle: Path
    folder: Path
    variables: dict[str, str] = field(default_factory=dict)
    plan: Plan | None = None

    def serve(self, *arguments: str) -> dict[str, Any]:
        """Run `handlers.serve`; give what the handler is told."""
        self._run(serve.main, ["--bundle", str(self.bundle), "--engine", "eager", *arguments])
        written = self.folder / "run" / "model_store" / archive.DIRECTORY / archive.CONFIG
        section = yaml.safe_load(written.read_text(encoding="utf-8"))["handler"]
        return {name: section[name] for name in ARRIVES}

    def edge(self, *arguments: str) -> list[str]:
        """Run `handlers.edge serve`; give the options that each server is started with."""
        named = ["--bundle", str(self.bundle), "--engine", "eager", "--run-dir", str(self.folder / "edge")]
        self._run(edge.serve_command, [*named, *arguments])
        assert self.plan is not None
        return self.plan.options()

    def _run(self, command: Any, arguments: Sequence[str]) -> None:
        app = typer.Typer()
        app.command()(command)
        done = CliRunner().invoke(app, list(arguments), env={"RUN_DIR": str(self.folder / "run"), **self.variables})
        assert done.exit_code == 0, done.output

    def archive(self, *arguments: str) -> None:
        """Stand in for the process that `handlers.serve` starts."""
        app = typer.Typer()
        app.command()(archive.main)
        assert CliRunner().invoke(app, list(arguments[2:])).exit_code == 0


@pytest.fixture
def chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chain:
    made = Chain(make_tiny_bundle(tmp_path / "tiny").path, tmp_path)
    monkeypatch.setattr(serve, "run_python", made.archive)
    monkeypatch.setattr(serve, "serve", lambda wish: serve.export(serve.Bundle.open(wish.bundle), wish))
    monkeypatch.setattr(edge, "serve", lambda asked: setattr(made, "plan", asked.plan))
    return made


def test_nothing_is_fetched_and_the_cpu_is_used_unless_something_else_is_chosen(chain: Chain) -> None:
    assert chain.serve() == OFF
    assert chain.serve(*chain.edge()) == OFF


def test_what_is_chosen_by_options_reaches_the_handler(chain: Chain) -> None:
    assert chain.serve(*CHOSEN) == ARRIVES


def test_what_is_chosen_for_all_servers_reaches_each(chain: Chain) -> None:
    assert chain.serve(*chain.edge(*CHOSEN)) == ARRIVES


def test_what_is_chosen_by_variables_reaches_the_handler(chain: Chain) -> None:
    chain.variables = VARIABLES
    options = chain.edge()
    assert chain.serve() == ARRIVES
    chain.variables = {}
    assert chain.serve(*options) == ARRIVES


def test_the_page_lists_the_variables() -> None:
    page = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    assert all(f"| `{name}`, `--" in page for name in VARIABLES)
