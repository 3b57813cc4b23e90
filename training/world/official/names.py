"""The ids and file names that a scene goes by in each picture source.

The sources number their pictures apart, as in the real data; a scene that two of them show has two names.
"""

from collections.abc import Mapping
from typing import Final

from training.world.scene import Scene, Split

COCO_GROUPS: Final[Mapping[Split, str]] = {
    "train": "train2014",
    "val": "val2014",
    "test": "test2015",
    "novel": "test2015",
}
"""Which folder of COCO's holds the pictures of a split."""

_FIRST_GENOME_ID: Final = 2_300_000
_FIRST_FLICKR30K_ID: Final = 1_000_000_000
_THINGS_PER_SCENE: Final = 100


def coco_id(scene: Scene) -> int:
    """Give the picture's number in COCO."""
    return scene.id


def coco_name(scene: Scene) -> str:
    """Give the picture's file name in COCO."""
    return coco_name_in(scene, scene.split)


def coco_name_in(scene: Scene, split: Split) -> str:
    """Give the file name by which a split's questions know the picture; VQAv2 derives it from the split."""
    return f"COCO_{COCO_GROUPS[split]}_{coco_id(scene):012d}.jpg"


def coco_url(scene: Scene) -> str:
    """Give an address of the form that official files have; nothing answers there."""
    return f"http://images.cocodataset.org/{COCO_GROUPS[scene.split]}/{coco_name(scene)}"


def genome_id(scene: Scene) -> int:
    """Give the picture's number in Visual Genome, which GQA and Visual7W use too."""
    return _FIRST_GENOME_ID + scene.id


def visual7w_name(scene: Scene) -> str:
    """Give the picture's file name in Visual7W."""
    return f"v7w_{genome_id(scene)}.jpg"


def flickr30k_id(scene: Scene) -> str:
    """Give the picture's number in Flickr30k, a string there."""
    return str(_FIRST_FLICKR30K_ID + scene.id)


def flickr30k_name(scene: Scene) -> str:
    """Give the picture's file name in Flickr30k."""
    return f"{flickr30k_id(scene)}.jpg"


def coco_thing(scene: Scene, index: int) -> int:
    """Give the number of a thing's annotation in COCO."""
    return coco_id(scene) * _THINGS_PER_SCENE + index


def genome_thing(scene: Scene, index: int) -> int:
    """Give the number of a thing in Visual Genome's scene graphs and Visual7W's boxes."""
    return genome_id(scene) * _THINGS_PER_SCENE + index


def flickr30k_chain(scene: Scene, index: int) -> int:
    """Give the number of an entity chain in Flickr30k Entities; things come first, then what else is named."""
    return scene.id * _THINGS_PER_SCENE + index + 1
