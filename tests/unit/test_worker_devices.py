"""What was asked for is what runs: a device that is not there refuses to start, with a sentence."""

import copy
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from torch import nn

from tests.bundles import make_tiny_bundle
from twelve.assembly import Settings, assemble
from twelve.errors import ConfigInvalid
from twelve.runtimes import onnx_file
from twelve.runtimes.devices import CPU, Device, check_placed, place
from twelve.runtimes.module import ModuleRuntime
from twelve.runtimes.onnx_file import OnnxRuntime


class Session:
    """An onnxruntime session that runs where it can."""

    has = ("CPUExecutionProvider",)

    def __init__(self, path: str, options: onnxruntime.SessionOptions, providers: list[tuple[str, dict[str, Any]]]):
        self.path, self.options, self.asked = path, options, providers

    def get_providers(self) -> list[str]:
        wanted = [name for name, _ in self.asked if name in self.has]
        return list(dict.fromkeys([*wanted, "CPUExecutionProvider"]))

    def get_inputs(self) -> list[Any]:
        return []

    get_outputs = get_inputs


class GpuSession(Session):
    has = ("CUDAExecutionProvider", "CPUExecutionProvider")


@pytest.mark.parametrize(
    ("name", "device"),
    [("cpu", CPU), ("cuda", Device("cuda")), ("cuda:0", Device("cuda", 0)), ("cuda:3", Device("cuda", 3))],
)
def test_a_device_is_read_from_its_name(name: str, device: Device) -> None:
    assert Device.of(name) == device
    assert str(device.torch) == name


@pytest.mark.parametrize("name", ["", "gpu", "cuda:", "cuda:one", "cuda:-1", "CPU", 7])
def test_a_device_that_there_is_not_is_refused_by_name(name: Any) -> None:
    with pytest.raises(ConfigInvalid, match="device: there is no"):
        Device.of(name)


def test_onnxruntime_that_falls_back_to_the_cpu_refuses_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file.onnxruntime, "InferenceSession", Session)
    with pytest.raises(ConfigInvalid, match=r"fuse\.onnx: asked for CUDAExecutionProvider, onnxruntime uses CPU"):
        OnnxRuntime.open(Path("fuse.onnx"), threads=1, device=Device("cuda"))


def test_onnxruntime_is_given_its_device_and_its_bound_on_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file.onnxruntime, "InferenceSession", GpuSession)
    session = OnnxRuntime.open(Path("fuse.onnx"), threads=3, device=Device.of("cuda:1")).session
    assert session.asked == [("CUDAExecutionProvider", {"device_id": 1})]
    assert (session.options.intra_op_num_threads, session.options.inter_op_num_threads) == (3, 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
@pytest.mark.parametrize("engine", ["eager"])
def test_a_model_that_cannot_be_moved_to_its_device_refuses_to_start(tmp_path: Path, engine: str) -> None:
    bundle = make_tiny_bundle(tmp_path / "tiny").path
    with pytest.raises(ConfigInvalid, match="device: torch cannot use cuda"):
        assemble(bundle, Settings(engine=engine, device="cuda"))


class Immovable(nn.Linear):
    """A module that stays where it is."""

    def to(self, *args: Any, **kwargs: Any) -> "Immovable":
        return self


def test_a_weight_that_was_left_elsewhere_refuses_to_start() -> None:
    with pytest.raises(ConfigInvalid, match="asked for cuda, but 'weight' lies on cpu"):
        place(Immovable(2, 2), Device("cuda"))


def test_a_module_runs_where_its_weights_lie_and_answers_on_the_cpu() -> None:
    module = nn.Linear(2, 2)
    runtime = ModuleRuntime(module, inputs=("x",), outputs=("y",))
    x = torch.ones(1, 2)
    assert torch.equal(runtime.run(x=x)["y"], module(x))
    place(module, CPU)
    check_placed(copy.deepcopy(module), CPU)
    module.to("meta")
    with pytest.raises(NotImplementedError):  # meta tensors hold nothing to bring back: the answer was asked for there
        runtime.run(x=x)
