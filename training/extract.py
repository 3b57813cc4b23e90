"""`python -m training features FOLDER|LIST|TAR --out STORE`: the regions of pictures as people have them.

Exit codes: 0 complete · 2 a wrong command line or detector · 3 complete, some inputs rejected · 65 no source, another
detector's store, or a damaged one · 75 stopped or busy, or the disk was full: run the same command again.
"""

import errno
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic

import typer
from rich.console import Console

from twelve.errors import ConfigInvalid, DataError
from twelve.regions.extraction.cluster import RayEngine
from twelve.regions.extraction.engine import DECODERS, Engine, LocalEngine
from twelve.regions.extraction.looking import Reading
from twelve.regions.extraction.run import Extracted, extract
from twelve.regions.extraction.showing import shown
from twelve.regions.extraction.sources import open_source
from twelve.regions.extraction.stopping import wish_to_stop
from twelve.regions.families import open_config
from twelve.regions.local import DetectorExtractor, digest_of

DEFAULT_DETECTOR = Path("model_store/small")
ACTORS = 1
REJECTS = 3
RESUMABLE = 75
FULL = (errno.ENOSPC, errno.EDQUOT)
STOPPING = "stopping: the shard in hand will be finished; Ctrl-C again quits at once, and loses it"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the command line asks of pictures.

    Attributes:
        out: The store; there is none for it to be guessed from.
        detector: The detector's folder, or a bundle.
        engine: A name of ENGINES.
        workers: Of the engine; None = as many as it has by itself.
        reading: How pictures are read.
    """

    out: Path | None = None
    detector: Path = DEFAULT_DETECTOR
    engine: str = "local"
    workers: int | None = None
    reading: Reading = field(default_factory=Reading)


def features(source: Path, asked: Asked) -> None:
    """Extract, show how it goes, and leave with the code that says how it went.

    Args:
        source: A folder, a list or an archive.
        asked: By the command line.

    Raises:
        ConfigInvalid: There is no such engine, no detector, or no store was named.
        DataError: The source or the store is not what it should be.
    """
    if asked.out is None:
        raise ConfigInvalid("--out: got none; name the folder of the store that the features go into")
    listed = open_source(source)
    engine = _engine(asked)
    with (
        _disk_told_of(asked.out),
        wish_to_stop(STOPPING) as should_stop,
        shown(Console(stderr=True), monotonic) as show,
    ):
        outcome = extract(listed, asked.out, engine, reading=asked.reading, on_progress=show, should_stop=should_stop)
    _report(outcome)


@contextmanager
def _disk_told_of(store: Path) -> Iterator[None]:
    """Say in a sentence what the store's disk refused; what was committed before stays."""
    try:
        yield
    except OSError as error:
        where = error.filename or store
        if error.errno in FULL:
            typer.echo(f"{where}: the disk is full; make room, and the same command goes on from here", err=True)
            raise typer.Exit(RESUMABLE) from error
        raise DataError(f"{where}: cannot be read or written: {error.strerror or error}") from error


def _report(outcome: Extracted) -> None:
    if outcome.known:
        typer.echo(f"{outcome.known} inputs were known already")
    if not outcome.is_whole:
        typer.echo("stopped before the end; the same command goes on from here")
    typer.echo(f"done={outcome.done} duplicate={outcome.duplicate} rejected={outcome.rejected}")
    if not outcome.is_whole:
        raise typer.Exit(RESUMABLE)
    if outcome.rejected:
        raise typer.Exit(REJECTS)


def _engine(asked: Asked) -> Engine:
    if asked.engine not in ENGINES:
        raise ConfigInvalid(f"--engine: got '{asked.engine}', extraction runs on one of {', '.join(ENGINES)}")
    return ENGINES[asked.engine](asked)


def _local(asked: Asked) -> Engine:
    return LocalEngine(DetectorExtractor.load(asked.detector), asked.workers or DECODERS)


def _ray(asked: Asked) -> Engine:
    folder = asked.detector.resolve()
    load = partial(DetectorExtractor.load, folder)
    return RayEngine(load, digest_of(folder), open_config(folder).feature_width, workers=asked.workers or ACTORS)


ENGINES: Mapping[str, Callable[[Asked], Engine]] = {"local": _local, "ray": _ray}
