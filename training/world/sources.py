"""Which data set shows which scene: the world's one pool of pictures, dealt out to four picture sources.

VQA, COCO retrieval, the three RefCOCOs and GuessWhat show COCO pictures; VG QA, GQA and Visual7W show Visual Genome's;
Flickr30k retrieval and SNLI-VE show Flickr30k's; NLVR2 has its own. As in the real data, half of Visual Genome's
pictures are COCO pictures too.
"""

from typing import Literal

from training.world.scene import Scene

Source = Literal["coco", "vg", "flickr30k", "nlvr2"]

SHARES: dict[Source, float] = {"coco": 0.29, "vg": 0.25, "flickr30k": 0.26, "nlvr2": 0.20}
"""Of all scenes. Flickr30k's share gives 2,000 captions from 400 test pictures in the default profile."""

SHARED_WITH_COCO = 0.5
"""Of Visual Genome's pictures."""

NIGHT_SHARES: dict[Source, float] = {"coco": 0.07, "vg": 0.07, "flickr30k": 0.26, "nlvr2": 0.04}
"""Of a source's scenes. By night nothing has a colour: what SNLI-VE calls neutral, and others cannot ask about."""

CRATE_SHARES: dict[Source, float] = {"coco": 0.08, "vg": 0.08, "flickr30k": 0.22, "nlvr2": 0.08}
"""Likewise, of scenes with a closed crate, which may hold what a statement of SNLI-VE speaks of."""

_GOLDEN = 0.6180339887498949
"""Multiples of it, modulo 1, fill [0, 1) evenly: neighbouring scenes go to different sources, shares come out right."""

_SILVER = 0.4142135623730951
"""Likewise, and independent of the first."""


def source_of(scene: Scene) -> Source:
    """Give the source whose picture the scene is; a twin has its original's."""
    return source_of_id(original_id(scene))


def sources_of(scene: Scene) -> tuple[Source, ...]:
    """Give every source that shows the scene: its own one first, then COCO for half of Visual Genome's."""
    own = source_of(scene)
    return (own, "coco") if is_shared_with_coco(scene) else (own,)


def is_shared_with_coco(scene: Scene) -> bool:
    """Say whether the scene is a Visual Genome picture that is a COCO picture too."""
    return source_of(scene) == "vg" and original_id(scene) * _SILVER % 1 < SHARED_WITH_COCO


def original_id(scene: Scene) -> int:
    """Give the id of the scene that this one was edited from, or its own."""
    return scene.id if scene.twin is None else scene.twin


def source_of_id(original: int) -> Source:
    """Give the source of an original scene by its id alone, so that it can be planned for its source."""
    place = original * _GOLDEN % 1
    for source, share in SHARES.items():
        if place < share:
            return source
        place -= share
    return "nlvr2"
