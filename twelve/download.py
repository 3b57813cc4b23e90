"""Pictures by URL, for servers whose owner has listed the hosts. Off otherwise.

A name is looked up once. Its addresses are checked, and the connection goes to these very addresses, under the name: a
second look-up could find another. Redirects are new URLs and go the same way. Bytes and time are bounded for all
pictures of a request together, counted at the socket, so that nobody holds a worker by sending slowly.

httpcore is what httpx itself is built on; unlike httpx it lets one say how a connection is opened.
"""

import socket
import ssl
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urljoin

import httpcore
import httpx

from twelve.deadlines import NEVER, Deadline
from twelve.errors import InvalidField, TooLarge, TwelveError, UnreadableImage
from twelve.origins import AllowList, Location, read_url
from twelve.schema import AnyImage, EncodedImage, ImageUrl

SECONDS = 5.0
"""For all pictures of a request, looking up their hosts included."""

PICTURES_BYTES = 4
"""So many times the most bytes of one picture may all pictures of a request have."""

MOST_REDIRECTS = 2
REDIRECTS = frozenset({301, 302, 303, 307, 308})

MEDIA_TYPES = frozenset(
    {"image/jpeg", "image/png", "image/webp", "image/gif", "image/bmp", "image/x-ms-bmp", "image/tiff"}
)
"""Of the formats that `twelve.image` decodes."""

REQUEST_HEADERS = (
    ("Accept", ", ".join(sorted(MEDIA_TYPES))),
    ("Accept-Encoding", "identity"),  # what is packed small may unfold without end
    ("Connection", "close"),
    ("User-Agent", "twelve"),
)

NETWORK_FAULTS = (httpcore.NetworkError, httpcore.ProtocolError)
LOOKUPS = 4
"""Names that are looked up at a time; the system's resolver cannot be told to stop."""

Resolve = Callable[[str, int], list[str]]


def resolve(host: str, port: int) -> list[str]:
    """Give a host's addresses, as the system's resolver knows them."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass
class Budget:
    """What is left for a request's pictures.

    Attributes:
        left_bytes: To be read from all of them.
        deadline: The request's own.
        until_s: By `time.monotonic()`.
        is_cut: Whether the request's deadline leaves less time than pictures have.
    """

    left_bytes: int
    deadline: Deadline = NEVER
    until_s: float = field(init=False)
    is_cut: bool = field(init=False)

    def __post_init__(self) -> None:
        """Begin to count."""
        left_s = self.deadline.left_s()
        self.until_s = time.monotonic() + min(SECONDS, left_s)
        self.is_cut = left_s < SECONDS

    def seconds(self) -> float:
        """Give the time that is left.

        Raises:
            httpcore.ReadTimeout: There is none.
        """
        left = self.until_s - time.monotonic()
        if left <= 0:
            raise httpcore.ReadTimeout("the time is up")
        return left

    def used_up(self, why: str, *, at: str) -> TwelveError:
        """Give the error of a request for whose pictures time has run out: its own lateness, or else this reason."""
        return self.deadline.exceeded("its pictures were fetched") if self.is_cut else UnreadableImage(why, at=at)


class Downloads:
    """Fetches pictures that requests name by URL."""

    def __init__(self, allowed: AllowList, *, max_bytes: int, resolve: Resolve = resolve) -> None:
        self._allowed = allowed
        self._max_bytes = max_bytes
        self._resolve = resolve

    def fetched(
        self, images: Sequence[AnyImage], paths: Sequence[str], deadline: Deadline = NEVER
    ) -> tuple[AnyImage, ...]:
        """Put files in the place of URLs.

        Args:
            images: Of one request.
            paths: The fields' paths, for errors.
            deadline: The request's own; where it leaves less time than pictures have, they have that.

        Returns:
            The pictures in their order; those that came otherwise are as they were.

        Raises:
            InvalidField: Pictures are not fetched by this server, or not from there.
            UnreadableImage: There is no picture, or not in time.
            TooLarge: One is, or all together are.
            DeadlineExceeded: The request's time passed meanwhile.
        """
        budget = Budget(PICTURES_BYTES * self._max_bytes, deadline)
        return tuple(
            self._fetched(image, budget, at=at) if isinstance(image, ImageUrl) else image
            for image, at in zip(images, paths, strict=True)
        )

    def _fetched(self, image: ImageUrl, budget: Budget, *, at: str) -> EncodedImage:
        if not self._allowed.origins:
            raise InvalidField(
                f"{at}: this server fetches no pictures; send the picture itself, or let the server's owner name the "
                "hosts to fetch from at its start, as IMAGE_HOSTS",
                at=at,
            )
        try:
            return EncodedImage(data=self._follow(read_url(image.url, at=at), budget, at=at))
        except httpcore.TimeoutException as error:
            raise budget.used_up(f"{at}: fetching the picture took longer than {SECONDS:g} s", at=at) from error
        except NETWORK_FAULTS as error:
            why = str(error) or type(error).__name__
            raise UnreadableImage(f"{at}: the picture could not be fetched: {why}; send it itself", at=at) from error

    def _follow(self, location: Location, budget: Budget, *, at: str) -> bytes:
        for _ in range(1 + MOST_REDIRECTS):
            got = self._ask(location, budget, at=at)
            if isinstance(got, bytes):
                return got
            location = read_url(urljoin(str(location), got.target), at=at)
        raise UnreadableImage(f"{at}: the picture was moved more than {MOST_REDIRECTS} times; name its place", at=at)

    def _ask(self, location: Location, budget: Budget, *, at: str) -> "bytes | Moved":
        self._allowed.check_origin(location.origin, at=at)
        opener = Pinned(self._addresses(location, budget, at=at), budget)
        url = httpcore.URL(
            scheme=location.origin.scheme,
            host=location.origin.host,
            port=location.origin.port,
            target=location.target,
        )
        with (
            httpcore.ConnectionPool(ssl_context=self._tls, network_backend=opener) as pool,
            pool.stream("GET", url, headers=REQUEST_HEADERS) as response,
        ):
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            if response.status in REDIRECTS and "location" in headers:
                return Moved(headers["location"])
            _check_head(response.status, headers, at=at)
            return self._body(response.iter_stream(), budget, at=at)

    def _addresses(self, location: Location, budget: Budget, *, at: str) -> list[str]:
        origin = location.origin
        looking = self._lookups.submit(self._resolve, origin.host, origin.port)
        try:
            addresses = looking.result(budget.seconds())
        except TimeoutError as error:
            raise budget.used_up(f"{at}: the host {origin.host} was not found in time", at=at) from error
        except (OSError, UnicodeError) as error:
            raise UnreadableImage(f"{at}: the host {origin.host} was not found", at=at) from error
        self._allowed.check_addresses(origin.host, addresses, at=at)
        return addresses

    def _body(self, chunks: Iterable[bytes], budget: Budget, *, at: str) -> bytes:
        body = bytearray()
        for chunk in chunks:
            body += chunk
            budget.left_bytes -= len(chunk)
            if len(body) > self._max_bytes or budget.left_bytes < 0:
                raise TooLarge(
                    f"{at}: the picture file is too large: at most {self._max_bytes} bytes are fetched of one, "
                    f"{PICTURES_BYTES * self._max_bytes} of all; name a smaller one",
                    at=at,
                )
        return bytes(body)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return httpx.create_ssl_context()

    @cached_property
    def _lookups(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(LOOKUPS, thread_name_prefix="twelve-lookup")


@dataclass(frozen=True)
class Moved:
    """The picture lies elsewhere.

    Attributes:
        target: A URL, or what changes of the present one.
    """

    target: str


class Pinned(httpcore.NetworkBackend):
    """Connects to addresses that were checked, whatever their name is looked up to by now."""

    def __init__(self, addresses: Sequence[str], budget: Budget) -> None:
        self._addresses = addresses
        self._budget = budget
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address that answers.

        Raises:
            httpcore.ConnectError: None does.
        """
        del host, timeout, local_address
        for address in self._addresses:
            try:
                stream = self._sockets.connect_tcp(
                    address, port, timeout=self._budget.seconds(), socket_options=socket_options
                )
            except httpcore.ConnectError:
                continue
            return Bounded(stream, self._budget)
        raise httpcore.ConnectError("the host does not answer")


class Bounded(httpcore.NetworkStream):
    """A connection that ends when the time is up, however busy it is."""

    def __init__(self, stream: httpcore.NetworkStream, budget: Budget) -> None:
        self._stream = stream
        self._budget = budget

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read some bytes."""
        return self._stream.read(max_bytes, timeout=self._budget.seconds())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all bytes."""
        self._stream.write(buffer, timeout=self._budget.seconds())

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Go on encrypted; the certificate has to be that of the name, not of the address."""
        seconds = self._budget.seconds()
        return Bounded(self._stream.start_tls(ssl_context, server_hostname, timeout=seconds), self._budget)

    def get_extra_info(self, info: str) -> Any:
        """Tell about the connection."""
        return self._stream.get_extra_info(info)


def _check_head(status: int, headers: Mapping[str, str], *, at: str) -> None:
    """See that a picture follows, as it lies on a disk."""
    if status != httpx.codes.OK:
        raise UnreadableImage(f"{at}: the picture could not be fetched: its host answered {status}", at=at)
    kind = headers.get("content-type", "").split(";")[0].strip().lower()
    if kind not in MEDIA_TYPES:
        raise UnreadableImage(
            f"{at}: the URL leads to {kind[:40]!a}, not to a picture; {', '.join(sorted(MEDIA_TYPES))} are fetched",
            at=at,
        )
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnreadableImage(f"{at}: the picture came compressed, which nobody asked for; send it itself", at=at)
