"""Asking, over TLS or without, as cheaply as Python allows: requests written beforehand, on connections that are kept.

Load comes from the machine that serves: what the clients spend is taken from the servers.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

HOST = "localhost"
END_OF_HEAD = b"\r\n\r\n"

GONE = (OSError, ssl.SSLError, asyncio.IncompleteReadError)
"""What is raised where a connection ends without a whole reply."""


@dataclass(frozen=True)
class Reply:
    """What came back; names of headers in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Wire:
    """One client's connection, opened when it is needed."""

    def __init__(self, port: int, trusting: ssl.SSLContext | None) -> None:
        self._port = port
        self._trusting = trusting
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> Reply:
        """Send a request and wait for its reply.

        Args:
            request: Head and body; see `written`.

        Raises:
            OSError: The connection cannot be had, or breaks.
            asyncio.IncompleteReadError: It was closed before the reply was whole.
        """
        reader, writer = await self.open()
        try:
            writer.write(request)
            reply = await read(reader)
        except BaseException:  # whatever comes on this connection from now on would belong to nobody
            self.cut()
            raise
        if reply.headers.get("connection") == "close":
            self.cut()
        return reply

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Give the connection's two ends; one that nginx has closed meanwhile is opened anew."""
        if self._streams is not None and self._streams[0].at_eof():
            self.cut()
        if self._streams is None:
            self._streams = await asyncio.open_connection(HOST, self._port, ssl=self._trusting)
        return self._streams

    def cut(self) -> None:
        """Break the connection off."""
        if self._streams is not None:
            self._streams[1].transport.abort()
        self._streams = None


def written(path: str, body: bytes, headers: Mapping[str, str]) -> bytes:
    """Write a request.

    Args:
        path: That is asked.
        body: JSON.
        headers: Beside those that every request has.
    """
    own = {"Host": HOST, "Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in own.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body


async def read(reader: asyncio.StreamReader) -> Reply:
    """Read one reply; nginx states the length of each."""
    head = (await reader.readuntil(END_OF_HEAD)).decode("latin-1")
    first, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers["content-length"]))
    return Reply(int(first.split()[1]), headers, body)
