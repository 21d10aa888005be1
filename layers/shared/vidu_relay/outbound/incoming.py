"""The reply of an HTTP exchange as it comes in: a head without limits that lose a video, and a body read by blocks."""

from __future__ import annotations

import http.client
import io
import re
import socket
import zlib
from collections.abc import Callable
from typing import Any

__all__ = ["READ_ERRORS", "BadCodingError", "Incoming"]

MAX_HEAD_BYTES = 256 * 1024
"""Status lines and headers of one exchange, interim replies included."""

_MAX_LINES, _MAX_LINE = 90, 65_536  # http.client refuses a head of more than 100 lines, and longer ones
_RECORD = 16 * 1024
_INTERIM = re.compile(rb"HTTP/1\.[0-9]+ +1(?!01)[0-9][0-9]\b")
_HEADERS_READ = frozenset(
    b"connection content-encoding content-length content-range content-type date location retry-after "
    b"transfer-encoding".split()
)
_READABLE_CODINGS = frozenset({"gzip", "x-gzip", "deflate"})
_OTHER_CODINGS = frozenset({"br", "compress", "dcb", "dcz", "exi", "pack200-gzip", "x-compress", "zstd"})
"""What else IANA has registered. Every other word in `Content-Encoding` says nothing about the bytes."""


class BadCodingError(Exception):
    """The body has a content coding that is not read, which the message names."""


READ_ERRORS = (OSError, EOFError, http.client.HTTPException, zlib.error, BadCodingError)
"""What reading a body may raise. `http.client.IncompleteRead`: it ended before its length or its last chunk."""


class _TimedReader(io.RawIOBase):
    """A socket's bytes. `wait` says before each read how long it may take."""

    def __init__(self, raw: io.RawIOBase, sock: socket.socket, wait: Callable[[], float]) -> None:
        self._raw, self._sock, self._wait = raw, sock, wait
        self._waits = -1.0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        wait = self._wait()
        if wait != self._waits:  # else a system call for every few KB of a download
            self._sock.settimeout(wait)
            self._waits = wait
        return self._sock.recv_into(buffer)

    def close(self) -> None:
        super().close()
        self._raw.close()  # a reply that ends the connection owns the socket by this reference


class Incoming(http.client.HTTPResponse):
    """A reply whose head was read and whose body is still to come. `length` is what counts of `Content-Length`."""

    fp: Any

    def __init__(self, sock: socket.socket, wait: Callable[[], float], method: str | None = None) -> None:
        super().__init__(sock, method=method)
        self.fp = io.BufferedReader(_TimedReader(self.fp.detach(), sock, wait))
        self.whole_head = self.ended = False
        self._left: int | None = None

    def begin(self) -> None:
        """Read the head and skip interim replies: every 1xx but 101 (RFC 9110 15.2), of which http.client skips 100."""
        stream = self.fp
        self.fp = io.BytesIO(self._head(stream))  # http.client parses what is left of the head
        try:
            super().begin()
        finally:
            self.fp = stream
        self._left = self.length
        self.ended = self.length == 0

    def _head(self, stream: io.BufferedReader) -> bytes:
        """The final reply's head. Of very many or very long lines only the headers stay that this package reads."""
        lines, room = [b""], MAX_HEAD_BYTES
        while not lines[0] or _INTERIM.match(lines[0]):
            lines = []
            while not lines or (lines[0].startswith(b"HTTP/") and lines[-1] not in (b"\r\n", b"\n", b"")):
                lines.append(stream.readline(room))
                room -= len(lines[-1])
                if room <= 0:
                    raise http.client.HTTPException("the head of the reply is too long")
            if not lines[0]:
                break
        self.whole_head = lines[-1] != b""
        kept, keep = lines[:1], True
        for line in lines[1:-1]:
            if line[:1] not in (b" ", b"\t"):  # else it continues the line before it
                keep = len(kept) < _MAX_LINES or line.partition(b":")[0].strip().lower() in _HEADERS_READ
            keep = keep and len(line) <= _MAX_LINE
            kept += [line] * keep
        return b"".join([*kept, lines[-1]])

    def read_some(self, view: memoryview) -> int:
        """One read of the body's bytes as they are sent. 0 is the proven end. Raises one of `READ_ERRORS`."""
        if self.ended:
            return 0
        if self.chunked:
            part = self.read1(min(len(view), _RECORD))
            if len(part) > len(view):  # what http.client makes of a chunk of a negative size
                raise http.client.IncompleteRead(part)
            view[: len(part)] = part
            got = len(part)
        else:
            # past `HTTPResponse.read1`, which makes an object for each TLS record: a third of the CPU of a download
            got = self.fp.readinto1(view if self._left is None else view[: self._left])
        if self._left is not None:
            self._left -= got
            if self._left and not got:
                raise http.client.IncompleteRead(b"", self._left)
        self.ended = not got or self._left == 0
        return got

    def read_block(self, size: int) -> bytes:
        """What one read of at most `size` bytes gives."""
        buffer = bytearray(size)
        return bytes(memoryview(buffer)[: self.read_some(memoryview(buffer))])

    def decoded(self, read: Callable[[int], bytes]) -> Callable[[int], bytes]:
        """Reads what `read` reads, without the body's content coding; `read` itself where it has none.

        Raises `BadCodingError`.
        """
        words = [word.strip().lower() for word in (self.getheader("Content-Encoding") or "").split(",")]
        codings = [word for word in words if word in _READABLE_CODINGS | _OTHER_CODINGS]
        if len(codings) > 2 or not _READABLE_CODINGS.issuperset(codings):
            raise BadCodingError(f"Content-Encoding: {', '.join(codings)[:40]}")
        for _ in codings:
            read = _Unpacker(read).read
        return read


class _Unpacker:
    """Unpacks gzip or zlib block by block. Bytes that do not begin like either pass as they are."""

    def __init__(self, read: Callable[[int], bytes]) -> None:
        self._more = read
        self._packed: bytes | None = None
        self._inflate: Any = None

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size` and at least one; empty at the end."""
        if self._packed is None:
            self._packed = self._more(size)
            while len(self._packed) == 1 and (more := self._more(1)):
                self._packed += more
            head = self._packed[:2]
            if head == b"\x1f\x8b" or (len(head) == 2 and head[0] & 15 == 8 and int.from_bytes(head) % 31 == 0):
                self._inflate = zlib.decompressobj(wbits=47)  # either of the two
        if self._inflate is None:
            plain, self._packed = self._packed[:size], self._packed[size:]
            return plain or self._more(size)
        while not self._inflate.eof:
            packed = self._packed or self._more(size)
            if not packed:
                raise EOFError("the packed body ends before its end")
            block = self._inflate.decompress(packed, size)
            self._packed = self._inflate.unconsumed_tail
            if block:
                return bytes(block)
        return b""
