"""Faster R-CNN over a residual net, on the graph contract of `twelve.regions.detector`.

Every box is described once: the proposals and the boxes that are given go through the head together, and regions are
chosen among the proposals afterwards. A given box therefore has the features it would have as a region.

Shapes: P proposals · K regions at most · G given boxes · F feature width · L classes · H, W of the resized picture.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from twelve.bundle import DETECTOR_CONFIG, DETECTOR_WEIGHTS
from twelve.errors import BundleMissing, ConfigInvalid
from twelve.regions.detector import Found, Proposals
from twelve.regions.ops import best_classes, nms
from twelve.regions.rcnn.backbone import BODIES, FrozenNorm, fold, folded
from twelve.regions.rcnn.config import RcnnConfig
from twelve.regions.rcnn.heads import HEADS, Described
from twelve.regions.rcnn.proposals import ProposalGenerator

CHANNELS: Mapping[str, tuple[int, ...]] = {"rgb": (0, 1, 2), "bgr": (2, 1, 0)}
"""Where a detector's channels lie in a picture's."""

NO_REGION = -1.0
"""Ranks what is no proposal below every chance."""


class Rcnn(nn.Module):
    """Finds the regions of one picture and describes them and the boxes that are given.

    Names of weights are those of detectron2's `GeneralizedRCNN`.
    """

    def __init__(self, config: RcnnConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = BODIES[config.body](config)
        width, strides = self.backbone.width, self.backbone.strides
        self.proposal_generator = ProposalGenerator(config, width=width, strides=strides)
        self.roi_heads = HEADS[config.body](config, width=width, strides=strides)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a detector for serving, its norms folded: `detector.json` and `detector.safetensors` of a folder.

        Args:
            folder: A bundle, or what `save` wrote.

        Returns:
            The detector in eval mode, float32 whatever was stored.

        Raises:
            BundleMissing: A file is not there.
            ConfigInvalid: The configuration is broken, or the weights are damaged or another configuration's.
        """
        detector = cls.restore(folder)
        fold(detector)
        return detector

    @classmethod
    def restore(cls, folder: Path) -> Self:
        """Read a detector as it was saved, norms and all; see `load`."""
        config = RcnnConfig.read(folder / DETECTOR_CONFIG)
        weights = folder / DETECTOR_WEIGHTS
        if not weights.is_file():
            raise BundleMissing(f"{weights}: there is no such file; a detector is a folder with it and its settings")
        with torch.device("meta"):  # 0.8 GB need not be drawn before they are read
            detector = cls(config)
        try:
            tensors = {name: tensor.float() for name, tensor in load_file(weights).items()}
            detector.load_state_dict(tensors, assign=True)
        except SafetensorError as error:
            raise ConfigInvalid(f"{weights}: is damaged: {error}; fetch or import it again") from error
        except RuntimeError as error:
            raise ConfigInvalid(f"{weights}: does not fit {DETECTOR_CONFIG}: {error}") from error
        return detector.eval().requires_grad_(requires_grad=False)

    def save(self, folder: Path, *, dtype: torch.dtype = torch.float32) -> None:
        """Write the two files that `load` reads. A folded detector has lost its norms and cannot be saved."""
        assert any(isinstance(module, FrozenNorm) for module in self.modules()), "save what was restored, not loaded"
        folder.mkdir(parents=True, exist_ok=True)
        self.config.write(folder / DETECTOR_CONFIG)
        tensors = {name: tensor.to(dtype).contiguous() for name, tensor in self.state_dict().items()}
        save_file(tensors, folder / DETECTOR_WEIGHTS)

    def folded(self) -> Self:
        """Give a copy that computes the same with fewer steps."""
        return folded(self)

    def forward(self, image: Tensor, given: Tensor) -> Found:
        """Find and describe; see `twelve.regions.detector.Detector.forward`."""
        height, width = image.shape[1], image.shape[2]
        levels = self.backbone(self.normalised(image))
        proposals = self.proposal_generator(levels, height=height, width=width)
        described = self.roi_heads(levels, torch.cat([proposals.boxes, given[None]], dim=1))  # [1, P + G, F]
        return self.selected(proposals, described, height=height, width=width)

    def normalised(self, image: Tensor) -> Tensor:
        """Turn raw RGB [3, H, W] into what the first convolution was trained on, [1, 3, H', W']."""
        config = self.config
        means, deviations = image.new_tensor(config.means), image.new_tensor(config.deviations)
        ordered = torch.stack([image[channel] for channel in CHANNELS[config.channels]])
        pixels = (ordered - means[:, None, None]) / deviations[:, None, None]
        below, right = (-side % config.size_divisor for side in image.shape[1:])
        return F.pad(pixels, (0, right, 0, below))[None]

    def selected(self, proposals: Proposals, described: Described, *, height: int, width: int) -> Found:
        """Choose the regions among described proposals.

        Args:
            proposals: [1, P, 4] and [1, P].
            described: Of these and of the given boxes, [1, P + G, F].
            height: H.
            width: W.
        """
        config, (features, seen) = self.config, described
        seen = seen[:, : config.proposals]
        chances = self.roi_heads.box_predictor.chances(seen) * proposals.valid[..., None]  # [1, P, L]
        boxes = self.roi_heads.regions(proposals.boxes, seen, chances, height=height, width=width)
        best, label = best_classes(boxes, chances, config.class_overlap, config.max_regions, config.box_offset)
        ranked = best.masked_fill(~proposals.valid, NO_REGION)
        index, kept = nms(boxes, ranked, config.region_overlap, config.max_regions, config.box_offset)  # [1, K]
        index, scores = index[0], ranked[0, index[0]]
        needed = torch.arange(config.max_regions, device=scores.device) < config.fewest_regions
        real = kept[0] & (scores > NO_REGION) & (needed | (scores > config.score_floor))
        return Found(
            boxes=boxes[0, index] * real[:, None],
            features=features[0, index] * real[:, None],
            scores=scores * real,
            labels=label[0, index] * real,
            count=real.sum(),
            given_features=features[0, config.proposals :],
        )
