"""What a detector is trained for: to propose, name, correct, and describe so that attributes can be read off a feature.

Shapes: N pictures · A anchors · P looked-at boxes · G things of a picture, padded · F feature width
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.detector.examples import KIND_NAMES, LIGHTS, SIZES, UNSAID, Examples
from training.detector.targets import best_anchors, gather, jitter, match, pairwise_overlaps, sample
from training.world.kinds import COLORS, PLACES
from twelve.regions.coding import encode
from twelve.regions.detector import Detector, Proposals, RegionHead

THING_ANCHOR, EMPTY_ANCHOR = 0.6, 0.35
"""An anchor that overlaps a thing by the first or more is one; by less than the second, none; between, nobody asks."""

ANCHORS_WITH_THINGS, ANCHORS_WITHOUT = 24, 72
"""Drawn of each picture for the proposal loss."""

THING_BOX = 0.5
"""A looked-at box that overlaps a thing by this much stands for it (Fast R-CNN, arXiv:1504.08083, section 2.3)."""

BACKGROUND = len(KIND_NAMES)

Losses = Mapping[str, Tensor]


class AttributeHeads(nn.Module):
    """Read attributes off a region's feature. They serve training only: what they can read, the model can."""

    def __init__(self, feature_width: int) -> None:
        super().__init__()
        self.colors = nn.Linear(feature_width, len(COLORS))
        self.sizes = nn.Linear(feature_width, len(SIZES))
        self.places = nn.Linear(feature_width, len(PLACES))
        self.lights = nn.Linear(feature_width, len(LIGHTS))


class Looked(NamedTuple):
    """Boxes of a batch that the region head looked at.

    Attributes:
        boxes: [N, P, 4].
        usable: [N, P], False for padding.
        thing: [N, P], the thing that each overlaps most.
        is_thing: [N, P], whether it overlaps it enough to stand for it.
        features: [N, P, F].
    """

    boxes: Tensor
    usable: Tensor
    thing: Tensor
    is_thing: Tensor
    features: Tensor

    def numbers(self, values: Tensor) -> Tensor:
        """Give each box its thing's value of [N, G]; UNSAID where it stands for none."""
        return gather(values, self.thing).masked_fill(~self.is_thing, UNSAID)


def losses(detector: Detector, attributes: AttributeHeads, batch: Examples, *, generator: torch.Generator) -> Losses:
    """Give each loss of a batch, by name."""
    maps = detector.backbone(batch.pixels.float()).float()  # RoIAlign needs coordinates finer than bfloat16's
    logits, corrections = (tensor.float() for tensor in detector.proposal_head(maps))
    boxes, usable = _boxes_to_look_at(detector, maps, logits, corrections, batch, generator)
    height, width = batch.pixels.shape[2:]
    features = detector.region_head(maps, boxes, height=height, width=width).float()
    thing, overlap = match(boxes, batch.boxes)
    looked = Looked(boxes, usable, thing, usable & (overlap >= THING_BOX), features)
    return {
        **proposal_losses(logits, corrections, detector.proposal_head.anchors(maps), batch, generator=generator),
        **region_losses(detector.region_head, looked, batch),
        **attribute_losses(attributes, looked, batch),
    }


def proposal_losses(
    logits: Tensor, corrections: Tensor, anchors: Tensor, batch: Examples, *, generator: torch.Generator
) -> Losses:
    """Give the losses of [N, A] logits and [N, A, 4] corrections of [A, 4] anchors."""
    references = anchors.expand(len(batch), -1, -1)
    overlaps = pairwise_overlaps(references, batch.boxes)  # [N, A, G]
    overlap, thing = overlaps.max(dim=2)
    is_thing = (overlap >= THING_ANCHOR) | best_anchors(overlaps)
    things = sample(is_thing, ANCHORS_WITH_THINGS, generator)
    drawn = things | sample(~is_thing & (overlap < EMPTY_ANCHOR), ANCHORS_WITHOUT, generator)
    targets = encode(gather(batch.boxes, thing), references)
    return {
        "objects": F.binary_cross_entropy_with_logits(logits[drawn], is_thing[drawn].float()),
        "anchors": _distance(corrections[things], targets[things]),
    }


def region_losses(head: RegionHead, looked: Looked, batch: Examples) -> Losses:
    """Give the losses of naming and correcting the boxes looked at."""
    named = torch.where(looked.is_thing, gather(batch.kinds, looked.thing), BACKGROUND)
    corrections = head.corrections(looked.features).float()[looked.is_thing]
    targets = encode(gather(batch.boxes, looked.thing), looked.boxes)[looked.is_thing]
    return {
        "kinds": cross_entropy(head.classes(looked.features), named.masked_fill(~looked.usable, UNSAID)),
        "boxes": _distance(corrections, targets),
    }


def attribute_losses(heads: AttributeHeads, looked: Looked, batch: Examples) -> Losses:
    """Give the losses of reading off each region what it looks like, and off all of them where and when this is."""
    features = looked.features
    padding = ~looked.usable
    return {
        "colors": cross_entropy(heads.colors(features), looked.numbers(batch.colors)),
        "sizes": cross_entropy(heads.sizes(features), looked.numbers(batch.sizes)),
        "places": cross_entropy(heads.places(features), batch.places[:, None].masked_fill(padding, UNSAID)),
        "lights": cross_entropy(heads.lights(features), batch.lights[:, None].masked_fill(padding, UNSAID)),
    }


def cross_entropy(logits: Tensor, numbers: Tensor) -> Tensor:
    """Average the cross-entropy over the numbers that are said; 0 where none is."""
    total = F.cross_entropy(logits.flatten(0, -2).float(), numbers.flatten(), ignore_index=UNSAID, reduction="sum")
    return total / (numbers != UNSAID).sum().clamp(min=1)


@torch.no_grad()
def _boxes_to_look_at(
    detector: Detector,
    maps: Tensor,
    logits: Tensor,
    corrections: Tensor,
    batch: Examples,
    generator: torch.Generator,
) -> Proposals:
    """Give the proposals, the things themselves, and boxes about as far off as a caller's may be."""
    height, width = batch.pixels.shape[2:]
    head = detector.proposal_head
    proposals = head.select(logits, corrections, head.anchors(maps), height=height, width=width)
    strayed = jitter(batch.boxes, height=height, width=width, generator=generator)
    real = batch.kinds != UNSAID
    return Proposals(
        boxes=torch.cat([proposals.boxes, strayed, batch.boxes], dim=1),
        valid=torch.cat([proposals.valid, real, real], dim=1),
    )


def _distance(given: Tensor, wanted: Tensor) -> Tensor:
    """Give the smooth L1 distance of corrections, summed over the four numbers and averaged over boxes."""
    return F.smooth_l1_loss(given, wanted, reduction="sum") / max(len(given), 1)
