"""Networks of detectron2's own code, with random weights that make pictures worth comparing.

Shapes: C channels · H, W pixels.
"""

import importlib.util
import logging
import math
import sys
import types
from collections.abc import Mapping
from contextlib import contextmanager
from typing import Any

import PIL.Image
import torch
from torch import Tensor, nn

COMPILED = "detectron2._C"
"""What detectron2 compiles: rotated boxes, deformable convolutions, evaluation. None of it is called here."""

SEED = 20
SETTINGS: Mapping[str, Any] = {
    "MODEL.META_ARCHITECTURE": "GeneralizedRCNN",
    "MODEL.DEVICE": "cpu",
    "MODEL.WEIGHTS": "",
    "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": 2,
}
C4_PROPOSALS = 300
"""Of 1,000: each goes through the last residual stage, and that is where all the time goes."""

C4: Mapping[str, Any] = {
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 6000,
    "MODEL.RPN.POST_NMS_TOPK_TEST": C4_PROPOSALS,
    "MODEL.ROI_HEADS.NAME": "Res5ROIHeads",
}
FPN: Mapping[str, Any] = {
    "MODEL.BACKBONE.NAME": "build_resnet_fpn_backbone",
    "MODEL.RESNETS.OUT_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.FPN.IN_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.ANCHOR_GENERATOR.SIZES": [[32], [64], [128], [256], [512]],
    "MODEL.RPN.IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"],
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 1000,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 1000,
    "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
    "MODEL.ROI_HEADS.IN_FEATURES": ["p2", "p3", "p4", "p5"],
    "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
    "MODEL.ROI_BOX_HEAD.NUM_FC": 2,
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
}
RESNEXT: Mapping[str, Any] = {
    "MODEL.RESNETS.STRIDE_IN_1X1": False,
    "MODEL.RESNETS.NUM_GROUPS": 32,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
    "MODEL.FPN.OUT_CHANNELS": 512,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 2048,
    "MODEL.ROI_HEADS.NUM_CLASSES": 1600,
}
PRESETS: Mapping[str, Mapping[str, Any]] = {
    "r50-c4": {**C4, "MODEL.RESNETS.DEPTH": 50},
    "r101-c4": {**C4, "MODEL.RESNETS.DEPTH": 101},
    "r50-fpn": {**FPN, "MODEL.RESNETS.DEPTH": 50},
    "r101-fpn": {**FPN, "MODEL.RESNETS.DEPTH": 101},
    "x152-fpn": {**FPN, **RESNEXT, "MODEL.RESNETS.DEPTH": 152},
}
"""By our name: detectron2's configs/Base-RCNN-C4.yaml and -FPN.yaml, and 12-in-1's extractor put together
from detectron2's parts."""

SPREADS: Mapping[str, float] = {"objectness_logits": 2.0, "anchor_deltas": 0.2, "cls_score": 1.0, "bbox_pred": 0.7}
"""Standard deviations of what the last layers say: boxes move and chances differ, and hardly any is near 1."""

CALIBRATED_ON = (256, 320)
COARSE = 40
"""Pixels a side of a drawn picture's coloured fields."""


def shim() -> None:
    """Let today's machine import detectron2: a name that Pillow dropped, and what was not compiled."""
    if not hasattr(PIL.Image, "LINEAR"):
        PIL.Image.LINEAR = PIL.Image.BILINEAR
    import detectron2  # here, for it stands on the path in this test's environment alone

    if COMPILED not in sys.modules and importlib.util.find_spec(COMPILED) is None:
        sys.modules[COMPILED] = detectron2._C = types.ModuleType(COMPILED)


def settings(preset: str, **changes: Any) -> Any:
    """Give detectron2's configuration of one of our presets; changes by its names, with `__` for the dot."""
    shim()
    from detectron2.config import get_cfg

    cfg = get_cfg()
    chosen = {**SETTINGS, **PRESETS[preset], **{name.replace("__", "."): value for name, value in changes.items()}}
    cfg.merge_from_list([part for pair in chosen.items() for part in pair])
    return cfg


def network(cfg: Any, *, seed: int = SEED) -> nn.Module:
    """Give a network with random weights whose maps and scores have ordinary sizes, as a trained one's have."""
    shim()
    from detectron2.modeling import build_model

    logging.getLogger("detectron2").setLevel(logging.ERROR)
    torch.manual_seed(seed)
    model = build_model(cfg).eval().requires_grad_(requires_grad=False)
    with calibrated(model):
        model.inference([{"image": picture(*CALIBRATED_ON)}])
    return model


@contextmanager
def calibrated(model: nn.Module) -> Any:
    """Fit each frozen norm to what it sees first, and each last layer to its spread."""
    hooks = []
    for name, module in model.named_modules():
        if type(module).__name__ == "FrozenBatchNorm2d":
            hooks.append(module.register_forward_pre_hook(_fit_norm))
        spread = SPREADS.get(name.rpartition(".")[2])
        if spread is not None:
            hooks.append(module.register_forward_hook(_spread_to(spread)))
    yield
    for hook in hooks:
        hook.remove()


def _fit_norm(norm: Any, inputs: tuple[Tensor]) -> None:
    if norm.running_var.eq(norm.running_var[0]).all():  # not fitted yet: a network is built with equal ones
        norm.running_mean.copy_(inputs[0].mean(dim=(0, 2, 3)))
        norm.running_var.copy_(inputs[0].var(dim=(0, 2, 3)) + 1e-3)
        norm.weight.uniform_(0.5, 1.0)
        norm.bias.uniform_(-0.2, 0.2)


def _spread_to(spread: float) -> Any:
    fitted: list[Any] = []

    def fit(layer: Any, inputs: tuple[Tensor], output: Tensor) -> Tensor | None:
        if fitted:
            return None  # the next level, or the next picture
        fitted.append(layer)
        numbers = output.movedim(1, -1).flatten(0, -2)  # [places, channels]
        scale = spread / numbers.std(dim=0).mean()
        layer.bias.sub_(numbers.mean(dim=0)).mul_(scale)
        layer.weight.mul_(scale)
        return layer.forward(*inputs)

    return fit


def picture(height: int, width: int, *, seed: int = 0) -> Tensor:
    """Draw [3, H, W] float32 from 0 to 255: coloured fields under noise, so that no two places look alike."""
    generator = torch.Generator().manual_seed(seed)
    down, across = math.ceil(height / COARSE), math.ceil(width / COARSE)
    fields = torch.randint(30, 226, (1, 3, down, across), generator=generator).float()
    smooth = nn.functional.interpolate(fields, size=(height, width), mode="nearest")[0]
    return smooth + torch.randint(-30, 30, smooth.shape, generator=generator)
