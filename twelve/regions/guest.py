"""detectron2's networks as region extractors.

detectron2 is nothing that this library needs: it is imported when one of its networks is opened, and how to install it
is told where it is missing. Any `GeneralizedRCNN` will do whose boxes are described once, by layers over a pyramid or
by the last residual stage. It prepares pictures, proposes and describes by its own code; regions are chosen by ours.

Shapes: P proposals · K regions at most · G given boxes · F feature width · L classes · h, w of the resized picture.
"""

import dataclasses
import hashlib
import importlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn

from twelve.errors import BundleMissing, ConfigInvalid
from twelve.regions.detector import BOX_NUMBERS, INPUTS, OUTPUTS, Found
from twelve.regions.local import DetectorExtractor
from twelve.regions.ops import best_classes
from twelve.regions.rcnn.coding import clip
from twelve.regions.resizing import PillowResizing, Resizing
from twelve.runtimes.module import ModuleRuntime

INSTALL = "pip install --no-build-isolation 'git+https://github.com/facebookresearch/detectron2.git@02b5c4e2'"
"""The registry has no detectron2 that can be installed; this commit was built with torch 2.13."""

LEAST_SIDE = 32
"""A coarser map than this leaves nothing of a narrower picture."""

LAST_LAYER = ""
CHANNELS: Mapping[str, tuple[int, ...]] = {"RGB": (0, 1, 2), "BGR": (2, 1, 0)}
"""Where a network's channels lie in a picture's, by its `INPUT.FORMAT`."""

COMPUTED = ".anchor_generator.cell_anchors."
"""In the names of buffers that detectron2 builds anew and some of its files keep nevertheless."""


@dataclass(frozen=True, kw_only=True)
class GuestConfig:
    """What regions a guest gives; all else its own settings say.

    Attributes:
        regions: "proposals" as they are, or "refined" for their likeliest class. Features are the proposals' in both.
        feature: Which layer of the box head describes a box, by detectron2's name ("fc_relu1" as in 12-in-1); "" is the
            last, from which classes are told. The last residual stage has one only.
        class_overlap: Threshold of the NMS within a class.
        score_floor: Regions have a better class score than this.
        max_regions: K.
    """

    regions: str = "proposals"
    feature: str = LAST_LAYER
    class_overlap: float = 0.5
    score_floor: float = 0.0
    max_regions: int = 100

    def __post_init__(self) -> None:
        """Refuse words that mean nothing."""
        if self.regions not in REGIONS:
            raise ConfigInvalid(f"regions: got {self.regions!r}, want {' or '.join(REGIONS)}")


@dataclass(frozen=True)
class GuestLook:
    """How a guest looks at pictures, as `DetectorExtractor` asks it."""

    resizing: Resizing
    feature_width: int
    least_region_px: float = 0.0


class Detectron2Extractor(DetectorExtractor):
    """Finds regions by a network of detectron2's."""

    @classmethod
    def of(cls, model: nn.Module, cfg: Any, config: GuestConfig | None = None) -> Self:
        """Take a network that is built and has its weights.

        Args:
            model: A `GeneralizedRCNN`.
            cfg: The `CfgNode` that it was built from; its INPUT says how pictures are resized.
            config: What regions it shall give.

        Returns:
            The extractor. It puts the network into evaluation mode.

        Raises:
            ConfigInvalid: detectron2 cannot be imported, or the network's heads describe no box or describe one twice.
        """
        config = config or GuestConfig()
        graph = GuestGraph(model.eval(), config)
        sides = {"short_side": cfg.INPUT.MIN_SIZE_TEST, "long_side": cfg.INPUT.MAX_SIZE_TEST}
        look = GuestLook(PillowResizing(**sides, least_side=LEAST_SIDE), graph.describe.width)
        return cls(ModuleRuntime(graph, inputs=INPUTS, outputs=OUTPUTS), look, digest=_digest(model, cfg, config))

    @classmethod
    def open(cls, settings: Path, weights: Mapping[str, Tensor], config: GuestConfig | None = None) -> Self:
        """Build a network from detectron2's own settings and the tensors of a checkpoint.

        Args:
            settings: A configuration, `.yaml`.
            weights: By name; of a `.pth` file, `twelve.convert.checkpoint.read` gives them and runs nothing in it.
            config: As in `of`.

        Returns:
            The extractor, on the CPU.

        Raises:
            BundleMissing: The configuration is not there.
            ConfigInvalid: As in `of`; or the weights are another network's.
        """
        if not settings.is_file():
            raise BundleMissing(f"{settings}: there is no such file; a guest is its settings and its weights")
        cfg = _detectron2("config").get_cfg()
        cfg.merge_from_file(str(settings))
        cfg.MODEL.DEVICE = "cpu"
        model = _detectron2("modeling").build_model(cfg)
        _fill(model, weights, settings)
        return cls.of(model, cfg, config)


class GuestGraph(nn.Module):
    """A guest under the graph contract of `twelve.regions.detector`; rows that hold no region are left out."""

    def __init__(self, model: Any, config: GuestConfig) -> None:
        super().__init__()
        self.model = model
        self.config = config
        self.describe = _describer(model.roi_heads, config)
        self.channels = CHANNELS[model.input_format or "BGR"]

    def forward(self, image: Tensor, given: Tensor) -> Found:
        """Find and describe; see `twelve.regions.detector.Detector.forward`."""
        ordered = torch.stack([image[channel] for channel in self.channels])
        images = self.model.preprocess_image([{"image": ordered}])
        maps = self.model.backbone(images.tensor)
        proposals, _ = self.model.proposal_generator(images, maps, None)
        boxes = proposals[0].proposal_boxes.tensor
        described = self.describe(maps, torch.cat([boxes, given.to(boxes)]))
        count = boxes.shape[0]
        predictor = self.model.roi_heads.box_predictor
        told = predictor(described.seen[:count])
        chances = predictor.predict_probs(told, proposals)[0][:, :-1]  # [P, L]
        each = predictor.predict_boxes(told, proposals)[0]  # [P, L * 4], or [P, 4] for all classes
        placed = REGIONS[self.config.regions](boxes, each, chances)
        limited = clip(placed, height=image.shape[1], width=image.shape[2], offset=0.0)
        return self._selected(limited, chances, described.features)

    def _selected(self, boxes: Tensor, chances: Tensor, features: Tensor) -> Found:
        """Choose the regions by 12-in-1's rule, among boxes [P, 4] of which the first P features are."""
        config = self.config
        best, label = best_classes(boxes[None], chances[None], config.class_overlap, config.max_regions)
        scores, order = best[0].sort(descending=True)
        index = order[: config.max_regions][scores[: config.max_regions] > config.score_floor]  # [K]
        return Found(
            boxes=boxes[index],
            features=features[index],
            scores=best[0, index],
            labels=label[0, index],
            count=torch.ones_like(index).sum(),
            given_features=features[boxes.shape[0] :],
        )


class Described(NamedTuple):
    """A box twice: what others are told of it, and what its class is told from. [P, F] each."""

    features: Tensor
    seen: Tensor


class Layered(nn.Module):
    """Describes boxes by layers over what is read off a pyramid: detectron2's `StandardROIHeads`."""

    def __init__(self, heads: Any, feature: str) -> None:
        super().__init__()
        self.heads = heads
        layers = dict(heads.box_head.named_children())
        self.feature = feature or list(layers)[-1]
        if self.feature not in layers:
            raise ConfigInvalid(f"feature: got {feature!r}, the guest's box head has {', '.join(layers)}")
        self.width = _width(layers, self.feature)

    def forward(self, maps: Mapping[str, Tensor], boxes: Tensor) -> Described:
        """Describe boxes [P, 4]."""
        seen = self.heads.box_pooler([maps[name] for name in self.heads.box_in_features], [_boxes(boxes)])
        outputs = {}
        for name, layer in self.heads.box_head.named_children():
            seen = layer(seen)
            outputs[name] = seen
        return Described(outputs[self.feature].flatten(1), seen)


class Staged(nn.Module):
    """Describes boxes by the last residual stage over what is read off one map: detectron2's `Res5ROIHeads`."""

    def __init__(self, heads: Any, feature: str) -> None:
        super().__init__()
        self.heads = heads
        if feature != LAST_LAYER:
            raise ConfigInvalid(f"feature: got {feature!r}, but the guest has no layers over a box; leave it out")
        self.width = int(heads.box_predictor.cls_score.in_features)

    def forward(self, maps: Mapping[str, Tensor], boxes: Tensor) -> Described:
        """Describe boxes [P, 4]."""
        pooled = self.heads.pooler([maps[name] for name in self.heads.in_features], [_boxes(boxes)])
        features = self.heads.res5(pooled).mean(dim=(2, 3))
        return Described(features, features)


DESCRIBERS: Mapping[str, Callable[[Any, str], Layered | Staged]] = {
    "StandardROIHeads": Layered,
    "Res5ROIHeads": Staged,
}
"""By the name of detectron2's class, or of one that it is derived from."""


def _describer(heads: Any, config: GuestConfig) -> Layered | Staged:
    kinds = [kind.__name__ for kind in type(heads).__mro__]
    known = [DESCRIBERS[kind] for kind in kinds if kind in DESCRIBERS]
    if not known or not hasattr(heads.box_predictor, "predict_probs"):
        raise ConfigInvalid(
            f"the guest's heads are {kinds[0]}; regions can be had from {' or '.join(DESCRIBERS)} with one predictor"
        )
    return known[0](heads, config.feature)


def _width(layers: Mapping[str, nn.Module], feature: str) -> int:
    """Give how many numbers come out of a layer, which is linear or follows a linear one."""
    names = list(layers)
    before = [layers[name] for name in names[: names.index(feature) + 1]]
    widths = [layer.out_features for layer in before if isinstance(layer, nn.Linear)]
    if not widths:
        raise ConfigInvalid(f"feature: {feature!r} lies before the first of the guest's fully connected layers")
    return widths[-1]


def _proposed(boxes: Tensor, each: Tensor, chances: Tensor) -> Tensor:
    del each, chances
    return boxes


def _refined(boxes: Tensor, each: Tensor, chances: Tensor) -> Tensor:
    """Take each box as corrected for its likeliest class."""
    del boxes
    choices = each.unflatten(1, (-1, BOX_NUMBERS))  # [P, L or 1, 4]
    label = chances.argmax(dim=1).clamp(max=choices.shape[1] - 1)
    return choices.gather(1, label[:, None, None].expand(-1, -1, BOX_NUMBERS))[:, 0]


REGIONS: Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"proposals": _proposed, "refined": _refined}


def _detectron2(part: str) -> Any:
    """Import a part of detectron2."""
    try:
        return importlib.import_module(f"detectron2.{part}")
    except ImportError as error:
        raise ConfigInvalid(f"detectron2 cannot be imported: {error}; install it: {INSTALL}") from error


def _boxes(boxes: Tensor) -> Any:
    return _detectron2("structures").Boxes(boxes)


def _fill(model: nn.Module, weights: Mapping[str, Tensor], settings: Path) -> None:
    """Put tensors into a network; anchors they may hold or leave out."""
    try:
        left = model.load_state_dict(dict(weights), strict=False)
    except RuntimeError as error:  # a name is right and its shape is not
        raise ConfigInvalid(f"{settings}: the weights are another network's: {error}") from error
    wrong = [name for name in (*left.missing_keys, *left.unexpected_keys) if not _is_computed(name)]
    if wrong:
        raise ConfigInvalid(
            f"{settings}: the weights are another network's: {len(wrong)} names differ, {wrong[0]} first"
        )


def _is_computed(name: str) -> bool:
    return COMPUTED in name or name in ("pixel_mean", "pixel_std")


def _digest(model: nn.Module, cfg: Any, config: GuestConfig) -> str:
    """Identify weights and all settings that tell regions; not the files and the device that they came by."""
    parts = cfg.clone()
    parts.defrost()
    parts.MODEL.WEIGHTS = parts.MODEL.DEVICE = ""
    told = {"regions": dataclasses.asdict(config), "model": parts.MODEL, "input": parts.INPUT}
    content = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        content.update(name.encode())
        content.update(tensor.detach().cpu().contiguous().numpy().data)
    return f"sha256:{content.hexdigest()}"
