"""POST to a URL on someone else's word: behind the address guard, once, and over in a time that nobody can stretch."""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass

from vidu_relay.outbound.address_guard import AddressGuard, RefusedAddressError
from vidu_relay.outbound.guarded_get import end_at
from vidu_relay.outbound.reply_fields import retry_after_seconds

__all__ = ["MAX_ANSWER_BYTES", "PostAnswer", "PostFailedError", "guarded_post"]

CONNECT_SECONDS = 3.05
MAX_ANSWER_BYTES = 64 * 1024
_BLOCK = 16 * 1024


class PostFailedError(Exception):
    """There was no whole answer. `code` is stable for programs; no message repeats anything of the URL.

    `slow` says that the host was waited for in vain, or could not be reached: others need not wait for it too.
    """

    def __init__(self, code: str, message: str, *, slow: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.slow = slow


@dataclass(frozen=True, slots=True)
class PostAnswer:
    """A whole answer, its body dropped. `retry_after` in seconds, at most a day, where the server gave one."""

    status: int
    retry_after: float | None


def guarded_post(
    guard: AddressGuard, url: str, body: bytes, headers: Mapping[str, str], *, total_seconds: float
) -> PostAnswer:
    """Send once on a connection of its own and read the answer to its end, all within `total_seconds`.

    Connecting, TLS included, may take 3 seconds. No redirect is followed, no proxy, cookie or content encoding used.
    The answer's body counts for nothing, but it must end, within `MAX_ANSWER_BYTES`.

    Raises `PostFailedError`: `address_refused`, `unreachable`, `certificate`, `timeout`, `answer_broken`,
    `answer_too_large`.
    """
    until = time.monotonic() + total_seconds
    try:
        target = guard.check(url)
    except RefusedAddressError as error:
        raise PostFailedError("address_refused", f"The address is not called: {error}.") from error
    except OSError as error:
        raise PostFailedError("unreachable", f"The host is not reached: {error}.", slow=True) from error
    left = until - time.monotonic()
    if left <= 0:
        raise _timeout(total_seconds)
    connection = target.connect(min(CONNECT_SECONDS, left))
    try:
        connection.connect()
    except ssl.SSLCertVerificationError as error:
        connection.close()
        raise PostFailedError("certificate", "The host has no valid certificate.", slow=True) from error
    except OSError as error:
        connection.close()
        raise PostFailedError("unreachable", f"The host is not reached: {type(error).__name__}.", slow=True) from error
    sock = connection.sock
    sock.settimeout(max(0.001, until - time.monotonic()))
    end = end_at(until, sock)  # what drips never meets a socket's time-out: at the end of the time the socket is shut
    try:
        connection.putrequest("POST", target.request_target, skip_accept_encoding=True)
        for name, value in {**headers, "Content-Length": str(len(body)), "Connection": "close"}.items():
            connection.putheader(name, value)
        connection.endheaders(body)
        with connection.getresponse() as response:  # an answer that closes owns the socket: closed by itself
            answer = PostAnswer(response.status, retry_after_seconds(response.getheader("Retry-After")))
            _read_to_the_end(response)
    except (OSError, http.client.HTTPException, ValueError) as error:  # ValueError: chunks of a negative size
        if time.monotonic() >= until or isinstance(error, TimeoutError):
            raise _timeout(total_seconds) from error
        raise PostFailedError(
            "answer_broken", f"The host broke off, or answered what is no HTTP: {type(error).__name__}."
        ) from error
    finally:
        end.cancel()
        connection.close()
    if time.monotonic() >= until:  # what was taken for the end of the answer may have been the end of the time
        raise _timeout(total_seconds)
    return answer


def _read_to_the_end(response: http.client.HTTPResponse) -> None:
    read = 0
    while block := response.read(_BLOCK):
        read += len(block)
        if read > MAX_ANSWER_BYTES:
            raise PostFailedError("answer_too_large", f"The host's answer has more than {MAX_ANSWER_BYTES} bytes.")
    if response.length:  # a read of so many bytes does not say that the end came too soon
        raise http.client.IncompleteRead(b"", response.length)


def _timeout(total_seconds: float) -> PostFailedError:
    return PostFailedError("timeout", f"The host took longer than {total_seconds:g} seconds.", slow=True)
