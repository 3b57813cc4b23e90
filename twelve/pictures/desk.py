"""The desk where pictures become regions: each distinct picture once, from the cache or by one run of the detector."""

import hashlib
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from twelve.errors import InvalidField, TooLarge, UnknownRef, UnreadableImage
from twelve.image import ImageLimits, Picture, decode
from twelve.observer import Silent, Watcher
from twelve.pictures.brought import brought, inside
from twelve.pictures.parts import detected, given, joined
from twelve.pictures.slots import Attached, BroughtPicture, NamedPicture, Recognised, Seen, SentPicture, Slot
from twelve.regions.cache import MISSED, Boxes, Known, RegionCache, boxes_key
from twelve.regions.cache.recent import Recent
from twelve.regions.extractor import RegionExtractor, RegionSet
from twelve.schema import AnyImage, EncodedImage, ImageRef, RegionsImage

MOST_RECOGNISED = 32_768
"""Files that a worker knows by their bytes, and so need no decoding; some 400 bytes each."""


class PictureDesk:
    """Opens the pictures of requests and has what it takes to look at them."""

    def __init__(
        self,
        extractor: RegionExtractor | None,
        cache: RegionCache,
        *,
        limits: ImageLimits,
        feature_width: int,
        watcher: Watcher | None = None,
    ) -> None:
        self.cache = cache
        self._extractor = extractor
        self._limits = limits
        self._feature_width = feature_width
        self._watcher = watcher or Silent()
        self._recognised: Recent[Recognised] = Recent(MOST_RECOGNISED, lambda one: 1)
        self._openers: dict[type, Callable[[Any, str], Slot]] = {
            EncodedImage: self._open_encoded,
            ImageRef: self._open_ref,
            RegionsImage: self._open_brought,
        }

    def watched_by(self, watcher: Watcher) -> "PictureDesk":
        """Give a desk over the same detector and cache that tells a watcher."""
        return PictureDesk(
            self._extractor, self.cache, limits=self._limits, feature_width=self._feature_width, watcher=watcher
        )

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

    def regions(self, ref: str, boxes_px: Boxes, see: Callable[[], Seen]) -> RegionSet:
        """Give a picture's regions: known, or found by one run of the detector, whoever else wants them.

        Args:
            ref: Of the picture.
            boxes_px: To describe as well.
            see: Gives the picture; asked where the detector has to run.

        Returns:
            Detected regions, then the given boxes.

        Raises:
            InvalidField: A box lies outside the picture.
            UnknownRef: The picture cannot be seen any more.
        """
        keys = (ref, boxes_key(ref, boxes_px)) if boxes_px else (ref,)
        known = self._known(keys)
        if known is None:
            with self.cache.turn(keys[-1]):
                known = self._known(keys) or self._found(keys, see(), boxes_px)
        self._watcher.looked_up(known.result)
        return known.regions

    def see_again(self, ref: str, *, at: str) -> Seen:
        """Decode a picture that was sent before.

        Raises:
            UnknownRef: Its file is not kept, or no longer.
        """
        encoded = self.cache.encoded(ref)
        picture = None if encoded is None else self.decode(encoded, at)
        if encoded is None or picture is None or picture.digest != ref:  # another decoder may have kept it
            raise UnknownRef(f"{at}: no picture is kept under {ref[:19]}…; send the picture itself", at=at)
        return Seen(picture, encoded)

    def decode(self, encoded: bytes, at: str) -> Picture:
        """Turn a picture's file into pixels; see `twelve.image.decode`."""
        return decode(encoded, limits=self._limits, at=at)

    def _known(self, keys: Sequence[str]) -> Known | None:
        found = [known for known in map(self.cache.regions, keys) if known is not None]
        if len(found) < len(keys):
            return None
        return Known(joined([known.regions for known in found]), found[-1].result)

    def _found(self, keys: Sequence[str], seen: Seen, boxes_px: Boxes) -> Known:
        """Run the detector and remember what it found; of two answers to one question the first stands."""
        assert self._extractor is not None  # `open` has refused pictures where there is none
        picture = seen.picture
        given_px = inside(boxes_px, height=picture.height, width=picture.width)
        self._watcher.detector_ran()
        found = self._extractor.extract(picture, given_px)
        self.cache.keep_encoded(picture.digest, seen.encoded)
        parts = (detected(found), given(found))
        return Known(joined([self._kept(key, part) for key, part in zip(keys, parts, strict=False)]), MISSED)

    def _kept(self, key: str, regions: RegionSet) -> RegionSet:
        known = self.cache.regions(key)
        if known is not None:
            return known.regions
        self.cache.keep(key, regions)
        return regions

    def _open_encoded(self, image: EncodedImage, at: str) -> Slot:
        self._needs_detector(at)
        name = hashlib.sha256(image.data).hexdigest()
        recognised = self._recognised.get(name)
        if recognised is not None:
            return SentPicture(recognised, image.data)
        picture = self.decode(image.data, at)
        recognised = Recognised(picture.digest, picture.height * picture.width)
        self._recognised.put(name, recognised)
        return SentPicture(recognised, image.data, picture)

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
