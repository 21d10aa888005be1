"""One HTTP exchange within one deadline, which records whether its request can have had an effect.

Everything that the relay opens goes through the connection class here. It resolves the host within the deadline,
connects to an address that was checked, and notes when the last byte of a request was handed to the kernel. Until then
a request certainly had no effect: its body is shorter than its Content-Length, and JSON ends with its closing brace.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import quote

import certifi
import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import HTTPError

from vidu_relay.outbound.address_guard import MAX_ADDRESSES, RefusedAddressError, Target, find_addresses, read_url
from vidu_relay.outbound.incoming import READ_ERRORS, Incoming

__all__ = [
    "CONNECT_SECONDS",
    "BrokenExchangeError",
    "Call",
    "CertificateError",
    "ExchangeError",
    "NotConnectedError",
    "NotSentError",
    "Reply",
    "Session",
    "exchange",
    "open_reply",
]

MAX_REPLY_BYTES = 8 * 1024 * 1024
"""A poll reply may echo a payload of 1 MiB with every character escaped; no honest reply is longer than this."""
CONNECT_SECONDS = 5
"""For DNS, all addresses and TLS together."""
STALL_SECONDS = 10
"""A server that takes no byte of the request for this long has stalled."""
LATE_REPLY_SECONDS = 2
"""How long, after a broken send, a reply is waited for that the server gave before it had read the whole request."""
MIN_KEY_CHARACTERS = 16

_BLOCK = 64 * 1024
_SEND_BLOCK = 16 * 1024  # one call of TLS's `send` has one time-out for all its bytes: a stall limit needs small blocks


class ExchangeError(Exception):
    """The exchange gave no complete reply. `timed_out` says that a time limit ended it."""

    timed_out = False


class NotSentError(ExchangeError):
    """The last byte of the request was not handed over. The request had no effect."""


class NotConnectedError(NotSentError):
    """DNS, connect or TLS failed."""


class CertificateError(NotConnectedError):
    """The host has no certificate that is valid for its name."""


class BrokenExchangeError(ExchangeError):
    """The request was sent and no complete reply came back. It may have had its effect."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Call:
    """One exchange: what it asks for, what it may take, and how far it has come.

    `addresses` finds the addresses to connect to within the seconds it is given. Everything is over at `deadline`, on
    the monotonic clock; no read of the reply waits longer than `read_stall_seconds`.
    """

    method: str
    target: Target
    addresses: Callable[[float], Sequence[str]]
    deadline: float
    connect_seconds: float
    read_stall_seconds: float = float("inf")
    sent: bool = False
    reply: Incoming | None = None

    def wait(self, at_most: float) -> float:
        """Seconds that the next step may take. Raises `TimeoutError` if the deadline has passed."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the deadline of the exchange has passed")
        return min(left, at_most)

    def error(self, cause: BaseException) -> ExchangeError:
        """The error of an exchange that was ended by this one."""
        error = (BrokenExchangeError if self.sent else NotSentError)(f"{type(cause).__name__} at {self.method}")
        error.timed_out = isinstance(cause, (TimeoutError, requests.Timeout))
        return error


_current: ContextVar[Call] = ContextVar("exchange")
"""The call that a connection works for: one that is kept alive works for one call after the other."""


class _Connection(HTTPConnection):
    """Connects to checked addresses, sends within a stall limit, and notes whether the whole request was sent."""

    sock: Any

    def response_class(self, sock: Any, **options: Any) -> Incoming:  # type: ignore[override]  # http.client calls it
        call = _current.get()
        call.reply = Incoming(sock, lambda: call.wait(call.read_stall_seconds), method=options.get("method"))
        return call.reply

    def connect(self) -> None:
        """Raises errors of our own, which urllib3 and requests let pass as they are."""
        try:
            super().connect()
        except ssl.SSLCertVerificationError as error:
            raise CertificateError("the host has no valid certificate") from error
        except OSError as error:
            raise NotConnectedError(str(error) if type(error) is ConnectionError else type(error).__name__) from error

    def _new_conn(self) -> socket.socket:
        """Open the socket. This is urllib3's own hook: both of its connection classes call it."""
        call = _current.get()
        until = time.monotonic() + call.wait(call.connect_seconds)
        addresses = call.addresses(until - time.monotonic())[:MAX_ADDRESSES]
        sock = _connect(addresses, call.target.port, until)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(max(0.001, until - time.monotonic()))  # the TLS handshake as a whole gets no more
        return sock

    def putrequest(self, method: str, url: str, *arguments: Any, **options: Any) -> None:  # noqa: ARG002
        """Send the target byte for byte: requests and urllib3 would encode it again, which breaks signed links."""
        super().putrequest(method, _current.get().target.request_target, *arguments, **options)

    def request(self, *arguments: Any, **options: Any) -> None:
        super().request(*arguments, **options)
        _current.get().sent = True

    def send(self, data: Any) -> None:
        """Hand all bytes to the kernel. For all trouble it raises `BrokenPipeError`, after which urllib3 reads a reply
        that is there already."""
        if self.sock is None:
            self.connect()
        call, rest = _current.get(), memoryview(data)
        try:
            while rest:
                self.sock.settimeout(call.wait(STALL_SECONDS))
                rest = rest[self.sock.send(rest[:_SEND_BLOCK]) :]
        except OSError as error:
            now = time.monotonic()
            call.deadline = now + min(LATE_REPLY_SECONDS, max(0.1, call.deadline - now))
            raise BrokenPipeError from error


def _connect(addresses: Sequence[str], port: int, until: float) -> socket.socket:
    """A connection to the first address that takes it; each one gets its share of the time that is left."""
    last = OSError("no address")
    for left in range(len(addresses), 0, -1):
        share = max(0.001, (until - time.monotonic()) / left)
        try:
            return socket.create_connection((addresses[-left], port), share)
        except OSError as error:
            last = error
    raise last


class _SecureConnection(_Connection, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, ssl_context=_tls(), **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def cert_verify(self, conn: Any, *_: Any, **__: Any) -> None:
        """Always verify, against the shared context: a bundle that is named here is read for each connection."""
        conn.cert_reqs = "CERT_REQUIRED"


class Session(requests.Session):
    """A session that adds nothing: no retries, redirects, cookies, proxies, netrc or environment."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False  # netrc would replace our Authorization header
        self.headers.clear()
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Adapter(max_retries=0))

    def get_redirect_target(self, resp: requests.Response) -> None:
        """No redirects: even where requests does not follow one it reads its whole body, however long that is."""


@cache
def _tls() -> ssl.SSLContext:
    """One context for all connections: reading the CA bundle costs more than a handshake.

    certifi's bundle, as botocore uses it: pinned, and the same on a laptop and on Lambda.
    """
    return ssl.create_default_context(cafile=certifi.where())


@contextmanager
def open_reply(
    call: Call, headers: Mapping[str, str], body: bytes | None = None, session: Session | None = None
) -> Iterator[Incoming]:
    """Send the request of a call; its reply, with the body unread. Without a `session` the connection is fresh and
    closed afterwards.

    Raises `ExchangeError` until the head of a reply is there, and what `call.addresses` raises. Reading the body raises
    what `Incoming` says; `call.error` makes an `ExchangeError` of it.
    """
    used, response, token = session or Session(), None, _current.set(call)
    try:
        try:
            response = used.request(
                call.method,
                f"{call.target.origin}/",  # `putrequest` puts the request target in
                data=body,
                headers={"Accept-Encoding": "identity", "User-Agent": "vidu-relay", **headers},
                allow_redirects=False,
                stream=True,
            )
        except (requests.RequestException, HTTPError, http.client.HTTPException, ValueError, OSError) as error:
            raise call.error(error) from error
        finally:
            _current.reset(token)
        assert call.reply is not None  # noqa: S101 - narrows the type: `response_class` has set it
        yield call.reply
        if session is not None and call.reply.ended and call.sent:
            call.reply.close()
            response.raw.release_conn()  # requests itself keeps a connection only if it has read the body
            response = None
    finally:
        if response is not None:
            response.close()
        if session is None:
            used.close()


def exchange(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str],
    body: bytes | None = None,
    seconds: float,
    session: Session | None = None,
) -> Reply:
    """Send one request to a host that the operator configured and read its reply, of at most 8 MiB.

    DNS, connect, TLS, sending and the reply take at most `seconds` together. Where the reply's body repeats the key of
    our `Authorization` header, "…" stands in its place: logs, events and clients may see a reply.

    Raises `NotSentError` if the request certainly had no effect, else `BrokenExchangeError`; with a `session` always
    the latter, since a reused connection proves nothing.
    """
    try:
        target = read_url(url)
        find = partial(find_addresses, target.host, target.port)
        call = Call(method, target, find, time.monotonic() + seconds, CONNECT_SECONDS)
        with open_reply(call, headers, body, session) as reply:
            try:
                content = _whole_body(reply)
            except READ_ERRORS as error:
                raise call.error(error) from error
            lower = {name.lower(): value for name, value in reply.getheaders()}
            return Reply(reply.status, lower, _without_key(content, headers))
    except RefusedAddressError as error:
        raise NotSentError(str(error)) from error
    except NotSentError as error:
        if session is None:
            raise
        raise BrokenExchangeError(str(error)) from error


def _whole_body(reply: Incoming) -> bytes:
    content, read = bytearray(), reply.decoded(reply.read_block)
    while block := read(_BLOCK):
        content += block
        if len(content) > MAX_REPLY_BYTES:
            raise BrokenExchangeError(f"the reply is longer than {MAX_REPLY_BYTES} bytes")
    return bytes(content)


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
