"""Reference images on somebody's web server: their first bytes, read behind the address guard."""

from __future__ import annotations

import http.client
import re
import time
import zlib
from collections.abc import Callable

from vidu_relay.domain.errors import BadImageError
from vidu_relay.domain.image_reference import ImageHead
from vidu_relay.outbound.address_guard import AddressGuard
from vidu_relay.outbound.guarded_get import BadLinkError, UnreachableError, guarded_get

__all__ = ["ImageSource"]

BLOCK_BYTES = 16 * 1024

TRY_AGAIN = "try again, or upload the image (POST /v1/uploads)"
_CONTENT_RANGE = re.compile(r"bytes 0-[0-9]+/([0-9]{1,18}|\*)")


class ImageSource:
    """Opens image URLs."""

    def __init__(self, guard: AddressGuard) -> None:
        self._guard = guard

    def read_head(
        self, url: str, most: int, enough: Callable[[bytes, int | None], bool], *, deadline: float
    ) -> ImageHead:
        """The first bytes of an image, at most `most`, read until they are `enough` (given also the whole's size).

        A server that ignores the range asked for is left as soon as enough was read. `deadline` is on the monotonic
        clock. Raises `BadImageError`: `image_unreachable` where another try may help, else `image_refused`,
        `image_not_found`, `image_encoding`, or a code of `guarded_get`.
        """
        left = deadline - time.monotonic()
        if left <= 0:
            raise _unreachable("was not answered in time")
        try:
            with guarded_get(
                self._guard,
                url,
                what="image URL",
                socket_seconds=left,
                headers={"Range": f"bytes=0-{most - 1}"},
                until=deadline,
            ) as response:
                _check_status(response.status)
                return _read(response, most, enough, deadline)
        except BadLinkError as error:
            raise BadImageError(error.code, f"{error.message} Use another URL.") from error
        except UnreachableError as error:
            raise _unreachable("could not be reached") from error
        except (OSError, http.client.HTTPException, zlib.error) as error:
            raise _unreachable("broke off") from error


def _check_status(status: int) -> None:
    if status in (200, 206, 416):
        return
    if status in (404, 410):
        raise BadImageError("image_not_found", f"the URL answers HTTP {status}: there is no image")
    if status >= 500 or status in (408, 425, 429):
        raise _unreachable(f"answers HTTP {status}")
    raise BadImageError("image_refused", f"the URL answers HTTP {status}: it must open without a login or a cookie")


def _read(
    response: http.client.HTTPResponse, most: int, enough: Callable[[bytes, int | None], bool], deadline: float
) -> ImageHead:
    if response.status == 416:  # no first byte
        return ImageHead(b"", 0)
    encoding = (response.getheader("Content-Encoding") or "identity").strip().lower()
    if encoding not in ("identity", "gzip", "x-gzip"):
        raise BadImageError("image_encoding", "the image is served compressed: serve it as it is")
    # we ask for identity; what is compressed all the same is read, and its size is what the server sends
    inflate = None if encoding == "identity" else zlib.decompressobj(wbits=31)
    size = _size(response)
    data, received = b"", 0
    while len(data) < most and received < most and not enough(data, size):
        if time.monotonic() > deadline:
            raise _unreachable("was not answered in time")
        block = response.read1(BLOCK_BYTES)
        if not block:
            if response.length:
                raise _unreachable("broke off")
            size = received if response.status == 200 else size
            break
        received += len(block)
        data += block if inflate is None else inflate.decompress(block, most - len(data))
    return ImageHead(data[:most], size)


def _size(response: http.client.HTTPResponse) -> int | None:
    if response.status == 200:
        return response.length
    found = _CONTENT_RANGE.fullmatch((response.getheader("Content-Range") or "").strip().lower())
    if found is None:
        raise BadImageError("image_refused", "the URL answers another range than was asked for")
    return None if found[1] == "*" else int(found[1])


def _unreachable(how: str) -> BadImageError:
    return BadImageError("image_unreachable", f"the URL {how}: {TRY_AGAIN}")
