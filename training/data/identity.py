"""Which picture a path shows: the sources share pictures and number them apart, and a picture must be told from itself.

An identity is "coco:{number}", "vg:{number}" (a Visual Genome picture that is none of COCO's), "gqa:n{number}",
"flickr30k:{number}" or "nlvr2:{name}". Where pictures lie on the disk makes no difference to it.
"""

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from training.data.entries import Entry
from training.data.faults import each, refuse
from training.data.streams import entries
from twelve.errors import DataError

GENOME_IMAGES = "vg/image_data.json"
"""Says which Visual Genome pictures are COCO's too; GQA and Visual7W number their pictures as Visual Genome does."""

_GENOME = "vg"
_PATH = re.compile(
    r"images/(?:"
    r"coco/\w+/COCO_\w+_0*(?P<coco>\d+)\.jpg"
    r"|(?:(?:vg/VG_100K(?:_2)?|gqa)/|visual7w/v7w_)(?P<vg>\d+)\.jpg"
    r"|(?:vg/VG_100K(?:_2)?|gqa)/(?P<gqa>n\d+)\.jpg"
    r"|flickr30k/flickr30k-images/(?P<flickr30k>\d+)\.jpg"
    r"|nlvr2/(?:\w+/)+(?P<nlvr2>[\w-]+)\.png"
    r")"
)
"""What `training.data.pictures` and the readers make of the names in the files, source by source."""


class Identities:
    """Tells pictures apart by their paths; what was told once is remembered."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, str] = {}
        self._unlisted: set[str] = set()

    def of(self, image: str) -> str:
        """Give the identity of the picture at a path relative to the data root.

        Raises:
            DataError: The path is of no source's form; or it is Visual Genome's, and the list of those is not there.
        """
        if image not in self._known:
            self._known[image] = self._identify(image)
        return self._known[image]

    def of_record(self, record: object) -> tuple[str, ...]:
        """Give the identities of the pictures that a record of any kind shows."""
        return tuple(self.of(image) for image in pictures_of(record))

    def refuse_unlisted(self) -> None:
        """Check that Visual Genome's list holds every picture of it that was told so far.

        Raises:
            DataError: It lacks some; names one.
        """
        if self._unlisted:
            raise DataError(
                f"{GENOME_IMAGES}: {len(self._unlisted):,} pictures of Visual Genome that rows show are not in it, "
                f"such as {min(self._unlisted)}, so that they cannot be told from COCO's; put the whole list there"
            )

    def _identify(self, image: str) -> str:
        found = _PATH.fullmatch(image)
        if found is None or found.lastgroup is None:
            raise DataError(f"{image}: expected a picture of COCO, Visual Genome, GQA, Flickr30k or NLVR2 by its path")
        name = found[found.lastgroup]
        return self._of_genome(name) if found.lastgroup == _GENOME else f"{found.lastgroup}:{name}"

    def _of_genome(self, name: str) -> str:
        if name not in self._coco_numbers:
            self._unlisted.add(name)
        number = self._coco_numbers.get(name)
        return f"{_GENOME}:{name}" if number is None else f"coco:{number}"

    @cached_property
    def _coco_numbers(self) -> Mapping[str, int | None]:
        """Give the COCO number of each Visual Genome picture, None for one that is not COCO's."""
        return dict(each(_listed, entries(self._root, GENOME_IMAGES), refuse))


def pictures_of(record: object) -> Sequence[str]:
    """Name the pictures of a record of any kind."""
    images: Sequence[str] = getattr(record, "images", None) or (record.image,)  # type: ignore[attr-defined]
    return images


def _listed(image: Entry) -> tuple[str, int | None]:
    return str(image.natural("image_id")), image.natural("coco_id") if image.has("coco_id") else None
