"""Graphs that were exported with what the first co-attention projects kept beside each text and picture."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from export import folder
from export.__main__ import app
from tests.bundles import FEATURE_WIDTH, make_tiny_bundle
from twelve.assembly import Settings, assemble
from twelve.batch import Text, Visual
from twelve.boxes import LOCATION_WIDTH
from twelve.bundle import Bundle
from twelve.engines.engine import Engine
from twelve.engines.exported import EXPORT_FILE, Exported
from twelve.engines.graphs import FUSE, TEXT
from twelve.engines.savings import DEFAULT, Savings

SAME = 1e-5  # of the largest value: float32 sums in another order
KEPT = Savings(first_meeting_once=True)
WANTED = [(TEXT, "torchscript"), (FUSE, "torchscript")]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_tiny_bundle(tmp_path_factory.mktemp("meeting") / "tiny", detector=False)


@pytest.fixture(scope="module")
def kept(bundle: Bundle) -> Path:
    """Export as TorchScript, which takes the least time."""
    out = bundle.path.parent / "kept"
    run("torchscript", bundle.path, "--out", out, "--keep-first-meeting")
    return out


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def rated(engine: Engine, texts: Sequence[Text], pictures: Sequence[Visual]) -> Tensor:
    """Let the alignment head rate every picture for every text."""
    builder = engine.builder()
    spans = [builder.add([(text, picture) for picture in pictures]) for text in texts]
    batch = builder.build()
    passes = engine.plan(batch, rows_per_pass=4)
    states = engine.fuse(batch, passes, engine.text(batch.texts), engine.regions(batch.visuals))
    return torch.stack([engine.head("alignment", states, span) for span in spans])


def test_a_bundle_that_was_exported_so_is_served_so_and_answers_alike(bundle: Bundle, kept: Path) -> None:
    record = Exported.open(kept, bundle=bundle.digest())
    assert json.loads((kept / EXPORT_FILE).read_text())["first_meeting_once"] is record.first_meeting_once is True
    assert record.graphs[TEXT]["outputs"] == ["text", "packed_text"]
    assert {"packed_text", "packed_regions"} <= set(record.graphs[FUSE]["inputs"])

    draw = torch.Generator().manual_seed(0)
    texts = [Text(tuple(range(100, 100 + length)), 7) for length in (3, 5, 6)]
    pictures = [
        Visual(torch.rand(rows, FEATURE_WIDTH, generator=draw), torch.rand(rows, LOCATION_WIDTH, generator=draw))
        for rows in (2, 4, 6)
    ]
    got, expected = (
        rated(assemble(bundle.path, Settings(engine=engine, graphs=kept)).engine, texts, pictures)
        for engine in ("torchscript", "eager")
    )
    assert float((got - expected).abs().max()) <= SAME * float(expected.abs().max())
    assert len(set(expected.flatten().tolist())) == expected.numel()


def test_graphs_that_were_exported_otherwise_are_missing_and_written_anew(bundle: Bundle, kept: Path) -> None:
    assert folder.missing(bundle, kept, WANTED, KEPT) == []
    assert folder.missing(bundle, kept, WANTED) == WANTED
    assert "up to date" in run("torchscript", bundle.path, "--out", kept, "--keep-first-meeting")


def test_a_folder_says_with_which_savings_it_was_exported(bundle: Bundle, kept: Path, tmp_path: Path) -> None:
    assert folder.savings_of(bundle, kept) == KEPT
    assert folder.savings_of(bundle, tmp_path) == DEFAULT
