"""The desk where pictures become regions: each distinct picture once, from the cache or by one run of the detector.

Shapes: R regions · F feature width · G given boxes. Boxes XYXY in pixels of the upright picture.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, Protocol

import torch
from torch import Tensor

from twelve.boxes import areas, clip
from twelve.errors import InvalidField, TooLarge, UnknownRef, UnreadableImage
from twelve.image import ImageLimits, Picture, decode
from twelve.regions.cache import RegionCache
from twelve.regions.extractor import UNKNOWN_LABEL, RegionExtractor, RegionSet
from twelve.schema import AnyImage, BroughtRegions, EncodedImage, ImageRef, RegionsImage

SAME_BOX_PX = 1.0
"""How far a candidate may lie from the brought box that it means, on each side (the HTTP contract)."""

FLOAT_BYTES = 4

LARGEST_FEATURE = 65504.0
"""Of a brought-along feature: what float16 holds, as feature stores do. Greater ones drown the model in infinities."""

Boxes = tuple[tuple[float, float, float, float], ...]


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


@dataclass(frozen=True)
class SentPicture:
    """A picture whose bytes came with the request, upright and decoded."""

    picture: Picture
    encoded: bytes

    @property
    def key(self) -> Hashable:
        """Give the hash of its pixels."""
        return self.picture.digest

    @property
    def pixels(self) -> int:
        """Count them."""
        return self.picture.height * self.picture.width

    def look(self, desk: "PictureDesk", boxes_px: Boxes, *, at: str) -> Attached:
        """Find its regions, or know them already; see `Slot.look`."""
        del at
        ref = self.picture.digest
        known = None if boxes_px else desk.cache.regions(ref)
        if known is None:
            return _attached(desk.extract(self.picture, self.encoded, boxes_px), ref)
        desk.cache.keep(ref, self.encoded, known)  # its files may be swept, and other workers must know this ref
        return _attached(known, ref)


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
        known = None if boxes_px else desk.cache.regions(self.ref)
        return _attached(known or desk.extract_again(self.ref, boxes_px, at=at), self.ref)


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
        rows = tuple(_same_box(self.regions, *numbered) for numbered in enumerate(boxes_px))
        return Attached(replace(self.regions, given=_last_rows(rows, len(self.regions))), rows, None)


class PictureDesk:
    """Opens the pictures of requests and has what it takes to look at them."""

    def __init__(
        self, extractor: RegionExtractor | None, cache: RegionCache, *, limits: ImageLimits, feature_width: int
    ) -> None:
        self.cache = cache
        self._extractor = extractor
        self._limits = limits
        self._feature_width = feature_width
        self._openers: dict[type, Callable[[Any, str], Slot]] = {
            EncodedImage: self._open_encoded,
            ImageRef: self._open_ref,
            RegionsImage: self._open_brought,
        }

    def open_all(self, images: Sequence[AnyImage], paths: Sequence[str]) -> tuple[Slot, ...]:
        """Open a request's pictures, one after the other; together they hold no more pixels than one may.

        Args:
            images: As the request holds them.
            paths: The fields' paths, for errors.

        Returns:
            Slots to look at.

        Raises:
            TooLarge: The pictures together are larger than the limits.
        """
        slots: list[Slot] = []
        for image, at in zip(images, paths, strict=True):
            slots.append(self.open(image, at=at))
            pixels = sum(slot.pixels for slot in slots)
            if pixels > self._limits.max_pixels:
                raise TooLarge(
                    f"{at}: with this picture the request holds {pixels} pixels, at most {self._limits.max_pixels} "
                    "are decoded for one; send smaller pictures",
                    at=at,
                )
        return tuple(slots)

    def open(self, image: AnyImage, *, at: str) -> Slot:
        """Decode a picture, or read the regions brought along; a ref stays a ref.

        Args:
            image: As the request holds it.
            at: The field's path, for errors.

        Returns:
            A slot to look at.

        Raises:
            UnreadableImage: The bytes are no picture.
            TooLarge: The picture is larger than the limits.
            InvalidField: The regions do not fit each other or the model, or there is no detector for a picture.
        """
        try:
            return self._openers[type(image)](image, at)
        except UnreadableImage as error:
            raise UnreadableImage(f"{at}: {error.message}", at=at) from error
        except TooLarge as error:
            raise TooLarge(f"{at}: {error.message}", at=at) from error

    def extract(self, picture: Picture, encoded: bytes, boxes_px: Boxes) -> RegionSet:
        """Run the detector and remember what it found.

        Args:
            picture: Upright RGB.
            encoded: Its file.
            boxes_px: To describe as well.

        Returns:
            Detected regions, then the given boxes.

        Raises:
            InvalidField: A box lies outside the picture.
        """
        assert self._extractor is not None  # `open` has refused pictures where there is none
        found = self._extractor.extract(picture, _inside(boxes_px, height=picture.height, width=picture.width))
        self.cache.keep(picture.digest, encoded, detected(found))
        return found

    def extract_again(self, ref: str, boxes_px: Boxes, *, at: str) -> RegionSet:
        """Run the detector on a picture that was sent before.

        Raises:
            UnknownRef: Its file is not kept, or no longer.
        """
        encoded = self.cache.encoded(ref)
        if encoded is None:
            raise UnknownRef(f"{at}: no picture is kept under {ref[:19]}…; send the picture itself", at=at)
        return self.extract(decode(encoded, limits=self._limits, at=at), encoded, boxes_px)

    def _open_encoded(self, image: EncodedImage, at: str) -> Slot:
        self._needs_detector(at)
        return SentPicture(decode(image.data, limits=self._limits, at=at), image.data)

    def _open_ref(self, image: ImageRef, at: str) -> Slot:
        self._needs_detector(at)
        return NamedPicture(image.ref)

    def _open_brought(self, image: RegionsImage, at: str) -> Slot:
        return BroughtPicture(brought(image.regions, feature_width=self._feature_width, at=at))

    def _needs_detector(self, at: str) -> None:
        if self._extractor is None:
            raise InvalidField(f'{at}: this bundle has no detector; send {{"regions": …}} in place of a picture', at=at)


class BatchDesk:
    """Looks at each distinct (picture, boxes) of a batch once."""

    def __init__(self, desk: PictureDesk) -> None:
        self._desk = desk
        self._seen: dict[tuple[Hashable, Boxes], Attached] = {}

    def look(self, slot: Slot, boxes_px: Boxes, *, at: str) -> Attached:
        """See `Slot.look`."""
        key = (slot.key, boxes_px)
        if key not in self._seen:
            self._seen[key] = slot.look(self._desk, boxes_px, at=at)
        return self._seen[key]


def detected(regions: RegionSet) -> RegionSet:
    """Give a picture's regions without those that the caller gave."""
    count = len(regions) - regions.given
    return RegionSet(
        regions.features[:count],
        regions.boxes_px[:count],
        regions.scores[:count],
        regions.labels[:count],
        width=regions.width,
        height=regions.height,
    )


def brought(regions: BroughtRegions, *, feature_width: int, at: str) -> RegionSet:
    """Read regions that the caller found.

    Args:
        regions: As sent.
        feature_width: F of the model.
        at: The field's path, for errors.

    Returns:
        The region set; scores are 1, labels unknown.

    Raises:
        InvalidField: The features are not n x F finite numbers, or a box is empty inside the picture.
    """
    count, needed = len(regions.boxes), len(regions.boxes) * feature_width * FLOAT_BYTES
    if len(regions.features) != needed:
        raise InvalidField(
            f"{at}.regions.features: {count} boxes need float32 [{count}, {feature_width}], which is {needed} bytes, "
            f"got {len(regions.features)}",
            at=f"{at}.regions.features",
        )
    features = torch.frombuffer(bytearray(regions.features), dtype=torch.float32).reshape(count, feature_width)
    if not bool((features.abs() <= LARGEST_FEATURE).all()):  # NaN compares as false
        raise InvalidField(
            f"{at}.regions.features: must be finite numbers up to {LARGEST_FEATURE:g}", at=f"{at}.regions.features"
        )
    boxes = _inside(regions.boxes, height=regions.height, width=regions.width, at=f"{at}.regions.boxes")
    assert boxes is not None  # the schema asks for at least one
    labels = torch.full((count,), UNKNOWN_LABEL)
    return RegionSet(features, boxes, torch.ones(count), labels, width=regions.width, height=regions.height)


def _inside(boxes_px: Boxes, *, height: int, width: int, at: str = "boxes") -> Tensor | None:
    """Clip the caller's boxes to the picture; a box that lies outside is the caller's mistake."""
    if not boxes_px:
        return None
    clipped = clip(torch.tensor(boxes_px, dtype=torch.float32), height=height, width=width)
    outside = (areas(clipped) <= 0).nonzero().flatten().tolist()
    if outside:
        place = outside[0]
        raise InvalidField(
            f"{at}[{place}]: lies outside the {width}x{height} picture, got {list(boxes_px[place])}",
            at=f"{at}[{place}]",
        )
    return clipped


def _attached(regions: RegionSet, ref: str) -> Attached:
    return Attached(regions, tuple(range(len(regions) - regions.given, len(regions))), ref)


def _same_box(regions: RegionSet, place: int, box: tuple[float, float, float, float]) -> int:
    distance = (regions.boxes_px - torch.tensor(box)).abs().amax(dim=1)  # [R]
    nearest = (
        len(distance) - 1 - int(distance.flip(0).argmin())
    )  # of equal boxes the last, which is the candidate's own
    if float(distance[nearest]) > SAME_BOX_PX:
        raise InvalidField(
            f"boxes[{place}]: none of the boxes brought along lies within {SAME_BOX_PX:g} px of {list(box)}; "
            "with regions, each candidate is one of their boxes",
            at=f"boxes[{place}]",
        )
    return nearest


def _last_rows(rows: Sequence[int], count: int) -> int:
    """Count how many of the last of so many rows are among the given ones, without a gap."""
    tail = takewhile(set(rows).__contains__, reversed(range(count)))
    return sum(1 for _ in tail)
