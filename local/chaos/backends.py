"""The clients' own backends: a server for each behaviour, which keeps what it received and what it answered.

Each has an origin of its own, because the relay leaves a whole origin alone that kept it waiting. A behaviour that is
bad once or twice is so for each `webhook-id`.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from local.chaos.oracle import Call

__all__ = ["BEHAVIOURS", "Backends"]

SLOW_SECONDS = 3.0
"""Within the 10 seconds that a client has."""
LATE_SECONDS = 14.0
"""Beyond them."""
FLOOD_BLOCKS, FLOOD_BLOCK = 64, b"x" * 16 * 1024
"""A megabyte, where 64 KB are taken."""


class _Backend(BaseHTTPRequestHandler):
    """One call: kept as it came, answered as `behaviour` says."""

    behaviour: str
    keep: Callable[[Call], int]
    """Keeps a call; how often its `webhook-id` has been received."""
    received: Call

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.received = Call(self.command, f"http://{headers['host']}{self.path}", headers, body, time.time())
        tries = self.keep(self.received)
        good_from, act = BEHAVIOURS[self.behaviour]
        with contextlib.suppress(OSError):  # the relay need not wait for the end of an answer
            (_well if tries >= good_from else act)(self)

    def do_GET(self) -> None:
        """Where a redirect leads that is followed: kept, and found by the check."""
        self.do_POST()

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self, status: int, **headers: str) -> None:
        self.received.answer = status
        self.send_response(status)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def hang_up(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)


def _well(call: _Backend) -> None:
    call.answer(204)


def _slow(call: _Backend) -> None:
    time.sleep(SLOW_SECONDS)
    call.answer(204)


def _late(call: _Backend) -> None:
    """A byte now and then, so that no single wait is long."""
    until = time.monotonic() + LATE_SECONDS
    call.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while time.monotonic() < until:
        time.sleep(0.5)
        call.wfile.write(b".")
    call.hang_up()


def _flood(call: _Backend) -> None:
    call.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
    for _ in range(FLOOD_BLOCKS):
        call.wfile.write(FLOOD_BLOCK)
    call.close_connection = True


def _garbage(call: _Backend) -> None:
    call.wfile.write(b"220 mail.example.com ESMTP\r\n")
    call.hang_up()


ALWAYS = 1 << 30
BEHAVIOURS: dict[str, tuple[int, Callable[[Any], None]]] = {
    "well": (1, _well),
    "slow": (ALWAYS, _slow),
    "late once": (2, _late),
    "500 twice": (3, lambda call: call.answer(500)),
    "410": (ALWAYS, lambda call: call.answer(410)),
    "redirects once": (2, lambda call: call.answer(302, Location="/elsewhere")),
    "closes once": (2, _Backend.hang_up),
    "floods once": (2, _flood),
    "garbage once": (2, _garbage),
}
"""From which try on it answers 204, and what it does before."""


class Backends:
    """All of them, until the end of the `with` block."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._servers: dict[str, ThreadingHTTPServer] = {}
        for behaviour in BEHAVIOURS:
            handler = type("Backend", (_Backend,), {"behaviour": behaviour, "keep": staticmethod(self._keep)})
            self._servers[behaviour] = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._threads = [threading.Thread(target=one.serve_forever, args=(0.05,)) for one in self._servers.values()]
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

    @property
    def origins(self) -> dict[str, str]:
        """The origin of each behaviour."""
        return {name: f"http://127.0.0.1:{server.server_port}" for name, server in self._servers.items()}

    def calls(self) -> list[Call]:
        """Everything that came so far, in order."""
        with self._lock:
            return list(self._calls)

    def _keep(self, call: Call) -> int:
        with self._lock:
            self._calls.append(call)
            return sum(one.webhook_id == call.webhook_id for one in self._calls)
