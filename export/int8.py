"""The convolutions of an exported detector in 8 bits, their ranges read off pictures; all that chooses stays float.

Quantised are the backbone and the residual stage of a head, with what lies between their convolutions. Proposals,
classes and boxes are left as they are: a score that moves by a step of 8 bits would change which regions there are.

Source of the layout (QDQ: quantise and dequantise around each operator): onnxruntime's own quantisation.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxscript import ir

from export import winograd
from twelve.errors import ConfigInvalid, TwelveError
from twelve.image import ImageLimits, Picture, read
from twelve.regions.detector import LEAST_GIVEN
from twelve.regions.families import AnyConfig
from twelve.regions.local import prepare

STAGES = ("backbone.", "roi_heads.res5.")
"""Names of weights begin so that are quantised: bodies of every family, and the stage that the head of a "c4" has."""

BETWEEN = ("Relu", "Add")
"""Operators that are quantised where all they read is: or each convolution would leave the 8 bits and come back."""

FEWEST, PICTURES = 4, 64
"""Pictures to read ranges off: at least, at most."""

FILE = "detector-int8.onnx"


def quantise(exported: Path, to: Path, images: Iterable[torch.Tensor]) -> int:
    """Write a detector's ONNX file in 8 bits.

    Args:
        exported: Of the float32 file.
        to: Of the file to write.
        images: [3, h, w] each, as the graph takes them; ordinary pictures, for their ranges become the ranges of all.

    Returns:
        How many operators were quantised.
    """
    with _as_convolutions(exported) as plain, _quiet():
        chosen = quantisable(onnx.load(str(plain), load_external_data=False))
        quantize_static(
            str(plain),
            str(to),
            _Calibration(images),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=["Conv", *BETWEEN],
            nodes_to_quantize=chosen,
            per_channel=True,  # of weights
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    return len(chosen)


def quantisable(model: onnx.ModelProto) -> list[str]:
    """Name the operators of a detector's graph that 8 bits suffice for."""
    known = {weight.name for weight in model.graph.initializer}
    inside: set[str] = set()
    names = []
    for node in model.graph.node:  # in the order in which they run
        read_from = [name for name in node.input if name not in known]
        is_stage = node.op_type == "Conv" and node.input[1].startswith(STAGES)
        is_between = node.op_type in BETWEEN and read_from != [] and inside.issuperset(read_from)
        if is_stage or is_between:
            names.append(node.name)
            inside.update(node.output)
    return names


def pictures(
    folder: Path, config: AnyConfig, advance: Callable[[str], None], *, most: int = PICTURES
) -> Iterator[torch.Tensor]:
    """Read pictures to calibrate with, spread over a folder, as the detector's graph takes them.

    Args:
        folder: Of picture files, at any depth; what is none is passed over.
        config: Of the detector.
        advance: Told the name of each.
        most: Pictures.

    Yields:
        [3, h, w] each.

    Raises:
        ConfigInvalid: Too few of the files are pictures.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    count = 0
    for picture, path in _readable(files[:: max(len(files) // most, 1)]):
        count += 1
        yield prepare(picture.rgb, config)
        advance(path.name)
        if count == most:
            return
    if count < FEWEST:
        raise ConfigInvalid(
            f"{folder}: {count} pictures could be read; ranges are read off {FEWEST} at least, like those to be seen"
        )


def _readable(files: Sequence[Path]) -> Iterator[tuple[Picture, Path]]:
    for path in files:
        try:
            yield read(path, limits=ImageLimits()), path
        except TwelveError:
            continue


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime has no types
    """Gives onnxruntime one picture after the other."""

    def __init__(self, images: Iterable[torch.Tensor]) -> None:
        self._images = iter(images)

    def get_next(self) -> dict[str, Any] | None:
        """Give the inputs of one run; None at the end."""
        image = next(self._images, None)
        if image is None:
            return None
        whole = np.array([[0, 0, image.shape[2], image.shape[1]]] * LEAST_GIVEN, dtype=np.float32)
        return {"image": image.numpy(), "given": whole}


@contextmanager
def _as_convolutions(exported: Path) -> Iterator[Path]:
    """Write the file with what is to be quantised as convolutions again; beside it, for it may name others there."""
    plain = exported.with_name(f"unfinished-plain-{exported.name}")
    model = ir.load(exported)
    winograd.restore(model, lambda weight: weight.startswith(STAGES))
    try:
        ir.save(model, plain)
        yield plain
    finally:
        plain.unlink(missing_ok=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the advice to preprocess the model: the exporter has folded and named all there is."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
