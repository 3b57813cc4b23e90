"""onnxruntime keeps no identifier of the machine and queues nothing for its maker, once the library is imported."""

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.checkout import ROOT

OPEN_A_GRAPH = """
import sys
import {first}
import onnxruntime
print(onnxruntime.InferenceSession(sys.argv[1]).run(None, {{"x": [1.0]}})[0].tolist())
"""


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("x", "y")]
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    opset = onnx.helper.make_opsetid("", 18)
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "same", ends[:1], ends[1:]), opset_imports=[opset], ir_version=9
    )
    onnx.save(model, str(tmp_path / "same.onnx"))
    return tmp_path / "same.onnx"


def left_in_home(graph: Path, home: Path, first: str) -> list[str]:
    """Run a graph in a process of its own, with a home of its own; give the files that are there afterwards."""
    home.mkdir()
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment = {**kept, "HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", OPEN_A_GRAPH.format(first=first), str(graph)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[1.0]"
    return [path.name for path in home.rglob("*") if path.is_file()]


@pytest.mark.parametrize("first", ["twelve", "twelve.runtimes.onnx_file", "handlers.twelve_handler", "export.int8"])
def test_nothing_is_kept_or_queued_for_the_maker_of_onnxruntime(graph: Path, tmp_path: Path, first: str) -> None:
    assert left_in_home(graph, tmp_path / "home", first) == []
