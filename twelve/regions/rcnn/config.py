"""What a Faster R-CNN over a residual net is made of, each habit of the code it was trained by included.

The numbers of a preset come from the code named beside it; whatever differs between codes that call themselves alike is
an entry here and never a constant elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from twelve.errors import ConfigInvalid
from twelve.regions.config import Settings
from twelve.regions.resizing import RESIZINGS, Resizing

X152_FPN = "x152-fpn"
VG_R101_C4 = "vg-r101-c4"

CAFFE_MEANS = (102.9801, 115.9465, 122.7717)
"""Of blue, green and red: every net that began as one of Caffe's."""

DETECTRON2_MEANS = (103.530, 116.280, 123.675)
UNSCALED = (1.0, 1.0, 1.0)

STAGES = 4
"""Of the residual nets, behind their stem."""

RGB, BOX_NUMBERS = 3, 4

LEAST_SIDE = 96
"""Two cells of the coarsest map: exporters take a map of one cell for a constant."""

CHOICES: Mapping[str, Sequence[str]] = {
    "body": ("fpn", "c4"),
    "channels": ("bgr", "rgb"),
    "feature": ("fc1", "fc2", "res5"),
    "pooling": ("align", "max"),
    "regions": ("proposals", "refined"),
    "resize": tuple(RESIZINGS),
}

COUNTS = (
    "short_side",
    "long_side",
    "least_side",
    "size_divisor",
    "stem_width",
    "stage_width",
    "groups",
    "group_width",
    "res5_stride",
    "res5_dilation",
    "proposal_width",
    "bins",
    "samples",
)
"""What there is at least one of, in any detector. Samples as many as a box has cells cannot be: outputs are fixed."""

FEATURES_OF: Mapping[str, Sequence[str]] = {"fpn": ("fc1", "fc2"), "c4": ("res5",)}
POOLINGS_OF: Mapping[str, Sequence[str]] = {"fpn": ("align",), "c4": ("align", "max")}


@dataclass(frozen=True, kw_only=True)
class RcnnConfig(Settings):
    """Sizes, habits and thresholds. Lengths are pixels of the resized picture.

    Attributes:
        preset: Where the entries come from that a file leaves out.
        class_names: In the order of the labels, background left out.
        resize: How a picture is resized, "pillow", "torch" or "cv2"; see `twelve.regions.resizing`.
        short_side: What its shorter side becomes,
        long_side: unless its longer side would exceed this.
        least_side: No side becomes smaller.
        channels: Order that the first convolution was trained on, "bgr" or "rgb".
        means: Subtracted, in that order.
        deviations: Divided by, in that order.
        size_divisor: Sides are padded, behind the normalisation and with zeros, to a multiple of this.
        body: "fpn": a pyramid and two layers over each box; "c4": one map, and the last residual stage over each box.
        blocks: Of the residual stages res2 to res5.
        stem_width: Channels of the first convolution.
        stage_width: Channels of res2; each stage doubles them.
        groups: Of the middle convolutions.
        group_width: Channels a group in res2; each stage doubles them.
        stride_in_1x1: The first convolution of a stage's first block strides, as MSRA's nets did, not the middle one.
        norm_epsilon: Added to the frozen variances: 0 in old maskrcnn-benchmark, 1e-5 elsewhere.
        ceil_pool: The stem's pool has no border and rounds its size up, as Caffe's.
        res5_stride: Of the last stage; 1 in bottom-up attention,
        res5_dilation: which looks as far around by dilating its middle convolutions.
        pyramid_width: Channels of the pyramid's maps; of no use to "c4".
        proposal_width: Channels inside the proposal head.
        anchor_sides: Square roots of the anchors' areas: one a level of "fpn", all of them on the map of "c4".
        anchor_ratios: Heights over widths of the anchors.
        rounded_anchors: Centred on cells with sides rounded to whole pixels, as in Caffe; else exact, on corners.
        box_offset: 1 where a box of pixels 3 to 5 is 3 wide: in anchors, corrections, overlaps, areas and clipping.
        candidates: Anchors of a level, best first, that enter its NMS.
        proposals: Boxes that are looked at, the best of all levels.
        proposal_overlap: Threshold of that NMS.
        least_proposal: A proposal's sides exceed this.
        pooling: "align" or "max" (Caffe's RoIPool).
        bins: Side of a pooled box.
        samples: Of "align", a bin's side. detectron2's 0, as many as the box has cells, depends on the data.
        half_pixel: Of "align": whether a cell's value lies at its centre. Old code took it for the corner.
        level_epsilon: Keeps an empty box's logarithm finite where its level is chosen.
        head_width: Of the two layers; of no use to "c4".
        feature: What describes a box: "fc1" or "fc2" behind its ReLU, or the mean of "res5".
        correction_weights: What the corrections of classes are divided by: x, y, width, height.
        regions: "proposals" as they are, or "refined" for their best class. Features are the proposals' in both.
        class_overlap: Threshold of the NMS within a class; at 1 all stay.
        region_overlap: Threshold among the regions, whatever their classes; at 1 all stay.
        score_floor: Regions have a better class score than this,
        fewest_regions: but for so many, that stay however low they score.
        max_regions: K, at most.
    """

    resize: str
    short_side: int
    long_side: int
    least_side: int
    channels: str
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    size_divisor: int
    body: str
    blocks: tuple[int, ...]
    stem_width: int
    stage_width: int
    groups: int
    group_width: int
    stride_in_1x1: bool
    norm_epsilon: float
    ceil_pool: bool
    res5_stride: int
    res5_dilation: int
    pyramid_width: int
    proposal_width: int
    anchor_sides: tuple[float, ...]
    anchor_ratios: tuple[float, ...]
    rounded_anchors: bool
    box_offset: float
    candidates: int
    proposals: int
    proposal_overlap: float
    least_proposal: float
    pooling: str
    bins: int
    samples: int
    half_pixel: bool
    level_epsilon: float
    head_width: int
    feature: str
    correction_weights: tuple[float, ...]
    regions: str
    class_overlap: float
    region_overlap: float
    score_floor: float
    fewest_regions: int
    max_regions: int

    def __post_init__(self) -> None:
        """Refuse words that mean nothing, parts that do not go together and selections that cannot shrink."""
        for name, words in CHOICES.items():
            _refuse_other(name, getattr(self, name), words)
        _refuse_other(f"feature of body {self.body!r}", self.feature, FEATURES_OF[self.body])
        _refuse_other(f"pooling of body {self.body!r}", self.pooling, POOLINGS_OF[self.body])
        for name in ("means", "deviations"):
            _refuse_count(name, getattr(self, name), RGB, "one a channel")
        _refuse_count("blocks", self.blocks, STAGES, "res2 to res5")
        _refuse_count("correction_weights", self.correction_weights, BOX_NUMBERS, "x, y, width, height")
        maps = {"fpn": STAGES + 1, "c4": len(self.anchor_sides)}[self.body]
        _refuse_count("anchor_sides", self.anchor_sides, maps, "one for each map of the pyramid")
        if not self.candidates >= self.proposals >= self.max_regions >= max(self.fewest_regions, 1):
            raise ConfigInvalid(
                f"candidates {self.candidates}, proposals {self.proposals}, max_regions {self.max_regions}, "
                f"fewest_regions {self.fewest_regions}: each must be at least the next, and max_regions at least 1"
            )
        for name in COUNTS:
            _refuse_none(name, getattr(self, name))
        if min(self.deviations) <= 0:
            raise ConfigInvalid(
                f"deviations: got {min(self.deviations)}, want numbers above 0; pixels are divided by them"
            )

    @classmethod
    def of(cls, preset: str, class_names: Sequence[str]) -> Self:
        """Give a preset with these classes."""
        return cls.from_dict({"preset": preset, "class_names": list(class_names)})

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave; what is left out is the preset's."""
        preset = str(values.get("preset"))
        if preset not in PRESETS:
            raise ConfigInvalid(f"preset: got {preset!r}, want one of {', '.join(PRESETS)}")
        return super().from_dict({**PRESETS[preset], **values})

    @property
    def resizing(self) -> Resizing:
        """Give how a picture becomes what the detector looks at."""
        return RESIZINGS[self.resize](short_side=self.short_side, long_side=self.long_side, least_side=self.least_side)

    @property
    def least_region_px(self) -> float:
        """Leave no region out: published features have slivers among their rows too."""
        return 0.0

    @property
    def rounding(self) -> float:
        """Give what engines may differ by, of an output's largest value: sums run through a hundred layers.

        Less than a pixel of a box, and a cosine of features above 0.9999.
        """
        return 1e-3

    @property
    def feature_width(self) -> int:
        """Give F."""
        return {"fpn": self.head_width, "c4": self.width_of(len(self.blocks) - 1)}[self.body]

    def width_of(self, stage: int) -> int:
        """Give the channels behind a residual stage, res2 being 0."""
        return self.stage_width << stage


def _refuse_other(name: str, word: str, words: Sequence[str]) -> None:
    if word not in words:
        raise ConfigInvalid(f"{name}: got {word!r}, want {' or '.join(words)}")


def _refuse_none(name: str, count: int) -> None:
    if count < 1:
        raise ConfigInvalid(f"{name}: got {count}, want at least 1")


def _refuse_count(name: str, values: Sequence[float], count: int, each: str) -> None:
    if len(values) != count:
        raise ConfigInvalid(f"{name}: got {len(values)} numbers, want {count}: {each}")


R50, R101, R152 = (3, 4, 6, 3), (3, 4, 23, 3), (3, 8, 36, 3)
"""Blocks of the residual nets (arXiv:1512.03385, table 1)."""

_SHARED: dict[str, Any] = {
    "short_side": 800,
    "long_side": 1333,
    "least_side": LEAST_SIDE,
    "channels": "bgr",
    "deviations": UNSCALED,
    "stem_width": 64,
    "stage_width": 256,
    "groups": 1,
    "group_width": 64,
    "stride_in_1x1": True,
    "norm_epsilon": 1e-5,
    "ceil_pool": False,
    "res5_stride": 2,
    "res5_dilation": 1,
    "anchor_ratios": (0.5, 1.0, 2.0),
    "rounded_anchors": False,
    "box_offset": 0.0,
    "proposals": 1000,
    "proposal_overlap": 0.7,
    "least_proposal": 0.0,
    "samples": 2,
    "half_pixel": True,
    "level_epsilon": 1e-8,
    "correction_weights": (10.0, 10.0, 5.0, 5.0),
    "regions": "proposals",
    "class_overlap": 0.5,
    "region_overlap": 1.0,
    "score_floor": 0.0,
    "fewest_regions": 100,
    "max_regions": 100,
}
_FPN: dict[str, Any] = {
    "body": "fpn",
    "size_divisor": 32,
    "anchor_sides": (32.0, 64.0, 128.0, 256.0, 512.0),
    "candidates": 1000,
    "pooling": "align",
    "bins": 7,
    "feature": "fc1",
}
_C4: dict[str, Any] = {
    "body": "c4",
    "size_divisor": 1,
    "pyramid_width": 0,
    "head_width": 0,
    "candidates": 6000,
    "bins": 14,
    "feature": "res5",
}
_DETECTRON2: dict[str, Any] = {"resize": "pillow", "means": DETECTRON2_MEANS}
_DETECTRON2_FPN: dict[str, Any] = {
    **_SHARED,
    **_FPN,
    **_DETECTRON2,
    "pyramid_width": 256,
    "proposal_width": 256,
    "head_width": 1024,
}
_DETECTRON2_C4: dict[str, Any] = {
    **_SHARED,
    **_C4,
    **_DETECTRON2,
    "proposal_width": 1024,
    "anchor_sides": (32.0, 64.0, 128.0, 256.0, 512.0),
    "pooling": "align",
}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # facebookresearch/vilbert-multi-task's script/extract_features.py over maskrcnn-benchmark (anchors: modeling/rpn/
    # anchor_generator.py; TO_REMOVE = 1: modeling/box_coder.py and structures/; ROIAlign without half pixels: csrc/).
    # Differs: the script takes the regions' overlaps in pixels of the picture as it came, and adds its 1 to these; here
    # the 1 is a pixel of the resized one, as in all other places. Pairs near the threshold may tell.
    X152_FPN: {
        **_SHARED,
        **_FPN,
        "resize": "cv2",
        "means": CAFFE_MEANS,
        "blocks": R152,
        "groups": 32,
        "group_width": 8,
        "stride_in_1x1": False,
        "norm_epsilon": 0.0,
        "pyramid_width": 512,
        "proposal_width": 512,
        "rounded_anchors": True,
        "box_offset": 1.0,
        "least_proposal": -1.0,
        "half_pixel": False,
        "level_epsilon": 1e-6,
        "head_width": 2048,
    },
    # airsplay/py-bottom-up-attention, configs/VG-Detection/faster_rcnn_R_101_C4_caffemaxpool.yaml, and its copy in
    # transformers' research_projects/lxmert/modeling_frcnn.py. Regions are selected as in tools/generate_tsv.py of
    # peteanderson80/bottom-up-attention: NMS 0.3 within a class, scores from 0.2, 10 to 100 of them.
    VG_R101_C4: {
        **_SHARED,
        **_C4,
        "resize": "pillow",
        "short_side": 600,
        "long_side": 1000,
        "means": CAFFE_MEANS,
        "blocks": R101,
        "ceil_pool": True,
        "res5_stride": 1,
        "res5_dilation": 2,
        "proposal_width": 512,
        "anchor_sides": (64.0, 128.0, 256.0, 512.0),
        "proposals": 300,
        "pooling": "max",
        "class_overlap": 0.3,
        "score_floor": 0.2,
        "fewest_regions": 10,
    },
    # detectron2 v0.6, config/defaults.py with configs/Base-RCNN-FPN.yaml and Base-RCNN-C4.yaml. Differs: 2 samples a
    # bin where detectron2 counts the cells of each box, and the published selection of regions, which detectron2 lacks.
    "r50-fpn": {**_DETECTRON2_FPN, "blocks": R50},
    "r101-fpn": {**_DETECTRON2_FPN, "blocks": R101},
    "r50-c4": {**_DETECTRON2_C4, "blocks": R50},
    "r101-c4": {**_DETECTRON2_C4, "blocks": R101},
}
"""Every entry but the classes, by preset."""
