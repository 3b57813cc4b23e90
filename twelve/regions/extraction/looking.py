"""Looking at one input: bytes -> picture -> regions, or the reason why there are none. Never an exception."""

import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from twelve.errors import RequestError, ServerError, TwelveError, UnreadableImage
from twelve.features import RegionSet
from twelve.image import ImageLimits, Picture, decode, read
from twelve.regions.extraction.sources import Parcel
from twelve.regions.extractor import RegionExtractor

OpenExtractor = Callable[[], RegionExtractor]
"""What opens the detector, there where it will run."""


@dataclass(frozen=True)
class Fault:
    """Why an input has no regions.

    Attributes:
        code: In words that never change.
        reason: For people.
        may_pass: Whether the same bytes may fare better another time.
    """

    code: str
    reason: str
    may_pass: bool = False

    @classmethod
    def of(cls, error: TwelveError) -> Self:
        """Tell of an error; those of the picture stay, ours may pass."""
        return cls(error.code, error.message, may_pass=isinstance(error, ServerError))


@dataclass(frozen=True)
class Reading:
    """How pictures are read.

    Attributes:
        limits: What a picture may be.
        exif: Turn it as its EXIF orientation says.
    """

    limits: ImageLimits = field(default_factory=ImageLimits)
    exif: bool = True

    def picture(self, parcel: Parcel) -> Picture | Fault:
        """Decode what is in a parcel."""
        try:
            if parcel.path is not None:
                return self._file(Path(parcel.path))
            return decode(parcel.data or b"", limits=self.limits, exif=self.exif)
        except RequestError as error:
            return Fault.of(error)
        except OSError as error:
            return Fault("unreadable-file", f"the file cannot be read: {error.strerror}", may_pass=True)
        except MemoryError:
            return Fault("out-of-memory", "decoding the picture took more memory than there is", may_pass=True)

    def _file(self, path: Path) -> Picture:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UnreadableImage("this is no regular file, but a pipe, a device or a folder; leave it out")
        return read(path, limits=self.limits, exif=self.exif)


def regions_of(picture: Picture, extractor: RegionExtractor) -> RegionSet | Fault:
    """Run the detector on a picture; one that it fails on must not end the work on a million others."""
    try:
        return extractor.extract(picture)
    except TwelveError as error:
        return Fault.of(error)
    except (RuntimeError, ValueError, IndexError, MemoryError) as error:  # what torch, onnxruntime and numpy raise
        return Fault("engine-failed", f"the detector failed: {str(error)[:200]}", may_pass=True)
