"""Pictures of a request, in each of the ways they may be sent: each knows how it is looked at."""

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, Protocol

from twelve.image import Picture
from twelve.pictures.brought import last_rows, same_box
from twelve.regions.cache import Boxes
from twelve.regions.extractor import RegionSet

if TYPE_CHECKING:  # it opens slots, and they are looked at on it
    from twelve.pictures.desk import PictureDesk


@dataclass(frozen=True)
class Attached:
    """A picture's regions as one request sees them.

    Attributes:
        regions: Detected or brought along; boxes that the caller gave stand last.
        candidates: Which regions are the boxes the caller gave, in the caller's order.
        ref: By which the picture may be named from now on; None for regions brought along.
    """

    regions: RegionSet
    candidates: tuple[int, ...]
    ref: str | None


class Slot(Protocol):
    """One picture of a request, opened: it knows how it is looked at."""

    @property
    def key(self) -> Hashable:
        """Tell pictures apart: equal keys show the same."""
        ...

    @property
    def pixels(self) -> int:
        """Count the pixels that are held decoded."""
        ...

    def look(self, desk: "PictureDesk", boxes_px: Boxes, *, at: str) -> Attached:
        """Give the picture's regions, the boxes that the caller gave among them.

        Args:
            desk: Has the detector and the cache.
            boxes_px: Candidates that the caller gave for this picture.
            at: The field's path, for errors.

        Returns:
            The regions.

        Raises:
            UnknownRef: The picture is not kept.
            InvalidField: A box lies outside the picture, or is none of those brought along.
        """
        ...


class Recognised(NamedTuple):
    """What is remembered of a picture's file: its ref and size, so that the same bytes are not decoded again."""

    ref: str
    pixels: int


class Seen(NamedTuple):
    """A picture that can be looked at, and its file."""

    picture: Picture
    encoded: bytes


@dataclass(frozen=True)
class SentPicture:
    """A picture whose bytes came with the request: decoded, or recognised by them."""

    recognised: Recognised
    encoded: bytes
    picture: Picture | None = None

    @property
    def key(self) -> Hashable:
        """Give the hash of its pixels."""
        return self.recognised.ref

    @property
    def pixels(self) -> int:
        """Count them; a picture that came before counts alike, or a request would be refused only the first time."""
        return self.recognised.pixels

    def look(self, desk: "PictureDesk", boxes_px: Boxes, *, at: str) -> Attached:
        """Find its regions, or know them already; see `Slot.look`."""
        ref = self.recognised.ref
        regions = desk.regions(ref, boxes_px, lambda: Seen(self.picture or desk.decode(self.encoded, at), self.encoded))
        desk.cache.keep_encoded(ref, self.encoded)  # it may be swept, and other workers must know this ref
        return _attached(regions, ref)


@dataclass(frozen=True)
class NamedPicture:
    """A picture that was sent before."""

    ref: str

    @property
    def key(self) -> Hashable:
        """Give the ref."""
        return self.ref

    @property
    def pixels(self) -> int:
        """Give 0: nothing is decoded yet."""
        return 0

    def look(self, desk: "PictureDesk", boxes_px: Boxes, *, at: str) -> Attached:
        """Know its regions, or look at the kept file again; see `Slot.look`."""
        regions = desk.regions(self.ref, boxes_px, lambda: desk.see_again(self.ref, at=at))
        desk.cache.use_encoded(self.ref)
        return _attached(regions, self.ref)


@dataclass(frozen=True)
class BroughtPicture:
    """A picture given by its regions alone."""

    regions: RegionSet

    @property
    def key(self) -> Hashable:
        """Give the object's identity: nobody compares features."""
        return id(self.regions)

    @property
    def pixels(self) -> int:
        """Give 0: nobody sees any."""
        return 0

    def look(self, desk: "PictureDesk", boxes_px: Boxes, *, at: str) -> Attached:
        """Find each candidate among the boxes brought along; see `Slot.look`.

        Candidates that stand last count as given: as in the published readers, the picture's mean is over the others.
        """
        del desk, at
        rows = tuple(same_box(self.regions, *numbered) for numbered in enumerate(boxes_px))
        return Attached(replace(self.regions, given=last_rows(rows, len(self.regions))), rows, None)


def _attached(regions: RegionSet, ref: str) -> Attached:
    return Attached(regions, tuple(range(len(regions) - regions.given, len(regions))), ref)
