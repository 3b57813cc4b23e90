"""The commands, and what becomes of their errors.

Exit codes: 0 done · 1 the request, or whoever answers it, failed · 2 a wrong command line, or a bundle that is not
fit · 65 a file of annotations, features or weights, or an index, is not as its format says; `twelve index` adds some of
its own.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import twelve
from twelve.cli.ask import ask
from twelve.cli.check import check
from twelve.cli.contract import openapi
from twelve.cli.detectors import import_detector
from twelve.cli.fetch import commands as fetch_commands
from twelve.cli.importing import import_bert, import_checkpoint
from twelve.cli.inventory import info, tasks
from twelve.cli.options import DEFAULT_BUNDLE
from twelve.cli.sight import regions
from twelve.cli.stored import commands as features_commands
from twelve.errors import TwelveError
from twelve.index.command import commands as index_commands

if TYPE_CHECKING:  # torch is imported by the command that runs, not by `twelve --help`
    from twelve.retriever import BundleRetriever

FAILED = 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit code.

    Args:
        arguments: Of the command line; None = the process's own.
    """
    try:
        _app()(args=arguments, prog_name="twelve")
    except TwelveError as error:
        _leave(f"{error.code}: {error.message}", getattr(error, "exit_code", FAILED))
    except ModuleNotFoundError as error:
        _leave(f"{error.name} is not installed; this command needs it: pip install 'twelve-in-one[serve]'", FAILED)
    except OSError as error:
        _leave(f"{error.filename}: {error.strerror}" if error.filename else str(error), FAILED)


def _app() -> typer.Typer:
    app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
    app.callback()(_twelve)
    app.command(no_args_is_help=True)(ask)
    app.command(no_args_is_help=True)(regions)
    for command in (tasks, info, check, openapi):
        app.command()(command)
    app.command(no_args_is_help=True)(import_checkpoint)
    app.command(no_args_is_help=True)(import_bert)
    app.command(no_args_is_help=True)(import_detector)
    app.add_typer(fetch_commands(), name="fetch")
    app.add_typer(features_commands(), name="features")
    app.add_typer(index_commands(_open_retriever, DEFAULT_BUNDLE), name="index")
    return app


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"twelve {twelve.__version__}")
        raise typer.Exit


def _twelve(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Twelve vision-and-language tasks, one model: ask about pictures, find regions in them, search them."""


def _open_retriever(bundle: Path) -> "BundleRetriever":
    from twelve.cli.options import settings_for
    from twelve.retriever import BundleRetriever

    return BundleRetriever.open(bundle, settings_for(bundle, None))


def _leave(sentence: str, exit_code: int) -> None:
    typer.echo(sentence, err=True)
    sys.exit(exit_code)
