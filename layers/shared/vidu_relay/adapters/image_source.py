"""Reference images on a client's web server: their first bytes, read behind the address guard."""

from __future__ import annotations

import re
from collections.abc import Callable

from vidu_relay.domain.errors import BadImageError
from vidu_relay.domain.image_format import ImageHead
from vidu_relay.outbound.address_guard import AddressGuard
from vidu_relay.outbound.guarded_get import BadLinkError, UnreachableError, guarded_get
from vidu_relay.outbound.incoming import READ_ERRORS, BadCodingError, Incoming

__all__ = ["ImageSource"]

BLOCK_BYTES = 16 * 1024

TRY_AGAIN = "try again, or upload the image (POST /v1/uploads)"
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]+/([0-9]{1,18}|\*)")

Enough = Callable[[bytes, int | None], bool]


class ImageSource:
    """Opens image URLs."""

    def __init__(self, guard: AddressGuard) -> None:
        self._guard = guard

    def read_head(self, url: str, most: int, enough: Enough, *, deadline: float, start: int = 0) -> ImageHead:
        """The bytes of an image from `start` on, at most `most`, until they are `enough` (given also the whole's size).

        A server that ignores the range asked for is left as soon as enough was read; from `start` on it cannot be read.
        `deadline` is on the monotonic clock. Raises `BadImageError`: `image_unreachable` where another try may help,
        else `image_refused`, `image_not_found`, `image_encoding`, or a code of `guarded_get`.
        """
        wanted = {"Range": f"bytes={start}-{start + most - 1}"}
        try:
            with guarded_get(self._guard, url, what="image URL", deadline=deadline, headers=wanted) as reply:
                _check_status(reply.status)
                return _read(reply, most, enough, start)
        except BadLinkError as error:
            raise BadImageError(error.code, f"{error.message} Use another URL.") from error
        except UnreachableError as error:
            raise _unreachable("could not be reached") from error
        except BadCodingError as error:
            raise BadImageError("image_encoding", f"the image is served with {error}: serve it as it is") from error
        except READ_ERRORS as error:
            raise _unreachable("broke off") from error


def _check_status(status: int) -> None:
    if status in (200, 203, 206, 416):
        return
    if status in (404, 410):
        raise BadImageError("image_not_found", f"the URL answers HTTP {status}: there is no image")
    if status >= 500 or status in (408, 425, 429):
        raise _unreachable(f"answers HTTP {status}")
    raise BadImageError("image_refused", f"the URL answers HTTP {status}: it must open without a login or a cookie")


def _read(reply: Incoming, most: int, enough: Enough, start: int) -> ImageHead:
    if reply.status == 416:  # the image has no byte there
        return ImageHead(b"", 0)
    size, data, received = _size(reply, start), b"", 0

    def count(size: int) -> bytes:
        nonlocal received
        block = reply.read_block(size) if received < most else b""
        received += len(block)
        return block

    # identity was asked for; what is compressed all the same is read, and its size is what the server sends
    read = reply.decoded(count)
    while len(data) < most and received < most and not enough(data, size):
        block = read(min(BLOCK_BYTES, most - len(data)))
        if not block:
            while count(BLOCK_BYTES):  # what stands behind packed content
                pass
            size = received if reply.ended and reply.status != 206 else size
            break
        data += block
    return ImageHead(data, size)


def _size(reply: Incoming, start: int) -> int | None:
    if reply.status != 206:
        if start:
            raise BadImageError(
                "image_refused",
                "has much metadata before its picture, and its server sends no parts: upload it (POST /v1/uploads)",
            )
        return reply.length
    found = _CONTENT_RANGE.fullmatch((reply.getheader("Content-Range") or "").strip().lower())
    if found is None or int(found[1]) != start:
        raise BadImageError("image_refused", "the URL answers another range than was asked for")
    return None if found[2] == "*" else int(found[2])


def _unreachable(how: str) -> BadImageError:
    return BadImageError("image_unreachable", f"the URL {how}: {TRY_AGAIN}")
