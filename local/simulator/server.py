"""HTTP/1.1 plumbing: connections that can also be treated badly, and a list of every request.

Routes get an `Exchange`: the request as it came in, byte for byte, and every way to answer it, right or wrong.
"""

import json
import socket
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NoReturn

from typing_extensions import override

MAX_READ_BYTES = 32 * 1024 * 1024
_REQUESTS_KEPT = 100_000
_IDLE_SECONDS = 60
_FORCE_RESET = struct.pack("ii", 1, 0)

Route = Callable[["Exchange"], None]
RequestLog = Callable[[str], None]


class ConnectionDroppedError(Exception):
    """The exchange is over without a proper answer: the server closes, or the client has gone."""


class BodyTooLargeError(Exception):
    """The request's body is longer than this server reads."""


class Exchange:
    """One request and its answer. `path` and `query` are as sent, not decoded; `note` goes into the request list."""

    def __init__(self, handler: "_Handler", server: "HttpServer") -> None:
        self._handler = handler
        self._server = server
        self.method = handler.command
        self.path, _, self.query = handler.path.partition("?")
        self.headers = handler.headers
        self.arrived_at = time.time()
        self.bytes_sent = 0
        self.note: dict[str, Any] = {}
        self.entry: dict[str, Any] = {"at": self.arrived_at, "method": self.method, "path": self.path, "status": None}
        self._body: bytes | None = None

    @property
    def status(self) -> int | None:
        """The status it is answered with; None while it is not."""
        status: int | None = self.entry["status"]
        return status

    def body(self) -> bytes:
        """The request's body, read once. Raises `BodyTooLargeError` beyond `MAX_READ_BYTES`."""
        if self._body is None:
            self._body = self._handler.read_body()
        return self._body

    def send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """A whole, correct answer."""
        self.start(status, {"Content-Length": str(len(body))} | dict(headers or {}), first=body)

    def send_json(self, status: int, value: object, headers: Mapping[str, str] | None = None) -> None:
        """A whole answer with a JSON body."""
        body = json.dumps(value, ensure_ascii=False).encode()
        self.send(status, body, {"Content-Type": "application/json"} | dict(headers or {}))

    def start(self, status: int, headers: Mapping[str, str], first: bytes = b"") -> None:
        """Send the head exactly as given (plus `Date` and `Server`) and the first bytes of the body."""
        self.entry["status"] = status
        self._handler.send_response(status)
        for name, value in headers.items():
            self._handler.send_header(name, value)
        if self._handler.body_unread():
            self._handler.send_header("Connection", "close")  # else the rest would be read as the next request
        self._handler.end_headers_with(first)
        self.bytes_sent += len(first)

    def write(self, chunk: bytes) -> None:
        """More bytes of the body. Raises `ConnectionDroppedError` if the client has gone or the server stops."""
        if self._server.stopping.is_set():
            raise ConnectionDroppedError("server stops")
        try:
            self._handler.wfile.write(chunk)
        except OSError as error:
            raise ConnectionDroppedError("client has gone") from error
        self.bytes_sent += len(chunk)

    def write_all(self, chunks: Iterable[bytes]) -> None:
        """All chunks, one after another."""
        for chunk in chunks:
            self.write(chunk)

    def pause(self, seconds: float) -> None:
        """Do nothing for a while. Raises `ConnectionDroppedError` if the server stops meanwhile."""
        if self._server.stopping.wait(seconds):
            raise ConnectionDroppedError("server stops")

    def close(self) -> None:
        """Let the connection end after this exchange; without a word to the client."""
        self._handler.close_connection = True

    def drop(self) -> NoReturn:
        """End the connection now, in an orderly way as seen by TCP (FIN)."""
        raise ConnectionDroppedError("dropped on purpose")

    def reset(self) -> NoReturn:
        """End the connection now, the hard way (RST)."""
        self._handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _FORCE_RESET)
        self._server.reset_on_close(self._handler.connection)
        raise ConnectionDroppedError("reset on purpose")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "vidu-simulator"
    sys_version = ""
    disable_nagle_algorithm = True
    timeout = _IDLE_SECONDS
    server: "HttpServer"
    _headers_buffer: list[bytes]
    _body_read: bool

    @override
    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except (ConnectionDroppedError, ConnectionError):
            self.close_connection = True

    def read_body(self) -> bytes:
        self._body_read = True
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._read_chunks()
        length = _number(self.headers.get("Content-Length") or "0", 10)
        if length > MAX_READ_BYTES:
            self._body_read = False
            raise BodyTooLargeError
        data = self.rfile.read(length)
        if len(data) < length:
            raise ConnectionDroppedError("client closed inside its request")
        return data

    def _read_chunks(self) -> bytes:
        data = bytearray()
        while size := _number(self.rfile.readline().split(b";")[0].decode("latin-1"), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
            if len(data) > MAX_READ_BYTES:
                self._body_read = False
                raise BodyTooLargeError
        while self.rfile.readline().strip():
            pass
        return bytes(data)

    def body_unread(self) -> bool:
        """True if bytes of this request are still on the wire."""
        has_body = "Transfer-Encoding" in self.headers or self.headers.get("Content-Length", "0") != "0"
        unread = has_body and not self._body_read
        if unread:
            self.close_connection = True
        return unread

    def end_headers_with(self, first: bytes) -> None:
        """Head and first bytes in one write: no half-sent small answers unless asked for."""
        buffered = b"".join([*self._headers_buffer, b"\r\n", first])
        self._headers_buffer = []
        self.wfile.write(buffered)

    def _serve(self) -> None:
        self._body_read = False
        exchange = Exchange(self, self.server)
        began = time.monotonic()
        self.server.record(exchange)
        try:
            self.server.route(exchange)
            if self.body_unread():
                self.read_body()
        except BodyTooLargeError:
            exchange.send_json(413, {"message": "request body too large"})
        finally:
            took = time.monotonic() - began
            exchange.entry.update(bytes_sent=exchange.bytes_sent, seconds=round(took, 4))
            self.server.log(f"{exchange.method} {exchange.path} {exchange.status or 'no answer'} {took * 1000:.0f} ms")

    do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _serve  # noqa: N815 - the base class looks for these names

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Silence: the base class would log signed queries; `_serve` logs."""


def _number(text: str, base: int) -> int:
    try:
        return int(text, base)
    except ValueError as error:
        raise ConnectionDroppedError("client frames its body unreadably") from error


class HttpServer(ThreadingHTTPServer):
    """Serves `route` on 127.0.0.1 from construction until `stop`, one thread a connection.

    Exceptions of a route go to `on_error` and close the connection. `log` gets a line per request: method, path
    without its query, status, time.
    """

    daemon_threads = False
    block_on_close = True
    request_queue_size = 256

    def __init__(self, port: int, route: Route, log: RequestLog, on_error: Callable[[BaseException], None]) -> None:
        self.route = route
        self.log = log
        self.stopping = threading.Event()
        self._on_error = on_error
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._to_reset: set[socket.socket] = set()
        self._requests: deque[tuple[dict[str, Any], dict[str, Any]]] = deque(maxlen=_REQUESTS_KEPT)
        super().__init__(("127.0.0.1", port), _Handler)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), name="simulator-http")
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.server_address[1])

    def record(self, exchange: Exchange) -> None:
        """Enter the exchange into the list of requests.

        What it notes shows at once: a client that has its answer may ask before the exchange has ended here.
        """
        with self._lock:
            self._requests.append((exchange.entry, exchange.note))

    def requests(self) -> list[dict[str, Any]]:
        """Every request so far (the latest 100,000), oldest first."""
        with self._lock:
            return [{**entry, **note} for entry, note in self._requests]

    def forget_requests(self) -> None:
        """Empty the list of requests."""
        with self._lock:
            self._requests.clear()

    def reset_on_close(self, connection: socket.socket) -> None:
        """Close this connection without the orderly shutdown that would precede the RST."""
        with self._lock:
            self._to_reset.add(connection)

    def stop(self) -> None:
        """Close the listening socket and every connection, join every thread."""
        self.stopping.set()
        self.shutdown()
        self._thread.join()
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):  # it has just ended by itself
                    connection.shutdown(socket.SHUT_RDWR)
        self.server_close()

    @override
    def server_bind(self) -> None:
        """Bind without the base class's look-up of the host name, which may ask a name server."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.port

    @override
    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, so that `stop` can end it."""
        with self._lock:
            self._connections.add(request)
        super().process_request(request, client_address)

    @override
    def shutdown_request(self, request: Any) -> None:
        """Close a connection: orderly, or with a reset if that was asked for."""
        with self._lock:
            self._connections.discard(request)
            hard = request in self._to_reset
            self._to_reset.discard(request)
        if hard:
            self.close_request(request)
        else:
            super().shutdown_request(request)

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report a route's exception to the owner."""
        error = sys.exc_info()[1]
        if error is not None:
            self._on_error(error)
