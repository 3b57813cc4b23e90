"""Options that several commands share, and what they lead to."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twelve.bundle import Bundle
from twelve.errors import StartupError

if TYPE_CHECKING:  # torch is imported by the command that runs, not by `twelve --help`
    from twelve.assembly import Settings

DEFAULT_BUNDLE = Path("model_store/small")
EAGER = "eager"

BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="The model's folder.")]
BundleOption = Annotated[
    Path | None,
    typer.Option("--bundle", metavar="FOLDER", help=f"The model's folder; {DEFAULT_BUNDLE} if none is named."),
]
EngineOption = Annotated[
    str | None,
    typer.Option(
        "--engine",
        metavar="NAME",
        help="onnxruntime, onnxruntime-int8, torchscript or eager; if none is named, the first where it was exported, "
        "else the last.",
    ),
]
DrawOption = Annotated[Path | None, typer.Option("--draw", metavar="PNG", help="Draw the outcome into this file.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def settings_for(bundle: Path, engine: str | None) -> "Settings":
    """Choose how a bundle is run in this process; where nobody chose an engine and none was exported, say so.

    Args:
        bundle: Its folder.
        engine: As asked for, or None.

    Returns:
        Settings that use all cores.

    Raises:
        BundleMissing: There is no bundle.
    """
    from twelve.assembly import DEFAULT_ENGINE, Settings

    threads = os.cpu_count() or 1
    if engine is not None:
        return Settings(engine=engine, threads=threads)
    why_not = _unexported(bundle)
    if why_not is None:
        return Settings(engine=DEFAULT_ENGINE, threads=threads)
    typer.echo(f"using the eager engine: {why_not}", err=True)
    return Settings(engine=EAGER, threads=threads)


def _unexported(bundle: Path) -> str | None:
    """Say why the exported graphs of a bundle cannot be used; None where they can."""
    from twelve.assembly import BUILD
    from twelve.engines.exported import Exported

    digest = Bundle.open(bundle).digest()
    try:
        Exported.open(BUILD / bundle.name, bundle=digest)
    except StartupError as error:
        return error.message
    return None
