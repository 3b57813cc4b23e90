"""What the files of published detectors hold, written down from the modules that save them, at any size.

Each row pairs a key of theirs with the parameter of ours that holds the same, so that a test can write any of our
detectors as they would. `tests/data/detector-keys` has the rows at the published sizes.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from twelve.regions.rcnn.config import RcnnConfig

NORM = ("weight", "bias", "running_mean", "running_var")
GENERATOR, HEADS = "proposal_generator", "roi_heads"
ATTRIBUTES, EMBEDDED, HIDDEN = 400, 256, 512
BINARY = 256
"""Numbers that are multiples of one part in so many are added and subtracted exactly."""


class Row(NamedTuple):
    """A key of theirs, its shape, and our name of it."""

    key: str
    shape: tuple[int, ...]
    ours: str | None = None


@dataclass(frozen=True)
class Style:
    """What differs between those who write residual nets."""

    norm: Callable[[str], str]
    shortcut: tuple[str, str]


DETECTRON2 = Style(lambda conv: f"{conv}.norm", ("shortcut", "shortcut.norm"))
MASKRCNN_BENCHMARK = Style(lambda conv: conv.replace("conv", "bn"), ("downsample.0", "downsample.1"))


def _convolution(theirs: str, norm: str, ours: str, shape: tuple[int, ...]) -> Iterator[Row]:
    yield Row(f"{theirs}.weight", shape, f"{ours}.weight")
    yield from (Row(f"{norm}.{leaf}", shape[:1], f"{ours}.norm.{leaf}") for leaf in NORM)


def _layer(theirs: str, ours: str | None, *shape: int) -> Iterator[Row]:
    yield Row(f"{theirs}.weight", shape, ours and f"{ours}.weight")
    yield Row(f"{theirs}.bias", shape[:1], ours and f"{ours}.bias")


def _stem(theirs: str, ours: str, style: Style, config: RcnnConfig) -> Iterator[Row]:
    shape = (config.stem_width, 3, 7, 7)
    yield from _convolution(f"{theirs}.conv1", f"{theirs}.{style.norm('conv1')}", f"{ours}.conv1", shape)


def _stage(theirs: str, ours: str, style: Style, config: RcnnConfig, stage: int) -> Iterator[Row]:
    """Give res2 as stage 0; as make_stage of detectron2, and ResNet of maskrcnn-benchmark, build it."""
    outputs, inside = config.stage_width * 2**stage, config.groups * config.group_width * 2**stage
    inputs = config.stage_width * 2 ** (stage - 1) if stage else config.stem_width
    for block in range(config.blocks[stage]):
        at, us = f"{theirs}.{block}", f"{ours}.{block}"
        if block == 0:
            convolution, norm = style.shortcut
            shape = (outputs, inputs, 1, 1)
            yield from _convolution(f"{at}.{convolution}", f"{at}.{norm}", f"{us}.shortcut", shape)
        shapes = {
            "conv1": (inside, inputs, 1, 1),
            "conv2": (inside, inside // config.groups, 3, 3),
            "conv3": (outputs, inside, 1, 1),
        }
        for name, shape in shapes.items():
            yield from _convolution(f"{at}.{name}", f"{at}.{style.norm(name)}", f"{us}.{name}", shape)
        inputs = outputs


def _proposals(
    theirs: str, names: tuple[str, str], config: RcnnConfig, width: int, levels: int, *, scores: int = 1
) -> Iterator[Row]:
    anchors, inside = len(config.anchor_sides) // levels * len(config.anchor_ratios), config.proposal_width
    ours = f"{GENERATOR}.rpn_head"
    yield from _layer(f"{theirs}.conv", f"{ours}.conv", inside, width, 3, 3)
    yield from _layer(f"{theirs}.{names[0]}", f"{ours}.objectness_logits", scores * anchors, inside, 1, 1)
    yield from _layer(f"{theirs}.{names[1]}", f"{ours}.anchor_deltas", 4 * anchors, inside, 1, 1)


def _anchors(theirs: str, config: RcnnConfig, levels: int) -> Iterator[Row]:
    anchors = len(config.anchor_sides) // levels * len(config.anchor_ratios)
    for level in range(levels):
        name = f"anchor_generator.cell_anchors.{level}"
        yield Row(f"{theirs}.{name}", (anchors, 4), f"{GENERATOR}.{name}")


def _predictor(theirs: str, config: RcnnConfig, width: int, *, moved: int) -> Iterator[Row]:
    ours, classes = f"{HEADS}.box_predictor", len(config.class_names)
    yield from _layer(f"{theirs}.cls_score", f"{ours}.cls_score", classes + 1, width)
    yield from _layer(f"{theirs}.bbox_pred", f"{ours}.bbox_pred", moved * 4, width)


def maskrcnn_benchmark(config: RcnnConfig) -> list[Row]:
    """Give the published X-152's: vqa-maskrcnn-benchmark's GeneralizedRCNN with its FPNPredictor and attributes."""
    style, rows = MASKRCNN_BENCHMARK, []
    rows += _stem("backbone.body.stem", "backbone.bottom_up.stem", style, config)
    for stage in range(4):
        ours = f"backbone.bottom_up.res{stage + 2}"
        rows += _stage(f"backbone.body.layer{stage + 1}", ours, style, config, stage)
    width = config.pyramid_width
    for level in range(4):
        inputs = config.stage_width * 2**level
        rows += _layer(f"backbone.fpn.fpn_inner{level + 1}", f"backbone.fpn_lateral{level + 2}", width, inputs, 1, 1)
        rows += _layer(f"backbone.fpn.fpn_layer{level + 1}", f"backbone.fpn_output{level + 2}", width, width, 3, 3)
    rows += _anchors("rpn", config, 5)
    rows += _proposals("rpn.head", ("cls_logits", "bbox_pred"), config, width, 5)
    extractor, head = f"{HEADS}.box.feature_extractor", config.head_width
    rows += _layer(f"{extractor}.fc6", f"{HEADS}.box_head.fc1", head, width * config.bins**2)
    rows += _layer(f"{extractor}.fc7", f"{HEADS}.box_head.fc2", head, head)
    classes, predictor = len(config.class_names) + 1, f"{HEADS}.box.predictor"
    rows += _predictor(predictor, config, head, moved=classes)
    return [*rows, *_caffe_attributes(predictor, classes, head, ATTRIBUTES)]


def _caffe_attributes(theirs: str, classes: int, width: int, attributes: int) -> Iterator[Row]:
    yield Row(f"{theirs}.cls_embed.weight", (classes, EMBEDDED))
    yield from _layer(f"{theirs}.attr_linear1", None, HIDDEN, width + EMBEDDED)
    yield from _layer(f"{theirs}.attr_linear2", None, attributes, HIDDEN)


def _c4(config: RcnnConfig, *, scores: int = 1, moved: int, anchors: bool = True) -> list[Row]:
    """Give a C4 net as detectron2's modules name it."""
    rows = [*_stem("backbone.stem", "backbone.stem", DETECTRON2, config)]
    for stage in range(3):
        rows += _stage(*[f"backbone.res{stage + 2}"] * 2, DETECTRON2, config, stage)
    rows += _anchors(GENERATOR, config, 1) if anchors else ()
    names = ("objectness_logits", "anchor_deltas")
    rows += _proposals(f"{GENERATOR}.rpn_head", names, config, config.stage_width * 4, 1, scores=scores)
    rows += _stage(f"{HEADS}.res5", f"{HEADS}.res5", DETECTRON2, config, 3)
    return [*rows, *_predictor(f"{HEADS}.box_predictor", config, config.stage_width * 8, moved=moved)]


def bottom_up(config: RcnnConfig) -> list[Row]:
    """Give unc-nlp/frcnn-vg-finetuned's: FRCNN of modeling_frcnn.py, whose norms count and whose anchors are kept."""
    width, classes = config.stage_width * 8, len(config.class_names)
    predictor = f"{HEADS}.box_predictor"
    rows = _c4(config, moved=classes)
    rows += [Row(f"{predictor}.cls_embedding.weight", (classes + 1, width // 8))]
    rows += _layer(f"{predictor}.fc_attr", None, width // 4, width + width // 8)
    rows += _layer(f"{predictor}.attr_score", None, ATTRIBUTES + 1, width // 4)
    norms = [row.key.removesuffix("running_var") for row in rows if row.key.endswith("running_var")]
    return rows + [Row(f"{norm}num_batches_tracked", ()) for norm in norms]


def airsplay(config: RcnnConfig) -> list[Row]:
    """Give the pickle's that the former was made from: numpy's arrays of parameters alone."""
    rows = bottom_up(config)
    return [row for row in rows if not row.key.endswith("num_batches_tracked") and "cell_anchors" not in row.key]


def bua_caffe(config: RcnnConfig) -> list[Row]:
    """Give bua-caffe-frcn-r101's: BUARPN, BUACaffeRes5ROIHeads with attributes."""
    classes = len(config.class_names) + 1
    attributes = _caffe_attributes(f"{HEADS}.box_predictor", classes, config.stage_width * 8, ATTRIBUTES + 1)
    return [*_c4(config, scores=2, moved=classes), *attributes]


def bua_d2(config: RcnnConfig) -> list[Row]:
    """Give bua-d2-frcn-r101's: detectron2's C4 and an AttributePredictor."""
    width, classes, predictor = config.stage_width * 8, len(config.class_names), f"{HEADS}.attribute_predictor"
    rows = _c4(config, moved=classes)
    rows += [Row(f"{predictor}.obj_embed.weight", (classes + 1, EMBEDDED))]
    rows += _layer(f"{predictor}.fc.0", None, HIDDEN, width + EMBEDDED)
    return [*rows, *_layer(f"{predictor}.attr_score", None, ATTRIBUTES, HIDDEN)]


def detectron2_c4(config: RcnnConfig) -> list[Row]:
    """Give the model zoo's faster_rcnn_R_50_C4 and R_101_C4."""
    return _c4(config, moved=len(config.class_names), anchors=False)


def detectron2_fpn(config: RcnnConfig) -> list[Row]:
    """Give the model zoo's faster_rcnn_R_50_FPN and R_101_FPN."""
    body = "backbone.bottom_up"
    rows = [*_stem(f"{body}.stem", f"{body}.stem", DETECTRON2, config)]
    for stage in range(4):
        rows += _stage(*[f"{body}.res{stage + 2}"] * 2, DETECTRON2, config, stage)
    width = config.pyramid_width
    for level in range(4):
        lateral, output = f"backbone.fpn_lateral{level + 2}", f"backbone.fpn_output{level + 2}"
        rows += _layer(lateral, lateral, width, config.stage_width * 2**level, 1, 1)
        rows += _layer(output, output, width, width, 3, 3)
    rows += _proposals(f"{GENERATOR}.rpn_head", ("objectness_logits", "anchor_deltas"), config, width, 5)
    first, second = (f"{HEADS}.box_head.fc{layer}" for layer in (1, 2))
    rows += _layer(first, first, config.head_width, width * config.bins**2)
    rows += _layer(second, second, config.head_width, config.head_width)
    return [*rows, *_predictor(f"{HEADS}.box_predictor", config, config.head_width, moved=len(config.class_names))]


def write_as(layout: "Layout", config: RcnnConfig, state: Mapping[str, Tensor], *, seed: int = 0) -> dict[str, Tensor]:
    """Write a detector of ours in their layout; what we lack is drawn."""
    drawn = torch.Generator().manual_seed(seed)
    return {row.key: _theirs(row, state, layout, drawn) for row in layout.rows(config)}


def _theirs(row: Row, state: Mapping[str, Tensor], layout: "Layout", drawn: torch.Generator) -> Tensor:
    noise = binary(torch.rand(row.shape, generator=drawn))
    if row.ours is None:
        return torch.tensor(7) if row.key.endswith("num_batches_tracked") else noise
    ours = state[row.ours].clone()
    if layout.is_background_first and "cls_score" in row.key:
        return torch.cat([ours[-1:], ours[:-1]])
    more = row.shape[0] - len(ours)
    if "objectness" in row.key and more:
        return torch.cat([noise[:more], noise[:more] + ours])
    return torch.cat([noise[:more], ours])


def binary(tensor: Tensor) -> Tensor:
    """Round numbers so that adding some and subtracting them again changes nothing."""
    return (tensor * BINARY).round() / BINARY


@dataclass(frozen=True)
class Layout:
    """How a published file is laid out.

    Attributes:
        rows: Its keys, for a configuration.
        format: What the import calls it.
        preset: What it holds.
        classes: How many the published one has.
        is_background_first: Whether class 0 is the background.
    """

    rows: Callable[[RcnnConfig], list[Row]]
    format: str
    preset: str
    classes: int = 1600
    is_background_first: bool = False

    def config(self) -> RcnnConfig:
        """Give the published sizes."""
        return RcnnConfig.of(self.preset, [str(label) for label in range(self.classes)])


LAYOUTS: Mapping[str, Layout] = {
    "vilbert-multi-task-x152": Layout(maskrcnn_benchmark, "maskrcnn-benchmark", "x152-fpn", is_background_first=True),
    "frcnn-vg-finetuned": Layout(bottom_up, "bottom-up-attention", "vg-r101-c4"),
    "py-bottom-up-attention": Layout(airsplay, "bottom-up-attention", "vg-r101-c4"),
    "bua-caffe-frcn-r101": Layout(bua_caffe, "bua-caffe", "vg-r101-c4", is_background_first=True),
    "bua-d2-frcn-r101": Layout(bua_d2, "bua-d2", "r101-c4"),
    "detectron2-r50-fpn": Layout(detectron2_fpn, "detectron2", "r50-fpn", 80),
    "detectron2-r101-fpn": Layout(detectron2_fpn, "detectron2", "r101-fpn", 80),
    "detectron2-r50-c4": Layout(detectron2_c4, "detectron2", "r50-c4", 80),
    "detectron2-r101-c4": Layout(detectron2_c4, "detectron2", "r101-c4", 80),
}
"""By the names of the committed lists."""
