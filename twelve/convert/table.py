"""The table of what the authors published: `published.toml` beside this file, or one that a person names instead."""

import tomllib
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twelve.errors import ConfigInvalid

PUBLISHED = Path(__file__).with_name("published.toml")

Address = Annotated[str, Field(pattern=r"^https?://\S+$")]
PlainName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A file name that leads nowhere else: no slash, no dot in front."""

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PublishedFile(_Row):
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
    at_least: int = 0
    sha256: Sha256 | None = None
    optional: bool = False

    @property
    def saved(self) -> tuple[str, ...]:
        """Name the files that it becomes."""
        return (self.save,)


class PublishedArchive(_Row):
    """A tar archive of which a few entries are kept.

    Attributes:
        name: What people call it.
        about: What it is.
        address: Where it lies.
        members: Names in the folder by the end of an entry's path.
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
        except tomllib.TOMLDecodeError as error:
            raise ConfigInvalid(f"{path}: is no TOML ({error}); write it as {PUBLISHED.name} is written") from error
        except ValidationError as error:
            fault = error.errors()[0]
            at = ".".join(str(step) for step in fault["loc"])
            raise ConfigInvalid(f"{path}: {at}: {fault['msg']}, got {fault['input']!r}") from error
        except FileNotFoundError as error:
            raise ConfigInvalid(f"{path}: there is no such table; check the path") from error

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
