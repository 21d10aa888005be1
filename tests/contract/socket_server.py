"""A server that treats each connection as a test says, byte by byte, also as no HTTP server would."""

import contextlib
import functools
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from typing import Self

from local.emulator.certificate import Certificate

TIMEOUT = 30
"""Far more than any test takes on a machine that is busy with something else."""


class Connection:
    """One accepted connection and the request that came over it, as far as it was read."""

    def __init__(self, sock: socket.socket, released: threading.Event) -> None:
        self._socket = sock
        self._released = released
        self.request = b""

    def read_request(self) -> None:
        """Read up to the end of the body that Content-Length names."""
        while b"\r\n\r\n" not in self.request:
            if not self._receive():
                return
        head, _, body = self.request.partition(b"\r\n\r\n")
        lines = [line.partition(b":") for line in head.lower().split(b"\r\n")]
        length = next((int(value) for name, _, value in lines if name == b"content-length"), 0)
        while len(body) < length and self._receive():
            body = self.request.partition(b"\r\n\r\n")[2]

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def reset(self) -> None:
        """Close with RST in place of FIN."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    def hung_up(self) -> bool:
        """Wait for more, or for the client to hang up. Raises `TimeoutError`."""
        return not self._receive()

    def hold(self) -> None:
        """Stay silent until the server is closed."""
        self._released.wait(TIMEOUT)

    def drip(self, data: bytes, pause: float) -> int:
        """Send one byte at a time; how many were left when the client hung up or the server was closed."""
        for number in range(len(data)):
            try:
                if self._released.wait(pause):
                    return len(data) - number
                self.send(data[number : number + 1])
            except OSError:
                return len(data) - number
        return 0

    def _receive(self) -> bool:
        data = self._socket.recv(65536)
        self.request += data
        return bool(data)


Treatment = Callable[[Connection], None]


def answers(data: bytes) -> Treatment:
    """Read the request, send `data`, close."""

    def treat(connection: Connection) -> None:
        connection.read_request()
        connection.send(data)

    return treat


CHUNKED = "Transfer-Encoding: chunked"


def says(status: str, *headers: str, body: bytes = b"", length: int | None = -1) -> Treatment:
    """Read the request, answer, close. `length` is what Content-Length says: the truth for -1, None for no header."""
    fields = [] if length is None else [f"Content-Length: {len(body) if length < 0 else length}"]
    head = "\r\n".join([f"HTTP/1.1 {status}", *headers, *fields, "", ""])
    return answers(head.encode() + body)


def redirects(location: str, status: int = 302) -> Treatment:
    return says(f"{status} Elsewhere", f"Location: {location}")


def then(first: Treatment, second: Treatment) -> Treatment:
    """One after the other on the same connection."""

    def treat(connection: Connection) -> None:
        first(connection)
        second(connection)

    return treat


def floods(head: bytes, block: bytes) -> Treatment:
    """Read the request, then send `head`, and `block` again and again until the client hangs up."""

    def treat(connection: Connection) -> None:
        answers(head)(connection)
        while True:
            connection.send(block)

    return treat


def chunks(data: bytes, size: int = 50_000, *, end: bytes = b"0\r\n\r\n") -> bytes:
    """A body in chunks of this size."""
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + end


def server_context(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    return context


class SocketServer:
    """Treats the n-th connection as the n-th treatment says; the last one serves all further connections."""

    def __init__(self, *treatments: Treatment, tls: ssl.SSLContext | None = None) -> None:
        self._treatments = treatments
        self._tls = tls
        self._released = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._workers: list[threading.Thread] = []
        self.connections: list[Connection] = []
        self.port: int = self._listener.getsockname()[1]
        self.origin = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._acceptor = threading.Thread(target=self._accept)
        self._acceptor.start()

    @property
    def requests(self) -> list[bytes]:
        """What came over each connection so far."""
        return [connection.request for connection in self.connections]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        _join(self._acceptor)  # it may have had one more connection to hand to a worker
        for worker in self._workers:
            _join(worker)

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            worker = threading.Thread(target=self._serve, args=(sock, len(self._workers)))
            self._workers.append(worker)
            worker.start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        sock.settimeout(TIMEOUT)
        # a client that leaves is what many of these tests are about
        with contextlib.suppress(OSError), contextlib.closing(sock):
            if self._tls:
                sock = self._tls.wrap_socket(sock, server_side=True)
            connection = Connection(sock, self._released)
            self.connections.append(connection)
            with contextlib.closing(sock):
                self._treatments[min(number, len(self._treatments) - 1)](connection)


def _join(thread: threading.Thread) -> None:
    thread.join(TIMEOUT)
    assert not thread.is_alive()


def free_port() -> int:
    """A port on which no server listens or can listen while these tests run: it is taken."""
    port: int = _taken().getsockname()[1]
    return port


@functools.cache
def _taken() -> socket.socket:
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock
