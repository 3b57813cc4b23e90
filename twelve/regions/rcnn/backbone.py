"""Residual nets and the pyramid over them, under the names that detectron2 gives their weights.

Norms are frozen: four rows of numbers that never learn again. A net that serves folds them into its convolutions.

Shapes: N pictures or boxes · C channels · H, W pixels · h, w cells.
"""

import copy
from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from twelve.regions.backbone import RGB
from twelve.regions.rcnn.config import RcnnConfig

STEM_STRIDE = 4
COARSEST = 2
"""A pyramid's topmost map is every second cell of the one below it."""

Net = TypeVar("Net", bound=nn.Module)


class FrozenNorm(nn.Module):
    """Batch normalisation with numbers that stay."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, width: int, epsilon: float) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.register_buffer("weight", torch.ones(width))
        self.register_buffer("bias", torch.zeros(width))
        self.register_buffer("running_mean", torch.zeros(width))
        self.register_buffer("running_var", torch.ones(width))

    def forward(self, maps: Tensor) -> Tensor:
        """Normalise [N, C, h, w]."""
        scale, shift = self.line()
        return maps * scale[:, None, None] + shift[:, None, None]

    def line(self) -> tuple[Tensor, Tensor]:
        """Give what a channel is multiplied by and what is added, [C] each."""
        scale = self.weight * (self.running_var + self.epsilon).rsqrt()
        return scale, self.bias - self.running_mean * scale


class NormedConvolution(nn.Conv2d):
    """A convolution and the norm behind it; no activation."""

    norm: nn.Module

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        *,
        epsilon: float,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
    ) -> None:
        super().__init__(
            inputs, outputs, size, stride, dilation * (size // 2), dilation=dilation, groups=groups, bias=False
        )
        self.norm = FrozenNorm(outputs, epsilon)

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve and normalise."""
        return cast(Tensor, self.norm(super().forward(maps)))

    def fold(self) -> None:
        """Let the convolution do what its norm did."""
        assert isinstance(self.norm, FrozenNorm), "only a loaded net is folded, and once"
        with torch.no_grad():
            scale, shift = self.norm.line()
            self.weight.mul_(scale[:, None, None, None])
        self.bias = nn.Parameter(shift)
        self.norm = nn.Identity()


def folded(net: Net) -> Net:
    """Give a copy of a net without norms, which computes the same up to rounding."""
    copied = copy.deepcopy(net)
    fold(copied)
    return copied


def fold(net: nn.Module) -> None:
    """Fold the norms of a net into its convolutions, in place."""
    for module in net.modules():
        if isinstance(module, NormedConvolution):
            module.fold()


class Stem(nn.Module):
    """From pixels to cells of 4."""

    def __init__(self, config: RcnnConfig) -> None:
        super().__init__()
        self.conv1 = NormedConvolution(RGB, config.stem_width, 7, stride=2, epsilon=config.norm_epsilon)
        self.border = (0, 1, 0, 1) if config.ceil_pool else (1, 1, 1, 1)

    def forward(self, pixels: Tensor) -> Tensor:
        """Give [N, C, h, w].

        Behind a ReLU a border of zeros changes no maximum. One to the right and below alone is what Caffe's rounding
        up amounts to, which exporters cannot follow.
        """
        return F.max_pool2d(F.pad(F.relu(self.conv1(pixels)), self.border), 3, 2)


class Bottleneck(nn.Module):
    """Narrow, look around, widen: beside a shortcut (ResNeXt, arXiv:1611.05431, figure 3c)."""

    def __init__(
        self, config: RcnnConfig, inputs: int, outputs: int, *, inside: int, stride: int = 1, dilation: int = 1
    ) -> None:
        super().__init__()
        first, middle = (stride, 1) if config.stride_in_1x1 else (1, stride)
        epsilon = config.norm_epsilon
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs:
            self.shortcut = NormedConvolution(inputs, outputs, 1, stride=stride, epsilon=epsilon)
        self.conv1 = NormedConvolution(inputs, inside, 1, stride=first, epsilon=epsilon)
        self.conv2 = NormedConvolution(
            inside, inside, 3, stride=middle, dilation=dilation, groups=config.groups, epsilon=epsilon
        )
        self.conv3 = NormedConvolution(inside, outputs, 1, epsilon=epsilon)

    def forward(self, maps: Tensor) -> Tensor:
        """Add what three convolutions see to the map."""
        seen = self.conv3(F.relu(self.conv2(F.relu(self.conv1(maps)))))
        return F.relu(seen + self.shortcut(maps))


def stage(config: RcnnConfig, number: int) -> nn.Sequential:
    """Give a residual stage, res2 being 0."""
    last = len(config.blocks) - 1
    stride, dilation = (config.res5_stride, config.res5_dilation) if number == last else (min(number, 1) + 1, 1)
    outputs = config.width_of(number)
    inputs = config.width_of(number - 1) if number else config.stem_width
    inside = config.groups * config.group_width << number
    first = Bottleneck(config, inputs, outputs, inside=inside, stride=stride, dilation=dilation)
    others = (
        Bottleneck(config, outputs, outputs, inside=inside, dilation=dilation) for _ in range(config.blocks[number] - 1)
    )
    return nn.Sequential(first, *others)


class ResidualNet(nn.Module):
    """A stem and residual stages from res2 on."""

    def __init__(self, config: RcnnConfig, *, stages: int) -> None:
        super().__init__()
        self.stem = Stem(config)
        self.stages = [f"res{number + 2}" for number in range(stages)]
        for number, name in enumerate(self.stages):
            self.add_module(name, stage(config, number))

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Give the map behind each stage."""
        maps = [self.stem(pixels)]
        for name in self.stages:
            maps.append(self.get_submodule(name)(maps[-1]))
        return maps[1:]


class LastMap(ResidualNet):
    """The body "c4": all but the last stage, and the last of its maps."""

    def __init__(self, config: RcnnConfig) -> None:
        before_last = len(config.blocks) - 1
        super().__init__(config, stages=before_last)
        self.width = config.width_of(before_last - 1)
        self.strides = [STEM_STRIDE << (before_last - 1)]

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Give one map."""
        return super().forward(pixels)[-1:]


class Pyramid(nn.Module):
    """The body "fpn": maps of one width at every scale, each knowing the coarser ones (arXiv:1612.03144)."""

    def __init__(self, config: RcnnConfig) -> None:
        super().__init__()
        stages = len(config.blocks)
        self.width = config.pyramid_width
        self.bottom_up = ResidualNet(config, stages=stages)
        self.laterals = [f"fpn_lateral{number + 2}" for number in range(stages)]
        self.outputs = [f"fpn_output{number + 2}" for number in range(stages)]
        for number, (lateral, output) in enumerate(zip(self.laterals, self.outputs, strict=True)):
            self.add_module(lateral, nn.Conv2d(config.width_of(number), self.width, 1))
            self.add_module(output, nn.Conv2d(self.width, self.width, 3, padding=1))
        halvings = [2] * (stages - 2) + [config.res5_stride, COARSEST]
        self.strides = [STEM_STRIDE]
        for halving in halvings:
            self.strides.append(self.strides[-1] * halving)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Give the maps from the finest to the coarsest, which only proposals are made on."""
        laterals = [
            self.get_submodule(name)(maps) for name, maps in zip(self.laterals, self.bottom_up(pixels), strict=True)
        ]
        merged = laterals[-1:]
        for lateral in laterals[-2::-1]:
            coarser = F.interpolate(merged[0], size=lateral.shape[-2:], mode="nearest")
            merged.insert(0, lateral + coarser)
        levels = [self.get_submodule(name)(maps) for name, maps in zip(self.outputs, merged, strict=True)]
        return [*levels, F.max_pool2d(levels[-1], 1, COARSEST)]


BODIES: dict[str, type[LastMap] | type[Pyramid]] = {"c4": LastMap, "fpn": Pyramid}
