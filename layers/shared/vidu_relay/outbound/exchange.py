"""One HTTP exchange that knows whether it can have had an effect.

A create call that fails before its first byte leaves us created nothing; one that fails after may have. Libraries
do not tell the two apart reliably (a TLS error can be either), so the connection itself notes its first byte.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import quote

import certifi
import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, PoolManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

__all__ = ["BrokenExchangeError", "ExchangeError", "NotSentError", "Reply", "Session", "exchange"]

MAX_REPLY_BYTES = 8 * 1024 * 1024
"""A poll reply may echo a payload of 1 MiB with every character escaped; nothing honest is longer than this."""

MIN_KEY_CHARACTERS = 16

_CHUNK = 64 * 1024


class ExchangeError(Exception):
    """The exchange gave no complete reply."""


class NotSentError(ExchangeError):
    """Not one byte of the request left us: DNS, connect or TLS failed. It had no effect."""


class BrokenExchangeError(ExchangeError):
    """Something was sent and no complete reply came back. It may have had its effect."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Progress:
    """What the latest connection of a session has done."""

    sent = False
    sock: socket.socket | None = None


class Session(requests.Session):
    """A session that adds nothing of its own: no retries, redirects, cookies, proxies, netrc or environment."""

    def __init__(self) -> None:
        super().__init__()
        self.progress = _Progress()
        self.trust_env = False  # netrc would replace our Authorization header
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = _NotingAdapter(self.progress)
        self.mount("https://", adapter)
        self.mount("http://", adapter)


def exchange(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None = None,
    connect_seconds: float,
    reply_seconds: float,
    session: Session | None = None,
) -> Reply:
    """Send one request and read its reply, of at most 8 MiB and within the two times together.

    Without a `session` the connection is fresh and closed afterwards. Redirects are not followed. Where the reply's
    body repeats the key of our `Authorization` header, "…" stands in its place: nothing of a reply is kept from logs,
    events and clients by itself.
    Raises `NotSentError` or `BrokenExchangeError`; with a kept-alive session always the latter, since a reused
    connection proves nothing.
    """
    own = session is None
    session = session or Session()
    progress = session.progress
    # a reply that comes by the byte never meets a read time-out: at the end of the time its socket is shut
    end = threading.Timer(connect_seconds + reply_seconds, _shut, [progress])
    end.daemon = True
    end.start()
    try:
        return _exchange(session, method, url, headers, body, (connect_seconds, reply_seconds))
    except (requests.RequestException, HTTPError, ValueError, OSError) as error:
        kind = NotSentError if own and not progress.sent else BrokenExchangeError
        raise kind(f"{type(error).__name__} at {method}") from error
    finally:
        end.cancel()
        if own:
            session.close()


def _exchange(
    session: Session,
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes | None,
    timeout: tuple[float, float],
) -> Reply:
    with session.request(
        method,
        url,
        data=body,
        headers={**headers, "Accept-Encoding": "identity"},
        timeout=timeout,
        allow_redirects=False,
        stream=True,
    ) as response:
        content = bytearray()
        for chunk in response.iter_content(_CHUNK):
            content += chunk
            if len(content) > MAX_REPLY_BYTES:
                raise BrokenExchangeError(f"the reply is longer than {MAX_REPLY_BYTES} bytes")
        lower = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status_code, lower, _without_key(bytes(content), headers))


def _without_key(body: bytes, headers: Mapping[str, str]) -> bytes:
    """The body without the key it was asked for with: plain, as in a URL, and with slashes as some JSON has them.

    A key of fewer than `MIN_KEY_CHARACTERS` may be a word of the reply's own.
    """
    key = headers.get("Authorization", "").rpartition(" ")[2]
    if len(key) < MIN_KEY_CHARACTERS:
        return body
    for form in {key, quote(key, safe=""), key.replace("/", "\\/")}:
        body = body.replace(form.encode(), "…".encode())
    return body


def _shut(progress: _Progress) -> None:
    """End whatever waits for this connection. The plain socket's method: TLS's own would take part in the reading."""
    sock = progress.sock
    if sock is not None:
        with suppress(OSError):  # it has just ended by itself
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


class _NotingAdapter(HTTPAdapter):
    """An adapter whose connections note in `progress` that the first byte of a request is about to leave."""

    def __init__(self, progress: _Progress) -> None:
        self._progress = progress
        super().__init__(max_retries=0)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        progress = self._progress

        class Plain(_Noting, HTTPConnection):
            noted = progress

        class Secure(_Noting, HTTPSConnection):
            noted = progress

        class PlainPool(HTTPConnectionPool):
            ConnectionCls = Plain

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = Secure

        options["ssl_context"] = _tls()
        super().init_poolmanager(connections, maxsize, block=block, **options)
        manager: PoolManager = self.poolmanager
        manager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}

    def cert_verify(self, conn: Any, *_: Any, **__: Any) -> None:
        """Always verify, against what the shared context holds: named here, the bundle is read for each connection."""
        conn.cert_reqs = "CERT_REQUIRED"


@cache
def _tls() -> ssl.SSLContext:
    """One context for all connections: reading the CA bundle costs more than a handshake."""
    return ssl.create_default_context(cafile=certifi.where())


class _Noting:
    noted: _Progress
    sock: Any

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()  # type: ignore[attr-defined]  # of the connection class this is mixed into
        self.noted.sock = self.sock
        self.noted.sent = True
        super().send(data)  # type: ignore[misc]  # likewise
