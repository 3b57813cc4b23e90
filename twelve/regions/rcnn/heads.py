"""What is in a box: its features and its classes.

Shapes: N pictures · P boxes of a picture · C channels · S bins a side · F feature width · L classes.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twelve.regions.detector import BOX_NUMBERS
from twelve.regions.ops import roi_align, roi_align_levels, roi_pool
from twelve.regions.rcnn.backbone import stage
from twelve.regions.rcnn.coding import clip, decode
from twelve.regions.rcnn.config import RcnnConfig

CANONICAL_SIDE, CANONICAL_LEVEL = 224, 4
"""A box of this side is read off the map of stride 2^4 (FPN, arXiv:1612.03144, equation 1)."""

FINEST_LEVEL = 2

CLASS_SPREAD, CORRECTION_SPREAD = 0.01, 0.001


class Described(NamedTuple):
    """A box twice: what others are told of it, and what its class is told from. [N, P, F] each."""

    features: Tensor
    seen: Tensor


class BoxHead(nn.Module):
    """Two layers over a pooled box."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, width)
        self.fc2 = nn.Linear(width, width)

    def forward(self, pooled: Tensor) -> dict[str, Tensor]:
        """Give what each layer says behind its ReLU, [N, P, F]."""
        first = F.relu(self.fc1(pooled))
        return {"fc1": first, "fc2": F.relu(self.fc2(first))}


class BoxPredictor(nn.Module):
    """Classes of a box, background last, and a correction for each but that."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.cls_score = nn.Linear(width, classes + 1)
        self.bbox_pred = nn.Linear(width, classes * BOX_NUMBERS)
        nn.init.normal_(self.cls_score.weight, std=CLASS_SPREAD)
        nn.init.normal_(self.bbox_pred.weight, std=CORRECTION_SPREAD)

    def chances(self, seen: Tensor) -> Tensor:
        """Give the classes' chances, background left out, [N, P, L]."""
        return torch.softmax(self.cls_score(seen), dim=-1)[..., :-1]

    def corrections(self, seen: Tensor, classes: Tensor) -> Tensor:
        """Give the correction of each box for its class [N, P] of these, [N, P, 4]."""
        each = self.bbox_pred(seen).unflatten(-1, (-1, BOX_NUMBERS))  # [N, P, L, 4]
        rows = classes[:, :, None, None].expand(-1, -1, 1, BOX_NUMBERS)
        return each.gather(2, rows)[:, :, 0]


class RegionHeads(nn.Module):
    """What the two kinds share: classes, and the boxes that regions have."""

    def __init__(self, config: RcnnConfig) -> None:
        super().__init__()
        self.config = config
        self.box_predictor = BoxPredictor(config.feature_width, len(config.class_names))

    def regions(self, boxes: Tensor, seen: Tensor, chances: Tensor, *, height: int, width: int) -> Tensor:
        """Give the boxes [N, P, 4] that regions have which were proposed as these."""
        return REGIONS[self.config.regions](self, boxes, seen, chances, (height, width))


class LayeredHeads(RegionHeads):
    """Two layers over a box read off the pyramid's map of its scale."""

    def __init__(self, config: RcnnConfig, *, width: int, strides: list[int]) -> None:
        super().__init__(config)
        self.scales = [1 / stride for stride in strides[:-1]]  # the coarsest map is for proposals only
        self.box_head = BoxHead(width * config.bins**2, config.head_width)

    def forward(self, levels: list[Tensor], boxes: Tensor) -> Described:
        """Describe boxes [N, P, 4]."""
        config, maps = self.config, levels[:-1]
        pooled = roi_align_levels(
            maps, boxes, self.scales, self._levels(boxes), config.bins, config.samples, config.half_pixel
        )
        layers = self.box_head(pooled.flatten(2))  # [N, P, C * S * S]
        return Described(layers[config.feature], layers["fc2"])

    def _levels(self, boxes: Tensor) -> Tensor:
        """Give the map that each box is read off, [N, P]."""
        sides = boxes[..., 2:] - boxes[..., :2] + self.config.box_offset
        side = sides.clamp(min=0).prod(dim=-1).sqrt()
        level = torch.floor(CANONICAL_LEVEL + torch.log2(side / CANONICAL_SIDE + self.config.level_epsilon))
        return level.clamp(FINEST_LEVEL, FINEST_LEVEL + len(self.scales) - 1).long() - FINEST_LEVEL


class StageHeads(RegionHeads):
    """The last residual stage over a box read off the one map, and its mean."""

    def __init__(self, config: RcnnConfig, *, width: int, strides: list[int]) -> None:
        super().__init__(config)
        del width  # the stage knows
        self.scale = 1 / strides[0]
        self.res5 = stage(config, len(config.blocks) - 1)

    def forward(self, levels: list[Tensor], boxes: Tensor) -> Described:
        """Describe boxes [N, P, 4]."""
        pooled = POOLINGS[self.config.pooling](levels[0], boxes, self.scale, self.config)  # [N, P, C, S, S]
        features = self.res5(pooled.flatten(0, 1)).mean(dim=(2, 3)).unflatten(0, boxes.shape[:2])
        return Described(features, features)


def _aligned(maps: Tensor, boxes: Tensor, scale: float, config: RcnnConfig) -> Tensor:
    return roi_align(maps, boxes, scale, config.bins, config.samples, config.half_pixel)


def _max_pooled(maps: Tensor, boxes: Tensor, scale: float, config: RcnnConfig) -> Tensor:
    return roi_pool(maps, boxes, scale, config.bins)


POOLINGS: Mapping[str, Callable[[Tensor, Tensor, float, RcnnConfig], Tensor]] = {
    "align": _aligned,
    "max": _max_pooled,
}


def _proposed(heads: RegionHeads, boxes: Tensor, seen: Tensor, chances: Tensor, sides: tuple[int, int]) -> Tensor:
    del heads, seen, chances, sides
    return boxes


def _refined(heads: RegionHeads, boxes: Tensor, seen: Tensor, chances: Tensor, sides: tuple[int, int]) -> Tensor:
    """Correct each box for its likeliest class, as `do_nms` of transformers' lxmert/modeling_frcnn.py does."""
    config = heads.config
    corrections = heads.box_predictor.corrections(seen, chances.argmax(dim=-1))
    moved = decode(corrections, boxes, weights=config.correction_weights, offset=config.box_offset)
    return clip(moved, height=sides[0], width=sides[1], offset=config.box_offset)


REGIONS: Mapping[str, Callable[[RegionHeads, Tensor, Tensor, Tensor, tuple[int, int]], Tensor]] = {
    "proposals": _proposed,
    "refined": _refined,
}

HEADS: Mapping[str, type[LayeredHeads] | type[StageHeads]] = {"fpn": LayeredHeads, "c4": StageHeads}
