"""Which addresses we open on someone else's word, and a connection that goes exactly there.

A host is resolved once, every address it has is checked, and the socket is opened to a checked address, with the
host's own name in TLS: a name that answers differently a second later changes nothing.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

__all__ = ["AddressGuard", "RefusedAddressError", "Target", "is_public"]

_NEVER = tuple(
    ipaddress.ip_network(net)
    for net in (
        # what `is_global` of some Python versions lets pass
        "0.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT
        "169.254.0.0/16",
        "192.0.0.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "198.18.0.0/15",
        "224.0.0.0/3",  # multicast and reserved
        "::/8",  # unspecified, loopback, IPv4-compatible and -mapped
        "64:ff9b::/96",  # NAT64
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",  # Teredo and protocol assignments
        "2001:db8::/32",
        "2002::/16",  # 6to4
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",
        "fe80::/9",
        "ff00::/8",
    )
)

Resolve = Callable[[str, int], Sequence[str]]


class RefusedAddressError(Exception):
    """The URL may not be opened. The message says which rule it breaks."""


def is_public(address: str) -> bool:
    """Whether an IP address is an ordinary host on the public internet."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    return ip.is_global and not any(ip in net for net in _NEVER if net.version == ip.version)


def _resolve(host: str, port: int) -> Sequence[str]:
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


@dataclass(frozen=True, slots=True)
class Target:
    """A checked URL: where to connect, and the request target byte for byte as it was given."""

    scheme: str
    host: str
    port: int
    address: str
    request_target: str

    def connect(self, timeout: float) -> http.client.HTTPConnection:
        """An unopened connection to the checked address."""
        if self.scheme == "http":
            return _PinnedHTTP(self, timeout)
        return _PinnedHTTPS(self, timeout)


class AddressGuard:
    """Checks a URL before it is opened.

    - https only, port 443, no user-info, printable ASCII without spaces;
    - every address of the host is public;
    - with `hosts`, the host is one of them or below one of them.

    `trusted_origins` (`scheme://host:port`) are exempt from all of it.
    """

    def __init__(
        self, *, hosts: Sequence[str] = (), trusted_origins: Sequence[str] = (), resolve: Resolve = _resolve
    ) -> None:
        self._hosts = tuple(host.lower().removeprefix("*.").strip(".") for host in hosts)
        self._trusted = frozenset(origin.rstrip("/").lower() for origin in trusted_origins)
        self._resolve = resolve

    def check(self, url: str) -> Target:
        """The target of a URL that may be opened. Raises `RefusedAddressError`."""
        if not url.isascii() or any(not "!" <= c <= "~" or c in '\\"<>^`{|}' for c in url):
            raise RefusedAddressError("a URL consists of printable ASCII without spaces")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise RefusedAddressError("not a URL") from error
        if not host or parts.scheme not in ("https", "http"):
            raise RefusedAddressError("only https URLs are opened")
        port = port if port is not None else (443 if parts.scheme == "https" else 80)
        trusted = bool(self._trusted) and bool({f"{parts.scheme}://{parts.netloc}".lower()} & self._trusted)
        if not trusted:
            self._check_form(parts.scheme, host, port, has_user="@" in parts.netloc)
        addresses = self._addresses(host, port)
        if not trusted and not all(is_public(address) for address in addresses):
            raise RefusedAddressError("the host has an address that is not public")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query or url.partition("#")[0].endswith("?") else "")
        return Target(parts.scheme, host, port, addresses[0], target)

    def _check_form(self, scheme: str, host: str, port: int, *, has_user: bool) -> None:
        if scheme != "https":
            raise RefusedAddressError("only https URLs are opened")
        if has_user:
            raise RefusedAddressError("a URL with user-info is not opened")
        if port != 443:
            raise RefusedAddressError("only port 443 is opened")
        bare = host.rstrip(".")
        if self._hosts and not any(bare == known or bare.endswith(f".{known}") for known in self._hosts):
            raise RefusedAddressError("the host is not on the list of video hosts")

    def _addresses(self, host: str, port: int) -> Sequence[str]:
        try:
            addresses = self._resolve(host, port)
        except UnicodeError as error:
            raise RefusedAddressError("the host is not a host name") from error
        except OSError as error:
            raise ConnectionError("the host name cannot be resolved") from error
        if not addresses:
            raise ConnectionError("the host name has no address")
        return addresses


class _PinnedHTTP(http.client.HTTPConnection):
    def __init__(self, target: Target, timeout: float) -> None:
        super().__init__(target.host, target.port, timeout=timeout)
        self._target = target

    def connect(self) -> None:
        self.sock = socket.create_connection((self._target.address, self._target.port), self.timeout)


class _PinnedHTTPS(http.client.HTTPSConnection):
    def __init__(self, target: Target, timeout: float) -> None:
        self._tls = _tls()
        super().__init__(target.host, target.port, timeout=timeout, context=self._tls)
        self._target = target

    def connect(self) -> None:
        plain = socket.create_connection((self._target.address, self._target.port), self.timeout)
        try:
            self.sock = self._tls.wrap_socket(plain, server_hostname=self._target.host)
        except BaseException:  # until TLS has taken it over nobody else would close this socket
            plain.close()
            raise


@cache
def _tls() -> ssl.SSLContext:
    """One context for all connections: reading the CA bundle costs more than a handshake."""
    return ssl.create_default_context()
