"""Norms while a detector learns, none when it serves."""

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from twelve.regions.backbone import Convolution


def add_norms(module: nn.Module) -> None:
    """Put a batch norm behind each convolution of a backbone: it learns several times faster so."""
    for part in _convolutions(module):
        part.norm = nn.BatchNorm2d(part.convolution.out_channels)


def fold_norms(module: nn.Module) -> None:
    """Work each norm's running statistics into its convolution and take it away; for a module in eval mode."""
    for part in _convolutions(module):
        assert isinstance(part.norm, nn.BatchNorm2d)
        part.convolution = fuse_conv_bn_eval(part.convolution, part.norm)
        part.norm = nn.Identity()


def round_to_half(module: nn.Module) -> None:
    """Round weights to what float16 can hold, so that what is measured is what will be stored."""
    with torch.no_grad():
        for weights in module.parameters():
            weights.copy_(weights.half().float())


def _convolutions(module: nn.Module) -> list[Convolution]:
    return [part for part in module.modules() if isinstance(part, Convolution)]
