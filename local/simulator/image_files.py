"""Reading an image's format and size from its first bytes: PNG, JPEG, WebP (lossy, lossless, extended)."""

import struct
from dataclasses import dataclass

_JPEG_SIZE_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class ImageFormatError(ValueError):
    """The bytes are not an image of a supported format."""


@dataclass(frozen=True)
class ImageInfo:
    """`format` is png, jpeg or webp; width and height are pixels."""

    format: str
    width: int
    height: int


def read_image_info(data: bytes) -> ImageInfo:
    """Format and size of an encoded image. Raises `ImageFormatError` if it is none, or cut off before its size."""
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
            return ImageInfo("png", *struct.unpack_from(">II", data, 16))
        if data.startswith(b"\xff\xd8"):
            return _jpeg(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _webp(data)
    except (struct.error, IndexError) as error:
        raise ImageFormatError("image is cut off") from error
    raise ImageFormatError("not a png, jpeg or webp image")


def _jpeg(data: bytes) -> ImageInfo:
    at = 2
    while True:
        if data[at] != 0xFF:
            raise ImageFormatError("jpeg marker expected")
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        if marker in _JPEG_SIZE_MARKERS:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return ImageInfo("jpeg", width, height)
        at += 2 + struct.unpack_from(">H", data, at + 2)[0]


def _webp(data: bytes) -> ImageInfo:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return ImageInfo("webp", width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return ImageInfo("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return ImageInfo("webp", width, height)
    raise ImageFormatError("unknown webp chunk")
