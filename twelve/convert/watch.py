"""What shows how far long work has come; the command line draws bars."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol


class Watch(Protocol):
    """Shows one piece of work at a time."""

    def __call__(
        self, name: str, *, length: int | None = None, start: int = 0
    ) -> AbstractContextManager[Callable[[int], None]]:
        """Begin a piece of work.

        Args:
            name: Of it.
            length: Bytes of all of it, or None where nobody can tell how far it is.
            start: Bytes that were done before.

        Returns:
            A context that takes each further count of bytes.
        """
        ...
