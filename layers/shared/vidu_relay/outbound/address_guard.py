"""Which addresses we open on someone else's word, and a connection that goes exactly there.

A host is resolved once, every address it has is checked, and the socket is opened to one of the checked addresses,
with the host's own name in TLS: a name that answers differently a second later changes nothing.
"""

from __future__ import annotations

import http.client
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

from vidu_relay.domain.errors import ConfigurationError

__all__ = ["AddressGuard", "RefusedAddressError", "Target", "is_public"]

RESOLVE_SECONDS = 5
"""How long the look-up of a name is waited for: the system's own takes no time-out, and may take minutes."""

MAX_ADDRESSES = 4
"""How many of a host's addresses are tried, one after the other. All of them are checked."""

_PORTS = {"https": 443, "http": 80}
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]{0,5}))?")
_NAME = re.compile(r"(?=.{1,253}\.?\Z)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")

_ORDINARY_6 = ipaddress.ip_network("2000::/3")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
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
    if isinstance(ip, ipaddress.IPv6Address) and (ip not in _ORDINARY_6 or int(ip) >> 32 & 0xFFFF_FFFF in _ISATAP):
        return False  # nothing else is handed out to hosts; ISATAP carries an IPv4 address inside
    return ip.is_global and not any(ip in net for net in _NEVER if net.version == ip.version)


def _resolve(host: str, port: int) -> Sequence[str]:
    """Every address of a host. Raises `OSError`, also if the system has not answered within `RESOLVE_SECONDS`."""
    answers: list[list[str]] = []
    faults: list[OSError | UnicodeError] = []

    def look_up() -> None:
        try:
            answers.append([str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)])
        except (OSError, UnicodeError) as fault:
            faults.append(fault)

    asking = threading.Thread(target=look_up, daemon=True)  # it cannot be stopped, only left behind
    asking.start()
    asking.join(RESOLVE_SECONDS)
    if faults:
        raise faults[0]
    if not answers:
        raise TimeoutError("the look-up of the host name took too long")
    return answers[0]


@dataclass(frozen=True, slots=True)
class Target:
    """A checked URL: where to connect, and the request target byte for byte as it was given.

    `addresses` are tried in turn. IPv4 comes first: a function outside a VPC reaches nothing by IPv6.
    """

    scheme: str
    host: str
    port: int
    addresses: tuple[str, ...]
    request_target: str

    def connect(self, timeout: float) -> http.client.HTTPConnection:
        """An unopened connection to a checked address; opening it, TLS included, takes at most `timeout` seconds.

        Each read and write after that may wait as long again.
        """
        if self.scheme == "http":
            return _PinnedHTTP(self, timeout)
        return _PinnedHTTPS(self, timeout)


class AddressGuard:
    """Checks a URL before it is opened.

    - https only, port 443, no user-info, printable ASCII without spaces;
    - the host is a name, an IPv4 address of four decimal numbers, or an IPv6 address in brackets;
    - every address of the host is public;
    - with `hosts`, the host is one of them or below one of them.

    `trusted_origins` (`scheme://host:port`, the scheme's own port may be left out) may be http, at any port and at any
    address, and need not be on the list. Raises `ConfigurationError` if one of them is no origin.
    """

    def __init__(
        self, *, hosts: Sequence[str] = (), trusted_origins: Sequence[str] = (), resolve: Resolve = _resolve
    ) -> None:
        self._hosts = tuple(host.lower().removeprefix("*.").strip(".") for host in hosts)
        self._trusted = frozenset(_origin(origin) for origin in trusted_origins)
        self._resolve = resolve

    def check(self, url: str) -> Target:
        """The target of a URL that may be opened. Raises `RefusedAddressError`, or `OSError` if it has no address."""
        if not url.isascii() or any(not "!" <= c <= "~" or c in '\\"<>^`{|}' for c in url):
            raise RefusedAddressError("a URL consists of printable ASCII without spaces")
        scheme, host, port, target = _read(url)
        trusted = (scheme, host, port) in self._trusted
        if not trusted:
            self._check_form(scheme, host, port)
        addresses = self._addresses(host, port)
        if not trusted and not all(is_public(address) for address in addresses):
            raise RefusedAddressError("the host has an address that is not public")
        in_turn = sorted(dict.fromkeys(addresses), key=lambda address: ":" in address)
        return Target(scheme, host, port, tuple(in_turn[:MAX_ADDRESSES]), target)

    def _check_form(self, scheme: str, host: str, port: int) -> None:
        if scheme != "https":
            raise RefusedAddressError("only https URLs are opened")
        if port != 443:
            raise RefusedAddressError("only port 443 is opened")
        if ":" not in host and _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]):
            try:
                ipaddress.IPv4Address(host)
            except ValueError as error:  # 2130706433, 0x7f.1, 0177.0.0.1, 127.1: read differently by different readers
                raise RefusedAddressError("an IPv4 address is written as four decimal numbers") from error
        bare = host.removesuffix(".")
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


def _read(url: str) -> tuple[str, str, int, str]:
    """Scheme, host and port in their plain form, and the rest of the URL as it stands."""
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise RefusedAddressError("not a URL") from error
    if parts.scheme not in _PORTS or not parts.netloc:
        raise RefusedAddressError("only https URLs are opened")
    if "@" in parts.netloc:
        raise RefusedAddressError("a URL with user-info is not opened")
    authority = _AUTHORITY.fullmatch(parts.netloc)
    port = int(authority[2] or _PORTS[parts.scheme]) if authority else 0
    if authority is None or port > 0xFFFF:
        raise RefusedAddressError("not a URL")
    host = authority[1].lower()
    if host.startswith("["):
        host = host[1:-1]
        try:
            ipaddress.IPv6Address(host)
        except ValueError as error:
            raise RefusedAddressError("the host is not an IPv6 address") from error
    elif not _NAME.fullmatch(host):
        raise RefusedAddressError("the host is not a host name")
    target = url.partition("#")[0][len(f"{parts.scheme}://{parts.netloc}") :]
    return parts.scheme, host, port, target if target.startswith("/") else f"/{target}"


def _origin(text: str) -> tuple[str, str, int]:
    try:
        scheme, host, port, target = _read(text)
    except RefusedAddressError as error:
        raise ConfigurationError(f"a trusted origin has the form scheme://host:port: {error}") from error
    if target != "/" or text.endswith(("?", "#")):
        raise ConfigurationError("a trusted origin has the form scheme://host:port, without a path")
    return scheme, host, port


def _open(target: Target, until: float) -> socket.socket:
    """A connection to the first of the addresses that takes it, each given its share of the time that is left."""
    left = list(target.addresses)
    while True:
        address = left.pop(0)
        share = max(0.001, until - time.monotonic()) / (len(left) + 1)
        try:
            return socket.create_connection((address, target.port), share)
        except OSError:
            if not left:
                raise


class _PinnedHTTP(http.client.HTTPConnection):
    def __init__(self, target: Target, timeout: float) -> None:
        super().__init__(target.host, target.port, timeout=timeout)
        self._target = target
        self._seconds = timeout

    def connect(self) -> None:
        self.sock = _open(self._target, time.monotonic() + self._seconds)
        self.sock.settimeout(self._seconds)


class _PinnedHTTPS(http.client.HTTPSConnection):
    def __init__(self, target: Target, timeout: float) -> None:
        self._tls = _tls()
        super().__init__(target.host, target.port, timeout=timeout, context=self._tls)
        self._target = target
        self._seconds = timeout

    def connect(self) -> None:
        until = time.monotonic() + self._seconds
        plain = _open(self._target, until)
        try:
            plain.settimeout(max(0.001, until - time.monotonic()))  # a handshake's time-out is for the whole of it
            # neither SNI nor a certificate's names know the dot that ends a complete name
            self.sock = self._tls.wrap_socket(plain, server_hostname=self._target.host.removesuffix("."))
        except BaseException:  # until TLS has taken it over nobody else would close this socket
            plain.close()
            raise
        self.sock.settimeout(self._seconds)


@cache
def _tls() -> ssl.SSLContext:
    """One context for all connections: reading the CA bundle costs more than a handshake."""
    return ssl.create_default_context()
