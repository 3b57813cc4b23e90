"""Picture files that the command line reads and writes."""

from pathlib import Path

from twelve.errors import UnreadableImage


def contents(path: Path, *, at: str) -> bytes:
    """Read a picture's file.

    Args:
        path: Of the file.
        at: What it was given for, for the error.

    Returns:
        Its bytes, not yet decoded.

    Raises:
        UnreadableImage: There is no such file, or it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UnreadableImage(f"{at}: there is no file {path}; check the path", at=at) from error
    except OSError as error:
        raise UnreadableImage(f"{at}: {path} cannot be read: {error.strerror}; name a picture file", at=at) from error


def keep(drawing: bytes, path: Path) -> None:
    """Write a drawing; the folder is made where it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(drawing)
