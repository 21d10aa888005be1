"""The clients' own backends: a server for each way to behave, which keeps what it was told and what it answered.

Each has an origin of its own, because the relay leaves a whole origin alone that kept it waiting. How often a backend
was called is counted for each `webhook-id`: a mood that is bad for a while is bad for so long at each notification.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from local.chaos.client_verdict import Heard

__all__ = ["MOODS", "Clients"]

SLOW_SECONDS = 3.0
"""Within the 10 seconds that a client has."""
LATE_SECONDS = 14.0
"""Beyond them."""
FLOOD_BLOCKS, FLOOD_BLOCK = 64, b"x" * 16 * 1024
"""A megabyte, where 64 KB are taken."""

ELSEWHERE = "/elsewhere"
"""Where a redirect leads; nobody is to come."""


class _Backend(BaseHTTPRequestHandler):
    """One call of a client's backend: kept as it came, answered as `mood` says at this `tries`."""

    mood: str
    keep: Callable[[Heard], int]
    """Keeps what was heard; how often its `webhook-id` has been heard."""
    heard: Heard

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.heard = Heard(self.mood, self.command, self.path, headers, body, time.time())
        tries = self.keep(self.heard)
        with contextlib.suppress(OSError):  # the relay need not wait for the end of an answer
            MOODS[self.mood](self, tries)

    def do_GET(self) -> None:
        """What a redirect that is followed leads to: kept, and found by the judge."""
        self.do_POST()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self, status: int, headers: Mapping[str, str] | None = None) -> None:
        self.heard.answer = status
        self.send_response(status)
        for name, value in {"Content-Length": "0", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def _well(call: _Backend, _: int) -> None:
    call.answer(204)


def _slow(call: _Backend, _: int) -> None:
    time.sleep(SLOW_SECONDS)
    call.answer(204)


def _late_once(call: _Backend, tries: int) -> None:
    """A byte now and then, so that no single wait is long."""
    if tries > 1:
        return _well(call, tries)
    until = time.monotonic() + LATE_SECONDS
    call.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while time.monotonic() < until:
        time.sleep(0.5)
        call.wfile.write(b".")
    return call.hang_up()


def _busy_twice(call: _Backend, tries: int) -> None:
    call.answer(500 if tries <= 2 else 204)


def _gone(call: _Backend, _: int) -> None:
    call.answer(410)


def _moved_once(call: _Backend, tries: int) -> None:
    if tries > 1:
        return _well(call, tries)
    return call.answer(302, {"Location": ELSEWHERE})


def _closed_once(call: _Backend, tries: int) -> None:
    if tries > 1:
        return _well(call, tries)
    return call.hang_up()


def _floods_once(call: _Backend, tries: int) -> None:
    if tries > 1:
        return _well(call, tries)
    call.send_response(200)
    call.send_header("Connection", "close")
    call.end_headers()
    for _ in range(FLOOD_BLOCKS):
        call.wfile.write(FLOOD_BLOCK)
    call.close_connection = True
    return None


def _garbage_once(call: _Backend, tries: int) -> None:
    if tries > 1:
        return _well(call, tries)
    call.wfile.write(b"220 mail.example.com ESMTP\r\n")
    return call.hang_up()


MOODS: dict[str, Callable[[Any, int], None]] = {
    "well": _well,
    "slow": _slow,
    "late once": _late_once,
    "500 twice": _busy_twice,
    "410": _gone,
    "redirects once": _moved_once,
    "closes once": _closed_once,
    "floods once": _floods_once,
    "garbage once": _garbage_once,
}


class Clients:
    """All backends, from now until `close`. A context manager."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._heard: list[Heard] = []
        self._servers: dict[str, ThreadingHTTPServer] = {}
        for mood in MOODS:
            handler = type("Backend", (_Backend,), {"mood": mood, "keep": staticmethod(self._keep)})
            self._servers[mood] = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(0.05,)) for server in self._servers.values()
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers.values():
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join()

    def origin(self, mood: str) -> str:
        """Where the backends of this mood are."""
        return f"http://127.0.0.1:{self._servers[mood].server_port}"

    @property
    def origins(self) -> list[str]:
        """All of them, for `TrustedOrigins`."""
        return [self.origin(mood) for mood in self._servers]

    def heard(self) -> list[Heard]:
        """Everything that came so far, in the order in which it came."""
        with self._lock:
            return list(self._heard)

    def _keep(self, heard: Heard) -> int:
        with self._lock:
            self._heard.append(heard)
            return sum(one.webhook_id == heard.webhook_id for one in self._heard)
