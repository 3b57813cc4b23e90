"""JPEGs that say the same over and over: each scan is a pass over the whole picture, however few bytes it has.

A file of 200 KB with 2,000 scans keeps a worker busy for minutes, within every limit on bytes and pixels. Encoders
write ten scans or so.
"""

from collections.abc import Sequence

from twelve.errors import UnreadableImage
from twelve.schema import AnyImage, EncodedImage

JPEG = b"\xff\xd8"
SCAN = b"\xff\xda"
"""ITU T.81, table B.1, start of scan. In a scan's own data 0xff is followed by zero or by a restart's marker."""

MOST_SCANS = 64
"""Of one picture, thumbnails inside it included; libjpeg's own script for colour pictures has 10."""


def check_scans(images: Sequence[AnyImage], paths: Sequence[str]) -> None:
    """See that no JPEG has more scans than pictures have.

    Args:
        images: Of one request.
        paths: The fields' paths, for errors.

    Raises:
        UnreadableImage: One has.
    """
    for image, at in zip(images, paths, strict=True):
        if isinstance(image, EncodedImage) and image.data.startswith(JPEG):
            _check(image.data.count(SCAN), at)


def _check(scans: int, at: str) -> None:
    if scans > MOST_SCANS:
        raise UnreadableImage(
            f"{at}: the picture has {scans} scans, at most {MOST_SCANS} are decoded; save it as a baseline JPEG", at=at
        )
