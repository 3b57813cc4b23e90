"""A file on a server, read over connections that may be cut; each goes on where the last one ended, if it truly does.

A server that cannot go on sends the file from its beginning; what is known is then skipped. A server that sends another
version of the file is found out by length, ETag and date, and by the last bytes known, which are asked for once more.
"""

import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain

import httpx

from twelve.errors import FetchFailed

TAIL = 1024
"""Bytes already known that are asked for again and compared."""

FRUITLESS = 6
"""Attempts in a row that bring nothing, before it is given up."""

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
"""Before the first new attempt, and before any: the wait doubles each time."""

RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that another attempt may not meet again."""

AS_IT_IS = "identity"
"""The encoding that is none."""

CUT = (httpx.TransportError, httpx.StreamError)


class Changed(FetchFailed):
    """The server has another version of the file than the one begun."""


class _Passing(Exception):
    """This attempt failed in a way that another may not."""


@dataclass(frozen=True)
class Version:
    """What tells one version of a file from another.

    Attributes:
        length: Bytes.
        mark: The server's ETag, or else its date, or else "".
        encoding: Of what is sent, where it is not the file as it is, or else "".
    """

    length: int
    mark: str
    encoding: str = ""


class Remote:
    """One file at one address."""

    def __init__(self, address: str, client: httpx.Client, *, wait: Callable[[float], None] = time.sleep) -> None:
        """Take what is needed to ask for it.

        Args:
            address: Of the file.
            client: That asks.
            wait: Sleeps; tests pass their own.
        """
        self.address = address
        self._client = client
        self._wait = wait
        self._version: Version | None = None

    def version(self) -> Version:
        """Ask which version the server has.

        Raises:
            FetchFailed: It cannot be had, or its length is not told.
        """
        if self._version is None:
            deque(self._persistently(self._look), maxlen=0)
        assert self._version is not None, "a response that was accepted has told it"
        return self._version

    def chunks(self, start: int = 0, *, tail: bytes = b"") -> Iterator[bytes]:
        """Read the file from a byte on.

        Args:
            start: The byte.
            tail: The last bytes before it, as far as they are known.

        Yields:
            The bytes from there to the end.

        Raises:
            FetchFailed: The server refuses, or attempt after attempt brings nothing.
            Changed: The file is not the one begun.
        """
        length, place, known = self.version().length, start, tail[-TAIL:]

        def go_on() -> Iterator[bytes]:
            return self._after(known, place) if place < length else iter(())

        for chunk in self._persistently(go_on):
            place, known = place + len(chunk), (known + chunk[-TAIL:])[-TAIL:]
            yield chunk

    def _persistently(self, attempt: Callable[[], Iterator[bytes]]) -> Iterator[bytes]:
        """Try until an attempt ends well; one that brought something makes up for those that did not."""
        fruitless = 0
        while True:
            try:
                for chunk in attempt():
                    fruitless = 0
                    yield chunk
                return
            except (*CUT, _Passing) as error:
                fruitless += 1
                if fruitless == FRUITLESS:
                    raise FetchFailed(
                        f"{self.address}: {FRUITLESS} attempts in a row brought nothing, the last: "
                        f"{str(error) or type(error).__name__}; check the network and run the same command again"
                    ) from error
                self._wait(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (fruitless - 1)))

    def _look(self) -> Iterator[bytes]:
        with self._asked(0):
            return iter(())

    def _after(self, known: bytes, place: int) -> Iterator[bytes]:
        """Read from a place on, once what stands before it has been seen to be the same."""
        start = place - len(known)
        with self._asked(start) as response:
            body = _dropped(response.iter_raw(), start - self._first_byte(response))
            again, rest = _split(body, len(known))
            if again != known:
                raise Changed(f"{self.address}: the {len(known)} bytes before {place} are not those that came before")
            for chunk in filter(None, rest):
                place += len(chunk)
                yield chunk
        length = self.version().length
        if place > length:
            raise FetchFailed(f"{self.address}: sent more than the {length} bytes it told; try another address")
        if place < length:
            raise _Passing(f"the body ended at byte {place} of {length}")

    @contextmanager
    def _asked(self, start: int) -> Iterator[httpx.Response]:
        """Ask for the file from a byte on, and see that it is the same file."""
        headers = {"accept-encoding": AS_IT_IS} | ({"range": f"bytes={start}-"} if start else {})
        with self._client.stream("GET", self.address, headers=headers) as response:
            if self._first_byte(response) not in (0, start):
                told = response.headers["content-range"]
                raise FetchFailed(f"{self.address}: asked for byte {start} on, got {told}; try another address")
            yield response

    def _first_byte(self, response: httpx.Response) -> int:
        """Say which byte of the file a body begins with, and see that it is the same file."""
        if response.status_code in PASSING:
            raise _Passing(f"the server answered {response.status_code} {response.reason_phrase}")
        if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise Changed(f"{self.address}: is shorter than what came before")
        first, length = self._extent(response)
        mark = response.headers.get("etag") or response.headers.get("last-modified", "")
        found = Version(length, mark, response.headers.get("content-encoding", "").replace(AS_IT_IS, ""))
        self._version = self._version or found
        if found != self._version:
            raise Changed(
                f"{self.address}: changed on the server, from {self._version.length} bytes {self._version.mark} "
                f"to {found.length} bytes {found.mark}"
            )
        return first

    def _extent(self, response: httpx.Response) -> tuple[int, int]:
        """Read the first byte and the file's length off a response.

        Raises:
            FetchFailed: It is no answer with a file, or does not tell.
        """
        if response.status_code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            raise FetchFailed(
                f"{self.address}: the server answered {response.status_code} {response.reason_phrase}; "
                "if the file has moved, name its new address in a table of your own with --table"
            )
        told = RANGE.fullmatch(response.headers.get("content-range", ""))
        if response.status_code == HTTPStatus.PARTIAL_CONTENT and told:
            return int(told[1]), int(told[2])
        length = response.headers.get("content-length", "")
        if response.status_code == HTTPStatus.OK and length.isdecimal():
            return 0, int(length)
        raise FetchFailed(f"{self.address}: the server does not tell the file's length, so its end cannot be known")


def _dropped(chunks: Iterator[bytes], count: int) -> Iterator[bytes]:
    """Pass over the first bytes."""
    for chunk in chunks:
        if count < len(chunk):
            yield chunk[count:]
        count = max(0, count - len(chunk))


def _split(chunks: Iterator[bytes], count: int) -> tuple[bytes, Iterator[bytes]]:
    """Take the first bytes off."""
    head = bytearray()
    for chunk in chunks:
        head += chunk
        if len(head) >= count:
            break
    return bytes(head[:count]), chain([bytes(head[count:])], chunks)
