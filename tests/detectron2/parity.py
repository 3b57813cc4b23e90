"""Our detectors beside detectron2's on the same weights and the same pictures, part by part.

Shapes: P proposals · D detections · F feature width · L classes.
"""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from tests.detectron2 import guests
from twelve.regions.detector import Found
from twelve.regions.rcnn.coding import clip, decode
from twelve.regions.rcnn.config import RcnnConfig
from twelve.regions.rcnn.detector import Rcnn

SAME_PX = 0.05
"""Boxes no further apart, in any of their sides, are the same; neighbours lie pixels apart."""

LAST_LAYER = {"FastRCNNConvFCHead": "fc2", "": "res5"}
"""What detectron2 classifies by, in our words: by the name of its box head."""

GIVEN = torch.tensor([[10.0, 12.0, 90.0, 150.0], [0.0, 0.0, 320.0, 250.0], [40.5, 60.25, 77.0, 88.0]])


@dataclass(frozen=True)
class Agreement:
    """How one picture came out.

    Attributes:
        size: Height and width of the picture.
        proposals: How many detectron2 made.
        proposals_matched: The share that is ours, too, box by box.
        proposal_gap_px: The largest between matched boxes.
        detections: How many detectron2 made: boxes corrected for a class.
        detections_matched: The share that is ours, too, box and class.
        detection_gap_px: The largest between matched boxes.
        score_gap: The largest between scores of matched detections.
        least_cosine: Of a proposal's or a given box's features and ours.
        feature_gap: The largest between two numbers of them, relative to the spread of all.
    """

    size: tuple[int, int]
    proposals: int
    proposals_matched: float
    proposal_gap_px: float
    detections: int
    detections_matched: float
    detection_gap_px: float
    score_gap: float
    least_cosine: float
    feature_gap: float


@dataclass(frozen=True)
class Looked:
    """What one of the two makes of a picture: everything before detections are chosen.

    Attributes:
        proposals: [P, 4].
        features: [P, F], what classes are told from.
        given: [3, F] of the boxes GIVEN.
        chances: [P, L + 1], background last.
        corrected: [P, L * 4], each proposal for each class.
    """

    proposals: Tensor
    features: Tensor
    given: Tensor
    chances: Tensor
    corrected: Tensor


HABITS: dict[str, dict[str, Any]] = {
    "x152-fpn": {
        "resize": "pillow",
        "norm_epsilon": 1e-5,
        "rounded_anchors": False,
        "box_offset": 0.0,
        "least_proposal": 0.0,
        "half_pixel": True,
        "level_epsilon": 1e-8,
        "means": (103.530, 116.280, 123.675),
    }
}
"""Where a preset of ours has habits that detectron2's code lacks, these are laid down first."""


def ours(cfg: Any, guest: nn.Module, preset: str, **changes: Any) -> Rcnn:
    """Give our detector of a preset with a guest's weights."""
    names = [f"class {number}" for number in range(cfg.MODEL.ROI_HEADS.NUM_CLASSES)]
    config = replace(
        RcnnConfig.of(preset, names),
        **{
            "proposals": cfg.MODEL.RPN.POST_NMS_TOPK_TEST,
            "feature": LAST_LAYER[cfg.MODEL.ROI_BOX_HEAD.NAME],
            **HABITS.get(preset, {}),
            **changes,
        },
    )
    detector = Rcnn(config)
    kept = {name: tensor for name, tensor in detector.state_dict().items() if ".cell_anchors." in name}
    detector.load_state_dict({**kept, **guest.state_dict()})  # detectron2 builds its anchors anew each time
    return detector.eval().requires_grad_(requires_grad=False)


def agreement(guest: nn.Module, detector: Rcnn, size: tuple[int, int], *, seed: int = 3) -> Agreement:
    """Lay both side by side on one picture."""
    image = guests.picture(*size, seed=seed)
    with torch.inference_mode():
        theirs, mine = looked_by_guest(guest, image), looked_by_us(detector, image)
        proposed = matched(theirs.proposals, mine.proposals)
        expected, got = (detections(guest, looked, size) for looked in (theirs, mine))
    rows = proposed.rows
    numbers = torch.cat([theirs.features, theirs.given]), torch.cat([mine.features[rows], mine.given])
    found = matched(expected.boxes, got.boxes, labels=(expected.labels, got.labels))
    return Agreement(
        size=size,
        proposals=len(theirs.proposals),
        proposals_matched=proposed.share if len(mine.proposals) == len(theirs.proposals) else 0.0,
        proposal_gap_px=proposed.gap,
        detections=len(expected.boxes),
        detections_matched=found.share if len(got.boxes) == len(expected.boxes) else 0.0,
        detection_gap_px=found.gap,
        score_gap=float((expected.scores - got.scores[found.rows]).abs().max()),
        least_cosine=float(torch.cosine_similarity(*numbers).min()),
        feature_gap=float((numbers[0] - numbers[1]).abs().max() / numbers[0].std()),
    )


def looked_by_guest(guest: Any, image: Tensor) -> Looked:
    """Go through a guest's own parts as its `inference` does, and keep what it forgets."""
    from detectron2.structures import Boxes

    images = guest.preprocess_image([{"image": image.flip(0)}])
    maps = guest.backbone(images.tensor)
    proposals, _ = guest.proposal_generator(images, maps, None)
    predictor = guest.roi_heads.box_predictor
    boxes = proposals[0].proposal_boxes.tensor
    features = described_by_guest(guest.roi_heads, maps, Boxes(boxes))
    predictions = predictor(features)
    return Looked(
        proposals=boxes,
        features=features,
        given=described_by_guest(guest.roi_heads, maps, Boxes(GIVEN)),
        chances=predictor.predict_probs(predictions, proposals)[0],
        corrected=predictor.predict_boxes(predictions, proposals)[0],
    )


def described_by_guest(heads: Any, maps: Any, boxes: Any) -> Tensor:
    """Give the features of boxes: by two layers where the heads have them, by the last stage where not."""
    if hasattr(heads, "box_head"):
        return heads.box_head(heads.box_pooler([maps[name] for name in heads.box_in_features], [boxes]))
    return heads._shared_roi_transform([maps[name] for name in heads.in_features], [boxes]).mean(dim=(2, 3))


def looked_by_us(detector: Rcnn, image: Tensor) -> Looked:
    """Go through our parts as `Rcnn.forward` does."""
    height, width = image.shape[1:]
    levels = detector.backbone(detector.normalised(image))
    proposals = detector.proposal_generator(levels, height=height, width=width)
    boxes = proposals.boxes[:, proposals.valid[0]]
    described = detector.roi_heads(levels, torch.cat([boxes, GIVEN[None]], dim=1))
    seen = described.seen[:, : boxes.shape[1]]
    predictor, config = detector.roi_heads.box_predictor, detector.config
    each = predictor.bbox_pred(seen).unflatten(-1, (-1, 4))[0]  # [P, L, 4]
    moved = decode(each, boxes[0][:, None], weights=config.correction_weights, offset=config.box_offset)
    return Looked(
        proposals=boxes[0],
        features=seen[0],
        given=described.features[0, boxes.shape[1] :],
        chances=predictor.cls_score(seen).softmax(dim=-1)[0],
        corrected=clip(moved, height=height, width=width, offset=config.box_offset).flatten(1),
    )


@dataclass(frozen=True)
class Detections:
    """What is found: [D, 4], [D], [D]."""

    boxes: Tensor
    scores: Tensor
    labels: Tensor


def detections(guest: Any, looked: Looked, size: tuple[int, int]) -> Detections:
    """Choose detections by detectron2's own rule."""
    from detectron2.modeling.roi_heads.fast_rcnn import fast_rcnn_inference

    rule = guest.roi_heads.box_predictor
    limits = (rule.test_score_thresh, rule.test_nms_thresh, rule.test_topk_per_image)
    found, _ = fast_rcnn_inference([looked.corrected], [looked.chances], [size], *limits)
    return Detections(found[0].pred_boxes.tensor, found[0].scores, found[0].pred_classes)


def chosen(looked: Looked, boxes: Tensor, config: RcnnConfig) -> Found:
    """Choose regions by 12-in-1's rule, one class after the other, without an operator of ours.

    Source: `_process_feature_extraction` of vilbert-multi-task's script/extract_features.py.
    """
    from torchvision.ops import nms  # the stand-in

    best, labels = torch.zeros(len(boxes)), torch.zeros(len(boxes), dtype=torch.long)
    for label, scores in enumerate(looked.chances[:, :-1].T):
        kept = nms(boxes, scores, config.class_overlap)
        better = kept[scores[kept] > best[kept]]
        best[better], labels[better] = scores[better], label
    rows = best.sort(descending=True, stable=True).indices[: config.max_regions]
    count = torch.tensor(len(rows))
    return Found(boxes[rows], looked.features[rows], best[rows], labels[rows], count, looked.given)


@dataclass(frozen=True)
class Match:
    """Which of our rows each of theirs is.

    Attributes:
        rows: [D] of ours, each the nearest.
        share: How many of theirs are the same as theirs alone.
        gap: The largest distance among those, pixels.
    """

    rows: Tensor
    share: float
    gap: float


def matched(boxes: Tensor, others: Tensor, labels: tuple[Tensor, Tensor] | None = None) -> Match:
    """Pair each box with the nearest of the others, of the same label where there are labels."""
    far = torch.cdist(boxes, others, p=float("inf"))
    if labels is not None:
        far = far.masked_fill(labels[0][:, None] != labels[1], float("inf"))
    nearest, rows = far.min(dim=1)
    same = (nearest <= SAME_PX) & (rows.bincount(minlength=len(others))[rows] == 1)
    return Match(rows, float(same.float().mean()), float(nearest[same].max()) if same.any() else float("inf"))
