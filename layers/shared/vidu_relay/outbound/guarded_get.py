"""GET of a URL on someone else's word: behind the address guard, over few redirects, each one checked anew."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from urllib.parse import urljoin, urlsplit

from vidu_relay.outbound.address_guard import AddressGuard, RefusedAddressError

__all__ = ["BadLinkError", "UnreachableError", "end_at", "guarded_get"]

MAX_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


class BadLinkError(Exception):
    """The link itself is at fault: another try meets the same. `code` is stable for programs."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class UnreachableError(Exception):
    """The host could not be reached, or broke off before it answered: another try may find it well."""


@contextmanager
def guarded_get(
    guard: AddressGuard,
    url: str,
    *,
    what: str,
    socket_seconds: float,
    headers: Mapping[str, str] | None = None,
    open_seconds: float | None = None,
    until: float | None = None,
) -> Iterator[http.client.HTTPResponse]:
    """The reply to a GET on a connection of its own, unread, after at most three redirects; closed at the end.

    `what` names the link in messages ("video link"). `socket_seconds` without a byte end the wait, at any time. The
    headers of the last reply are there within `open_seconds` (by default twice as long), redirects and all, besides
    the look-ups of names, which have `RESOLVE_SECONDS` each; how long the body takes is the caller's affair, unless
    `until` is given: at that moment of the monotonic clock everything is over, however busily the body drips.
    `headers` go to every host on the way. Content encodings are not asked for.

    Raises `BadLinkError` (`address_refused`, `bad_redirect`, `too_many_redirects`, `certificate`) or
    `UnreachableError`. No message repeats anything of the URL.
    """
    left = open_seconds if open_seconds is not None else 2 * socket_seconds
    if until is not None:
        left = min(left, until - time.monotonic())
    for _ in range(MAX_REDIRECTS + 1):
        if left <= 0:
            raise UnreachableError(f"The host of the {what} took too long to answer.")
        connection, request_target = _connection(guard, url, what, min(socket_seconds, left))
        began = time.monotonic()
        response, sock = _get(connection, request_target, what, (left, socket_seconds), headers or {})
        left -= time.monotonic() - began
        end = end_at(until, sock) if until is not None else None
        try:
            location = response.getheader("Location")
            if response.status in REDIRECTS and location:
                url = _redirected(url, location, what)
                continue
            yield response
            return
        finally:
            if end is not None:
                end.cancel()
            response.close()
            connection.close()
    raise BadLinkError("too_many_redirects", f"The {what} redirects more than {MAX_REDIRECTS} times.")


def _connection(guard: AddressGuard, url: str, what: str, seconds: float) -> tuple[http.client.HTTPConnection, str]:
    """An unopened connection to where the URL leads, and what is to be asked for there."""
    try:
        target = guard.check(url)
    except RefusedAddressError as error:
        raise BadLinkError("address_refused", f"The {what} is not opened: {error}.") from error
    except OSError as error:
        raise UnreachableError(f"The host of the {what} is not reached: {error}.") from error
    return target.connect(seconds), target.request_target


def _get(
    connection: http.client.HTTPConnection,
    request_target: str,
    what: str,
    seconds: tuple[float, float],
    headers: Mapping[str, str],
) -> tuple[http.client.HTTPResponse, socket.socket]:
    """The reply and its socket: headers within the first of `seconds`; a read of the body may wait for the second."""
    until = time.monotonic() + seconds[0]
    try:
        connection.connect()
        sock = connection.sock
        # headers that come by the byte never meet a socket's time-out: at the end of the time the socket is shut
        end = end_at(until, sock)
        try:
            connection.putrequest("GET", request_target, skip_accept_encoding=True)
            connection.putheader("Accept-Encoding", "identity")
            connection.putheader("User-Agent", "vidu-relay")
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            response = connection.getresponse()
        finally:
            end.cancel()
    except ssl.SSLCertVerificationError as error:
        connection.close()
        raise BadLinkError("certificate", f"The host of the {what} has no valid certificate.") from error
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise UnreachableError(f"The host of the {what} broke off: {type(error).__name__}.") from error
    if time.monotonic() >= until:  # what was taken for the end of the headers may have been the end of the time
        response.close()
        connection.close()
        raise UnreachableError(f"The host of the {what} took too long to answer.")
    sock.settimeout(seconds[1])
    return response, sock


def end_at(until: float, sock: socket.socket) -> threading.Timer:
    """Shut the socket at a moment of the monotonic clock, unless the timer is cancelled before."""
    end = threading.Timer(max(0.0, until - time.monotonic()), _shut, [sock])
    end.daemon = True
    end.start()
    return end


def _shut(sock: socket.socket) -> None:
    """End whoever reads from this socket. The plain socket's method: TLS's own would take part in the reading."""
    with suppress(OSError):  # it has just ended by itself
        socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _redirected(url: str, location: str, what: str) -> str:
    """Where a redirect leads, byte for byte as it is written: the link that it names may be a signed one."""
    location, base = location.partition("#")[0], url.partition("#")[0]
    scheme, _, rest = base.partition("://")
    authority = re.split("[/?]", rest, maxsplit=1)[0]
    path, mark, query = location.partition("?")
    try:
        if _SCHEME.match(location):
            there = location
        elif location.startswith("//"):
            there = f"{scheme}:{location}"
        elif location.startswith("/"):
            there = f"{scheme}://{authority}{location}"
        else:
            here = base.partition("?")[0]
            there = f"{urljoin(here, path) if path else here}{mark}{query}"
        urlsplit(there)
    except ValueError as error:
        raise BadLinkError("bad_redirect", f"The {what} redirects to something that is no address.") from error
    return there
