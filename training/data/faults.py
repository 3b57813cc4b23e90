"""What is wrong in an official file, where, and what becomes of it: an exception for readers, a list for `check`."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from twelve.errors import DataError

T = TypeVar("T")
U = TypeVar("U")


class Fault(DataError):
    """One thing wrong in one place of one file; reads like a compiler's message.

    Attributes:
        file: Relative to the data root.
        row: A line number, an index ("questions[17]") or an id; "" where the file as a whole is meant.
        field: Path inside the row ("answers[3].answer"), or "".
        reason: What was got and what is expected.
    """

    def __init__(self, file: str, *, row: str = "", field: str = "", reason: str) -> None:
        place = f"{file}:{row}" if row else file
        super().__init__(": ".join(part for part in (place, field, reason) if part), at=field or None)
        self.file = file
        self.row = row
        self.field = field
        self.reason = reason


OnFault = Callable[[Fault], None]
"""What to do with a row that cannot be read: raise, or remember and go on."""


def refuse(fault: Fault) -> None:
    """Stop at the first fault: what training wants."""
    raise fault


def ignore(fault: Fault) -> None:
    """Pass over a fault in a first pass, which takes one field only; the pass that reads the whole row reports it."""


def each(make: Callable[[T], U | None], items: Iterable[T], on_fault: OnFault) -> Iterator[U]:
    """Map `make` over items, leaving out None; a fault costs its own item only, if `on_fault` returns."""
    for item in items:
        try:
            made = make(item)
        except Fault as fault:
            on_fault(fault)
            continue
        if made is not None:
            yield made
