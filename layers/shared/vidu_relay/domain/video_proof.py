"""Proof, while the bytes pass by, that they are an MP4 file and all of it (ISO/IEC 14496-12, top-level boxes)."""

from __future__ import annotations

from vidu_relay.domain.errors import BadSourceError

__all__ = ["VideoProof"]


class VideoProof:
    """Walks the top-level boxes of a file fed to it in blocks of any size, in constant memory.

    The file begins with `ftyp`, holds `moov` and media data (`mdat`), and its box sizes add up to its length.
    """

    def __init__(self) -> None:
        self._header = bytearray()
        self._skip = 0
        self._to_the_end = False
        self._seen: set[bytes] = set()
        self._first = True

    def feed(self, block: bytes | memoryview) -> None:
        """Look at the next block. Raises `BadSourceError` (`not_mp4`) as soon as it cannot be an MP4 file."""
        view = memoryview(block)
        while view and not self._to_the_end:
            if self._skip:
                step = min(self._skip, len(view))
                self._skip -= step
                view = view[step:]
                continue
            missing = self._header_length() - len(self._header)
            self._header += view[:missing]
            view = view[missing:]
            if len(self._header) == self._header_length():
                self._open_box()

    def finish(self) -> None:
        """The file ends here. Raises `BadSourceError`: `truncated` inside a box, `not_mp4` if a part is missing."""
        if self._skip or self._header:
            raise BadSourceError("truncated", "The video ends in the middle of a box.")
        if not {b"moov", b"mdat"} <= self._seen:
            raise BadSourceError("not_mp4", "The file has no movie header or no media data.")

    def _header_length(self) -> int:
        return 16 if len(self._header) >= 8 and self._header[:4] == b"\0\0\0\1" else 8

    def _open_box(self) -> None:
        size, kind = int.from_bytes(self._header[:4], "big"), bytes(self._header[4:8])
        if self._first and kind != b"ftyp":
            raise BadSourceError("not_mp4", "The file does not begin as an MP4 file does.")
        self._first = False
        if size == 1:
            size = int.from_bytes(self._header[8:16], "big")
            if size == 0:
                raise BadSourceError("not_mp4", "A box of the file is smaller than its own header.")
        if size == 0:  # the last box: it reaches to the end of the file
            self._to_the_end = True
        elif size < len(self._header):
            raise BadSourceError("not_mp4", "A box of the file is smaller than its own header.")
        self._skip = max(0, size - len(self._header))
        if self._skip or self._to_the_end:
            self._seen.add(kind)
        self._header.clear()
