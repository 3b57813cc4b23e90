"""3x3 convolutions of many channels in an exported graph by Winograd's minimal filtering: a third of the products.

A tile of the output comes from a few points of polynomials instead of nine products a cell: 4x4 cells from 6x6 points,
2.25 products a cell. A rewritten convolution is one node that names a function of the file. Its weights stay in the
file as they are, and a runtime turns them into points when it opens the file.

Shapes: N pictures or boxes · C channels read · O channels written · S side of a map · h, w height and width of one
        M tiles · G groups of rows, each of one point · T rows a group · R = G T rows of points

Source: Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (arXiv:1509.09308).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxscript
from numpy.typing import NDArray
from onnxscript import ir

op: Any = onnxscript.opset20
"""Untyped, as in `export.operators`."""

DOMAIN = "twelve.winograd"
_own: Any = onnxscript.values.Opset(DOMAIN, 1)

FEWEST_CHANNELS = 256
"""Read and written. Of 128, turning tiles into points and back costs what fewer products spare."""

KERNEL, TILE, SHORT_TILE = 3, 4, 3
"""Cells a side. A map of 7 is a tile of 4 and one of 3; with two of 4 a fifth more would be computed."""

POINTS = (0.0, 1.0, -1.0, 2.0, -2.0)
SCALES = (1 / 4, -1 / 6, -1 / 6, 1 / 24, 1 / 24)
"""Where the polynomials are evaluated, beside infinity, and what a kernel's values there are multiplied by."""

OF_SHORT_TILE = (0, 1, 2, 3, 5)
"""The points that a tile of 3 needs: infinity and all but the last."""

LARGEST_MAP = 16
"""Side of a map that is cut by matrices as wide as the map."""

OURS = "winograd."
NO_BIAS = f"{OURS}no_bias"
"""Names of constants begin so; that of a zero."""

WEIGHT, DILATION = "weight", "dilation"
"""What a rewritten node says of the convolution that it was."""

Matrix = NDArray[np.floating[Any]]


def rewrite(model: ir.Model, *, fewest: int = FEWEST_CHANNELS) -> int:
    """Rewrite the convolutions for which it pays: 3x3, in no groups, without strides, padded to keep their size.

    Args:
        model: Changed in place; left as it was where there is none.
        fewest: Channels, read and written, of a convolution for which it pays.

    Returns:
        How many were rewritten.
    """
    plans = [(node, _plan(node)) for node in model.graph if _is_fit(node, fewest)]
    rewritten = [(node, plan) for node, plan in plans if plan is not None]
    for node, plan in rewritten:
        _apply(plan, node, model)
    for function in dict.fromkeys(function for _, plan in rewritten for function in (_kernels, plan.function)):
        written = ir.serde.deserialize_function(function.to_function_proto())
        model.functions[written.identifier()] = written
        model.opset_imports[DOMAIN] = _own.version
    return len(rewritten)


def restore(model: ir.Model, is_wanted: Callable[[str], bool]) -> None:
    """Make convolutions of rewritten ones.

    Args:
        model: Changed in place.
        is_wanted: Says of a weight's name whether its convolutions are.
    """
    for node in [node for node in model.graph if is_wanted(node.metadata_props.get(WEIGHT, ""))]:
        weight, reach = model.graph.initializers[node.metadata_props[WEIGHT]], int(node.metadata_props[DILATION])
        maps, _, bias, *_ = node.inputs
        is_added = bias is not model.graph.initializers.get(NO_BIAS)
        _become(node, "Conv", "", (maps, weight, bias) if is_added else (maps, weight))
        for name, value in (("dilations", [reach] * 2), ("pads", [reach] * 4), ("kernel_shape", [KERNEL] * 2)):
            node.attributes.add(ir.AttrInt64s(name, value))
    for node in [node for node in model.graph if node.op_type == _kernels.name and not node.outputs[0].uses()]:
        model.graph.remove(node, safe=True)
    for name in [
        name for name, value in model.graph.initializers.items() if name.startswith(OURS) and not value.uses()
    ]:
        del model.graph.initializers[name]


def points(cells: int) -> tuple[Matrix, Matrix, Matrix]:
    """Give the matrices of a tile: all three follow from where its polynomials are evaluated.

    Args:
        cells: Of the tile's side, `TILE` or `SHORT_TILE`.

    Returns:
        From a tile and its border to points [P, cells + 2], from a kernel to points [P, 3], from points to the tile's
        cells [cells, P].
    """
    finite = np.array(POINTS[: cells + 1])
    kernel = np.vstack([finite[:, None] ** np.arange(KERNEL) * np.array(SCALES[: cells + 1])[:, None], [0, 0, 1]])
    outward = np.column_stack([finite ** np.arange(cells)[:, None], np.arange(cells) == cells - 1])
    products = np.einsum("kp,pr->krp", outward, kernel)  # of a cell k, a kernel's cell r
    wanted = np.arange(cells)[:, None, None] + np.arange(KERNEL)[:, None] == np.arange(cells + KERNEL - 1)
    reach = cells * KERNEL
    inward = np.linalg.lstsq(products.reshape(reach, -1), wanted.reshape(reach, -1).astype(float), rcond=None)[0]
    return inward.round(12), kernel, outward


@dataclass(frozen=True)
class Plan:
    """How a convolution is computed.

    Attributes:
        name: Of the matrices, in the file.
        function: That computes it.
        inward: From cells to points.
        kernel: [G, 3], from a kernel's cells to points.
        outward: From points to cells.
    """

    name: str
    function: Any
    inward: Matrix
    kernel: Matrix
    outward: Matrix


def _is_fit(node: ir.Node, fewest: int) -> bool:
    weight = node.inputs[1] if node.op_type == "Conv" and not node.domain else None
    if weight is None or not weight.is_initializer() or weight.shape is None:
        return False
    written, read, *kernel = weight.shape
    dilations = _ints(node, "dilations", 1)
    return (
        kernel == [KERNEL, KERNEL]
        and isinstance(written, int)
        and isinstance(read, int)
        and min(written, read) >= fewest
        and node.attributes.get_int("group", 1) == 1
        and set(_ints(node, "strides", 1)) == {1}
        and len(set(dilations)) == 1
        and set(_ints(node, "pads", 0)) == set(dilations)
        and node.attributes.get_string("auto_pad", "NOTSET") == "NOTSET"
    )


def _ints(node: ir.Node, name: str, default: int) -> Sequence[int]:
    return node.attributes.get_ints(name, (default, default)) or ()


def _plan(node: ir.Node) -> Plan | None:
    """Give the plan of a fit convolution; None where too little is known of what it reads."""
    maps = node.inputs[0]
    if maps is None or maps.shape is None:
        return None
    number, _, height, width = maps.shape
    dilation = _ints(node, "dilations", 1)[0]
    if isinstance(height, int) and height == width and height <= LARGEST_MAP:
        return _plan_of_one_size(height, dilation)
    return _plan_of_any_size() if number == 1 and dilation == 1 else None


@dataclass(frozen=True)
class Tile:
    """A tile of an axis: its first cell, how many it has, and the points that it needs."""

    start: int
    cells: int
    points: tuple[int, ...]


def _plan_of_one_size(side: int, dilation: int) -> Plan:
    """Cut each axis at once: inward [G, T, S], outward [S, G, T]. A dilated map is as many maps as its dilation."""
    tiles = _tiles(-(-side // dilation))
    rows = [
        (point, tile, phase)
        for point in range(len(POINTS) + 1)
        for tile in tiles
        if point in tile.points
        for phase in range(dilation)
    ]
    fewest = min(sum(point in tile.points for tile in tiles) for point in range(len(POINTS) + 1))
    rows_a_group = dilation * fewest
    inward, outward = np.zeros((len(rows), side)), np.zeros((side, len(rows)))
    for row, (point, tile, phase) in enumerate(rows):
        to_points, _, to_cells = points(tile.cells)
        which = tile.points.index(point)
        _lay(to_points[which], inward[row], tile.start - 1, dilation, phase)
        _lay(to_cells[:, which], outward[:, row], tile.start, dilation, phase)
    kernel = points(TILE)[1][[point for point, _, _ in rows[::rows_a_group]]]
    cut = (inward.reshape(-1, rows_a_group, side), kernel, outward.reshape(side, -1, rows_a_group))
    return Plan(f"{OURS}{side}.{dilation}", _of_one_size, *cut)


def _tiles(length: int) -> list[Tile]:
    every = tuple(range(len(POINTS) + 1))
    if TILE < length <= TILE + SHORT_TILE:
        return [Tile(0, TILE, every), Tile(TILE, SHORT_TILE, OF_SHORT_TILE)]
    return [Tile(start, TILE, every) for start in range(0, length, TILE)]


def _lay(values: Matrix, cells: Matrix, first: int, dilation: int, phase: int) -> None:
    """Put what a tile has to do with its cells where they lie in the map, border left out."""
    places = (first + np.arange(len(values))) * dilation + phase
    inside = (places >= 0) & (places < len(cells))
    cells[places[inside]] = values[inside]


def _plan_of_any_size() -> Plan:
    """Cut tile by tile, both axes at once: inward [36, 36], outward [16, 36]."""
    inward, kernel, outward = points(TILE)
    return Plan(f"{OURS}any", _of_any_size, np.kron(inward, inward), kernel, np.kron(outward, outward))


def _apply(plan: Plan, node: ir.Node, model: ir.Model) -> None:
    """Make a convolution the call of a function; one that reads the same weights shares their points."""
    maps, weight, bias = (*node.inputs, None)[:3]
    assert weight is not None
    dilation = _ints(node, "dilations", 1)[0]
    inward = _constant(model, f"{plan.name}.inward", plan.inward)
    outward = _constant(model, f"{plan.name}.outward", plan.outward)
    added = bias or _constant(model, NO_BIAS, np.zeros(1))
    _become(node, plan.function.name, DOMAIN, (maps, _points_of(weight, plan, node, model), added, inward, outward))
    node.metadata_props.update({WEIGHT: str(weight.name), DILATION: str(dilation)})


def _points_of(weight: ir.Value, plan: Plan, user: ir.Node, model: ir.Model) -> ir.Value:
    """Give the value of a weight's points [G G, C, O], computed once."""
    name = f"{weight.name}.{plan.name}"
    for use in weight.uses():
        if use.node.outputs[0].name == name:
            return use.node.outputs[0]
    kernel = _constant(model, f"{plan.name}.kernel", np.kron(plan.kernel, plan.kernel))
    made = ir.Node(DOMAIN, _kernels.name, [weight, kernel], outputs=[ir.Value(name=name)], name=name)
    model.graph.insert_before(user, made)
    return made.outputs[0]


def _constant(model: ir.Model, name: str, values: Matrix) -> ir.Value:
    """Give an initializer of float32, the same for the same name."""
    if name not in model.graph.initializers:
        tensor = ir.tensor(values.astype(np.float32), name=name)
        model.graph.register_initializer(
            ir.Value(name=name, const_value=tensor, shape=ir.Shape(values.shape), type=ir.TensorType(tensor.dtype))
        )
    return model.graph.initializers[name]


def _become(node: ir.Node, op_type: str, domain: str, inputs: Sequence[ir.Value | None]) -> None:
    """Make a node another, which writes the same values."""
    node.op_type, node.domain = op_type, domain
    node.attributes.clear()
    node.metadata_props.clear()
    node.resize_inputs(len(inputs))
    for place, value in enumerate(inputs):
        node.replace_input_with(place, value)


@onnxscript.script(_own, default_opset=op)
def _kernels(weight, by):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202  # onnxscript reads the code
    """Evaluate kernels [O, C, 3, 3] by a matrix [G G, 9]: [G G, C, O]."""
    cells = op.Transpose(op.Reshape(weight, [-1, 9]), perm=[1, 0])
    sides = op.Concat([-1], op.Shape(weight, start=0, end=2), axis=0)
    return op.Transpose(op.Reshape(op.MatMul(by, cells), sides), perm=[0, 2, 1])


@onnxscript.script(_own, default_opset=op)
def _of_one_size(maps, kernels, bias, inward, outward):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Convolve maps [N, C, S, S]: rows of points, then columns of points, products, columns of cells, rows of cells."""
    side = op.Shape(outward, start=0, end=1)
    groups = op.Shape(outward, start=1, end=2)
    rows_a_group = op.Shape(outward, start=2, end=3)
    rows = groups * rows_a_group
    read = op.Shape(kernels, start=1, end=2)
    written = op.Shape(kernels, start=2, end=3)
    into = op.Reshape(inward, op.Concat(rows, side, axis=0))
    back = op.Reshape(outward, op.Concat(side, rows, axis=0))
    cells = op.Transpose(maps, perm=[2, 3, 0, 1])  # [S, S, N, C]
    down = op.MatMul(into, op.Reshape(cells, op.Concat(side, [-1], axis=0)))  # [R, S N C]
    both = op.MatMul(into, op.Reshape(down, op.Concat(rows, side, [-1], axis=0)))  # [R, R, N C]
    points_read = op.Reshape(both, op.Concat(groups, rows_a_group, groups, [-1], read, axis=0))  # [G, T, G, T N, C]
    by = op.Reshape(kernels, op.Concat(groups, [1], groups, read, written, axis=0))
    products = op.MatMul(points_read, by)  # [G, T, G, T N, O]
    across = op.MatMul(back, op.Reshape(products, op.Concat(rows, rows, [-1], axis=0)))  # [R, S, N O]
    convolved = op.MatMul(back, op.Reshape(across, op.Concat(rows, [-1], axis=0)))  # [S, S N O]
    lying = op.Reshape(convolved, op.Concat(side, side, [-1], written, axis=0)) + bias  # [S, S, N, O]
    return op.Transpose(lying, perm=[2, 3, 0, 1])


@onnxscript.script(_own, default_opset=op)
def _of_any_size(maps, kernels, bias, inward, outward):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
    """Convolve one map [1, C, h, w]: tiles are taken by their cells' places, and cells out of tiles by theirs."""
    sides = op.Shape(maps, start=2)
    tiles = (sides + 3) / 4
    down = op.Gather(tiles, 0)
    across = op.Gather(tiles, 1)
    read = op.Shape(kernels, start=1, end=2)
    written = op.Shape(kernels, start=2, end=3)
    cells = op.Squeeze(op.Transpose(maps, perm=[0, 2, 3, 1]), [0])  # [h, w, C]
    padded = op.Pad(cells, op.Concat([1, 1], tiles * 4 + 1 - sides, axis=0), None, [0, 1])
    width = op.Shape(padded, start=1, end=2)
    reach = op.Unsqueeze(op.Constant(value_ints=[0, 1, 2, 3, 4, 5]), [1])
    rows = reach + op.Range(0, down, 1) * 4  # [6, tiles down]
    columns = reach + op.Range(0, across, 1) * 4  # [6, tiles across]
    places = op.Unsqueeze(rows * width, [1, 3]) + op.Unsqueeze(columns, [0, 2])  # [6, 6, tiles down, tiles across]
    line = op.Reshape(padded, op.Concat([-1], read, axis=0))
    seen = op.Gather(line, op.Reshape(places, [36, -1]), axis=0)  # [36, M, C]
    points_read = op.MatMul(inward, op.Reshape(seen, [36, -1]))  # [36, M C]
    products = op.MatMul(op.Reshape(points_read, op.Concat([36, -1], read, axis=0)), kernels)  # [36, M, O]
    convolved = op.MatMul(outward, op.Reshape(products, [36, -1]))  # [16, M O]
    row = op.Range(0, op.Gather(sides, 0), 1)
    column = op.Range(0, op.Gather(sides, 1), 1)
    row_place = op.Mod(row, 4) * 4 * down * across + row / 4 * across
    column_place = op.Mod(column, 4) * down * across + column / 4
    own = op.Unsqueeze(row_place, [1]) + column_place  # [h, w]
    lying = op.Gather(op.Reshape(convolved, op.Concat([-1], written, axis=0)), own, axis=0) + bias  # [h, w, O]
    return op.Transpose(op.Unsqueeze(lying, [0]), perm=[0, 3, 1, 2])
