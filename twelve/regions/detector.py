"""A Faster R-CNN (arXiv:1506.01497) in plain torch, with outputs of fixed size, so that it can be traced and exported.

Boxes are proposed on the map, sorted and corrected by a first look at each, and the regions that remain are described
by a second look at the corrected boxes. Boxes that the caller gives join in there: the same path, the same features.

Shapes: N pictures · C channels of the map · H, W pixels · h, w cells · A anchors of a picture · P proposals
        K regions at most · G given boxes · F feature width · L classes
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Self

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from twelve.bundle import DETECTOR_CONFIG, DETECTOR_WEIGHTS
from twelve.errors import BundleMissing, ConfigInvalid
from twelve.regions.backbone import Backbone, anchor_shapes, anchors
from twelve.regions.coding import decode
from twelve.regions.config import DetectorConfig
from twelve.regions.ops import best_scores, nms, roi_align

INPUTS = ("image", "given")
OUTPUTS = ("boxes", "features", "scores", "labels", "count", "given_features")
"""Names of the graph's inputs and outputs, in their order."""

LEAST_GIVEN = 2
"""The graph wants this many given boxes at least, for exporters take a dimension of 0 or 1 for a constant."""

LEAST_SIDE_PX = 1.0
"""A thinner proposal is none."""

BOX_NUMBERS = 4


class Proposals(NamedTuple):
    """Boxes worth a look: [N, P, 4] in pixels, and which of these rows are any, [N, P]."""

    boxes: Tensor
    valid: Tensor


class Found(NamedTuple):
    """What `Detector.forward` gives, named.

    Attributes:
        boxes: [K, 4] in pixels of the resized picture, best first.
        features: [K, F].
        scores: [K], the best class score of each.
        labels: [K] int64.
        count: How many of the K rows are regions; the others are zeros.
        given_features: [G, F].
    """

    boxes: Tensor
    features: Tensor
    scores: Tensor
    labels: Tensor
    count: Tensor  # type: ignore[assignment]  # the graph's name for it; nobody counts in this tuple
    given_features: Tensor


class ProposalHead(nn.Module):
    """Says of each anchor whether a thing is there, and how to correct the anchor."""

    shapes: Tensor

    def __init__(self, config: DetectorConfig, *, stride: int) -> None:
        super().__init__()
        width, shapes = config.widths[-1], anchor_shapes(config.anchor_sides, config.anchor_ratios)
        self.config, self.stride = config, stride
        self.register_buffer("shapes", shapes, persistent=False)
        self.look = nn.Conv2d(width, width, 3, padding=1)
        self.logits = nn.Conv2d(width, len(shapes), 1)
        self.corrections = nn.Conv2d(width, len(shapes) * BOX_NUMBERS, 1)
        for layer in (self.logits, self.corrections):
            nn.init.normal_(layer.weight, std=0.01)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Give logits [N, A] and corrections [N, A, 4], in the order of `anchors`."""
        looked = F.relu(self.look(maps))
        logits = self.logits(looked).permute(0, 2, 3, 1).flatten(1)
        corrections = self.corrections(looked).permute(0, 2, 3, 1).reshape(maps.shape[0], -1, BOX_NUMBERS)
        return logits, corrections

    def anchors(self, maps: Tensor) -> Tensor:
        """Give the anchors over a map, [A, 4]."""
        return anchors(maps.shape[2], maps.shape[3], self.shapes, stride=self.stride)

    def select(self, logits: Tensor, corrections: Tensor, references: Tensor, *, height: int, width: int) -> Proposals:
        """Correct the best anchors of each picture and keep the best of those that do not overlap."""
        best, index = logits.topk(self.config.candidates, dim=1)
        rows = index[:, :, None].expand(-1, -1, BOX_NUMBERS)
        boxes = decode(corrections.gather(1, rows), references[index], height=height, width=width)
        wide = (boxes[..., 2:] - boxes[..., :2] >= LEAST_SIDE_PX).all(dim=-1)
        ranked = best.masked_fill(~wide, torch.finfo(best.dtype).min)
        chosen, valid = nms(boxes, ranked, self.config.proposal_overlap, self.config.proposals)
        kept = boxes.gather(1, chosen[:, :, None].expand(-1, -1, BOX_NUMBERS))
        return Proposals(kept, valid & wide.gather(1, chosen))


class RegionHead(nn.Module):
    """Describes a box: what is in it, seen together with where it lies and what the whole picture looks like.

    Differs: the published head sees the pooled box alone. A small one learns the place and the light from the picture's
    mean cell, and the usual size of things from the box itself, at the price of one small matrix each.
    """

    def __init__(self, config: DetectorConfig, *, stride: int) -> None:
        super().__init__()
        width = config.widths[-1]
        self.bins, self.scale = config.bins, 1 / stride
        self.pool: Callable[[Tensor, Tensor, float, int], Tensor] = roi_align  # training puts a cheaper equal here
        self.content = nn.Linear(width * config.bins**2, config.feature_width)
        self.surrounding = nn.Linear(width, config.feature_width, bias=False)
        self.location = nn.Linear(BOX_NUMBERS, config.feature_width, bias=False)
        self.classes = nn.Linear(config.feature_width, len(config.class_names) + 1)
        self.corrections = nn.Linear(config.feature_width, BOX_NUMBERS)
        nn.init.normal_(self.corrections.weight, std=0.001)

    def forward(self, maps: Tensor, boxes: Tensor, *, height: int, width: int) -> Tensor:
        """Give the features [N, P, F] of boxes [N, P, 4] on maps [N, C, h, w] of pictures of this size."""
        pooled = self.pool(maps, boxes, self.scale, self.bins).flatten(2)  # [N, P, C * S * S]
        across = torch.stack([boxes[..., 0] / width, boxes[..., 2] / width], dim=-1)
        down = torch.stack([boxes[..., 1] / height, boxes[..., 3] / height], dim=-1)
        located = self.location(torch.cat([across, down], dim=-1))
        around = self.surrounding(maps.mean(dim=(2, 3)))[:, None]  # [N, 1, F]
        return F.relu(self.content(pooled) + around + located)


class Detector(nn.Module):
    """Finds the regions of one picture and describes them and the boxes that are given."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = Backbone(config.widths, blocks=config.blocks)
        self.proposal_head = ProposalHead(config, stride=self.backbone.stride)
        self.region_head = RegionHead(config, stride=self.backbone.stride)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a detector for serving: `detector.json` and `detector.safetensors` of a folder.

        Args:
            folder: A bundle, or what `save` wrote.

        Returns:
            The detector in eval mode, float32 whatever was stored.

        Raises:
            BundleMissing: A file is not there.
            ConfigInvalid: The configuration is broken, or the weights are not those of this configuration.
        """
        detector = cls(DetectorConfig.read(folder / DETECTOR_CONFIG))
        weights = folder / DETECTOR_WEIGHTS
        if not weights.is_file():
            raise BundleMissing(f"{weights}: there is no such file; a detector is a folder with it and its settings")
        try:
            detector.load_state_dict({name: tensor.float() for name, tensor in load_file(weights).items()})
        except RuntimeError as error:
            raise ConfigInvalid(f"{weights}: does not fit {DETECTOR_CONFIG}: {error}") from error
        return detector.eval()

    def save(self, folder: Path) -> None:
        """Write the two files that `load` reads, weights as float16: round them first, to serve what was measured."""
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write(folder / DETECTOR_CONFIG)
        halves = {name: tensor.half().contiguous() for name, tensor in self.state_dict().items()}
        save_file(halves, folder / DETECTOR_WEIGHTS)

    def forward(self, image: Tensor, given: Tensor) -> Found:
        """Find and describe.

        Args:
            image: [3, H, W] float32, resized by `prepare`, raw RGB from 0 to 255.
            given: [G, 4] boxes in pixels of that picture; at least LEAST_GIVEN rows.

        Returns:
            K regions, as many of them real as `count` says, and the features of the given boxes.
        """
        height, width = image.shape[1], image.shape[2]
        maps = self.backbone(image[None])
        boxes, scores, labels, valid = self._regions(maps, height=height, width=width)
        looked_at = torch.cat([boxes, given[None]], dim=1)  # [1, K + G, 4]
        features = self.region_head(maps, looked_at, height=height, width=width)[0]
        kept = valid[0]
        return Found(
            boxes=boxes[0] * kept[:, None],
            features=features[: self.config.max_regions] * kept[:, None],
            scores=scores[0] * kept,
            labels=labels[0] * kept,
            count=kept.sum(),
            given_features=features[self.config.max_regions :],
        )

    def propose(self, maps: Tensor, *, height: int, width: int) -> Proposals:
        """Give the boxes of maps [N, C, h, w] that are worth a look."""
        logits, corrections = self.proposal_head(maps)
        return self.proposal_head.select(
            logits, corrections, self.proposal_head.anchors(maps), height=height, width=width
        )

    def _regions(self, maps: Tensor, *, height: int, width: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Look at each proposal once: boxes [N, K, 4], scores, labels and which rows are valid, [N, K] each."""
        head, config = self.region_head, self.config
        proposals = self.propose(maps, height=height, width=width)
        features = head(maps, proposals.boxes, height=height, width=width)
        boxes = decode(head.corrections(features), proposals.boxes, height=height, width=width)
        chances = head.classes(features).softmax(dim=-1)[..., :-1] * proposals.valid[..., None]  # [N, P, L]
        best = best_scores(boxes, chances, config.class_overlap, config.score_floor)  # [N, P]
        index, kept = nms(boxes, best, config.region_overlap, config.max_regions)  # [N, K]
        scores = best.gather(1, index)
        rows = index[:, :, None].expand(-1, -1, BOX_NUMBERS)
        labels = chances.argmax(dim=-1).gather(1, index)
        return boxes.gather(1, rows), scores, labels, kept & (scores > config.score_floor)
