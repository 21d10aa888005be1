"""Pictures for tests: real headers with any width and height, and as much metadata before them as wanted."""

import base64
import struct
import zlib


def png(width: int = 200, height: int = 150, *, comment: int = 0) -> bytes:
    """A whole black PNG of one bit a pixel, with a comment of so many bytes after its header."""
    rows = zlib.compress(b"".join(b"\0" + bytes(-(-width // 8)) for _ in range(height)))
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    text = _chunk(b"tEXt", b"Comment\0" + b"c" * comment) if comment else b""
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + text + _chunk(b"IDAT", rows) + _chunk(b"IEND", b"")


def jpeg(width: int = 200, height: int = 150, *, metadata: int = 0) -> bytes:
    """The frame header of a JPEG behind at least so many bytes of metadata."""
    segment = b"\xff\xe1" + struct.pack(">H", 65_535) + b"m" * 65_533
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 11, 8, height, width, 1) + b"\x01\x11\x00"
    return b"\xff\xd8" + segment * -(-metadata // len(segment)) + frame + b"\xff\xd9"


def webp(width: int = 200, height: int = 150) -> bytes:
    """The header of an extended WebP."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    content = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + size
    return b"RIFF" + struct.pack("<I", len(content)) + content


def data_uri(content: bytes, kind: str = "png") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
