"""Every picture under each name that a data set knows it by."""

from collections.abc import Callable, Iterator
from pathlib import Path

from training.world.build import link, pool_picture
from training.world.scene import Scene

from .corpus import SPLITS, Corpus
from .names import COCO_GROUPS, coco_name, coco_name_in, flickr30k_name, genome_id, visual7w_name
from .nlvr2 import Shown


def picture_names(corpus: Corpus) -> Iterator[tuple[str, Scene]]:
    """Give the path, below the data root, of every picture whose name follows from its scene."""
    for scene in corpus.all_of("coco"):
        yield f"images/coco/{COCO_GROUPS[scene.split]}/{coco_name(scene)}", scene
    for split in SPLITS:
        for scene in corpus.overlapping("coco", split):
            yield f"images/coco/{COCO_GROUPS[split]}/{coco_name_in(scene, split)}", scene
    for scene in corpus.all_of("vg"):
        yield f"images/vg/VG_100K/{genome_id(scene)}.jpg", scene
        yield f"images/visual7w/{visual7w_name(scene)}", scene
    for scene in corpus.all_of("flickr30k"):
        yield f"images/flickr30k/flickr30k-images/{flickr30k_name(scene)}", scene


def link_pictures(root: Path, shown: Shown, on_progress: Callable[[int], None]) -> None:
    """Show the pictures of the pool under these names; the pool stays, for the detector learns from its scenes."""
    for path, scene in shown:
        link(pool_picture(root, scene.id), root / path)
        on_progress(1)
