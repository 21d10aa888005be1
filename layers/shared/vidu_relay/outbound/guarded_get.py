"""GET of a URL on someone else's word: behind the address guard, over few redirects, each one checked anew."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urljoin

from vidu_relay.outbound.address_guard import AddressGuard, RefusedAddressError

__all__ = ["BadLinkError", "UnreachableError", "guarded_get"]

MAX_REDIRECTS = 3
REDIRECTS = frozenset({301, 302, 303, 307, 308})


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
    guard: AddressGuard, url: str, *, what: str, socket_seconds: float, headers: Mapping[str, str] | None = None
) -> Iterator[http.client.HTTPResponse]:
    """The reply to a GET on a connection of its own, unread, after at most three redirects; closed at the end.

    `what` names the link in messages ("video link"). `socket_seconds` without a byte end the wait. Content encodings
    are not asked for. Raises `BadLinkError` (`address_refused`, `bad_redirect`, `too_many_redirects`, `certificate`) or
    `UnreachableError`. No message repeats anything of the URL.
    """
    for _ in range(MAX_REDIRECTS + 1):
        connection, response = _get(guard, url, what, socket_seconds, headers or {})
        try:
            location = response.getheader("Location")
            if response.status in REDIRECTS and location:
                url = _redirected(url, location, what)
                continue
            yield response
            return
        finally:
            response.close()
            connection.close()
    raise BadLinkError("too_many_redirects", f"The {what} redirects more than {MAX_REDIRECTS} times.")


def _get(
    guard: AddressGuard, url: str, what: str, socket_seconds: float, headers: Mapping[str, str]
) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    try:
        target = guard.check(url)
        connection = target.connect(socket_seconds)
    except RefusedAddressError as error:
        raise BadLinkError("address_refused", f"The {what} is not opened: {error}.") from error
    except OSError as error:
        raise UnreachableError(f"The host of the {what} is not reached: {error}.") from error
    try:
        connection.putrequest("GET", target.request_target, skip_accept_encoding=True)
        connection.putheader("Accept-Encoding", "identity")
        connection.putheader("User-Agent", "vidu-relay")
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        return connection, connection.getresponse()
    except ssl.SSLCertVerificationError as error:
        connection.close()
        raise BadLinkError("certificate", f"The host of the {what} has no valid certificate.") from error
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        raise UnreachableError(f"The host of the {what} broke off: {type(error).__name__}.") from error


def _redirected(url: str, location: str, what: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError as error:
        raise BadLinkError("bad_redirect", f"The {what} redirects to something that is no address.") from error
