"""POST to a URL that a client named: once, behind the address guard, within a time that no server can stretch."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from vidu_relay.outbound.address_guard import AddressGuard, RefusedAddressError
from vidu_relay.outbound.exchange import Call, CertificateError, ExchangeError, NotConnectedError, open_reply
from vidu_relay.outbound.incoming import READ_ERRORS, Incoming
from vidu_relay.outbound.reply_fields import retry_after_seconds

__all__ = ["MAX_ANSWER_BYTES", "START_BYTES", "PostAnswer", "PostFailedError", "guarded_post"]

CONNECT_SECONDS = 3
MAX_ANSWER_BYTES = 64 * 1024
START_BYTES = 256
"""How much of an answer is kept."""
_BLOCK = 16 * 1024


class PostFailedError(Exception):
    """There was no whole answer. `code` is stable for programs; no message repeats anything of the URL.

    `slow` says that the time-out ended the call or the host could not be reached: others need not wait for it too.
    """

    def __init__(self, code: str, message: str, *, slow: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.slow = slow


@dataclass(frozen=True, slots=True)
class PostAnswer:
    """A whole answer. `retry_after` in seconds, at most a day, where the server gave one; `start` is the beginning of
    the body, as it was sent."""

    status: int
    retry_after: float | None
    start: bytes = b""


def guarded_post(
    guard: AddressGuard, url: str, body: bytes, headers: Mapping[str, str], *, total_seconds: float
) -> PostAnswer:
    """Send once on a connection of its own and read the answer to its end, all within `total_seconds`.

    Connecting, name look-up and TLS included, may take 3 seconds. No redirect is followed, no proxy, cookie or content
    coding used. Of the answer's body `START_BYTES` are kept; it must end, within `MAX_ANSWER_BYTES`.

    Raises `PostFailedError`: `address_refused`, `unreachable`, `certificate`, `timeout`, `answer_broken`,
    `answer_too_large`.
    """
    until = time.monotonic() + total_seconds
    try:
        target = guard.read(url)
        call = Call("POST", target, partial(guard.addresses, target), until, CONNECT_SECONDS)
        with open_reply(call, {**headers, "Connection": "close"}, body) as reply:
            try:
                start = _read_to_the_end(reply)
            except READ_ERRORS as error:
                raise call.error(error) from error
            return PostAnswer(reply.status, retry_after_seconds(reply.getheader("Retry-After")), start)
    except RefusedAddressError as error:
        raise PostFailedError("address_refused", f"The address is not called: {error}.") from error
    except CertificateError as error:
        raise PostFailedError("certificate", "The host has no valid certificate.", slow=True) from error
    except NotConnectedError as error:
        raise PostFailedError("unreachable", f"The host is not reached: {error}.", slow=True) from error
    except ExchangeError as error:
        if error.timed_out:
            raise PostFailedError(
                "timeout", f"The host took longer than {total_seconds:g} seconds.", slow=True
            ) from error
        raise PostFailedError("answer_broken", f"The host broke off, or sent what is no HTTP: {error}.") from error


def _read_to_the_end(reply: Incoming) -> bytes:
    """The first `START_BYTES` of the body."""
    start, read = b"", 0
    while block := reply.read_block(_BLOCK):
        start += block[: START_BYTES - len(start)]
        read += len(block)
        if read > MAX_ANSWER_BYTES:
            raise PostFailedError("answer_too_large", f"The host's answer has more than {MAX_ANSWER_BYTES} bytes.")
    return start
