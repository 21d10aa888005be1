"""Checks a stream of bytes for a whole MP4 file (ISO/IEC 14496-12), and reads its headers.

Only the boxes of the top level decide whether a file is refused. The headers inside them become facts and notes: a
video is billed and cannot be made again, so an odd header is no reason to lose it.
"""

from __future__ import annotations

import struct
from collections.abc import Generator, Iterator
from dataclasses import dataclass

from vidu_relay.domain.errors import BadSourceError

__all__ = ["MAX_HEADER_BYTES", "UNKNOWN", "VideoFacts", "VideoProof"]

MAX_HEADER_BYTES = 1024 * 1024
"""A `moov` or `moof` box with more content is passed over unread."""

TOP_LEVEL = {b"ftyp", b"styp", b"moov", b"mdat", b"moof", b"mfra", b"sidx", b"ssix", b"free", b"skip", b"wide", b"uuid"}
TOP_LEVEL |= {b"pnot", b"emsg", b"prft", b"pdin", b"meta", b"udta"}
"""The top-level boxes of the standards. A file begins with one of them; players do not ask for `ftyp`."""

NAME_BYTES = {*range(0x20, 0x7F), 0xA9}
"""The bytes that the name of a top-level box consists of."""

TRACK_PARTS = {b"tkhd", b"mdhd", b"hdlr", b"stsd"}
UNREAD = {"header_not_read", "header_partly_read"}
EMPTY = memoryview(b"")


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """Seconds, and pixels as shown; None where the headers do not say. `docs/reference.md` lists the codes of notes."""

    duration_seconds: float | None = None
    width: int | None = None
    height: int | None = None
    notes: tuple[str, ...] = ()


UNKNOWN = VideoFacts(notes=("duration_unknown", "size_unknown"))
"""The facts of a file whose headers were not found."""


class VideoProof:
    """Walks the top-level boxes of a file that is fed to it in blocks of any size.

    A file is accepted if the sizes of its boxes add up to its length and it has a `moov` with a video track and an
    `mdat` with content; an `mdat` follows its last fragment. Of several `moov` boxes the first counts, as it does for
    players. Memory is bounded: one header of at most `MAX_HEADER_BYTES` is kept at a time.
    """

    def __init__(self) -> None:
        self._length = 0
        self._skip = 0  # bytes to pass over
        self._to_the_end = False  # every byte that follows is passed over
        self._taken = bytearray()  # those of the wanted bytes that have arrived
        self._between = False  # the bytes wanted are the first 8 of a box
        self._may_overrun = False  # the present box may be text behind a complete file
        self._movie = self._media = False  # `moov`, and `mdat` with content, have been seen
        self._listed = False  # the list of fragments behind the last one has been seen
        self._open = False  # the media of the last fragment has not been seen
        self._media_begins = self._media_ends = 0
        self._headers = _Headers()
        self._walk = self._boxes()
        self._want = next(self._walk)

    @property
    def unseen(self) -> int | None:
        """How many of the next bytes need not be seen; None for all that follow."""
        return None if self._to_the_end else self._skip

    def feed(self, block: bytes | bytearray | memoryview) -> None:
        """Take the next block. Raises `BadSourceError` (`not_mp4`) as soon as the file cannot be an MP4 file."""
        view = memoryview(block)
        while view:
            if self._to_the_end or self._skip:
                step = len(view) if self._to_the_end else min(self._skip, len(view))
                self.pass_over(step)
            else:
                step = min(self._want - len(self._taken), len(view))
                self._taken += view[:step]
                self._length += step
                if len(self._taken) == self._want:
                    data = bytes(self._taken)
                    self._taken.clear()
                    self._want = self._walk.send(data)
            view = view[step:]

    def pass_over(self, size: int) -> None:
        """Count the next `size` bytes, at most `unseen` many, unread."""
        if not self._to_the_end:
            self._skip -= size
        self._length += size

    def finish(self) -> VideoFacts:
        """The file ends here; what its headers say.

        Raises `BadSourceError`: `truncated` if the file ends inside a box or before the media of its last fragment,
        `not_mp4` if it has no movie header, no media data or no video track.
        """
        if not self._to_the_end and (self._skip or self._taken or not self._between):
            if not (self._may_overrun if self._skip else self._between and self._complete()):
                raise BadSourceError("truncated", "The video ends in the middle of a box.")
            self._headers.notes.add("trailing_bytes")
        if not self._movie or not self._media:
            raise BadSourceError("not_mp4", "The file has no movie header or no media data.")
        if self._open:
            raise BadSourceError("truncated", "The video ends before the media of its last fragment.")
        return self._headers.facts(self._media_begins, self._media_ends or self._length)

    def _boxes(self) -> Generator[int, bytes, None]:
        """Yields how many bytes it wants to see next. It sets `_skip` for bytes that come before them."""
        at = 0
        while True:
            self._between = True
            head = yield 8
            self._between, complete = False, self._complete()
            size, kind = int.from_bytes(head[:4], "big"), head[4:]
            if at == 0 and kind not in TOP_LEVEL:
                raise BadSourceError("not_mp4", "The file does not begin as an MP4 file does.")
            is_last = size == 0 and kind in TOP_LEVEL  # it has no size: it reaches to the end of the file
            if size == 1 and NAME_BYTES.issuperset(kind):
                head += yield 8
                size = int.from_bytes(head[8:], "big")
            if not NAME_BYTES.issuperset(kind) or (size < len(head) and not is_last):
                if not complete:
                    raise BadSourceError("not_mp4", "The sizes of the file's boxes do not add up.")
                self._headers.notes.add("trailing_bytes")
                self._to_the_end = True
                yield 1  # never comes
            self._may_overrun = complete and kind not in TOP_LEVEL
            content = 0 if is_last else size - len(head)
            if kind == b"mdat":
                self._open = False
                self._media = self._media or is_last or content > 0
                self._media_begins = self._media_begins or at + len(head)
                self._media_ends = 0 if is_last else at + size
            self._listed |= kind == b"mfra"
            is_header = kind == b"moof" or (kind == b"moov" and not self._movie)
            read = is_header and not is_last and content <= MAX_HEADER_BYTES
            data = (yield content) if read and content else b""
            if is_header and not read:
                self._headers.notes.add("header_not_read")
            if is_header and kind == b"moov":
                self._movie = True
                self._headers.read_movie(memoryview(data))
            elif is_header:
                self._open = self._headers.read_fragment(memoryview(data)) or not read
            self._to_the_end = is_last
            self._skip = 0 if read else content
            at += size

    def _complete(self) -> bool:
        """Whether the movie is all there, so that what follows and is no box is not a part of it."""
        return self._movie and self._media and (self._listed or not self._headers.fragmented)


@dataclass(frozen=True, slots=True)
class _Track:
    number: int = 0
    handler: bytes = b""
    width: int = 0
    height: int = 0
    timescale: int = 0
    seconds: float = 0.0


class _Headers:
    """What `moov` and the `moof` boxes say. Nothing in them is an error; what is odd becomes a note."""

    def __init__(self) -> None:
        self.notes: set[str] = set()
        self.fragmented = False
        self._seconds = 0.0
        self._tracks: list[_Track] = []
        self._sample_ticks: dict[int, int] = {}
        self._default_ticks: dict[int, int] = {}
        self._chunks: list[tuple[int, int]] = []  # of each track, the lowest and the highest offset of a chunk

    def read_movie(self, content: memoryview) -> None:
        for kind, box in self._boxes(content):
            if kind == b"mvhd":
                _, self._seconds = _clock(box)
            elif kind == b"trak":
                self._read_track(box)
            elif kind == b"mvex":
                self.fragmented = True
                trex = (inner for name, inner in self._boxes(box) if name == b"trex")
                self._default_ticks = {_number(inner, 4): _number(inner, 12) for inner in trex}

    def read_fragment(self, content: memoryview) -> bool:
        """Whether the fragment has samples, so that their media data must follow."""
        self.fragmented, has_samples = True, False
        for traf in (box for kind, box in self._boxes(content) if kind == b"traf"):
            track = default = 0
            for kind, box in self._boxes(traf):
                flags, number = _number(box, 1, 3), _number(box, 4)
                if kind == b"tfhd":
                    track, default = number, self._default_ticks.get(number, 0)
                    if flags & 0x8:
                        default = _number(box, 8 + (flags & 0x1) * 8 + (flags & 0x2) * 2)
                elif kind == b"trun" and number:
                    has_samples, ticks = True, number * default
                    if flags & 0x100:
                        columns = f">{(flags & 0xF00).bit_count()}I"
                        ticks = sum(row[0] for row in _rows(box, columns, 8 + (flags & 0x1) * 4 + (flags & 0x4)))
                    if track in self._sample_ticks:
                        self._sample_ticks[track] += ticks
        return has_samples

    def facts(self, media_begins: int, media_ends: int) -> VideoFacts:
        """Raises `BadSourceError` (`not_mp4`) if all tracks were read and none of them is a video track."""
        videos = [t for t in self._tracks if t.handler == b"vide" or (not t.handler and t.width and t.height)]
        if not videos and not self.notes & UNREAD:
            raise BadSourceError("not_mp4", "The file has no video track.")
        video = next((t for t in videos if t.width and t.height), videos[0] if videos else _Track())
        seconds = self._seconds
        if self.fragmented:
            sampled = (self._sample_ticks[t.number] / t.timescale for t in self._tracks if t.timescale)
            seconds = 0.0 if self.notes & UNREAD else max(seconds, *sampled, 0.0)
        seconds = round(seconds or video.seconds, 3)
        known = video.width > 0 and video.height > 0
        odd = {
            "duration_unknown": not seconds,
            "size_unknown": not known,
            "shared_samples": len({low for low, _ in self._chunks}) < len(self._chunks),
            "samples_outside_media": any(low < media_begins or high >= media_ends for low, high in self._chunks),
        }
        notes = sorted(self.notes | {note for note, holds in odd.items() if holds})
        width, height = (video.width, video.height) if known else (None, None)
        return VideoFacts(seconds or None, width, height, tuple(notes))

    def _read_track(self, content: memoryview) -> None:
        found = dict(self._boxes(content))
        for parent in (b"mdia", b"minf", b"stbl"):
            found = dict(self._boxes(found.get(parent, EMPTY))) | found
        if not found.keys() >= TRACK_PARTS:
            self.notes.add("track_incomplete")
        head, entry = found.get(b"tkhd", EMPTY), found.get(b"stsd", EMPTY)
        wide = 12 if _number(head, 0, 1) else 0
        number, matrix = _number(head, 20 if wide else 12), 40 + wide
        width, height = _number(entry, 40, 2), _number(entry, 42, 2)
        if not (width and height):
            width, height = _number(head, matrix + 36) >> 16, _number(head, matrix + 40) >> 16
        if _number(head, matrix + 4) and not (_number(head, matrix) or _number(head, matrix + 16)):  # a quarter turn
            width, height = height, width
        handler = bytes(found.get(b"hdlr", EMPTY)[8:12])
        self._tracks.append(_Track(number, handler, width, height, *_clock(found.get(b"mdhd", EMPTY))))
        self._sample_ticks[number] = sum(count * ticks for count, ticks in _rows(found.get(b"stts", EMPTY), ">II"))
        for kind, form in ((b"stco", ">I"), (b"co64", ">Q")):
            if chunks := [at for (at,) in _rows(found.get(kind, EMPTY), form)]:
                self._chunks.append((min(chunks), max(chunks)))

    def _boxes(self, content: memoryview) -> Iterator[tuple[bytes, memoryview]]:
        """The boxes that lie in another, up to one that does not fit. Zeros at the end are unused room."""
        at = 0
        while at < len(content):
            size, head = _number(content, at), 8
            if size == 1:
                size, head = _number(content, at + 8, 8), 16
            if size < head or size > len(content) - at:
                if any(content[at:]):
                    self.notes.add("header_partly_read")
                return
            yield bytes(content[at + 4 : at + 8]), content[at + head : at + size]
            at += size


def _number(box: memoryview, at: int, width: int = 4) -> int:
    """The number at this place; 0 where the box is too short for it."""
    return int.from_bytes(box[at : at + width], "big") if at + width <= len(box) else 0


def _clock(box: memoryview) -> tuple[int, float]:
    """Timescale and seconds of `mvhd` or `mdhd`; 0 for a duration that is not known, which is written as all ones."""
    wide = _number(box, 0, 1)
    timescale, ticks = (_number(box, 20), _number(box, 24, 8)) if wide else (_number(box, 12), _number(box, 16))
    known = timescale and ticks != (2**64 if wide else 2**32) - 1
    return timescale, ticks / timescale if known else 0.0


def _rows(box: memoryview, form: str, at: int = 8) -> Iterator[tuple[int, ...]]:
    """The rows of a table, as many as it counts and holds."""
    row = struct.Struct(form)
    rows = min(_number(box, 4), max(len(box) - at, 0) // row.size)
    return row.iter_unpack(box[at : at + rows * row.size])
