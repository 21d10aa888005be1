"""The provider's video links: opened behind the address guard, read as a stream."""

from __future__ import annotations

import http.client
import re
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from vidu_relay.domain.errors import BadSourceError, DeliveryError, DeliveryInterruptedError
from vidu_relay.outbound.address_guard import AddressGuard
from vidu_relay.outbound.guarded_get import BadLinkError, UnreachableError, guarded_get
from vidu_relay.outbound.incoming import READ_ERRORS, BadCodingError, Incoming

__all__ = ["VideoSource", "VideoStream"]

SOCKET_SECONDS = 15
"""A source that sends no byte for this long counts as stalled. Twice as long may pass until its headers are there."""

MAX_BLOCK_SECONDS = 2.0
"""A slow source's bytes are passed on at least this often, once they are enough: S3 ends uploads that stand still."""

MIN_BLOCK_BYTES = 8192
"""botocore sends each block as one chunk, and S3 refuses an upload with a smaller chunk that is not the last."""

_RANGE = re.compile(r"bytes 0-([0-9]{1,18})/([0-9]{1,18})")


class VideoStream:
    """A video being read. `length` is in bytes, or None if the source does not say.

    With `first_bytes` it ends after so many bytes, and `length` is None.
    """

    def __init__(self, reply: Incoming, max_bytes: int, deadline: float, first_bytes: int | None = None) -> None:
        self._reply = reply
        self._deadline = deadline
        self._max_bytes = max_bytes
        self._first_bytes = first_bytes
        self._count = 0
        self._buffer = bytearray()
        # identity was asked for; a server that compresses all the same must not end up as a broken file
        try:
            self._decoded = reply.decoded(self._read_plain)
        except BadCodingError as error:
            raise BadSourceError("source_encoding", f"The video is served with {error}.") from error
        size = _whole_size(reply)
        if size is not None and size > max_bytes:
            raise BadSourceError("too_large", f"The video has {size} bytes, more than MaxVideoBytes.")
        self.length = reply.length if self._decoded == self._read_plain and first_bytes is None else None

    @property
    def received(self) -> int:
        """How many bytes of the video were read so far."""
        return self._count

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size` and at least one; empty at the proven end of the video.

        Where `length` is known, fewer than `size` and `MIN_BLOCK_BYTES` are the last ones.
        Raises `BadSourceError` (`too_large`, `truncated`, `source_encoding`) or, where another try may get all of it,
        `DeliveryInterruptedError`.
        """
        if self._first_bytes is not None:
            size = min(size, self._first_bytes - self._count)
        try:
            block = self._decoded(size) if size else b""
        except READ_ERRORS as error:
            raise self._broken(error) from error
        self._count += len(block)
        if self._count > self._max_bytes:
            raise BadSourceError("too_large", "The video has more bytes than MaxVideoBytes.")
        return block

    def _read_plain(self, size: int) -> bytes:
        """`size` bytes as they are sent; from a slow source fewer, but `MIN_BLOCK_BYTES`; fewer or none at the end."""
        if len(self._buffer) != size:
            self._buffer = bytearray(size)
        view, at, now = memoryview(self._buffer), 0, time.monotonic()
        enough = now + MAX_BLOCK_SECONDS
        while at < size and (at < MIN_BLOCK_BYTES or now <= enough) and (got := self._reply.read_some(view[at:])):
            at += got
            now = time.monotonic()
        return bytes(view[:at])

    def _broken(self, error: BaseException) -> DeliveryError:
        if isinstance(error, EOFError):
            return BadSourceError("truncated", "The compressed video ends before its end.")
        if isinstance(error, zlib.error):
            return BadSourceError("source_encoding", "The video is not valid gzip, although its header says so.")
        if isinstance(error, TimeoutError) and time.monotonic() >= self._deadline:
            return DeliveryInterruptedError("source_too_slow", "The video did not arrive in the function's time.")
        # also an end before the length: a proxy that restarts ends its connections like this
        how = "ended early" if isinstance(error, http.client.IncompleteRead) else type(error).__name__
        return DeliveryInterruptedError("source_interrupted", f"The video broke off: {how}.")


class VideoSource:
    """Opens video links. `max_bytes` bounds what is read of any of them."""

    def __init__(self, guard: AddressGuard, max_bytes: int) -> None:
        self._guard = guard
        self._max_bytes = max_bytes

    @contextmanager
    def open(self, url: str, *, deadline: float, first_bytes: int | None = None) -> Iterator[VideoStream]:
        """GET a video, over at most three redirects, each one checked. `deadline` is on the monotonic clock.

        With `first_bytes` only so many are asked for and read: enough to see whether a link that was bad is well again.

        Raises `BadSourceError` if the link is refused or answers with a client error, `DeliveryInterruptedError` if
        the source cannot be reached or reports trouble of its own.
        """
        try:
            with guarded_get(
                self._guard,
                url,
                what="video link",
                deadline=deadline,
                open_seconds=2 * SOCKET_SECONDS,
                read_stall_seconds=SOCKET_SECONDS,
                headers={} if first_bytes is None else {"Range": f"bytes=0-{first_bytes - 1}"},
            ) as reply:
                _check_status(reply, part=first_bytes is not None)
                yield VideoStream(reply, self._max_bytes, deadline, first_bytes)
        except BadLinkError as error:
            raise BadSourceError(error.code, error.message) from error
        except UnreachableError as error:
            late = time.monotonic() >= deadline
            raise DeliveryInterruptedError("source_too_slow" if late else "source_unreachable", str(error)) from error


def _check_status(reply: Incoming, *, part: bool) -> None:
    """203 is a 200 that a proxy has changed something of; a 206 is taken if it is what was asked for."""
    status = reply.status
    if status in (200, 203) or (status == 206 and _fits(reply, part=part)):
        return
    if 300 <= status < 500 and status not in (408, 425, 429):
        raise BadSourceError("source_refused", f"The video link answers HTTP {status}.")
    raise DeliveryInterruptedError("source_unwell", f"The video link answers HTTP {status}.")


def _fits(reply: Incoming, *, part: bool) -> bool:
    sent = _content_range(reply)
    if sent is None:
        return False
    count, size = int(sent[1]) + 1, int(sent[2])
    return (part or count == size) and reply.length in (None, count)


def _content_range(reply: Incoming) -> re.Match[str] | None:
    return _RANGE.fullmatch((reply.getheader("Content-Range") or "").strip().lower())


def _whole_size(reply: Incoming) -> int | None:
    """How many bytes the whole video has as it is sent, where the source says so."""
    sent = _content_range(reply) if reply.status == 206 else None
    return int(sent[2]) if sent else reply.length
