"""The one official format that is a pickle (RefCOCO's refs), read so that it can build nothing but plain containers."""

import pickle
from pathlib import Path
from typing import Any

from training.data.faults import Fault

_BROKEN = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    OverflowError,
    TypeError,
    ValueError,
)
"""What the standard unpickler raises on bytes that are no pickle."""


class _PlainUnpickler(pickle.Unpickler):
    """Refuses every name, and with it every class, function and reduction that a pickle can ask for."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(
            f"it asks for {module}.{name}, expected nothing but lists, dicts, texts and numbers; nothing of it was run"
        )


def load_plain(root: Path, name: str) -> object:
    """Read a pickle of plain containers, as Python 2 wrote it (protocol 0, bytes read as Latin-1).

    Raises:
        Fault: The file is missing, broken, or asks for a class or a function.
    """
    path = root / name
    if not path.is_file():
        raise Fault(name, reason="the file is missing")
    with path.open("rb") as file:
        try:
            return _PlainUnpickler(file, encoding="latin1").load()
        except _BROKEN as error:
            raise Fault(name, reason=f"cannot be read as a plain pickle: {error}") from error
