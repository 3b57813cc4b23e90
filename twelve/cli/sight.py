"""`twelve regions`: what the detector of a bundle, or one of its own folder, finds in a picture."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twelve.cli.files import contents, keep
from twelve.cli.options import DEFAULT_BUNDLE, BundleOption, DrawOption, EngineOption, JsonOption, settings_for
from twelve.errors import ConfigInvalid

if TYPE_CHECKING:  # torch is imported by the command that runs, not by `twelve --help`
    from twelve.draw import Mark
    from twelve.image import Picture
    from twelve.regions.extractor import RegionExtractor, RegionSet

UNNAMED = "?"
PLACES = 2
"""Decimals of a pixel."""

MOST_DRAWN = 24
"""Boxes that can be told apart on one picture; the published detectors find a hundred."""


def regions(
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="A picture's file.")],
    bundle: BundleOption = None,
    detector: Annotated[
        Path | None,
        typer.Option(
            "--detector", metavar="FOLDER", help="A detector's own folder, in place of a bundle's; run eagerly."
        ),
    ] = None,
    engine: EngineOption = None,
    draw: DrawOption = None,
    most: Annotated[int, typer.Option("--most", min=1, help="Regions to draw, the best ones.")] = MOST_DRAWN,
    as_json: JsonOption = False,
) -> None:
    """Find the regions of a picture, best first."""
    from twelve.cli import show
    from twelve.draw import Panel, drawing
    from twelve.image import ImageLimits, decode
    from twelve.regions.families import open_config

    opened = decode(contents(picture, at="picture"), limits=ImageLimits())
    folder = detector or bundle or DEFAULT_BUNDLE
    extractor = _extractor(folder, engine) if detector is None else _alone(detector, bundle, engine)
    found = listed(extractor.extract(opened), open_config(folder).class_names)
    if draw is not None:
        marks = tuple(_mark(one) for one in reversed(found[:most]))
        keep(drawing([Panel(opened.rgb, marks)], _caption(picture, len(marks), len(found))), draw)
    if as_json:
        show.print_json(_summary(opened, extractor, found))
    else:
        rows = [(one["label"] or UNNAMED, f"{one['score']:.4f}", str(one["box"])) for one in found]
        show.print_table(("label", "score", "box"), rows, numbers=("score",))


def listed(found: "RegionSet", class_names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Write regions as JSON values.

    Args:
        found: By a detector.
        class_names: Of the detector, in the order of its labels.

    Returns:
        Label (None where it has none), score and box of each.
    """
    names = dict(enumerate(class_names))
    rows = zip(found.labels.tolist(), found.scores.tolist(), found.boxes_px.tolist(), strict=True)
    return [
        {"label": names.get(label), "score": score, "box": [round(side, PLACES) for side in box]}
        for label, score, box in rows
    ]


def _extractor(bundle: Path, engine: str | None) -> "RegionExtractor":
    from twelve.assembly import assemble

    parts = assemble(bundle, settings_for(bundle, engine))
    if parts.extractor is None:
        raise ConfigInvalid(f"{bundle}: this bundle has no detector; name one that has with --bundle")
    return parts.extractor


def _alone(folder: Path, bundle: Path | None, engine: str | None) -> "RegionExtractor":
    """Open a detector that belongs to no bundle."""
    from twelve.regions.local import DetectorExtractor

    if bundle is not None or engine is not None:
        raise ConfigInvalid("--detector: a detector's own folder has no bundle and no engine to choose; name it alone")
    return DetectorExtractor.load(folder)


def _mark(region: dict[str, Any]) -> "Mark":
    from twelve.draw import Mark

    name = region["label"] or UNNAMED
    return Mark(tuple(region["box"]), f"{name} {region['score']:.2f}", group=name)


def _caption(picture: Path, drawn: int, found: int) -> str:
    counted = f"{found} regions" if drawn == found else f"the best {drawn} of {found} regions"
    return f"{picture.name}: {counted}"


def _summary(picture: "Picture", extractor: "RegionExtractor", found: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "image": picture.digest,
        "width": picture.width,
        "height": picture.height,
        "detector": extractor.digest,
        "regions": found,
    }
