"""What stands at a file's name under a data root: a file, nothing, or what cannot be read as one."""

from pathlib import Path

from training.data.faults import Fault


def is_there(root: Path, name: str) -> bool:
    """Say whether anything has this name, be it a file, a folder or a link to nothing: reading it tells what is wrong.

    Raises:
        Fault: The folder may not be looked into.
    """
    try:
        (root / name).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise unreadable(name, error) from error
    return True


def is_file(root: Path, name: str) -> bool:
    """Say whether a regular file has this name.

    Raises:
        Fault: The folder may not be looked into.
    """
    return is_there(root, name) and (root / name).is_file()


def only_file(root: Path, name: str) -> Path:
    """Give the path of a file that must be there.

    Raises:
        Fault: Nothing has its name, or something that is no regular file.
    """
    path = root / name
    if not is_there(root, name):
        raise Fault(name, reason="the file is missing")
    if not path.exists():
        raise Fault(name, reason="expected a file, got a link to nothing")
    if path.is_dir():
        raise Fault(name, reason=f"expected a file, got {_folder(path)}")
    if not path.is_file():
        raise Fault(name, reason="expected a file, got a device, a pipe or a socket")
    return path


def unreadable(name: str, error: OSError) -> Fault:
    """Make the fault of what the system does not let us read."""
    return Fault(name, reason=f"cannot be read: {error.strerror or error}")


def _folder(path: Path) -> str:
    return "a folder" if any(path.iterdir()) else "an empty folder"
