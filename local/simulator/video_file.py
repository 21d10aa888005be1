"""A video as it is served: encoded bytes, then on demand a `free` box that pads the file to a wanted size.

The padding is never held in memory, so a file may be larger than the machine's.
"""

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

_BLOCK = random.Random(0).randbytes(1 << 16)  # noqa: S311 - filler that does not compress, not a secret
_LONG_HEADER = 16


@dataclass(frozen=True)
class VideoFile:
    """`head` is a whole MP4; `padding` the length of the `free` box behind it with its header, 0 for none."""

    head: bytes
    padding: int = 0

    @property
    def size(self) -> int:
        """Length of the whole file."""
        return len(self.head) + self.padding

    @cached_property
    def sha256(self) -> str:
        """Hex digest of the whole file."""
        digest = hashlib.sha256()
        for chunk in self.read(0, self.size):
            digest.update(chunk)
        return digest.hexdigest()

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` up to, not including, `stop`, in chunks of at most 64 KiB."""
        for at in range(start, min(stop, self._front_size), len(_BLOCK)):
            yield self._front[at : min(at + len(_BLOCK), stop)]
        at = max(start, self._front_size)
        while at < min(stop, self.size):
            offset = (at - self._front_size) % len(_BLOCK)
            chunk = _BLOCK[offset : offset + min(stop, self.size) - at]
            yield chunk
            at += len(chunk)

    @cached_property
    def _front(self) -> bytes:
        if not self.padding:
            return self.head
        if self.padding < _LONG_HEADER:
            return self.head + self.padding.to_bytes(4, "big") + b"free"
        return self.head + (1).to_bytes(4, "big") + b"free" + self.padding.to_bytes(8, "big")

    @property
    def _front_size(self) -> int:
        return len(self._front)


def padded(head: bytes, size: int) -> VideoFile:
    """`head` padded to `size` bytes (to the next possible size if the rest is too small for a box header)."""
    missing = size - len(head)
    return VideoFile(head, 0 if missing <= 0 else max(missing, 8))


def with_broken_box(file: VideoFile) -> VideoFile:
    """The same length, but the size of the `moov` box says something absurd."""
    at = 0
    data = bytearray(file.head)
    while data[at + 4 : at + 8] != b"moov":
        at += int.from_bytes(data[at : at + 4], "big")
    data[at] ^= 0x40
    return VideoFile(bytes(data), file.padding)
