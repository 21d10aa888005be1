"""Reads URLs, and decides which of them may be opened for a client or a provider.

A host is resolved once and every address it has is checked. `exchange` then connects to one of the checked addresses,
with the host's own name in TLS: a name that resolves differently a second later changes nothing.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
import unicodedata
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from urllib.parse import urlsplit

from vidu_relay.domain.errors import ConfigurationError
from vidu_relay.domain.url_encoding import encoded_target

__all__ = [
    "MAX_ADDRESSES",
    "AddressGuard",
    "RefusedAddressError",
    "Target",
    "check_characters",
    "find_addresses",
    "is_public",
    "read_url",
]

RESOLVE_SECONDS = 5
"""How long resolving a name may take: the system's resolver has no time-out and may take minutes."""

MAX_ADDRESSES = 4
"""How many of a host's addresses are tried, one after the other. All of them are checked."""

_PORTS = {"https": 443, "http": 80}
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::([0-9]{0,5}))?")
_NAME = re.compile(r"(?=.{1,253}\.?\Z)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
"""Characters that a request line carries as they are, `%` included: what is escaped already stays byte for byte."""

_ORDINARY_6 = ipaddress.ip_network("2000::/3")
_ISATAP = (0x0000_5EFE, 0x0200_5EFE)
_NEVER = tuple(
    ipaddress.ip_network(net)
    for net in (  # noqa: SIM905 - as a list it takes twenty lines
        # what `is_global` of some Python versions lets pass: carrier-grade NAT, 6to4 relays, multicast, reserved
        "0.0.0.0/8 100.64.0.0/10 169.254.0.0/16 192.0.0.0/24 192.88.99.0/24 198.18.0.0/15 224.0.0.0/3 "
        # unspecified, loopback, IPv4-compatible and -mapped; NAT64; Teredo and protocol assignments; 6to4
        "::/8 64:ff9b::/96 64:ff9b:1::/48 100::/64 2001::/23 2001:db8::/32 2002::/16 3fff::/20 5f00::/16 "
        "fc00::/7 fe80::/9 ff00::/8"
    ).split()
)

Resolve = Callable[[str, int], Sequence[str]]


class RefusedAddressError(Exception):
    """The URL may not be opened. The message names the rule it breaks and repeats nothing of the URL."""


def is_public(address: str) -> bool:
    """Whether an IP address is an ordinary host on the public internet."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    if isinstance(ip, ipaddress.IPv6Address) and (ip not in _ORDINARY_6 or int(ip) >> 32 & 0xFFFF_FFFF in _ISATAP):
        return False  # nothing else is handed out to hosts; ISATAP carries an IPv4 address inside
    return ip.is_global and not any(ip in net for net in _NEVER if net.version == ip.version)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads, and the request target: the URL's own bytes, with what HTTP cannot carry percent-encoded."""

    scheme: str
    host: str
    port: int
    request_target: str

    @property
    def origin(self) -> str:
        """Scheme, host and port as a URL."""
        return f"{self.scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def find_addresses(host: str, port: int, seconds: float, resolve: Resolve | None = None) -> Sequence[str]:
    """All addresses of a host, IPv4 first: a function outside a VPC has no way out by IPv6.

    Raises `OSError` if there is none, or none within `seconds` (at most `RESOLVE_SECONDS`); `UnicodeError` for a text
    that cannot be a host name.
    """
    answer: Future[Sequence[str]] = Future()

    def look_up() -> None:
        try:
            answer.set_result((resolve or _ask_system)(host, port))
        except BaseException as error:  # noqa: BLE001 - raised below, by the thread that waits
            answer.set_exception(error)

    threading.Thread(target=look_up, daemon=True).start()  # it cannot be stopped: after a time-out it goes on
    try:
        found = answer.result(max(0.0, min(seconds, RESOLVE_SECONDS)))
    except TimeoutError:
        raise ConnectionError("the host name cannot be resolved in time") from None
    except OSError as error:
        raise ConnectionError("the host name cannot be resolved") from error
    if not found:
        raise ConnectionError("the host name has no address")
    return tuple(sorted(dict.fromkeys(found), key=lambda address: ":" in address))


def _ask_system(host: str, port: int) -> Sequence[str]:
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class AddressGuard:
    """Checks a URL before it is opened.

    - https only, port 443, no user-info;
    - the host is a name, an IPv4 address of four decimal numbers, or an IPv6 address in brackets;
    - every address of the host is public;
    - with `hosts`, the host is one of them or below one of them.

    `trusted_origins` (`scheme://host:port`, the scheme's own port may be left out, `*` is any port) may be http, at any
    port and at any address, and need not be on the list. Raises `ConfigurationError` if one of them is no origin.
    """

    def __init__(
        self, *, hosts: Sequence[str] = (), trusted_origins: Sequence[str] = (), resolve: Resolve | None = None
    ) -> None:
        self._hosts = tuple(host.lower().removeprefix("*.").strip(".") for host in hosts)
        self._trusted = frozenset(_origin(origin) for origin in trusted_origins)
        self._resolve = resolve

    def check(self, url: str) -> Sequence[str]:
        """The addresses of a URL that may be opened. Raises what `read` and `addresses` raise."""
        return self.addresses(self.read(url), RESOLVE_SECONDS)

    def read(self, url: str) -> Target:
        """The target of a URL whose form is allowed; no name is resolved. Raises `RefusedAddressError`."""
        target = read_url(url)
        if not self._trusts(target):
            self._check_form(target.scheme, target.host, target.port)
        return target

    def addresses(self, target: Target, seconds: float) -> Sequence[str]:
        """All addresses of the target, each one checked.

        Raises `RefusedAddressError` if one of them is not public, `OSError` if there is none within `seconds`.
        """
        try:
            found = find_addresses(target.host, target.port, seconds, self._resolve)
        except UnicodeError as error:
            raise RefusedAddressError("the host is not a host name") from error
        if not self._trusts(target) and not all(is_public(address) for address in found):
            raise RefusedAddressError("the host has an address that is not public")
        return found

    def _trusts(self, target: Target) -> bool:
        return not self._trusted.isdisjoint((target.scheme, target.host, port) for port in (target.port, None))

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


def check_characters(url: str) -> None:
    """Raises `RefusedAddressError` for what readers of URLs treat differently: control characters and backslashes."""
    for character in url:
        if character == "\\":
            raise RefusedAddressError("a URL has no backslash")
        if unicodedata.category(character) in ("Cc", "Cs"):
            raise RefusedAddressError(f"a URL has no control character (U+{ord(character):04X})")


def read_url(url: str) -> Target:
    """Where a URL leads. Spaces around it go; the scheme may be in any case. Raises `RefusedAddressError`."""
    url = url.strip(" ")
    check_characters(url)
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
    rest = url.partition("#")[0][len(f"{parts.scheme}://{parts.netloc}") :]
    return Target(parts.scheme, host, port, encoded_target(rest if rest.startswith("/") else f"/{rest}"))


def _origin(text: str) -> tuple[str, str, int | None]:
    """Scheme, host and port of an origin, None for any port."""
    try:
        target = read_url(re.sub(r":\*\Z", ":0", text))
    except RefusedAddressError as error:
        raise ConfigurationError(f"a trusted origin has the form scheme://host:port: {error}") from error
    if target.request_target != "/" or text.endswith(("?", "#")):
        raise ConfigurationError("a trusted origin has the form scheme://host:port, without a path")
    return target.scheme, target.host, None if text.endswith(":*") else target.port
