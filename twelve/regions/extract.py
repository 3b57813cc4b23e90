"""Regions of many pictures, one after the other: what cannot be read becomes an error in its place, not an end."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from twelve.errors import TwelveError, UnreadableImage
from twelve.image import ImageLimits, Picture, read
from twelve.regions.extractor import RegionExtractor, RegionSet

READ_AHEAD = 8
"""Pictures decoded while the detector is busy; also the most that are in memory at once."""


class Extracted(NamedTuple):
    """One picture's outcome.

    Attributes:
        path: As it was listed.
        digest: Of the picture; None where it could not be read.
        regions: What was found in it, or why nothing was; None where the caller knew the picture already.
    """

    path: Path
    digest: str | None
    regions: RegionSet | TwelveError | None


def extract_pictures(
    paths: Iterable[Path],
    extractor: RegionExtractor,
    *,
    limits: ImageLimits,
    is_known: Callable[[str], bool] = lambda digest: False,
) -> Iterator[Extracted]:
    """Extract pictures in the order of their listing.

    Args:
        paths: Of picture files; a generator is read as far ahead as needed.
        extractor: Finds the regions.
        limits: What a picture may be.
        is_known: Says of a picture's digest whether its regions are had already; asked when the picture's turn comes.

    Yields:
        One outcome a path.
    """
    for path, picture in _read_ahead(paths, limits):
        if isinstance(picture, TwelveError):
            yield Extracted(path, None, picture)
        else:
            yield Extracted(path, picture.digest, None if is_known(picture.digest) else extractor.extract(picture))


def _read_ahead(paths: Iterable[Path], limits: ImageLimits) -> Iterator[tuple[Path, Picture | TwelveError]]:
    """Decode in a thread of its own: Pillow lets go of the interpreter while it decodes."""
    listing = iter(paths)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="decode") as pool:

        def begin(path: Path) -> tuple[Path, Future[Picture | TwelveError]]:
            return path, pool.submit(_read, path, limits)

        waiting = [begin(path) for path in islice(listing, READ_AHEAD)]
        while waiting:
            path, decoded = waiting.pop(0)
            yield path, decoded.result()
            waiting.extend(begin(path) for path in islice(listing, 1))


def _read(path: Path, limits: ImageLimits) -> Picture | TwelveError:
    try:
        return read(path, limits=limits)
    except TwelveError as error:
        return error
    except OSError as error:
        return UnreadableImage(f"{path}: cannot be read: {error.strerror}; check the path and its permissions")
