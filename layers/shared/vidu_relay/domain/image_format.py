"""The formats and sizes of reference images, and what its first bytes show.

Sizes and ratio: the provider's page. Another format is another entry of `FILE_ENDINGS` and its first bytes.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

__all__ = [
    "ANY_IMAGE",
    "FILE_ENDINGS",
    "FORMATS",
    "MAX_IMAGE_BYTES",
    "MAX_IMAGE_RATIO",
    "MIN_IMAGE_PIXELS",
    "RATIO_BOUNDS",
    "ImageHead",
    "ImageRules",
    "content_type_of",
    "is_web_page",
    "jpeg_continues_at",
    "unreadable_because",
]

FILE_ENDINGS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
"""Of each content type that is taken."""
FORMATS = " or ".join(", ".join(name.removeprefix("image/") for name in FILE_ENDINGS).rsplit(", ", 1))
"""Their names, in words."""
MAX_IMAGE_BYTES = 50 * 1024 * 1024
MIN_IMAGE_PIXELS = 128
"""Of each side of a reference image."""
MAX_IMAGE_RATIO = 4
"""Of the longer side to the shorter one, both ends included."""
RATIO_BOUNDS = f"1:{MAX_IMAGE_RATIO} and {MAX_IMAGE_RATIO}:1"
"""Of width to height, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRules:
    """What the images of a model must be, beyond the formats and bytes that hold for all.

    `least_pixels` of each side; `ratio` of the longer side to the shorter, at most; `pair` bounds the first image's
    width, height and aspect ratio divided by the second's. All bounds are included.
    """

    least_pixels: int = 1
    ratio: int = MAX_IMAGE_RATIO
    pair: tuple[float, float] | None = None

    def allow_pair(self, first: tuple[int, int], second: tuple[int, int]) -> bool:
        """Whether the first image may have this width and height beside the second's."""
        (width, height), (other_width, other_height) = first, second
        aspect = (width * other_height) / (height * other_width)
        least, most = self.pair or (0, math.inf)
        return all(least <= quotient <= most for quotient in (width / other_width, height / other_height, aspect))


ANY_IMAGE = ImageRules()
"""What holds for the images of every model."""


@dataclass(frozen=True, slots=True)
class ImageHead:
    """The first bytes of an image. `size` is the whole image's in bytes, None where its server does not say;
    `version_id` pins what was read, where the bucket keeps versions."""

    data: bytes
    size: int | None
    version_id: str | None = None


def content_type_of(head: bytes) -> str | None:
    """The content type of an image by its first twelve bytes; None if it is none of `FILE_ENDINGS`."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    return None


def jpeg_continues_at(data: bytes) -> int | None:
    """Where the first segment of a JPEG begins that does not lie in these bytes, its first ones. It may lie far behind.

    None if nothing behind these bytes can hold the picture's size: the frame or the end was there, or no JPEG is.
    """
    at = 2
    while at < len(data):
        if data[at] != 0xFF:  # readers skip what stands between segments
            at = data.find(b"\xff", at)
            if at < 0:
                return None
        kind = data[at + 1] if at + 1 < len(data) else None
        if kind == 0xFF:  # a fill byte
            at += 1
        elif kind is None or at + 4 > len(data):
            break
        elif kind in (0x00, 0x01) or 0xD0 <= kind <= 0xD8:  # without a length
            at += 2
        elif kind in (0xD9, 0xDA) or _is_frame(kind):
            return None
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return at


def _is_frame(kind: int) -> bool:
    return 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC)


def unreadable_because(head: ImageHead) -> str:
    """Why width and height cannot be read from the first bytes of an image, and what to do about it."""
    data = head.data
    if data[12:16] == b"CgBI":
        return "is a PNG in the form of iOS apps (CgBI), which nothing else reads: export it as an ordinary PNG"
    if content_type_of(data) == "image/jpeg":
        if _frame_without_height(data):
            return "is a JPEG that gives its height behind the picture only (DNL): save it again"
        if jpeg_continues_at(data) is None:
            return "is a JPEG without a picture in it: save it again"
        return f"ends after {head.size} bytes, before its picture: upload the whole file"
    if head.size is not None and len(data) >= head.size:
        return f"ends after {head.size} bytes, before its width and height: upload the whole file"
    return "has a header that does not give its width and height: save it again"


def _frame_without_height(data: bytes) -> bool:
    frame = re.search(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]\0.[\x08\x0c\x10]\0\0", data, re.DOTALL)
    return frame is not None


def is_web_page(data: bytes) -> bool:
    """Whether these first bytes are HTML."""
    return data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith((b"<!doctype html", b"<html"))
