"""What one worker keeps at hand, within a number of bytes; its threads share it."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Values by key, within a number of bytes; the longest unused go first."""

    def __init__(self, most_bytes: int, bytes_of: Callable[[Value], int]) -> None:
        self._most_bytes = most_bytes
        self._bytes_of = bytes_of
        self._values: OrderedDict[str, Value] = OrderedDict()
        self._bytes = 0
        self._turn = threading.Lock()

    def get(self, key: str) -> Value | None:
        """Give a value and count it as used, or None where it is not kept."""
        with self._turn:
            if key not in self._values:
                return None
            self._values.move_to_end(key)
            return self._values[key]

    def put(self, key: str, value: Value) -> None:
        """Keep a value in place of what was known under this key."""
        with self._turn:
            self._bytes -= self._bytes_of(self._values.pop(key)) if key in self._values else 0
            self._values[key] = value
            self._bytes += self._bytes_of(value)
            while self._bytes > self._most_bytes:
                _, oldest = self._values.popitem(last=False)
                self._bytes -= self._bytes_of(oldest)
