"""A video source and an S3-shaped sink over TLS, each a process of its own, so cheap that the client is the bottleneck.

The source makes its videos while it sends them: `GET /<bytes>` is a whole MP4 of that many bytes, `GET /<bytes>/open`
the same without a length. The sink takes what S3 clients send, throws it away and counts requests; it believes the
checksum it is given.
"""

from __future__ import annotations

import multiprocessing
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from multiprocessing.connection import Connection
from typing import cast

from local.emulator.certificate import Certificate
from local.simulator.encoder import Picture, encode

__all__ = ["run_server", "serve_sink", "serve_source", "sink_requests", "video_head"]

BLOCK = 1 << 20
CHECKSUM = re.compile(rb"x-amz-checksum-(\w+):([\w+/=]+)")

Serve = Callable[[BufferedReader, ssl.SSLSocket, str, str, dict[str, str]], None]


def video_head(size: int) -> bytes:
    """The front of an MP4 of `size` bytes: real, `moov` first, and its `mdat`, the last box, drawn out to the end."""
    head = bytearray(encode(Picture(320, 180, 2, 0, audio=False, layout="moov_first")))
    at = 0
    while head[at + 4 : at + 8] != b"mdat":
        at += int.from_bytes(head[at : at + 4], "big")
    head[at : at + 4] = (size - at).to_bytes(4, "big")
    return bytes(head)


def serve_source(_: BufferedReader, sock: ssl.SSLSocket, __: str, path: str, ___: dict[str, str]) -> None:
    """Answer one GET of a video."""
    size, is_open = int(path.split("/")[1]), path.endswith("/open")
    length = b"" if is_open else b"Content-Length: %d\r\n" % size
    ending = b"Connection: close\r\n\r\n" if is_open else b"\r\n"
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\n" + length + ending)
    head = video_head(size) if size not in _heads else _heads[size]
    _heads[size] = head
    sock.sendall(head)
    block, left = bytes(range(256)) * (BLOCK // 256), size - len(head)
    while left:
        sock.sendall(memoryview(block)[: min(BLOCK, left)])
        left -= min(BLOCK, left)


_heads: dict[int, bytes] = {}
_requests = 0


def serve_sink(stream: BufferedReader, sock: ssl.SSLSocket, method: str, path: str, headers: dict[str, str]) -> None:
    """Answer one request of an S3 client; `GET /_requests` says how many came since it was asked last."""
    global _requests  # noqa: PLW0603 - a counter of this process
    if path == "/_requests":
        _answer(sock, str(_requests).encode())
        _requests = 0
        return
    _requests += 1
    if headers.get("expect"):
        sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    tail = _swallow(stream, headers)
    extra = b""
    if found := CHECKSUM.search(tail):
        extra = b"x-amz-checksum-%s: %s\r\n" % found.groups()
    body = b""
    if method == "POST" and path.endswith("uploads"):
        body = b"<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
    elif method == "POST":
        body = b"<CompleteMultipartUploadResult><ETag>e</ETag></CompleteMultipartUploadResult>"
    _answer(sock, body, extra)


def _swallow(stream: BufferedReader, headers: dict[str, str]) -> bytes:
    """Read a request's body; its last bytes."""
    buffer, tail = bytearray(256 * 1024), b""
    view = memoryview(buffer)
    if headers.get("transfer-encoding") == "chunked":
        while size := int(stream.readline().split(b";")[0], 16):
            while size:
                got = _read(stream, view[: min(size, len(view))])
                size -= got
                tail = tail[-256:] + bytes(view[max(0, got - 256) : got])
            stream.readline()
        stream.readline()
        return tail
    left = int(headers.get("content-length", "0"))
    while left:
        got = _read(stream, view[: min(left, len(view))])
        left -= got
        if left < 4096:
            tail = (tail + bytes(view[:got]))[-4096:]
    return tail


def _read(stream: BufferedReader, view: memoryview) -> int:
    got = stream.readinto1(view)
    if not got:
        raise ConnectionError
    return got


def _answer(sock: ssl.SSLSocket, body: bytes, extra: bytes = b"") -> None:
    head = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Type: application/xml\r\nContent-Length: %d\r\n' % len(body)
    sock.sendall(head + extra + b"\r\n" + body)


def sink_requests(port: int, ca_file: str) -> int:
    """How many requests the sink got since this was asked last."""
    context = ssl.create_default_context(cafile=ca_file)
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as sock,
    ):
        sock.sendall(b"GET /_requests HTTP/1.1\r\n\r\n")
        return int(sock.recv(4096).partition(b"\r\n\r\n")[2] or sock.recv(64))


@contextmanager
def run_server(serve: Serve, certificate: Certificate) -> Iterator[int]:
    """A server in a process of its own, while the block runs; its port."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_accept, args=(serve, str(certificate.chain), str(certificate.key), theirs))
    process.start()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def _accept(serve: Serve, chain: str, key: str, pipe: Connection) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(chain, key)
    listener = socket.create_server(("127.0.0.1", 0), backlog=64)
    pipe.send(listener.getsockname()[1])
    while True:
        plain, _ = listener.accept()
        threading.Thread(target=_talk, args=(serve, tls, plain), daemon=True).start()


def _talk(serve: Serve, tls: ssl.SSLContext, plain: socket.socket) -> None:
    """Serve the requests of a connection, one after the other."""
    plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with suppress(OSError), tls.wrap_socket(plain, server_side=True) as sock, sock.makefile("rb", 1 << 16) as file:
        stream = cast("BufferedReader", file)
        while line := stream.readline():
            method, path, _ = line.decode().split()
            headers: dict[str, str] = {}
            while (field := stream.readline().decode().rstrip()) != "":
                name, _, value = field.partition(":")
                headers[name.lower()] = value.strip()
            serve(stream, sock, method, path, headers)
            if path.endswith("/open"):
                sock.unwrap()
                return
