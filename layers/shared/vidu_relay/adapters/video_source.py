"""The provider's video links: opened behind the address guard, read as a stream."""

from __future__ import annotations

import http.client
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from vidu_relay.domain.errors import BadSourceError, DeliveryInterruptedError
from vidu_relay.outbound.address_guard import AddressGuard
from vidu_relay.outbound.guarded_get import BadLinkError, UnreachableError, guarded_get

__all__ = ["VideoSource", "VideoStream"]

SOCKET_SECONDS = 15
"""No byte for this long and the source counts as stalled."""

RECORD_BYTES = 16 * 1024
"""What TLS hands out at a time at most."""

MAX_BLOCK_SECONDS = 2.0
"""A slow source's bytes are passed on at least this often: S3 ends uploads that stand still."""


class VideoStream:
    """A video being read. `length` is in bytes, or None where the source does not say."""

    def __init__(self, response: http.client.HTTPResponse, max_bytes: int, deadline: float) -> None:
        self._response = response
        self._deadline = deadline
        self._max_bytes = max_bytes
        self._count = 0
        self._buffer = bytearray()
        self._plain_left = response.length
        encoding = (response.getheader("Content-Encoding") or "identity").strip().lower()
        if encoding not in ("identity", "gzip", "x-gzip"):
            raise BadSourceError("source_encoding", f"The video is served with Content-Encoding {encoding[:40]}.")
        # we ask for identity; a server that compresses all the same must not end up as a broken file
        self._inflate = None if encoding == "identity" else zlib.decompressobj(wbits=31)
        self.length = response.length if self._inflate is None else None
        if self.length is not None and self.length > max_bytes:
            raise BadSourceError("too_large", f"The video has {self.length} bytes, more than MaxVideoBytes.")

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size` and at least one; empty at the proven end of the video.

        Raises `BadSourceError` (`truncated`, `too_large`) or `DeliveryInterruptedError`.
        """
        block = self._read_plain(size) if self._inflate is None else self._read_inflated(size)
        self._count += len(block)
        if self._count > self._max_bytes:
            raise BadSourceError("too_large", "The video has more bytes than MaxVideoBytes.")
        if not block and self.length is not None and self._count != self.length:
            raise BadSourceError("truncated", f"The video ended after {self._count} of {self.length} bytes.")
        return block

    def _read_plain(self, size: int) -> bytes:
        try:
            return self._read_some(size)
        except http.client.IncompleteRead as error:
            raise BadSourceError("truncated", "The video broke off.") from error
        except (OSError, http.client.HTTPException) as error:
            raise DeliveryInterruptedError(
                "source_interrupted", f"The video broke off: {type(error).__name__}."
            ) from error

    def _read_some(self, size: int) -> bytes:
        """`size` bytes, or fewer from a slow source; empty at the end."""
        if len(self._buffer) != size:
            self._buffer = bytearray(size)
        view, at, now = memoryview(self._buffer), 0, time.monotonic()
        enough = now + MAX_BLOCK_SECONDS
        while at < size and now <= enough:
            if now > self._deadline:
                raise DeliveryInterruptedError("source_too_slow", "The video did not arrive in the function's time.")
            got = self._read_once(view[at:])
            if not got:
                break
            at += got
            now = time.monotonic()
        return bytes(view[:at])

    def _read_once(self, view: memoryview) -> int:
        """One read of the socket at most, so that a source that drips cannot outlast the deadline."""
        response = self._response
        if response.chunked:
            size = min(len(view), RECORD_BYTES)
            part = response.read1(size)
            if len(part) > size:  # what `http.client` makes of a chunk of a negative size
                raise http.client.IncompleteRead(part)
            view[: len(part)] = part
            return len(part)
        if response.isclosed():  # http.client does so where there is no body
            return 0
        if self._plain_left is None:
            return response.fp.readinto1(view)
        # past `HTTPResponse`, whose `read1` makes an object for each TLS record: a third of the CPU that reading takes
        got = response.fp.readinto1(view[: self._plain_left])
        self._plain_left -= got
        return got

    def _read_inflated(self, size: int) -> bytes:
        inflate = self._inflate
        assert inflate is not None  # noqa: S101 - narrows the type; the caller has looked
        while not inflate.eof:
            source = inflate.unconsumed_tail or self._read_plain(size)
            if not source:
                raise BadSourceError("truncated", "The compressed video ends before its end.")
            try:
                block = inflate.decompress(source, size)
            except zlib.error as error:
                raise BadSourceError("source_encoding", "The video is not the gzip it claims to be.") from error
            if block:
                return block
        return b""


class VideoSource:
    """Opens video links. `max_bytes` bounds what is read of any of them."""

    def __init__(self, guard: AddressGuard, max_bytes: int) -> None:
        self._guard = guard
        self._max_bytes = max_bytes

    @contextmanager
    def open(self, url: str, *, deadline: float) -> Iterator[VideoStream]:
        """GET a video, over at most three redirects, each one checked. `deadline` is on the monotonic clock.

        Raises `BadSourceError` if the link is refused or answers with a client error, `DeliveryInterruptedError` if
        the source cannot be reached or says it is unwell.
        """
        try:
            with guarded_get(self._guard, url, what="video link", socket_seconds=SOCKET_SECONDS) as response:
                _check_status(response.status)
                yield VideoStream(response, self._max_bytes, deadline)
        except BadLinkError as error:
            raise BadSourceError(error.code, error.message) from error
        except UnreachableError as error:
            raise DeliveryInterruptedError("source_unreachable", str(error)) from error


def _check_status(status: int) -> None:
    if status == 200:
        return
    if 300 <= status < 500 and status not in (408, 425, 429):
        raise BadSourceError("source_refused", f"The video link answers HTTP {status}.")
    raise DeliveryInterruptedError("source_unwell", f"The video link answers HTTP {status}.")
