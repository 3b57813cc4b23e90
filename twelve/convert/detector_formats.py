"""The formats that detectors are published in, each told by the keys and shapes of its file alone.

A format is a row of `FORMATS`. It knows its files, what they call our parameters, which presets they may hold, and what
their code does otherwise than the preset.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twelve.convert.detector_names import (
    ANCHORS,
    BACKGROUND_FIRST,
    CLASS_ROWS,
    DETECTRON2,
    MASKRCNN_BENCHMARK,
    TWO_SCORES,
    Renaming,
    Shape,
    Turn,
    renamed,
)
from twelve.errors import WeightsInvalid
from twelve.regions.detector import BOX_NUMBERS
from twelve.regions.rcnn.config import VG_R101_C4, X152_FPN

Shapes = Mapping[str, Shape]

NAMED = 3
"""Keys that a sentence about a file names."""

BOTTOM_UP_ENTRIES: Mapping[str, str] = {
    "input.min_size_test": "short_side",
    "input.max_size_test": "long_side",
    "model.pixel_mean": "means",
    "model.pixel_std": "deviations",
    "rpn.pre_nms_topk_test": "candidates",
    "rpn.post_nms_topk_test": "proposals",
    "rpn.nms_thresh": "proposal_overlap",
    "proposal_generator.min_size": "least_proposal",
    "roi_heads.score_thresh_test": "score_floor",
    "roi_heads.nms_thresh_test": "class_overlap",
    "min_detections": "fewest_regions",
    "max_detections": "max_regions",
}
"""As `modeling_frcnn.py` and `processing_image.py` of transformers' research_projects/lxmert read `config.yaml`."""

VISUAL_GENOME, COCO = "visual_genome_objects.txt", "coco_objects.txt"
LISTS = {1600: VISUAL_GENOME, 80: COCO}
"""Names of classes by their count, for those formats whose authors say which list they trained on."""

PROPOSED = "proposal_generator.rpn_head.conv.weight"
MOVED = "roi_heads.box_predictor.bbox_pred.bias"


@dataclass(frozen=True, kw_only=True)
class Format:
    """How somebody writes detectors.

    Attributes:
        name: Of the format.
        knows: Tells a file of it by keys and shapes.
        presets: What it may hold.
        renaming: Makes their names of ours.
        turns: What is not taken over as it is.
        settings: Where their code differs from the preset.
        of_folder: Where the code that reads a folder with a file of settings differs.
        entries: Our settings by the names that the format's own file of settings has for them.
        optional: Pattern of our parameters that a file may lack, because the settings give them too.
        lists: Of class names, by their count.
    """

    name: str
    knows: Callable[[Shapes], bool]
    presets: tuple[str, ...]
    renaming: Renaming = DETECTRON2
    turns: Sequence[Turn] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    of_folder: Mapping[str, Any] = field(default_factory=dict)
    entries: Mapping[str, str] = field(default_factory=dict)
    optional: str = ""
    lists: Mapping[int, str] = field(default_factory=lambda: LISTS)

    def key_of(self, name: str) -> str:
        """Give their name of a parameter of ours."""
        return renamed(name, self.renaming)

    def optional_of(self, names: Iterable[str]) -> list[str]:
        """Give those of our parameters that a file may lack."""
        return [name for name in names if re.fullmatch(self.optional, name)]

    def classes(self, shapes: Shapes) -> int:
        """Count the classes of a file, background left out.

        Raises:
            WeightsInvalid: It has no scores of classes.
        """
        key = self.key_of(CLASS_ROWS)
        if not shapes.get(key) or shapes[key][0] < 2:
            raise WeightsInvalid(f"the {self.name} checkpoint lacks {key}, or it has no row for a class")
        return shapes[key][0] - 1


def recognise(path: Path, shapes: Shapes) -> Format:
    """Tell the format of a file.

    Args:
        path: Of the file, for the error.
        shapes: By key.

    Returns:
        The format.

    Raises:
        WeightsInvalid: None knows it; says what it holds instead.
    """
    found = next((form for form in FORMATS if form.knows(shapes)), None)
    if found is None:
        some = ", ".join(list(shapes)[:NAMED]) or "nothing"
        raise WeightsInvalid(
            f"{path}: is no detector of a known format ({', '.join(form.name for form in FORMATS)}); it holds {some}"
            + (" and so on" if len(shapes) > NAMED else "")
        )
    return found


def _has(shapes: Shapes, *starts: str) -> bool:
    return any(key.startswith(starts) for key in shapes)


def _is_maskrcnn_benchmark(shapes: Shapes) -> bool:
    return _has(shapes, "backbone.body.")


def _is_caffe(shapes: Shapes) -> bool:
    """Only Caffe's corrections have rows for the background, beside names of detectron2."""
    classes, moved = shapes.get(CLASS_ROWS, ()), shapes.get(MOVED, ())
    return bool(classes and moved) and moved[0] == classes[0] * BOX_NUMBERS


def _is_d2(shapes: Shapes) -> bool:
    return _has(shapes, "roi_heads.attribute_predictor.")


def _is_vg(shapes: Shapes) -> bool:
    """Only theirs narrows the proposals' head over a residual net's own map."""
    head = shapes.get(PROPOSED, (0, 0))
    return head[0] != head[1] and _has(shapes, "backbone.stem.") and not _is_caffe(shapes)


def _is_detectron2(shapes: Shapes) -> bool:
    """What is left of detectron2's names."""
    others = (_is_maskrcnn_benchmark, _is_caffe, _is_d2, _is_vg)
    return _has(shapes, "proposal_generator.") and not any(other(shapes) for other in others)


FORMATS = (
    # facebookresearch/vilbert-multi-task's detectron_model.pth, by vedanuj/vqa-maskrcnn-benchmark. Its list of classes
    # is published elsewhere, and nobody says that it has Visual Genome's order.
    Format(
        name="maskrcnn-benchmark",
        knows=_is_maskrcnn_benchmark,
        presets=(X152_FPN,),
        renaming=MASKRCNN_BENCHMARK,
        turns=BACKGROUND_FIRST,
        lists={},
    ),
    # unc-nlp/frcnn-vg-finetuned (transformers' research_projects/lxmert/modeling_frcnn.py), and the .pkl of
    # airsplay/py-bottom-up-attention, from which it was made. Differs: both codes choose regions by one NMS over boxes
    # corrected for their likeliest class; ours are chosen as those of the features that LXMERT and others learnt from.
    Format(
        name="bottom-up-attention",
        knows=_is_vg,
        presets=(VG_R101_C4,),
        of_folder={"resize": "torch"},
        entries=BOTTOM_UP_ENTRIES,
        optional=ANCHORS,
    ),
    # MILVLG/bottom-up-attention.pytorch, --mode caffe: bua/caffe/modeling (BUABoxes and BUABox2BoxTransform have
    # TO_REMOVE = 1) and configs/bua-caffe. Differs: its least side of a proposal is 16 px of the picture as it came.
    Format(
        name="bua-caffe",
        knows=_is_caffe,
        presets=(VG_R101_C4,),
        turns=(*BACKGROUND_FIRST, *TWO_SCORES),
        settings={
            "resize": "cv2",
            "rounded_anchors": True,
            "box_offset": 1.0,
            "correction_weights": (1.0, 1.0, 1.0, 1.0),
        },
    ),
    # The same, --mode d2: detectron2's own modules, with configs/d2/base-d2.yaml, and selected as in caffe mode.
    Format(
        name="bua-d2",
        knows=_is_d2,
        presets=("r101-c4", "r50-c4"),
        settings={
            "short_side": 600,
            "long_side": 1000,
            "class_overlap": 0.3,
            "score_floor": 0.2,
            "fewest_regions": 10,
        },
        optional=ANCHORS,
    ),
    # facebookresearch/detectron2 v0.6 and its model zoo; only its older files keep the anchors.
    Format(
        name="detectron2",
        knows=_is_detectron2,
        presets=("r50-fpn", "r101-fpn", "r50-c4", "r101-c4"),
        optional=ANCHORS,
    ),
)
"""All of them; no file is known by two."""
