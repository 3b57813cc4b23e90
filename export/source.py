"""What can be exported: a bundle, or the folder of a detector alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from twelve.bundle import CONFIG_FILE, DETECTOR_CONFIG, MANIFEST, Bundle
from twelve.engines.exported import DETECTOR
from twelve.engines.graphs import FUSE, REGIONS, TEXT
from twelve.heads import HEADS
from twelve.regions.families import open_config
from twelve.regions.local import digest_of


class Source(Protocol):
    """A folder with what graphs are made of."""

    @property
    def path(self) -> Path:
        """Give the folder."""
        ...

    def verify(self) -> None:
        """Compare the files with what is known of them; raises ChecksumMismatch."""
        ...

    def digest(self) -> str:
        """Identify the files: exported graphs belong to these and no others."""
        ...


@dataclass(frozen=True)
class DetectorFolder:
    """A detector that no bundle holds: `detector.json` and `detector.safetensors`."""

    path: Path

    @classmethod
    def open(cls, path: Path) -> Self:
        """Take a folder.

        Raises:
            BundleMissing: It holds no detector.
            ConfigInvalid: Its `detector.json` is broken.
        """
        open_config(path)
        return cls(path)

    def verify(self) -> None:
        """Nothing says what the files should be; opening the detector says whether they go together."""

    def digest(self) -> str:
        """Give the detector's own digest."""
        return digest_of(self.path)


def open_source(path: Path) -> Source:
    """Open a bundle where there is one, else a detector.

    Raises:
        BundleMissing: There is neither, or a file is missing.
        ConfigInvalid: What is there is broken.
    """
    return Bundle.open(path) if (path / MANIFEST).is_file() else DetectorFolder.open(path)


def graph_names(source: Source) -> tuple[str, ...]:
    """Name the graphs that a source has: those of its model, that of its detector."""
    of_model = (TEXT, REGIONS, FUSE, *HEADS) if (source.path / CONFIG_FILE).is_file() else ()
    of_detector = (DETECTOR,) if (source.path / DETECTOR_CONFIG).is_file() else ()
    return (*of_model, *of_detector)
