"""Pictures: bytes of a file -> upright RGB. The only decoder; whatever it refuses, it refuses with a sentence.

The order matters to whoever sends a hostile file: length, format, size and a JPEG's scans are checked before a single
pixel is decoded. What becomes of odd pictures:

    EXIF orientation   applied, so that boxes mean what a person sees; on request it is not, as in published features
                       (but TIFF, which Pillow turns itself)
    animated           the first frame; of several pictures in one JPEG (MPO, as phones write), too
    alpha              composed on white, transparent palette entries too
    grey, palette      spread over the three channels
    CMYK, YCbCr, Lab   converted without the file's colour profile; CMYK in JPEG is always taken to be inverted, as
                       Adobe's programs write it, whether their mark is there or not
    16 bit             the high byte, as Pillow itself does for 16-bit RGB; a transparent grey shows as that grey
    float              taken as 0 to 1
"""

import hashlib
import io
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base as ExifTag

from twelve.chunks import check_blocks, check_chunks
from twelve.errors import TooLarge, UnreadableImage
from twelve.scans import check_scans

RGB = npt.NDArray[np.uint8]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""What is decoded, in Pillow's names. Every further format is a further decoder that strangers may feed."""

MIB = 1 << 20
PAPER_WHITE = (255, 255, 255, 255)

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF 2.32, tag 0x0112: what undoes each orientation but 1."""

_WARNING_FILTERS = threading.Lock()
"""Python keeps warning filters for the whole process: one thread at a time may change them and put them back."""


@dataclass(frozen=True)
class ImageLimits:
    """What a picture may be.

    Attributes:
        max_bytes: Of the file.
        max_pixels: Height times width.
        max_side: Pixels.
        min_side: Pixels.
        max_scans: Of a JPEG; libjpeg's own script for colour pictures has 10.
        formats: Names as in FORMATS.
    """

    max_bytes: int = 16 * MIB
    max_pixels: int = 50_000_000
    max_side: int = 16_384
    min_side: int = 1
    max_scans: int = 64
    formats: tuple[str, ...] = FORMATS


@dataclass(frozen=True, eq=False)
class Picture:
    """An upright picture.

    Attributes:
        rgb: [H, W, 3] uint8, read-only.
        digest: "sha256:…" over height, width and the RGB bytes; the `ref` of the HTTP contract.
    """

    rgb: RGB
    digest: str

    @classmethod
    def of(cls, rgb: RGB) -> "Picture":
        """Make a picture from [H, W, 3] uint8; copies them."""
        kept = np.array(rgb, dtype=np.uint8, order="C")
        kept.setflags(write=False)
        return cls(kept, digest(kept))

    @property
    def height(self) -> int:
        """Give the height in pixels."""
        return int(self.rgb.shape[0])

    @property
    def width(self) -> int:
        """Give the width in pixels."""
        return int(self.rgb.shape[1])


def digest(rgb: RGB) -> str:
    """Name pixels by their content: equal digests, equal pictures."""
    height, width = rgb.shape[:2]
    content = hashlib.sha256(struct.pack("<II", height, width))
    content.update(np.ascontiguousarray(rgb).data)
    return f"sha256:{content.hexdigest()}"


def read(path: Path, *, limits: ImageLimits, exif: bool = True) -> Picture:
    """Decode a file; see `decode`. A file over the limit is not read."""
    refuse_bytes(path.stat().st_size, limits)
    return decode(path.read_bytes(), limits=limits, exif=exif)


def decode(data: bytes, *, limits: ImageLimits, at: str | None = None, exif: bool = True) -> Picture:
    """Turn the bytes of a picture file into upright RGB.

    Args:
        data: The whole file.
        limits: What is refused.
        at: The request's field that held the bytes, for the error.
        exif: Turn the picture as its EXIF orientation says. Features that others published are of pictures that
            were not.

    Returns:
        The picture, with its digest.

    Raises:
        TooLarge: More bytes, pixels or a longer side than the limits allow; found before decoding.
        UnreadableImage: No picture of an allowed format, a broken one, a smaller one than the limits ask for, or a JPEG
            of more scans than they allow, or a JPEG, PNG or GIF of far more parts than any needs.
    """
    refuse_bytes(len(data), limits, at=at)
    if not data:
        raise UnreadableImage("the picture is empty: got 0 bytes, send the whole file", at=at)
    check_scans(data, most=limits.max_scans, at=at)
    check_chunks(data, at=at)
    check_blocks(data, at=at)
    with _opened(data, limits, at=at) as image:
        _refuse_size(image.size, limits, at=at)
        return Picture.of(_pixels(image, exif=exif, at=at))


def refuse_bytes(size: int, limits: ImageLimits, *, at: str | None = None) -> None:
    """Refuse a file by its size, before it is read.

    Args:
        size: Of the file, bytes.
        limits: Say what is too much.
        at: The request's field, for the error.

    Raises:
        TooLarge: It is.
    """
    if size > limits.max_bytes:
        raise TooLarge(
            f"the picture file is too large: got {size} bytes, send at most {limits.max_bytes}; scale it down first",
            at=at,
        )


@contextmanager
def _opened(data: bytes, limits: ImageLimits, *, at: str | None) -> Iterator[Image.Image]:
    """Read the header, and nothing more."""
    try:
        with _without_warnings():
            image = Image.open(io.BytesIO(data), formats=limits.formats)
    except UnidentifiedImageError as error:
        raise UnreadableImage(
            f"the bytes are no picture: got {len(data)} bytes beginning with {data[:8]!r}, "
            f"send one of {', '.join(limits.formats)}",
            at=at,
        ) from error
    except Image.DecompressionBombError as error:
        raise TooLarge(f"the picture is too large to open: {error}; send a smaller one", at=at) from error
    except Exception as error:  # a decoder fed by strangers raises anything: OSError, SyntaxError, struct.error …
        raise _broken(error, at) from error
    with image:
        yield image


def _pixels(image: Image.Image, *, exif: bool, at: str | None) -> RGB:
    """Decode the first frame, turn it upright if EXIF is heeded, make it RGB."""
    try:
        image.load()
        return np.asarray(_rgb(_upright(image) if exif else image))
    except MemoryError:
        raise
    except Exception as error:  # as above
        raise _broken(error, at) from error


def _upright(image: Image.Image) -> Image.Image:
    """Undo the EXIF orientation. Asked after `load`, because TIFF turns itself then; broken EXIF is no orientation."""
    try:
        with _without_warnings():
            orientation = image.getexif().get(ExifTag.Orientation)
    except Exception:  # EXIF is an aside: a picture with a broken one is still a picture
        return image
    return image.transpose(_UPRIGHT[orientation]) if orientation in _UPRIGHT else image


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":  # Pillow has no 16-bit alpha: a transparent grey stays grey
        return _eight_bit(image).convert("RGB")
    if image.has_transparency_data:
        visible = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, PAPER_WHITE), visible).convert("RGB")
    return image.convert("RGB")


def _eight_bit(image: Image.Image) -> Image.Image:
    """Bring 16-bit integers (32-bit ones are taken to hold 16) and floats from 0 to 1 down to a byte."""
    values = np.asarray(image)
    scale = 255.0 if image.mode == "F" else 1 / 256
    return Image.fromarray(np.clip(np.nan_to_num(values * scale), 0, 255).astype(np.uint8))


def _refuse_size(size: tuple[int, int], limits: ImageLimits, *, at: str | None) -> None:
    width, height = size
    if width * height > limits.max_pixels or max(size) > limits.max_side:
        raise TooLarge(
            f"the picture is too large: got {width}x{height} pixels, send at most {limits.max_pixels} pixels "
            f"and {limits.max_side} a side",
            at=at,
        )
    if min(size) < limits.min_side:
        raise UnreadableImage(
            f"the picture is too small: got {width}x{height} pixels, send at least {limits.min_side} a side", at=at
        )


def _broken(error: Exception, at: str | None) -> UnreadableImage:
    return UnreadableImage(
        f"the picture cannot be decoded: {error or type(error).__name__}; send a whole, unbroken file", at=at
    )


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep Pillow's remarks about odd headers from the log: what matters of them is an error here."""
    with _WARNING_FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
