"""What others call a detector's parameters, and what they hold otherwise than we do.

Ours are the names of detectron2's `GeneralizedRCNN`, with the background last. A renaming is a list of patterns and
what stands in their place, applied one after the other to a name of ours; it gives theirs.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from twelve.regions.detector import BOX_NUMBERS

Shape = tuple[int, ...]
Renaming = Sequence[tuple[str, str]]

CLASS_ROWS = "roi_heads.box_predictor.cls_score.bias"
"""Has a row for each class and one for the background."""

ANCHORS = r"proposal_generator\.anchor_generator\.cell_anchors\.\d+"

STAGES = (2, 3, 4, 5)
"""Of a residual net, as detectron2 counts them; maskrcnn-benchmark counts from 1."""

DETECTRON2: Renaming = ()

MASKRCNN_BENCHMARK: Renaming = (
    (r"^backbone\.bottom_up\.", "backbone.body."),
    *((rf"^backbone\.body\.res{stage}\.", f"backbone.body.layer{stage - 1}.") for stage in STAGES),
    *((rf"^backbone\.fpn_lateral{stage}\.", f"backbone.fpn.fpn_inner{stage - 1}.") for stage in STAGES),
    *((rf"^backbone\.fpn_output{stage}\.", f"backbone.fpn.fpn_layer{stage - 1}.") for stage in STAGES),
    (r"\.conv(\d)\.norm\.", r".bn\1."),
    (r"\.shortcut\.norm\.", ".downsample.1."),
    (r"\.shortcut\.", ".downsample.0."),
    (r"^proposal_generator\.rpn_head\.objectness_logits\.", "rpn.head.cls_logits."),
    (r"^proposal_generator\.rpn_head\.anchor_deltas\.", "rpn.head.bbox_pred."),
    (r"^proposal_generator\.rpn_head\.", "rpn.head."),
    (r"^proposal_generator\.", "rpn."),
    (r"^roi_heads\.box_head\.fc1\.", "roi_heads.box.feature_extractor.fc6."),
    (r"^roi_heads\.box_head\.fc2\.", "roi_heads.box.feature_extractor.fc7."),
    (r"^roi_heads\.box_predictor\.", "roi_heads.box.predictor."),
)
"""Its backbone/resnet.py, backbone/fpn.py, rpn/rpn.py and roi_heads/box_head/, of 2018 and 2019."""


def renamed(name: str, renaming: Renaming) -> str:
    """Give the name that others have for a parameter of ours."""
    for pattern, theirs in renaming:
        name = re.sub(pattern, theirs, name)
    return name


@dataclass(frozen=True)
class Turn:
    """How a tensor of theirs becomes ours.

    Attributes:
        names: Pattern of our names.
        rows: How many rows theirs has where ours has so many.
        change: Makes ours of theirs.
    """

    names: str
    rows: Callable[[int], int]
    change: Callable[[Tensor], Tensor]

    def their_shape(self, ours: Shape) -> Shape:
        """Give the shape that theirs must have."""
        return (self.rows(ours[0]), *ours[1:])


def _background_last(rows: Tensor) -> Tensor:
    return torch.cat([rows[1:], rows[:1]])


def _without_background(rows: Tensor) -> Tensor:
    return rows[BOX_NUMBERS:]


def _difference(rows: Tensor) -> Tensor:
    """Make one score of two: a thing's minus the background's has the same sigmoid as the thing's softmax."""
    background, thing = rows.chunk(2)
    return thing - background


UNTURNED = Turn(".*", lambda rows: rows, lambda tensor: tensor)

BACKGROUND_FIRST = (
    Turn(r"roi_heads\.box_predictor\.cls_score\..*", lambda rows: rows, _background_last),
    Turn(r"roi_heads\.box_predictor\.bbox_pred\..*", lambda rows: rows + BOX_NUMBERS, _without_background),
)
"""Class 0 is the background, and has corrections that nobody uses."""

TWO_SCORES = (Turn(r"proposal_generator\.rpn_head\.objectness_logits\..*", lambda rows: 2 * rows, _difference),)
"""Caffe's proposals have a softmax over two scores an anchor: all backgrounds first, then all things."""


def turn_of(name: str, turns: Sequence[Turn]) -> Turn:
    """Find what is done with a parameter of ours."""
    return next((turn for turn in turns if re.fullmatch(turn.names, name)), UNTURNED)


@dataclass(frozen=True)
class Aside:
    """Keys of theirs that a detector of ours has no use for.

    Attributes:
        keys: Their pattern.
        reason: Why they are dropped, in words.
    """

    keys: str
    reason: str


COUNTED = Aside(r".*\.num_batches_tracked", "counted in training, used by nothing")
MASKS = Aside(r"roi_heads\.(mask|keypoint)(_head|_pooler)?\..*", "masks and keypoints of things; regions are boxes")
PIXELS = Aside(r"pixel_(mean|std)", "the settings say them")
ATTRIBUTES = Aside(
    r"roi_heads\.box_predictor\.(cls_embedding|fc_attr|attr_score|cls_embed|attr_linear1|attr_linear2)\..*"
    r"|roi_heads\.box\.predictor\.(cls_embed|attr_linear1|attr_linear2)\..*"
    r"|roi_heads\.attribute_predictor\..*",
    "attributes of things; regions have classes",
)
ASIDE = (COUNTED, MASKS, PIXELS, ATTRIBUTES)


def reason_of(key: str) -> str | None:
    """Say why a key of theirs is dropped; None where nobody knows it."""
    return next((aside.reason for aside in ASIDE if re.fullmatch(aside.keys, key)), None)
