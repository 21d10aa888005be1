"""Proof, while the bytes pass by, that they are a video in an MP4 file and all of it (ISO/IEC 14496-12).

The walk is a generator that asks for the few bytes it needs and has the rest passed over. Nothing grows with the
file: tables are summed up a slice at a time, and boxes nest only as deep as `INSIDE` says.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import ClassVar

from vidu_relay.domain.errors import BadSourceError
from vidu_relay.domain.mp4_boxes import (
    FILE,
    HOMES,
    INSIDE,
    LETTERS,
    MAY_BE_FIRST,
    MAY_BE_LAST,
    NAMED,
    NEEDED,
    OF_THE_FILE,
    TABLES,
    Steps,
    begins_a_box,
    beside_media,
    column_of,
    has_all,
    known_ticks,
    misfit,
    number_at,
    pass_box,
    pass_rest,
    read_duration,
    read_head,
    read_rows,
    read_whole,
    read_zeros,
)

__all__ = ["VideoFacts", "VideoProof"]

MAX_TRACKS = 64

_LAST_SIZES = 1024
"""So many sizes of a track's last samples are kept to see where its last chunk ends: 4 KB."""


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What a proven file says of itself: seconds, and pixels as shown. None where it does not say."""

    duration_seconds: float | None = None
    width: int | None = None
    height: int | None = None


@dataclass(slots=True)
class _Track:
    handler: bytes = b""
    number: int = 0
    timescale: int = 0
    media_ticks: int = 0
    """As its media header states."""
    sample_ticks: int = 0
    """Summed up over its samples in the movie box."""
    pixels: tuple[int, int] = (0, 0)
    shown: tuple[int, int] = (0, 0)
    rotated: bool = False
    tabled: bool = False
    """All tables of samples are there."""
    entries: int = 0
    """Sample descriptions: without one nothing can be decoded."""
    samples: int = 0
    each: int = 0
    """What every sample weighs, if all weigh the same."""
    last_sizes: bytes = b""
    """What the last samples weigh, if not: 32 bits each."""
    chunks: int = 0
    first_chunk: int = 0
    """The lowest offset of a chunk; of the last one in the table: `last_chunk`."""
    last_chunk: int = 0
    run: tuple[int, int] = (1, 0)
    """First chunk, counted from 1, of the last run of chunks that hold equally many samples; and how many."""
    before_run: int = 0
    """Samples in the chunks before it."""

    def end_of_last_chunk(self) -> int:
        """Where its last chunk ends, or a lower bound where the tables do not tell."""
        first, many = self.run
        left = self.samples - self.before_run - max(self.chunks - first, 0) * many
        count = max(min(many, left), 0)
        if self.each:  # of sound in QuickTime, 1 stands for any size
            return self.last_chunk + (0 if self.handler == b"soun" else count * self.each)
        sizes = column_of(self.last_sizes, 1, 0)
        return self.last_chunk + sum(sizes[max(len(sizes) - count, 0) :])


@dataclass(slots=True)
class _Defaults:
    """What a fragment's samples last and weigh if nothing else is said."""

    ticks: int = 0
    size: int = 0


@dataclass(slots=True)
class _Fragments:
    track: int = 0
    current: _Defaults = field(default_factory=_Defaults)
    defaults: dict[int, _Defaults] = field(default_factory=dict)
    ticks: dict[int, int] = field(default_factory=dict)
    announced_ticks: int = 0
    seen: bool = False
    basis: int | None = None
    """What the offset of a run counts from; None if it follows what was before."""
    media_from: int | None = None
    """Where the first bytes lie that fragments name and whose media data is still to come; and where the last end."""
    media_to: int = 0
    listed: bool = False
    """The list of them that writers put behind the last one has been seen."""


class VideoProof:
    """Walks the boxes of a file fed to it in blocks of any size, in constant memory.

    The file holds a `moov` with a video track that has samples, and media data (`mdat`). On every level that is walked
    the sizes of the boxes add up. Nothing that the file's own tables point to lies behind its end: chunks, samples by
    their sizes, and what a segment index covers; chunks of pictures and sound lie within its media data. Once a movie
    is there with all its samples, what follows and is no box (padding, a line end) is taken as it is. Of several
    movies the first counts, as it does for players. What the standard asks for and no player needs is not asked for.
    """

    def __init__(self) -> None:
        self._length = 0
        self._taken = bytearray()
        self._skip = 0
        self._to_the_end = False
        self._box_at = 0
        self._may_end = False
        self._may_trail = False
        self._beside_to = 0
        self._movies = 0
        self._media = 0
        self._media_begins: int | None = None
        self._media_ends = 0
        self._media_from: int | None = None
        self._sample_bytes = 0
        self._reaches_to = 0
        self._movie_timescale = 0
        self._movie_ticks = 0
        self._tracks: list[_Track] = []
        self._fragments = _Fragments()
        self._steps = self._boxes(FILE, 0, None)
        self._want = next(self._steps)

    @property
    def unseen(self) -> int | None:
        """How many of the next bytes need not be seen; None for all that follow."""
        return None if self._to_the_end else self._skip

    def feed(self, block: bytes | bytearray | memoryview) -> None:
        """Look at the next block. Raises `BadSourceError` (`not_mp4`) as soon as it cannot be a video in MP4."""
        size = len(block)
        if self._to_the_end or self._skip >= size:  # most of a file: inside its media data
            self.pass_over(size)
            return
        view = memoryview(block)
        while view and not self._to_the_end:
            if self._skip:
                step = min(self._skip, len(view))
                self.pass_over(step)
            else:
                step = min(self._want - len(self._taken), len(view))
                self._taken += view[:step]
                self._length += step
                if len(self._taken) == self._want:
                    self._go_on()
            view = view[step:]
        self._length += len(view)

    def pass_over(self, size: int) -> None:
        """The next `size` bytes, at most `unseen` many, are there."""
        if not self._to_the_end:
            self._skip -= size
        self._length += size

    def finish(self) -> VideoFacts:
        """The file ends here; what it says of itself.

        Raises `BadSourceError`: `truncated` inside a box or before what its tables point to, `not_mp4` if a part is
        missing.
        """
        inside = self._skip or not self._may_end or (self._taken and not self._may_trail)
        if self._length and inside and not self._to_the_end and self._length >= self._beside_to:
            raise BadSourceError("truncated", "The video ends in the middle of a box.")
        media = self._media + (self._length - self._media_from if self._media_from is not None else 0)
        if not self._movies or not media:
            raise BadSourceError("not_mp4", "The file has no movie header or no media data.")
        videos = [track for track in self._tracks if track.handler == b"vide"]
        if not videos:
            raise BadSourceError("not_mp4", "The file has no video track.")
        self._expect_samples_within(media)
        video = next((track for track in videos if track.samples and track.entries), None)
        if video is None:
            raise BadSourceError("not_mp4", "The video track has no pictures.")
        width, height = video.pixels if all(video.pixels) else video.shown
        if video.rotated:
            width, height = height, width
        known = width > 0 and height > 0
        return VideoFacts(self._seconds(video), width if known else None, height if known else None)

    def _expect_samples_within(self, media: int) -> None:
        reaches_to = max(self._reaches_to, *(track.end_of_last_chunk() for track in self._tracks))
        if self._sample_bytes > media or reaches_to > self._length:
            raise BadSourceError("truncated", "The video ends before the media that its tables name.")
        begins = self._media_begins or 0
        ends = self._media_ends if self._media_from is None else self._length
        for track in self._tracks:
            placed = track.chunks and track.samples and track.handler in (b"vide", b"soun")
            before = track.handler == b"vide" and track.first_chunk < begins
            if placed and (before or track.end_of_last_chunk() > ends):
                raise beside_media()
        if self._fragments.media_to > ends:
            raise beside_media()

    def _go_on(self) -> None:
        data = bytes(self._taken)
        self._taken.clear()
        want = self._steps.send(data)
        while want <= 0:
            self._skip -= want
            want = self._steps.send(b"")
        self._want = want

    def _seconds(self, video: _Track) -> float | None:
        movie = self._movie_ticks / self._movie_timescale if self._movie_timescale else 0.0
        if self._fragments.seen:
            if self._fragments.announced_ticks and self._movie_timescale:
                movie = self._fragments.announced_ticks / self._movie_timescale
            else:
                movie = max(movie, *(self._sampled_seconds(track) for track in self._tracks))
        if not movie and video.timescale:
            movie = video.media_ticks / video.timescale
        return round(movie, 3) or None

    def _sampled_seconds(self, track: _Track) -> float:
        ticks = track.sample_ticks + self._fragments.ticks.get(track.number, 0)
        return ticks / track.timescale if track.timescale else 0.0

    # ---------------------------------------------------------------------------------------------- the walk

    def _boxes(self, parent: bytes, at: int, end: int | None) -> Steps:
        """The boxes from an offset up to another, or to the end of the file."""
        seen: set[bytes] = set()
        while end is None or at < end:
            if end is not None and end - at < 8:
                yield from read_zeros(end - at)
                break
            self._may_end = end is None and at > 0
            self._may_trail = self._may_end and self._has_all_samples(at)
            header = yield 8
            self._may_end = False
            size, kind, head = int.from_bytes(header[:4], "big"), header[4:], 8
            if self._may_trail and not begins_a_box(size, kind):
                yield from self._leave_open(b"", at)
            if end is not None and not any(header):
                yield from read_zeros(end - at - 8)
                break
            beside = self._may_trail and kind not in OF_THE_FILE
            self._may_trail = False
            self._expect_name(parent, kind, at)
            if size == 1:
                if end is not None and end - at < 16:
                    raise misfit()
                size, head = int.from_bytes((yield 8), "big"), 16
            elif (
                size == 0 and parent == FILE and kind in MAY_BE_LAST
            ):  # the last box: it reaches to the end of the file
                yield from self._content(parent, kind, at + head, None)
            if size < head or (end is not None and at + size > end):
                raise misfit()
            if beside:
                self._beside_to = at + size
            yield from self._content(parent, kind, at + head, at + size)
            at += size
            if kind in NAMED:
                seen.add(kind)
        self._leave(parent, seen)

    def _expect_name(self, parent: bytes, kind: bytes, at: int) -> None:
        if parent not in HOMES.get(kind, (parent,)):
            raise misfit()
        if parent == FILE:
            self._box_at = at
            if not all(byte in LETTERS for byte in kind):
                raise misfit()
            if at == 0 and kind not in MAY_BE_FIRST:
                raise BadSourceError("not_mp4", "The file does not begin as an MP4 file does.")

    def _leave(self, parent: bytes, seen: set[bytes]) -> None:
        if parent == b"stbl":
            self._tracks[-1].tabled = has_all(TABLES, seen)
        tabled = parent != b"moov" or self._fragments.seen or all(track.tabled for track in self._tracks)
        if not tabled or not has_all(NEEDED.get(parent, ()), seen):
            raise BadSourceError("not_mp4", "A part of the movie header is missing.")

    def _has_all_samples(self, at: int) -> bool:
        """Whether the movie is whole already: what its tables name lies before here, and no fragment can follow."""
        named = 0 < self._sample_bytes <= self._media and self._reaches_to <= at
        return self._movies > 0 and named and (self._fragments.listed or not self._fragments.seen)

    def _content(self, parent: bytes, kind: bytes, at: int, end: int | None) -> Steps:
        if kind == b"moov":
            self._movies += 1
        if kind in INSIDE.get(parent, ()) and not (kind == b"moov" and self._movies > 1):
            self._enter(kind)
            if kind == b"stsd":
                at = yield from self._preamble(at, end)
            yield from self._boxes(kind, at, end)
            return
        if end is None:
            yield from self._leave_open(kind, at)
            return
        if kind == b"mdat" and parent == FILE:
            self._media += end - at
            self._media_ends = end
            self._begin_media(at)
        elif reader := self._readers.get((parent, b"" if parent == b"stsd" else kind)):
            yield from reader(self, end - at, end)
            return
        yield at - end

    def _enter(self, kind: bytes) -> None:
        if kind == b"trak":
            if len(self._tracks) == MAX_TRACKS:
                raise BadSourceError("not_mp4", f"The file has more than {MAX_TRACKS} tracks.")
            self._tracks.append(_Track())
        elif kind in (b"mvex", b"moof"):
            self._fragments.seen = True
        elif kind == b"traf":
            self._fragments.track, self._fragments.current, self._fragments.basis = 0, _Defaults(), None

    def _preamble(self, at: int, end: int | None) -> Generator[int, bytes, int]:
        """A sample description is a container behind its version and a count."""
        if end is None or end - at < 8:
            raise misfit()
        yield 8
        return at + 8

    def _begin_media(self, at: int) -> None:
        self._media_begins = at if self._media_begins is None else self._media_begins
        if self._fragments.media_from is not None and self._fragments.media_from < at:
            raise beside_media()
        self._fragments.media_from = None

    def _leave_open(self, kind: bytes, at: int) -> Steps:
        if kind == b"ftyp":
            raise BadSourceError("not_mp4", "The file has no movie header or no media data.")
        if kind == b"mdat":
            self._media_from = at
            self._begin_media(at)
        self._to_the_end = True
        yield 1  # never comes: nothing more is looked at

    # --------------------------------------------------------------------------------------- single boxes

    def _movie_header(self, size: int, _: int) -> Steps:
        data = yield from read_whole(size, 100, 112)
        self._movie_timescale, self._movie_ticks = read_duration(data)

    def _media_header(self, size: int, _: int) -> Steps:
        data = yield from read_whole(size, 24, 36)
        self._tracks[-1].timescale, self._tracks[-1].media_ticks = read_duration(data)

    def _track_header(self, size: int, _: int) -> Steps:
        data = yield from read_whole(size, 84, 96)
        track, wide = self._tracks[-1], 12 if data[:1] == b"\1" else 0
        track.number = number_at(data, 20 if wide else 12)
        matrix = 40 + wide
        upright, turned = number_at(data, matrix) or number_at(data, matrix + 16), number_at(data, matrix + 4)
        track.rotated = not upright and bool(turned)  # a quarter turn: width and height change places
        track.shown = (number_at(data, matrix + 36) >> 16, number_at(data, matrix + 40) >> 16)

    def _fragment_number(self, size: int, _: int) -> Steps:
        yield from read_whole(size, 8, 8)

    def _handler(self, size: int, _: int) -> Steps:
        data = yield from read_head(size, 12)
        self._tracks[-1].handler = data[8:12]
        yield 12 - size

    def _picture_header(self, size: int, _: int) -> Steps:
        yield from pass_box(size, 12)

    def _sound_header(self, size: int, _: int) -> Steps:
        yield from pass_box(size, 8)

    def _sample_entry(self, size: int, _: int) -> Steps:
        self._tracks[-1].entries += 1
        if size >= 28 and not any(self._tracks[-1].pixels):
            data = yield 28
            self._tracks[-1].pixels = (number_at(data, 24, 2), number_at(data, 26, 2))
            size -= 28
        yield -size

    def _times(self, size: int, _: int) -> Steps:
        data = yield from read_head(size, 8)
        track = self._tracks[-1]

        def add(rows: bytes) -> None:
            track.sample_ticks += sum(count * ticks for count, ticks in struct.iter_unpack(">II", rows))

        yield from read_rows(number_at(data, 4), 8, size - 8, add)

    def _sizes(self, size: int, _: int) -> Steps:
        data = yield from read_head(size, 12)
        track, each, count = self._tracks[-1], number_at(data, 4), number_at(data, 8)
        track.samples, track.each = count, each
        if each:
            self._sample_bytes += each * count
            count = 0

        def add(rows: bytes) -> None:
            self._sample_bytes += sum(column_of(rows, 1, 0))
            track.last_sizes = (track.last_sizes + rows)[-4 * _LAST_SIZES :]

        yield from read_rows(count, 4, size - 12, add)

    def _small_sizes(self, size: int, _: int) -> Steps:
        data = yield from read_head(size, 12)
        bits, count = data[7], number_at(data, 8)
        if bits not in (4, 8, 16):
            raise misfit()
        self._tracks[-1].samples = count

        def add(rows: bytes) -> None:
            if bits == 4:
                self._sample_bytes += sum((byte >> 4) + (byte & 15) for byte in rows)
            elif bits == 8:
                self._sample_bytes += sum(rows)
            else:
                self._sample_bytes += 256 * sum(rows[::2]) + sum(rows[1::2])

        yield from read_rows((count * bits + 7) // 8, 1, size - 12, add)

    def _runs(self, size: int, _: int) -> Steps:
        data = yield from read_head(size, 8)
        track = self._tracks[-1]

        def add(rows: bytes) -> None:
            for first, many, _ in struct.iter_unpack(">III", rows):
                track.before_run += (first - track.run[0]) * track.run[1]
                track.run = first, many

        yield from read_rows(number_at(data, 4), 12, size - 8, add)

    def _chunks(self, size: int, _: int) -> Steps:
        yield from self._offsets(size, 4)

    def _far_chunks(self, size: int, _: int) -> Steps:
        yield from self._offsets(size, 8)

    def _offsets(self, size: int, width: int) -> Steps:
        data = yield from read_head(size, 8)
        track = self._tracks[-1]

        def look(rows: bytes) -> None:
            found = struct.unpack(f">{len(rows) // width}{'Q' if width == 8 else 'I'}", rows)
            self._reaches_to = max(self._reaches_to, *found)
            track.first_chunk = min(track.first_chunk, *found) if track.chunks else min(found)
            track.last_chunk = found[-1]
            track.chunks += len(found)

        yield from read_rows(number_at(data, 4), width, size - 8, look)

    # ----------------------------------------------------------------------------------------- fragments

    def _fragmented_length(self, size: int, _: int) -> Steps:
        data = yield from read_whole(size, 8, 12)
        self._fragments.announced_ticks = known_ticks(number_at(data, 4, 8 if data[:1] == b"\1" else 4), data)

    def _track_defaults(self, size: int, _: int) -> Steps:
        data = yield from read_whole(size, 24, 24)
        if len(self._fragments.defaults) == MAX_TRACKS:
            raise BadSourceError("not_mp4", f"The file has more than {MAX_TRACKS} tracks.")
        self._fragments.defaults[number_at(data, 4)] = _Defaults(number_at(data, 12), number_at(data, 16))

    def _fragment_time(self, size: int, _: int) -> Steps:
        yield from read_whole(size, 8, 12)

    def _fragment_header(self, size: int, _: int) -> Steps:
        data = yield from read_head(size, 8)
        flags, fragments = number_at(data, 1, 3), self._fragments
        fields = sum(width for bit, width in ((1, 8), (2, 4), (8, 4), (16, 4), (32, 4)) if flags & bit)
        if size < 8 + fields:
            raise misfit()
        data += (yield fields) if fields else b""
        yield from pass_rest(size - 8 - fields)
        fragments.track = number_at(data, 4)
        if fragments.track not in fragments.defaults:
            raise BadSourceError("not_mp4", "A fragment belongs to no track of the movie.")
        basis = fragments.defaults[fragments.track]
        if flags & 0x1:
            fragments.basis = number_at(data, 8, 8)
        elif flags & 0x20000:
            fragments.basis = self._box_at
        at = 8 + (8 if flags & 0x1 else 0) + (4 if flags & 0x2 else 0)
        ticks = number_at(data, at) if flags & 0x8 else basis.ticks
        at += 4 if flags & 0x8 else 0
        fragments.current = _Defaults(ticks, number_at(data, at) if flags & 0x10 else basis.size)

    def _run(self, size: int, _: int) -> Steps:
        data = yield from read_head(size, 8)
        flags, count, fragments = number_at(data, 1, 3), number_at(data, 4), self._fragments
        extra = (4 if flags & 0x1 else 0) + (4 if flags & 0x4 else 0)
        fields = [bit for bit in (0x100, 0x200, 0x400, 0x800) if flags & bit]
        track = next((track for track in self._tracks if track.number == fragments.track), None)
        ticks = weight = 0

        def add(rows: bytes) -> None:
            nonlocal ticks, weight
            if 0x100 in fields:
                ticks += sum(column_of(rows, len(fields), 0))
            if 0x200 in fields:
                weight += sum(column_of(rows, len(fields), fields.index(0x200)))

        if size < 8 + extra:
            raise misfit()
        optional = (yield extra) if extra else b""
        yield from read_rows(count, 4 * len(fields), size - 8 - extra, add)
        if 0x100 not in fields:
            ticks = count * fragments.current.ticks
        if 0x200 not in fields:
            weight = count * fragments.current.size
        self._sample_bytes += weight
        if flags & 0x1 and fragments.basis is not None and weight:
            self._place(fragments.basis + int.from_bytes(optional[:4], "big", signed=True), weight)
        if track is not None:
            track.samples += count
            fragments.ticks[track.number] = fragments.ticks.get(track.number, 0) + ticks

    def _place(self, at: int, weight: int) -> None:
        """A run's samples lie here: within media data that comes behind the fragment."""
        fragments = self._fragments
        self._reaches_to = max(self._reaches_to, at + weight)
        fragments.media_to = max(fragments.media_to, at + weight)
        if at >= self._box_at:
            fragments.media_from = at if fragments.media_from is None else min(at, fragments.media_from)

    def _fragment_list(self, size: int, _: int) -> Steps:
        """It ends with how long it is."""
        yield 16 - max(size, 16)
        data = (yield 16) if size >= 16 else b""
        self._fragments.listed = data[4:8] == b"mfro" and number_at(data, 12) == size + 8

    def _segment_index(self, size: int, end: int) -> Steps:
        data = yield from read_head(size, 24)
        first, used = number_at(data, 16), 24
        if data[:1] == b"\1":
            more = yield from read_head(size - 24, 8)
            data, used = data + more, 32
            first = number_at(data, 20, 8)
        covered = 0

        def add(rows: bytes) -> None:
            nonlocal covered
            covered += sum(reference & 0x7FFFFFFF for reference in column_of(rows, 3, 0))

        yield from read_rows(number_at(data, used - 2, 2), 12, size - used, add)
        self._reaches_to = max(self._reaches_to, end + first + covered)

    _readers: ClassVar[dict[tuple[bytes, bytes], Callable[[VideoProof, int, int], Steps]]] = {
        (b"moov", b"mvhd"): _movie_header,
        (b"trak", b"tkhd"): _track_header,
        (b"mdia", b"mdhd"): _media_header,
        (b"mdia", b"hdlr"): _handler,
        (b"minf", b"vmhd"): _picture_header,
        (b"minf", b"smhd"): _sound_header,
        (b"stsd", b""): _sample_entry,
        (b"stbl", b"stts"): _times,
        (b"stbl", b"stsc"): _runs,
        (b"stbl", b"stsz"): _sizes,
        (b"stbl", b"stz2"): _small_sizes,
        (b"stbl", b"stco"): _chunks,
        (b"stbl", b"co64"): _far_chunks,
        (b"mvex", b"mehd"): _fragmented_length,
        (b"mvex", b"trex"): _track_defaults,
        (b"moof", b"mfhd"): _fragment_number,
        (b"traf", b"tfhd"): _fragment_header,
        (b"traf", b"tfdt"): _fragment_time,
        (b"traf", b"trun"): _run,
        (FILE, b"sidx"): _segment_index,
        (FILE, b"mfra"): _fragment_list,
    }
