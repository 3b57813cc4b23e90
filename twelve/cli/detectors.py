"""`twelve import-detector`: a detector out of what others published."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twelve.cli.importing import Dtype, DtypeOption
from twelve.cli.options import JsonOption

if TYPE_CHECKING:  # torch is imported by the command that runs, not by `twelve --help`
    from twelve.convert.detector import ImportedDetector


def import_detector(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="A .pth or .pkl of maskrcnn-benchmark, bottom-up attention or detectron2, or a folder with "
            "pytorch_model.bin and config.yaml.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="The detector's folder, which is made.")],
    preset: Annotated[
        str | None, typer.Option("--preset", metavar="NAME", help="What SOURCE holds; told from its keys if absent.")
    ] = None,
    class_names: Annotated[
        Path | None,
        typer.Option(
            "--class-names",
            metavar="FILE",
            help="Names in the order of the labels, one a line, or 'visual-genome' or 'coco' for these lists; "
            "the format's own if absent, or numbers.",
        ),
    ] = None,
    settings: Annotated[
        Path | None,
        typer.Option("--settings", metavar="JSON", help="Entries of detector.json that are to differ from the preset."),
    ] = None,
    dtype: DtypeOption = Dtype.FLOAT32,
    as_json: JsonOption = False,
) -> None:
    """Make a detector of a published one. Its format is told from its content; nothing in it is run.

    twelve import-detector detectron_model.pth --out detectors/x152-fpn
    """
    from twelve.cli.progress import bytes_bar
    from twelve.cli.show import print_json
    from twelve.convert.detector import import_detector as make
    from twelve.convert.detector_settings import Asked

    imported = make(source, out, Asked(preset, class_names, settings, dtype.value), watch=bytes_bar)
    if as_json:
        print_json(imported.summary())
    else:
        _report(imported)


def _report(imported: "ImportedDetector") -> None:
    """Account for every key."""
    from twelve.cli.show import print_table

    origin, config = imported.source, imported.config
    rows = [("taken", str(imported.keys), "parameters of the detector")]
    rows += [("dropped", str(len(keys)), reason) for reason, keys in imported.dropped.items()]
    rows += (
        [("computed", str(len(imported.computed)), "lacking, and given by the settings")] if imported.computed else []
    )
    typer.echo(
        f"{origin['name']}: a {imported.form} checkpoint, {origin['form']} format, {imported.numbers:,} numbers taken\n"
    )
    print_table(("keys", "count", "what became of them"), rows, numbers=("count",))
    if origin["passed_over"]:
        typer.echo(f"\npassed over beside the model: {', '.join(origin['passed_over'])}")
    typer.echo(f"\n{imported.folder}: {config.preset}, {len(config.class_names):,} classes, {imported.digest}")
