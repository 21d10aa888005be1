"""GET of a URL that a client or a provider named: behind the address guard, over few redirects, each one checked."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from urllib.parse import urljoin, urlsplit

from vidu_relay.outbound.address_guard import AddressGuard, RefusedAddressError, check_characters
from vidu_relay.outbound.exchange import (
    CONNECT_SECONDS,
    Call,
    CertificateError,
    ExchangeError,
    NotConnectedError,
    open_reply,
)
from vidu_relay.outbound.incoming import Incoming

__all__ = ["BadLinkError", "UnreachableError", "guarded_get"]

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
    """The host could not be reached, or broke off before it answered: another try may succeed."""


@contextmanager
def guarded_get(
    guard: AddressGuard,
    url: str,
    *,
    what: str,
    deadline: float,
    open_seconds: float = float("inf"),
    read_stall_seconds: float = float("inf"),
    headers: Mapping[str, str] | None = None,
) -> Iterator[Incoming]:
    """The reply to a GET on a connection of its own, its body unread, after at most three redirects.

    Everything is over at `deadline`, on the monotonic clock. The head of the last reply is there within `open_seconds`,
    redirects included; no read of the body waits longer than `read_stall_seconds`. `headers` go to every host on the
    way. `what` names the link in messages ("video link").

    Raises `BadLinkError` (`address_refused`, `bad_redirect`, `too_many_redirects`, `certificate`) or
    `UnreachableError`. No message repeats anything of the URL.
    """
    head_until = min(deadline, time.monotonic() + open_seconds)
    try:
        for _ in range(MAX_REDIRECTS + 1):
            target = guard.read(url)
            find = partial(guard.addresses, target)
            call = Call("GET", target, find, head_until, CONNECT_SECONDS, read_stall_seconds)
            with open_reply(call, headers or {}) as reply:
                location = reply.getheader("Location")
                if reply.status not in REDIRECTS or not location:
                    if not reply.whole_head:
                        raise UnreachableError(f"The host of the {what} broke off within its headers.")
                    call.deadline = deadline
                    yield reply
                    return
                url = _redirected(url.strip(" "), location, what)
    except RefusedAddressError as error:
        raise BadLinkError("address_refused", f"The {what} is not opened: {error}.") from error
    except CertificateError as error:
        raise BadLinkError("certificate", f"The host of the {what} has no valid certificate.") from error
    except NotConnectedError as error:
        raise UnreachableError(f"The host of the {what} is not reached: {error}.") from error
    except ExchangeError as error:
        how = "took too long to answer" if error.timed_out else f"broke off: {error}"
        raise UnreachableError(f"The host of the {what} {how}.") from error
    raise BadLinkError("too_many_redirects", f"The {what} redirects more than {MAX_REDIRECTS} times.")


def _redirected(url: str, location: str, what: str) -> str:
    """Where a redirect leads, byte for byte as it is written: the link that it names may be a signed one.

    Bytes beyond ASCII are percent-encoded as they came.
    """
    location = re.sub(r"[\x80-\xff]", lambda byte: f"%{ord(byte[0]):02X}", location.strip(" \t"))
    check_characters(location)
    location, base = location.partition("#")[0], url.partition("#")[0]
    scheme, _, rest = base.partition("://")
    authority = re.split("[/?]", rest, maxsplit=1)[0]
    path, question, query = location.partition("?")
    try:
        if _SCHEME.match(location):
            target = location
        elif location.startswith("//"):
            target = f"{scheme}:{location}"
        elif location.startswith("/"):
            target = f"{scheme}://{authority}{location}"
        else:
            here = base.partition("?")[0]
            target = f"{urljoin(here, path) if path else here}{question}{query}"
        urlsplit(target)
    except ValueError as error:
        raise BadLinkError("bad_redirect", f"The {what} redirects to something that is no address.") from error
    return target
