"""Derive the world's sprites from the npm package they come from; the same package gives the same bytes.

    python -m training.world.assets.derive            fetches the package with `npm pack`
    python -m training.world.assets.derive PACKAGE.tgz

Each render is cut to what is not transparent, shrunk to 128 px and stored as webp under its own file name. The crate
is drawn here: the package has none.
"""

import io
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image, ImageDraw

PACKAGE = "@lobehub/fluent-emoji-3d@1.1.0"
FOLDER = Path(__file__).parent
SIDE_PX = 128
QUALITY = 88
CRATE_FILE = "crate.webp"

Cut = tuple[float, float, float, float]
"""Left, top, right, bottom as fractions of the render."""

CUTS: Mapping[str, Cut] = {"1f6cb-fe0f.webp": (0.0, 0.45, 0.783, 1.0)}
"""What is kept of a render: the couch without its lamp, which would show a second colour."""

_WOOD = (196, 145, 88)
_WOOD_LIT = (214, 165, 106)
_WOOD_DARK = (128, 86, 46)
_NAIL = (92, 62, 36)
_CRATE_PX = (128, 108)
_RAIL_PX = 16
_PLANK_PX = 24


def derive(package: Path, folder: Path) -> None:
    """Write the sprite of every entry of the table.

    Args:
        package: The npm package as a tar file.
        folder: Holds `sprites.json`; its folder `sprites` is filled.
    """
    files = sorted(set(json.loads((folder / "sprites.json").read_text()).values()))
    (folder / "sprites").mkdir(exist_ok=True)
    with tarfile.open(package) as archive:
        for file in files:
            picture = _crate() if file == CRATE_FILE else _render(archive, file)
            (folder / "sprites" / file).write_bytes(_webp(picture))


def _render(archive: tarfile.TarFile, file: str) -> Image.Image:
    member = archive.extractfile(f"package/assets/{file}")
    assert member is not None, f"{file} is a plain file of the package"
    picture = Image.open(io.BytesIO(member.read())).convert("RGBA")
    picture = _cut(picture, CUTS.get(file, (0.0, 0.0, 1.0, 1.0)))
    picture = picture.crop(picture.getchannel("A").getbbox())
    picture.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS)
    return picture


def _cut(picture: Image.Image, cut: Cut) -> Image.Image:
    left, top, right, bottom = cut
    width, height = picture.size
    return picture.crop((round(left * width), round(top * height), round(right * width), round(bottom * height)))


def _crate() -> Image.Image:
    width, height = _CRATE_PX
    picture = Image.new("RGBA", _CRATE_PX, (0, 0, 0, 0))
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((0, 0, width - 1, height - 1), radius=6, fill=_WOOD, outline=_WOOD_DARK, width=3)
    for x in range(_PLANK_PX, width - _PLANK_PX + 1, _PLANK_PX):
        draw.line((x, 3, x, height - 4), fill=_WOOD_DARK, width=2)
    draw.line((12, height - 14, width - 13, 13), fill=_WOOD_DARK, width=_RAIL_PX + 4)
    draw.line((12, height - 14, width - 13, 13), fill=_WOOD_LIT, width=_RAIL_PX)
    for top in (0, height - _RAIL_PX - 1):
        _rail(draw, (0, top, width - 1, top + _RAIL_PX))
    return picture


def _rail(draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int]) -> None:
    draw.rounded_rectangle(box, radius=5, fill=_WOOD_LIT, outline=_WOOD_DARK, width=3)
    middle = (box[1] + box[3]) // 2
    for x in (10, box[2] // 2, box[2] - 10):
        draw.ellipse((x - 2, middle - 2, x + 2, middle + 2), fill=_NAIL)


def _webp(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=QUALITY, method=6)
    return stream.getvalue()


def _fetch(folder: Path) -> Path:
    subprocess.run(["npm", "pack", PACKAGE, "--silent"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return next(folder.glob("*.tgz"))


def main(arguments: list[str]) -> None:
    """Derive from the package named on the command line, or from one fetched now."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(arguments[0]) if arguments else _fetch(Path(folder))
        derive(package, FOLDER)


if __name__ == "__main__":
    main(sys.argv[1:])
