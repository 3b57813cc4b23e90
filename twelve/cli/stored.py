"""`twelve features import | info | verify`: stores of region features.

Exit codes: 0 done · 3 imported, some pictures refused · 65 no store, another detector's, or damaged · 75 another
process writes, try again. Progress goes to stderr, results to stdout.
"""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:  # torch is imported by the command that runs, not by `twelve --help`
    from twelve.errors import DataError

SOME_REFUSED = 3
WIDTH = 2048
MEGABYTE = 1e6


class Kept(StrEnum):
    """How features lie on disk."""

    FLOAT16 = "float16"
    FLOAT32 = "float32"
    INT8 = "int8"


StoreFolder = Annotated[Path, typer.Argument(metavar="STORE", help="The store's folder.")]


def commands() -> typer.Typer:
    """Make the commands, to be mounted under `features`."""
    app = typer.Typer(no_args_is_help=True, help="Keep the region features of pictures.")
    app.command("import", no_args_is_help=True)(import_)
    app.command(no_args_is_help=True)(info)
    app.command(no_args_is_help=True)(verify)
    return app


def import_(
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="An LMDB's folder, a folder of .npy, or a .tsv.")],
    store: Annotated[Path, typer.Argument(metavar="STORE", help="The store's folder; made where it is missing.")],
    detector: Annotated[
        str, typer.Option("--detector", metavar="NAME", help="Digest, or name, of the detector that found the regions.")
    ],
    encoding: Annotated[Kept, typer.Option("--encoding", help="How features lie on disk.")] = Kept.FLOAT16,
    width: Annotated[int, typer.Option("--width", min=1, help="Of the features.")] = WIDTH,
    stop: Annotated[bool, typer.Option("--stop", help="Stop at the first damaged picture.")] = False,
) -> None:
    """Import what others published; run it again to go on where it stopped. Nothing in a file is run.

    twelve features import COCO_trainval_resnext152_faster_rcnn_genome.lmdb features/coco --detector x152
    """
    from twelve.cli.progress import bytes_bar
    from twelve.convert.features_import import import_features, open_target, recognise

    features = recognise(source)
    target = open_target(store, detector=detector, feature_width=width, encoding=encoding.value)
    outcome = import_features(features, target, watch=bytes_bar, on_refused=_stop if stop else _go_on)
    typer.echo(f"imported={outcome.imported} known={outcome.known} refused={outcome.refused}")
    if outcome.refused:
        raise typer.Exit(SOME_REFUSED)


def info(store: StoreFolder) -> None:
    """Count what a store holds."""
    from twelve.features import FeatureStore

    counted = FeatureStore.open(store).info()
    each = counted.bytes / counted.pictures if counted.pictures else 0
    typer.echo(f"detector  {counted.settings.detector_digest}")
    typer.echo(f"features  {counted.settings.feature_width} wide, {counted.settings.encoding}")
    typer.echo(f"stored    {counted.pictures} pictures, {counted.regions} regions, {counted.shards} shards")
    typer.echo(f"on disk   {counted.bytes / MEGABYTE:.1f} MB, {each:.0f} bytes a picture")


def verify(store: StoreFolder) -> None:
    """Read a store back and compare it with its checksums."""
    from twelve.cli.progress import bytes_bar
    from twelve.features import FeatureStore

    opened = FeatureStore.open(store)
    counted = opened.info()
    with bytes_bar(store.name, length=counted.bytes) as advance:
        opened.verify(advance)
    typer.echo(f"whole: {counted.pictures} pictures in {counted.shards} shards")


def _go_on(error: "DataError") -> None:
    typer.echo(f"refused {error.message}")


def _stop(error: "DataError") -> None:
    raise error
