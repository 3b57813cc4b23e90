"""Detectors of a few channels whose numbers are as uneven as trained ones."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from twelve.regions.rcnn.backbone import FrozenNorm
from twelve.regions.rcnn.config import RcnnConfig
from twelve.regions.rcnn.detector import Rcnn

NAMES = ("car", "cat", "tree", "sky", "dog")
SMALL = {
    "class_names": NAMES,
    "short_side": 128,
    "long_side": 200,
    "blocks": (1, 1, 1, 1),
    "stem_width": 8,
    "stage_width": 16,
    "groups": 2,
    "group_width": 4,
    "proposal_width": 16,
    "candidates": 60,
    "proposals": 40,
    "fewest_regions": 8,
    "max_regions": 12,
}
BODIES = {
    "fpn": {"pyramid_width": 8, "head_width": 12, "anchor_sides": (8.0, 16.0, 32.0, 64.0, 128.0)},
    "c4": {"anchor_sides": (16.0, 32.0, 64.0), "bins": 6},
}


def tiny(preset: str, **entries: Any) -> RcnnConfig:
    """Give a preset with every habit of it and next to no channels."""
    body = preset.rpartition("-")[2]
    return RcnnConfig.from_dict({"preset": preset, **SMALL, **BODIES[body], **entries})


def net(config: RcnnConfig, seed: int = 0) -> Rcnn:
    """Make a detector with drawn weights that behaves as a trained one: its norms know what comes to them."""
    torch.manual_seed(seed)
    made = Rcnn(config).eval().requires_grad_(requires_grad=False)
    head, predictor = made.proposal_generator.rpn_head, made.roi_heads.box_predictor
    for layer in (head.objectness_logits, head.anchor_deltas, predictor.cls_score, predictor.bbox_pred):
        layer.weight.normal_(std=2 * layer.weight[0].numel() ** -0.5)
    head.anchor_deltas.weight.mul_(0.1)
    norms = [module for module in made.modules() if isinstance(module, FrozenNorm)]
    hooks = [norm.register_forward_pre_hook(_learn) for norm in norms]
    made(picture(128, 176, seed=9), torch.tensor([[0.0, 0.0, 90.0, 90.0], [40.0, 30.0, 150.0, 120.0]]))
    for hook in hooks:
        hook.remove()
    return made


def _learn(norm: FrozenNorm, arguments: tuple[Tensor]) -> None:
    """Take what comes for the mean and spread of all that ever comes; channels differ, as trained ones do."""
    maps = arguments[0]
    width = len(norm.weight)
    spread = maps.std(dim=(0, 2, 3))
    faint = 10 ** torch.linspace(-2, 0, width)
    norm.running_mean.copy_(maps.mean(dim=(0, 2, 3)))
    norm.running_var.copy_((spread * faint) ** 2)
    norm.weight.copy_(faint * torch.empty(width).uniform_(0.5, 1.5))
    norm.bias.normal_(std=0.2)


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    """Draw soft blots, raw RGB: unlike noise, they have edges and places."""
    drawn = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, height // 16 + 2, width // 16 + 2, generator=drawn) * 255
    return F.interpolate(coarse, size=(height, width), mode="bilinear")[0].round()
