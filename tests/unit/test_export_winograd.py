"""Convolutions rewritten in fewer products: what they compute, which are left, and the way back."""

from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxscript import ir
from torch import Tensor
from torch.nn import functional as F

from export import int8, to_onnx, winograd
from export.exportable import Exportable
from export.parity import measure
from export.to_regions import detector_exportable
from tests.rcnn import net, tiny

FEW = 8
"""Channels that are enough here."""

NEAR = 2e-5
"""Of the largest value: transformed in float32, sums of some hundred products of normal numbers lose this much."""

VARYING = "varies"


def one_convolution(
    maps: tuple[int | str, ...],
    *,
    channels: tuple[int, int] = (9, 8),
    side: int = 3,
    group: int = 1,
    dilation: int = 1,
    bias: bool = True,
    behind: tuple[str, ...] = (),
    **attributes: Any,
) -> ir.Model:
    """Make a graph of a convolution with drawn weights, and of operators behind it; another "Conv" has its weights."""
    read, written = channels
    drawn = torch.Generator().manual_seed(1)
    weight = torch.randn(written, read // group, side, side, generator=drawn)
    weights = {"weight": weight, **({"bias": torch.randn(written, generator=drawn)} if bias else {})}
    settings = {"group": group, "dilations": [dilation] * 2, "pads": [dilation * (side // 2)] * 4, **attributes}
    taken = {"Conv": (weights, settings), "Relu": ((), {})}
    nodes = []
    for place, kind in enumerate(("Conv", *behind)):
        more, named = taken[kind]
        nodes.append(
            helper.make_node(kind, [nodes[-1].output[0] if nodes else "maps", *more], [f"out{place}"], **named)
        )
    graph = helper.make_graph(
        nodes,
        "one",
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, maps)],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, [None] * 4)],
        [numpy_helper.from_array(values.numpy(), name) for name, values in weights.items()],
        value_info=[helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, maps) for node in nodes[:-1]],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", to_onnx.OPSET)], ir_version=10)
    return ir.from_proto(model)


def run(model: ir.Model, maps: Tensor, folder: Path) -> Tensor:
    """Run a graph of one input and one output as a server does."""
    ir.save(model, folder / "one.onnx")
    onnx.checker.check_model(str(folder / "one.onnx"))
    runtime = to_onnx.OnnxRuntime.open(folder / "one.onnx", threads=1)
    return next(iter(runtime.run(maps=maps).values()))


def exact(model: ir.Model, maps: Tensor, *, dilation: int) -> Tensor:
    """Convolve in float64."""
    weights = {weight.name: numpy_helper.to_array(weight) for weight in ir.to_proto(model).graph.initializer}
    weight, bias = (torch.tensor(weights[name]).double() if name in weights else None for name in ("weight", "bias"))
    assert weight is not None
    return F.conv2d(maps.double(), weight, bias, padding=dilation, dilation=dilation)


@pytest.mark.parametrize("cells", [winograd.TILE, winograd.SHORT_TILE])
def test_a_tile_is_correlated_with_a_kernel_by_as_many_products_as_points(cells: int) -> None:
    inward, kernel, outward = (torch.from_numpy(matrix) for matrix in winograd.points(cells))
    tile, weights = torch.arange(1.0, cells + 3).double() ** 2, torch.tensor([3.0, -5, 7]).double()
    by_points = outward @ ((inward @ tile) * (kernel @ weights))
    assert len(inward) == cells + 2
    torch.testing.assert_close(by_points, tile.unfold(0, 3, 1) @ weights)


@pytest.mark.parametrize(
    ("declared", "sizes", "dilation"),
    [
        ((VARYING, 9, 14, 14), (3, 9, 14, 14), 2),  # four maps of 7: a tile of 4 and one of 3
        ((VARYING, 9, 7, 7), (2, 9, 7, 7), 1),
        ((VARYING, 9, 14, 14), (2, 9, 14, 14), 1),  # a tile reaches over the border
        ((VARYING, 9, 11, 11), (2, 9, 11, 11), 2),  # maps of 6 and of 5
        ((VARYING, 9, 3, 3), (2, 9, 3, 3), 1),
        ((VARYING, 9, 1, 1), (2, 9, 1, 1), 2),
        ((1, 9, "h", "w"), (1, 9, 12, 16), 1),
        ((1, 9, "h", "w"), (1, 9, 13, 18), 1),
        ((1, 9, "h", "w"), (1, 9, 7, 33), 1),
        ((1, 9, "h", "w"), (1, 9, 2, 1), 1),
        ((1, 9, 40, 40), (1, 9, 40, 40), 1),
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_a_rewritten_convolution_computes_the_same(
    declared: tuple[int | str, ...], sizes: tuple[int, ...], dilation: int, bias: bool, tmp_path: Path
) -> None:
    model = one_convolution(declared, dilation=dilation, bias=bias)
    maps = torch.randn(*sizes, generator=torch.Generator().manual_seed(2))
    expected = exact(model, maps, dilation=dilation)
    assert winograd.rewrite(model, fewest=FEW) == 1
    got = run(model, maps, tmp_path)
    assert got.shape == expected.shape
    assert (got - expected).abs().max() <= NEAR * expected.abs().max()


def test_a_relu_behind_it_stays(tmp_path: Path) -> None:
    model = one_convolution((1, 9, "h", "w"), behind=("Relu",))
    maps = torch.randn(1, 9, 10, 14, generator=torch.Generator().manual_seed(2))
    expected = exact(model, maps, dilation=1).relu()
    assert winograd.rewrite(model, fewest=FEW) == 1
    assert (run(model, maps, tmp_path) - expected).abs().max() <= NEAR * expected.abs().max()


@pytest.mark.parametrize(
    "odd",
    [
        {"strides": [2, 2]},
        {"group": 2, "channels": (16, 16)},
        {"side": 1},
        {"side": 5},
        {"channels": (7, 8)},
        {"channels": (8, 7)},
        {"pads": [0, 0, 0, 0]},
        {"pads": [1, 1, 2, 2]},
        {"dilations": [1, 2]},
        {"dilation": 2},  # of maps of any size
        {"auto_pad": "SAME_UPPER", "pads": None},
    ],
    ids=str,
)
def test_what_does_not_fit_is_left(odd: dict[str, Any]) -> None:
    model = one_convolution((1, odd.get("channels", (9,))[0], "h", "w"), **odd)
    before = ir.to_proto(model).SerializeToString()
    assert winograd.rewrite(model, fewest=FEW) == 0
    assert ir.to_proto(model).SerializeToString() == before


def test_several_maps_of_any_size_are_left() -> None:
    assert winograd.rewrite(one_convolution((VARYING, 9, "h", "w")), fewest=FEW) == 0


def test_few_channels_are_left_unless_asked() -> None:
    assert winograd.rewrite(one_convolution((1, 9, "h", "w"))) == 0


def test_the_weights_stay_and_their_points_are_computed_once_for_all_that_read_them(tmp_path: Path) -> None:
    model = one_convolution((1, 9, "h", "w"), channels=(9, 9), behind=("Conv",))
    maps = torch.randn(1, 9, 9, 9, generator=torch.Generator().manual_seed(2))
    expected = exact(model, exact(model, maps, dilation=1), dilation=1)
    assert winograd.rewrite(model, fewest=FEW) == 2
    assert sum(node.op_type == "_kernels" for node in model.graph) == 1
    assert model.graph.initializers["weight"].shape == (9, 9, 3, 3)
    assert (run(model, maps, tmp_path) - expected).abs().max() <= NEAR * expected.abs().max()


def test_rewriting_the_same_gives_the_same_file() -> None:
    files = set()
    for _ in range(2):
        model = one_convolution((VARYING, 9, 14, 14), dilation=2)
        winograd.rewrite(model, fewest=FEW)
        files.add(ir.to_proto(model).SerializeToString(deterministic=True))
    assert len(files) == 1


@pytest.mark.parametrize("bias", [True, False])
def test_a_rewritten_convolution_becomes_what_it_was(bias: bool, tmp_path: Path) -> None:
    model = one_convolution((VARYING, 9, 14, 14), dilation=2, bias=bias)
    maps = torch.randn(2, 9, 14, 14, generator=torch.Generator().manual_seed(2))
    before = run(model, maps, tmp_path)
    winograd.rewrite(model, fewest=FEW)
    ir.save(model, tmp_path / "rewritten.onnx")
    read = ir.load(tmp_path / "rewritten.onnx")
    winograd.restore(read, lambda weight: weight == "another")
    assert [node.op_type for node in read.graph] == ["_kernels", "_of_one_size"]
    winograd.restore(read, lambda weight: weight == "weight")
    assert [node.op_type for node in read.graph] == ["Conv"]
    assert set(read.graph.initializers) == ({"weight", "bias"} if bias else {"weight"})
    assert torch.equal(run(read, maps, tmp_path), before)


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> tuple[Exportable, Path]:
    """Export a detector with and without its convolutions rewritten: plain.onnx, rewritten.onnx."""
    folder = tmp_path_factory.mktemp("detector")
    exportable = detector_exportable(net(tiny("vg-r101-c4", groups=1, group_width=16)))
    to_onnx.write(exportable.graph, folder / "plain.onnx")
    model = ir.load(folder / "plain.onnx")
    winograd.rewrite(model, fewest=FEW)
    ir.save(model, folder / "rewritten.onnx")
    return exportable, folder


def kinds(path: Path) -> list[str]:
    return [node.op_type for node in onnx.load(str(path)).graph.node]


@pytest.mark.slow
def test_a_rewritten_detector_finds_what_eager_finds(detector: tuple[Exportable, Path]) -> None:
    exportable, folder = detector
    path = folder / "rewritten.onnx"
    assert {"_of_any_size", "_of_one_size"} <= set(kinds(path))
    assert measure(exportable, to_onnx.reopen(exportable.graph, path), name=path.name).trials >= 4


@pytest.mark.slow
def test_8_bits_are_made_of_the_convolutions_and_what_stays_float_stays_rewritten(
    detector: tuple[Exportable, Path], tmp_path: Path
) -> None:
    exportable, folder = detector
    pictures = [trial["image"] for trial in exportable.trials[:2]]
    for name in ("plain", "rewritten"):
        int8.quantise(folder / f"{name}.onnx", tmp_path / f"{name}.onnx", pictures)
    plain, rewritten = (kinds(tmp_path / f"{name}.onnx") for name in ("plain", "rewritten"))
    assert "_of_any_size" in rewritten  # of the proposals
    assert "_of_one_size" not in rewritten
    assert rewritten.count("QuantizeLinear") == plain.count("QuantizeLinear")
    assert {path.name for path in folder.iterdir()} == {"plain.onnx", "rewritten.onnx"}
