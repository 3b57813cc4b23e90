"""Where things may be: the best anchors of each map, corrected, no two of a map too near each other.

Shapes: N pictures · C channels · h, w cells · A anchors a cell · B best anchors of a level · P proposals.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twelve.regions.detector import BOX_NUMBERS, Proposals
from twelve.regions.ops import nms
from twelve.regions.rcnn.coding import ANCHORS, clip, decode, over_map
from twelve.regions.rcnn.config import RcnnConfig

UNWEIGHTED = (1.0, 1.0, 1.0, 1.0)
"""The corrections of anchors, in all the codes alike."""

INITIAL_SPREAD = 0.01


class ProposalHead(nn.Module):
    """Says of each anchor whether a thing is there, and how to correct the anchor."""

    def __init__(self, inputs: int, inside: int, anchors: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, inside, 3, padding=1)
        self.objectness_logits = nn.Conv2d(inside, anchors, 1)
        self.anchor_deltas = nn.Conv2d(inside, anchors * BOX_NUMBERS, 1)
        for layer in (self.objectness_logits, self.anchor_deltas):
            nn.init.normal_(layer.weight, std=INITIAL_SPREAD)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Give logits [N, h * w * A] and corrections [N, h * w * A, 4]."""
        looked = F.relu(self.conv(maps))
        logits = self.objectness_logits(looked).permute(0, 2, 3, 1).flatten(1)
        corrections = self.anchor_deltas(looked).permute(0, 2, 3, 1).unflatten(3, (-1, BOX_NUMBERS))  # [N, h, w, A, 4]
        return logits, corrections.flatten(1, 3)


class CellAnchors(nn.Module):
    """The anchors of a cell, a buffer a level: a checkpoint's own win over what its configuration would give."""

    def __init__(self, config: RcnnConfig, strides: list[int]) -> None:
        super().__init__()
        each = len(config.anchor_sides) // len(strides)  # one a level of a pyramid, all on a single map
        for level, stride in enumerate(strides):
            sides = config.anchor_sides[level * each : (level + 1) * each]
            shapes = ANCHORS[config.rounded_anchors](sides, config.anchor_ratios, stride=stride)
            self.register_buffer(str(level), shapes)

    def of(self, level: int) -> Tensor:
        """Give the anchors of a level, [A, 4]."""
        return self.get_buffer(str(level))


class AnchorGenerator(nn.Module):
    """Lays anchors over maps."""

    def __init__(self, config: RcnnConfig, strides: list[int]) -> None:
        super().__init__()
        self.strides = strides
        self.cell_anchors = CellAnchors(config, strides)

    def over(self, maps: Tensor, level: int) -> Tensor:
        """Give the anchors over a level's map, [h * w * A, 4]."""
        shapes = self.cell_anchors.of(level)
        return over_map(shapes, height=maps.shape[2], width=maps.shape[3], stride=self.strides[level])


class ProposalGenerator(nn.Module):
    """Proposes boxes from the maps of all levels.

    Source: detectron2/modeling/proposal_generator/proposal_utils.py and maskrcnn_benchmark/modeling/rpn/inference.py,
    which give the same at test: per level its best and their NMS, then the best of all levels. Differs: ranked by
    logits in both; maskrcnn-benchmark ranks by their sigmoids, which tie where they saturate.
    """

    def __init__(self, config: RcnnConfig, *, width: int, strides: list[int]) -> None:
        super().__init__()
        self.config = config
        self.anchor_generator = AnchorGenerator(config, strides)
        anchors = len(self.anchor_generator.cell_anchors.of(0))
        self.rpn_head = ProposalHead(width, config.proposal_width, anchors)

    def forward(self, levels: list[Tensor], *, height: int, width: int) -> Proposals:
        """Give the proposals of pictures of this size, best first."""
        found = [self._of_level(maps, level, height=height, width=width) for level, maps in enumerate(levels)]
        boxes = torch.cat([boxes for boxes, _ in found], dim=1)
        logits = torch.cat([logits for _, logits in found], dim=1)
        best, index = logits.topk(self.config.proposals, dim=1)
        return Proposals(_rows(boxes, index), best > _nothing(best))

    def _of_level(self, maps: Tensor, level: int, *, height: int, width: int) -> tuple[Tensor, Tensor]:
        """Give the boxes of one map, best first, [N, B, 4], and their logits, the least number where there is none."""
        config = self.config
        logits, corrections = self.rpn_head(maps)
        best, index = _best(logits, config.candidates)  # [N, B]
        references = self.anchor_generator.over(maps, level)[index]
        moved = decode(_rows(corrections, index), references, weights=UNWEIGHTED, offset=config.box_offset)
        boxes = clip(moved, height=height, width=width, offset=config.box_offset)
        large = (boxes[..., 2:] - boxes[..., :2] > config.least_proposal).all(dim=-1)
        ranked = best.masked_fill(~large, _nothing(best))
        chosen, valid = nms(boxes, ranked, config.proposal_overlap, config.candidates, config.box_offset)
        return _rows(boxes, chosen), ranked.gather(1, chosen).masked_fill(~valid, _nothing(best))


def _best(logits: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Give the best anchors [N, B] and where they lie; a map with fewer repeats its last one as nothing."""
    padded = F.pad(logits, (0, count), value=_nothing(logits))
    best, index = padded.topk(count, dim=1)
    return best, index.clamp(max=logits.shape[1] - 1)


def _nothing(logits: Tensor) -> float:
    return torch.finfo(logits.dtype).min


def _rows(values: Tensor, index: Tensor) -> Tensor:
    return values.gather(1, index[:, :, None].expand(-1, -1, values.shape[2]))
