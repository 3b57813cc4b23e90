"""The table of what the authors published: `published.toml` beside this file, or one that a person names instead."""

import tomllib
from pathlib import Path
from string import Formatter
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from twelve.bundle import sha256_of
from twelve.errors import ConfigInvalid

PUBLISHED = Path(__file__).with_name("published.toml")

Address = Annotated[str, Field(pattern=r"^https?://\S+$")]
PlainName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A file name that leads nowhere else: no slash, no dot in front."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


WEB_PAGE = b"<"
"""How the page begins that a server may send instead of a file; nothing that the authors published begins so."""

BEGINNING = 64
"""Bytes in which a web page shows itself, white space before it included."""


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Entry(_Row):
    """What every entry states of the files that it becomes."""

    at_least: int = Field(default=1, ge=0)

    def fault(self, path: Path) -> str | None:
        """Say what shows that a file is not the one that was published.

        Args:
            path: Of a file that is there.

        Returns:
            The end of a sentence about it, or None where nothing shows it.
        """
        size = path.stat().st_size
        if size < self.at_least:
            return f"has {size:,} bytes, expected at least {self.at_least:,}"
        with path.open("rb") as stream:
            is_page = stream.read(BEGINNING).lstrip().startswith(WEB_PAGE)
        return "is a web page, not the file that was published" if is_page else None


class PublishedFile(_Entry):
    """A file that is kept as it comes.

    Attributes:
        name: What people call it.
        about: What it is.
        address: Where it lies.
        save: Its name in the folder.
        at_least: Bytes below which it is another file.
        sha256: Of the whole file, where it is known.
        optional: Whether it is fetched only if asked for.
    """

    name: PlainName
    about: str
    address: Address
    save: PlainName
    sha256: Sha256 | None = None
    optional: bool = False

    @property
    def saved(self) -> tuple[str, ...]:
        """Name the files that it becomes."""
        return (self.save,)

    def fault(self, path: Path) -> str | None:
        """Say what shows that a file is not the one that was published; its hash counts where the table states one."""
        if (seen := super().fault(path)) or self.sha256 is None:
            return seen
        found = sha256_of(path)
        return f"has sha256 {found[:12]}…, the table states {self.sha256[:12]}…" if found != self.sha256 else None


class PublishedArchive(_Entry):
    """A tar archive of which a few entries are kept.

    Attributes:
        name: What people call it.
        about: What it is.
        address: Where it lies.
        members: Names in the folder by the end of an entry's path.
        at_least: Bytes below which one of them is another file.
        optional: Whether it is fetched only if asked for.
    """

    name: PlainName
    about: str
    address: Address
    members: dict[str, PlainName] = Field(min_length=1)
    optional: bool = False

    @property
    def saved(self) -> tuple[str, ...]:
        """Name the files that it becomes."""
        return tuple(self.members.values())


class NextStep(_Row):
    """A command that the files lead to.

    Attributes:
        needs: Files that must be there.
        run: The command; {0} stands for the first of them.
    """

    needs: tuple[PlainName, ...]
    run: str

    @model_validator(mode="after")
    def _refuse_other_places(self) -> Self:
        """Refuse a command that cannot be filled in."""
        for _, place, form, conversion in Formatter().parse(self.run):
            if place is not None and (place not in map(str, range(len(self.needs))) or form or conversion):
                raise ValueError(f"run has {{{place}}}, which stands for none of the {len(self.needs)} files it needs")
        return self


class Table(_Row):
    """What was published, and what to do with it."""

    file: tuple[PublishedFile, ...] = ()
    archive: tuple[PublishedArchive, ...] = ()
    next: tuple[NextStep, ...] = ()

    @classmethod
    def read(cls, path: Path = PUBLISHED) -> Self:
        """Read a table.

        Args:
            path: Of a TOML file.

        Returns:
            The table.

        Raises:
            ConfigInvalid: It is no TOML, or an entry is missing, unknown or does not fit; names it.
        """
        try:
            return cls.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ConfigInvalid(f"{path}: is no TOML ({error}); write it as {PUBLISHED.name} is written") from error
        except ValidationError as error:
            fault = error.errors()[0]
            at = ".".join(str(step) for step in fault["loc"])
            raise ConfigInvalid(f"{path}: {at}: {fault['msg']}, got {fault['input']!r}") from error
        except FileNotFoundError as error:
            raise ConfigInvalid(f"{path}: there is no such table; check the path") from error

    def is_fit(self, path: Path) -> bool:
        """Say whether a file is there, and nothing shows that it is another one than the table's."""
        entries: tuple[PublishedFile | PublishedArchive, ...] = (*self.file, *self.archive)
        return path.is_file() and not any(entry.fault(path) for entry in entries if path.name in entry.saved)

    def chosen(self, names: tuple[str, ...]) -> Self:
        """Narrow the table to entries by name; without names, to all that are not optional.

        Raises:
            ConfigInvalid: There is no entry of a name; lists those that there are.
        """
        known = [file.name for file in self.file] + [archive.name for archive in self.archive]
        for name in names:
            if name not in known:
                raise ConfigInvalid(f"--only: the table has no {name!r}; it has {', '.join(known)}")

        def is_chosen(entry: PublishedFile | PublishedArchive) -> bool:
            return entry.name in names if names else not entry.optional

        file, archive = filter(is_chosen, self.file), filter(is_chosen, self.archive)
        return self.model_copy(update={"file": tuple(file), "archive": tuple(archive)})
