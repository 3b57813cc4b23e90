"""What holds for every shard of a store: whose regions, how wide, in what encoding."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from twelve.errors import DataError
from twelve.features.disk import commit
from twelve.features.encoding import ENCODINGS, HALF

FORMAT = "twelve-features"
FORMAT_VERSION = 1

_BROKEN = (ValueError, TypeError, RecursionError)
"""What comes of reading bytes as settings that are none."""


@dataclass(frozen=True)
class Settings:
    """What holds for every shard of a store.

    Attributes:
        detector_digest: Of the extractor whose regions these are.
        feature_width: F.
        encoding: A name of ENCODINGS.
        format: FORMAT.
        version: FORMAT_VERSION.
    """

    detector_digest: str
    feature_width: int
    encoding: str = HALF
    format: str = FORMAT
    version: int = FORMAT_VERSION

    def check(self) -> None:
        """See that the numbers are numbers, and that there are such features.

        Raises:
            DataError: One is not.
        """
        if not isinstance(self.detector_digest, str):
            raise DataError(f"detector_digest: got {self.detector_digest!r:.60}, expected a text")
        if type(self.feature_width) is not int or self.feature_width < 1:
            raise DataError(f"feature_width: got {self.feature_width!r:.60}, expected a count of numbers")
        if not isinstance(self.encoding, str) or self.encoding not in ENCODINGS:
            raise DataError(f"encoding: got {self.encoding!r:.60}, features are kept as one of {', '.join(ENCODINGS)}")


def read(path: Path) -> Settings:
    """Read the settings of a store.

    Args:
        path: Of their file.

    Returns:
        The settings, checked.

    Raises:
        DataError: There are none, or they are none that this library reads.
    """
    try:
        settings = Settings(**json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise DataError(f"{path.parent}: there is no feature store here, {path.name} is missing") from error
    except _BROKEN as error:
        raise DataError(f"{path}: this is not a description of a feature store ({error})") from error
    if (settings.format, settings.version) != (FORMAT, FORMAT_VERSION):
        raise DataError(
            f"{path}: got {settings.format!r:.60} version {settings.version!r:.60} in {settings.encoding!r:.60}, "
            f"this library reads {FORMAT} version {FORMAT_VERSION} in {', '.join(ENCODINGS)}"
        )
    try:
        settings.check()
    except DataError as error:
        raise DataError(f"{path}: {error.message}") from error
    return settings


def write(path: Path, settings: Settings) -> None:
    """Write the settings of a store, whole or not at all."""
    commit(path, (json.dumps(asdict(settings), indent=2) + "\n").encode())


def stated(settings: Settings) -> dict[str, str]:
    """Give what a shard says of its store: one entry, for safetensors writes several in any order."""
    return {FORMAT: json.dumps(asdict(settings))}


def differing(found: Mapping[str, Any], settings: Settings) -> str | None:
    """Tell what a shard says otherwise than its store.

    Args:
        found: What `stated` gave; empty in a shard of before.
        settings: Of the store.

    Returns:
        Half a sentence; None = nothing.

    Raises:
        ValueError: It cannot be read.
    """
    if FORMAT not in found:
        return None
    shard, store = json.loads(found[FORMAT]), asdict(settings)
    names = [name for name in store if shard.get(name) != store[name]]
    if not names:
        return None
    return " and ".join(
        f"{name} is {shard.get(name)!r:.80} here and {store[name]!r:.80} in the store" for name in names
    )
