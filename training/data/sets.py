"""The data sets as a run reads them: whole, or without what the data root's manifest leaves out."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from training.data.clean import Manifest, is_stated
from training.data.identity import Identities
from training.data.readers import Record, available_splits, read

UNCLEANED: Final = "uncleaned"
"""What is said in place of a manifest's digest where data sets are read whole."""


@dataclass(frozen=True)
class DataSets:
    """All data sets under a root.

    Attributes:
        root: The folder that holds them.
        manifest: Of what is left out; None leaves nothing out.
    """

    root: Path
    manifest: Manifest | None = None

    @classmethod
    def cleaned(cls, root: Path) -> "DataSets":
        """Open the data sets without any test picture in train or val.

        Raises:
            DataError: The root has no manifest, or a file has changed since it was written.
        """
        manifest = Manifest.load(root)
        manifest.verify(root)
        return cls(root, manifest)

    @classmethod
    def cleaned_if_stated(cls, root: Path) -> "DataSets":
        """Open the data sets without what the manifest leaves out, or whole where there is no manifest.

        Raises:
            DataError: The manifest is not as it was written, or a file has changed since.
        """
        return cls.cleaned(root) if is_stated(root) else cls(root)

    @property
    def read_through(self) -> str:
        """Give the manifest's digest, or say that there is none."""
        return self.manifest.digest if self.manifest else UNCLEANED

    def splits(self, task: str) -> tuple[str, ...]:
        """Give the splits of a task whose files are there; none if there is no file."""
        return available_splits(task, self.root)

    def read(self, task: str, split: str) -> Iterator[Record]:
        """Read a split, item by item and in the files' order; see `training.data.read`."""
        records = read(task, self.root, split)
        left_out = self.manifest.left_out(task, split) if self.manifest else frozenset()
        if not left_out:
            return records
        identities = Identities(self.root)
        return (record for record in records if left_out.isdisjoint(identities.of_record(record)))


OPENED: Final[Mapping[str, Callable[[Path], DataSets]]] = MappingProxyType(
    {"auto": DataSets.cleaned_if_stated, "always": DataSets.cleaned, "never": DataSets}
)
"""By what a recipe says of cleaning."""
