"""API keys: a file with one key a line and the name of whom it belongs to, which nginx reads as a part of a map.

A key is 256 random bits. nginx looks it up by its hash, so how long that takes says nothing of how much of a guess was
right. Hexadecimal, for nginx ignores the case of what it looks up.
"""

import os
import re
import secrets
from pathlib import Path

from twelve.errors import ConfigInvalid

KEY_BYTES = 32
OWNER_ALONE = 0o600
NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
LINE = re.compile(r'"(?P<key>[0-9a-f]{64})" (?P<name>[A-Za-z0-9._-]{1,64});')


def read(path: Path) -> dict[str, str]:
    """Read a file of keys.

    Args:
        path: The file; one that is not there holds none.

    Returns:
        Names by key.

    Raises:
        ConfigInvalid: Others may read it, or a line is no key.
    """
    if not path.exists():
        return {}
    if path.stat().st_mode & ~OWNER_ALONE & 0o777:
        raise ConfigInvalid(f"{path}: may be read by others than its owner; `chmod 600` it")
    lines = [line for line in path.read_text(encoding="ascii").splitlines() if line and not line.startswith("#")]
    found = [LINE.fullmatch(line) for line in lines]
    for number, match in enumerate(found, start=1):
        if match is None:
            raise ConfigInvalid(f'{path}: key {number} is not written as "64 hexadecimal digits" NAME;')
    return {match["key"]: match["name"] for match in found if match}


def add(path: Path, name: str) -> str:
    """Make a key.

    Args:
        path: The file it is added to.
        name: Whose it is; stands in the log.

    Returns:
        The key, which is shown nowhere else.

    Raises:
        ConfigInvalid: The name is taken or not plain, or the file is not as it should be.
    """
    if not NAME.fullmatch(name):
        raise ConfigInvalid(f"name: {name!r} is not 1 to 64 letters, digits, dots, dashes and underscores")
    known = read(path)
    if name in known.values():
        raise ConfigInvalid(f"name: {name!r} has a key; remove it first, or take another name")
    key = secrets.token_hex(KEY_BYTES)
    _write(path, {**known, key: name})
    return key


def remove(path: Path, name: str) -> None:
    """Take a client's key away.

    Raises:
        ConfigInvalid: It has none.
    """
    known = read(path)
    if name not in known.values():
        raise ConfigInvalid(f"name: {name!r} has no key, only {', '.join(sorted(known.values())) or 'nobody'} has")
    _write(path, {key: owner for key, owner in known.items() if owner != name})


def _write(path: Path, keys: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, OWNER_ALONE), "w", encoding="ascii") as file:
        file.writelines(f'"{key}" {name};\n' for key, name in keys.items())
    new.rename(path)
