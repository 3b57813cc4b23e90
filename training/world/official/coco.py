"""COCO captions: dataset_coco.json."""

from pathlib import Path

from training.world.scene import Scene
from training.world.words.captions import scene_captions

from .corpus import SPLITS, Corpus
from .files import Json
from .karpathy import KarpathyFile
from .names import COCO_GROUPS, coco_id, coco_name


def write(root: Path, corpus: Corpus) -> None:
    """Write five captions of every COCO picture."""
    collected = KarpathyFile("coco", coco_name, _extras)
    for split in SPLITS:
        scenes = corpus.of("coco", split)
        collected.add(scenes, scene_captions(scenes, corpus.rng("coco", split)))
    collected.write(root / "coco/dataset_coco.json")


def _extras(scene: Scene) -> dict[str, Json]:
    return {"filepath": COCO_GROUPS[scene.split], "cocoid": coco_id(scene)}
