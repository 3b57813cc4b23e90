"""The catalogue: one narrow row a picture file, in a LanceDB table. The only module that knows LanceDB.

Each `merge` is one commit of the table: all its rows or none survive a SIGKILL, readers see the version they opened.
Features lie elsewhere (`twelve.features`): Lance rewrites rows when it compacts, and rows of 100 KB make that explode.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from twelve.errors import DataError
from twelve.index.listing import UNKNOWN, File

TABLE = "pictures"
PRIMARY_KEY = {"lance-schema:unenforced-primary-key": "true"}
"""Without it, two `merge_insert`s that run at once both insert: 6400 rows for 5000 paths, and no error."""

DELETED_AT_ONCE = 1000
"""Paths in one SQL expression."""


@dataclass(frozen=True)
class Row:
    """What is known of one picture file: either a ref, or why there is none.

    Attributes:
        path: As in `File`.
        size: As in `File`.
        mtime_ns: As in `File`; UNKNOWN where the next run shall look again, whatever the file says.
        ref: The decoded picture's digest, under which its features are kept; None for a rejected file.
        code: Of the error that rejected it.
        reason: For people.
    """

    path: str
    size: int
    mtime_ns: int
    ref: str | None = None
    code: str | None = None
    reason: str | None = None

    def is_of(self, file: File) -> bool:
        """Say whether the file is still as it was when this row was written."""
        return self.mtime_ns != UNKNOWN and (self.size, self.mtime_ns) == (file.size, file.mtime_ns)


class Catalogue:
    """The rows of an index, by path."""

    def __init__(self, table: Any) -> None:
        self._table = table

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the table.

        Args:
            path: The folder that holds it.

        Returns:
            The catalogue.

        Raises:
            DataError: There is none.
        """
        try:
            return cls(_connected(path).open_table(TABLE))
        except ValueError as error:
            raise DataError(f"{path}: the catalogue is missing ({error}); run `twelve index add` again") from error

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make the table, or open the one that is there.

        Args:
            path: The folder that holds, or will hold, the table.

        Returns:
            The catalogue.
        """
        return cls(_connected(path).create_table(TABLE, schema=_schema(), exist_ok=True))

    def rows(self) -> list[Row]:
        """Give all rows as last committed, sorted by path."""
        self._table.checkout_latest()
        names = [field.name for field in fields(Row)]
        records = self._table.to_arrow().select(names).to_pylist()
        return sorted((Row(**record) for record in records), key=lambda row: row.path)

    def merge(self, rows: Sequence[Row]) -> None:
        """Insert rows, or replace those of the same path; one commit.

        Args:
            rows: At most one a path.
        """
        import pyarrow as pa

        table = pa.Table.from_pylist([asdict(row) for row in rows], schema=_schema())
        self._table.merge_insert("path").when_matched_update_all().when_not_matched_insert_all().execute(table)

    def remove(self, paths: Sequence[str]) -> None:
        """Forget some rows; one commit for each DELETED_AT_ONCE."""
        for begin in range(0, len(paths), DELETED_AT_ONCE):
            self._table.delete(f"path IN ({_quoted(paths[begin : begin + DELETED_AT_ONCE])})")

    def compact(self) -> None:
        """Join the small files that many commits leave. Rows stay the same; a kill changes nothing."""
        self._table.optimize()


def _connected(path: Path) -> Any:
    import lancedb  # a second and 160 MB: paid by those who open an index, not by `twelve --help`

    return lancedb.connect(path)


def _quoted(paths: Iterable[str]) -> str:
    return ", ".join("'" + path.replace("'", "''") + "'" for path in paths)


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema(
        [
            pa.field("path", pa.string(), nullable=False, metadata=PRIMARY_KEY),
            pa.field("size", pa.int64(), nullable=False),
            pa.field("mtime_ns", pa.int64(), nullable=False),
            pa.field("ref", pa.string()),
            pa.field("code", pa.string()),
            pa.field("reason", pa.string()),
        ]
    )
