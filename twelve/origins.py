"""Which other hosts may be asked for a picture, and which of their addresses may be connected to.

A server that fetches what strangers name is a door into its own network. So a URL is read once, by one narrow pattern,
and only its parts go on: nobody reads it a second time and finds another host in it. The host has to be listed by the
server's owner, and each address that its name leads to has to be a public one.
"""

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from twelve.errors import ConfigInvalid, InvalidField

PORTS = {"https": 443, "http": 80}

LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
HOST = rf"(?:{LABEL}\.)*[a-z](?:[a-z0-9-]{{0,61}}[a-z0-9])?"
"""A name, not an address: the last label begins with a letter, so 2130706433, 0x7f.1 and [::1] are none."""

URL = re.compile(rf"(https?)://({HOST})(?::([1-9][0-9]{{0,4}}))?(/[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?", re.ASCII)
"""No user, no fragment, no trailing dot, no blank, no backslash. Scheme and host are brought to lower case before, and
text beyond ASCII is refused before that: some of its letters become others."""

SCHEME_AND_HOST = re.compile(r"[A-Za-z]+://[^/?#]*")
ENTRY = re.compile(rf"(?:(https?)://)?({HOST})(?::([1-9][0-9]{{0,4}}))?", re.ASCII)
MOST_CHARACTERS = 2048
LAST_PORT = 65535

UNICAST = ipaddress.ip_network("2000::/3")
"""RFC 4291: what IPv6 has handed out for machines of the world."""

DISGUISES = tuple(map(ipaddress.ip_network, ("2001::/32", "2002::/16", "64:ff9b::/96", "64:ff9b:1::/48")))
"""Teredo, 6to4 and NAT64: another address is inside, and may be a private one. Nobody keeps pictures there."""

ISATAP = (0x00005EFE, 0x02005EFE)
"""RFC 5214: the third quarter of an IPv6 address whose last quarter is an IPv4 address."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class Origin:
    """Where a picture lies: scheme, host and port."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        """Write it as URLs do."""
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"


@dataclass(frozen=True)
class Location:
    """A URL in its parts.

    Attributes:
        origin: Scheme, host and port.
        target: Path and query.
    """

    origin: Origin
    target: str

    def __str__(self) -> str:
        """Write it as a URL."""
        return f"{self.origin}{self.target}"


@dataclass(frozen=True)
class AllowList:
    """What the server's owner lets it connect to.

    Attributes:
        origins: Pictures are fetched from these alone; none = from nowhere.
        networks: Addresses that may be connected to beside the public ones.
    """

    origins: frozenset[Origin] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, hosts: Sequence[str], networks: Sequence[str]) -> "AllowList":
        """Read the server's settings.

        Args:
            hosts: "images.example.org", "images.example.org:8443" or "http://images.internal:9000".
            networks: As "10.1.0.0/16".

        Raises:
            ConfigInvalid: One of them is none.
        """
        return cls(frozenset(map(_entry, _texts("image_hosts", hosts))), _networks(networks))

    def check_origin(self, origin: Origin, *, at: str) -> None:
        """See that pictures may be fetched from there. Asked before the name is looked up.

        Raises:
            InvalidField: They may not.
        """
        if origin not in self.origins:
            raise InvalidField(f"{at}: this server fetches no pictures from {origin}; send the picture itself", at=at)

    def check_addresses(self, host: str, addresses: Sequence[str], *, at: str) -> None:
        """See that a name leads to public addresses alone. One other is enough to refuse all.

        Raises:
            InvalidField: It does not; which address it was is nobody's business.
        """
        if not all(map(self._is_allowed, addresses)):
            raise InvalidField(f"{at}: {host} is at an address that this server does not connect to", at=at)

    def _is_allowed(self, text: str) -> bool:
        address = ipaddress.ip_address(text)
        return is_public(address) or any(address in network for network in self.networks)


def read_url(url: str, *, at: str) -> Location:
    """Read a URL.

    Args:
        url: From a stranger.
        at: The request's field, for the error.

    Returns:
        Its parts.

    Raises:
        InvalidField: It is none that this server fetches.
    """
    named = SCHEME_AND_HOST.match(url)
    lowered = url if named is None else named[0].lower() + url[named.end() :]
    found = URL.fullmatch(lowered) if len(url) <= MOST_CHARACTERS and url.isascii() else None
    if found is None:
        raise InvalidField(
            f"{at}: is no URL that is fetched; write https://host/path, percent-encoded, with a host's name and "
            f"without user or fragment, {MOST_CHARACTERS} characters at most",
            at=at,
        )
    return Location(_origin(found[1], found[2], found[3]), found[4] or "/")


def is_public(address: Address) -> bool:
    """Say whether an address is that of one machine in the public network, and hides no other address."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not address.is_multicast
    if address.scope_id is not None or address not in UNICAST:  # what maps IPv4 into IPv6 lies outside, too
        return False
    is_disguise = any(address in network for network in DISGUISES) or int(address) >> 32 & 0xFFFFFFFF in ISATAP
    return address.is_global and not is_disguise


def _origin(scheme: str | None, host: str, port: str | None) -> Origin:
    known = scheme or "https"
    return Origin(known, host, int(port) if port else PORTS[known])


def _entry(text: str) -> Origin:
    found = ENTRY.fullmatch(text.lower())
    if found is None or int(found[3] or 0) > LAST_PORT:
        raise ConfigInvalid(
            f"image_hosts: {text!r} is no host; write images.example.org, images.example.org:8443 or "
            "http://images.internal:9000"
        )
    return _origin(found[1], found[2], found[3])


def _networks(entries: Sequence[str]) -> tuple[Network, ...]:
    try:
        return tuple(map(ipaddress.ip_network, _texts("image_networks", entries)))
    except ValueError as error:
        raise ConfigInvalid(f"image_networks: {error}; write 10.1.0.0/16 or 2001:db8::/64") from error


def _texts(name: str, entries: Sequence[str]) -> Sequence[str]:
    if isinstance(entries, str) or not all(isinstance(entry, str) for entry in entries):
        raise ConfigInvalid(f"{name}: is {entries!r}; give a list of texts")
    return entries
