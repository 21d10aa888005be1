"""The boxes of MP4 files (ISO/IEC 14496-12): which lie where, and how their contents are read a few bytes at a time.

A reader is a generator of `Steps`: it yields how many bytes it wants to see next, or as a negative number how many it
wants passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Generator

from vidu_relay.domain.errors import BadSourceError

__all__ = [
    "FILE",
    "HOMES",
    "INSIDE",
    "LETTERS",
    "MAY_BE_FIRST",
    "MAY_BE_LAST",
    "NAMED",
    "NEEDED",
    "OF_THE_FILE",
    "TABLES",
    "Steps",
    "begins_a_box",
    "beside_media",
    "column_of",
    "has_all",
    "known_ticks",
    "misfit",
    "number_at",
    "pass_box",
    "pass_rest",
    "read_duration",
    "read_head",
    "read_rows",
    "read_whole",
    "read_zeros",
]

_SLICE_ROWS = 4096
"""Rows of a table that are looked at in one go: at most 96 KB."""

_MORE = 24
"""So many bytes may follow the fields of a box: fewer than the boxes have that could be swallowed unseen."""

FILE = b""
INSIDE = {
    FILE: {b"moov", b"moof"},
    b"moov": {b"trak", b"mvex"},
    b"trak": {b"mdia"},
    b"mdia": {b"minf"},
    b"minf": {b"stbl"},
    b"stbl": {b"stsd"},
    b"moof": {b"traf"},
}
"""Which boxes are walked into, by the box they lie in. All others are looked at as a whole, or passed over."""

NEEDED = {
    b"moov": ({b"mvhd"},),
    b"trak": ({b"tkhd"}, {b"mdia"}),
    b"mdia": ({b"mdhd"}, {b"hdlr"}, {b"minf"}),
    b"minf": ({b"stbl"},),
    b"stbl": ({b"stsd"},),
    b"traf": ({b"tfhd"},),
}
"""What shows the film, or says what it is, in each of them: one of each set. A size that lies often swallows one."""

TABLES = ({b"stts"}, {b"stsc"}, {b"stsz", b"stz2"}, {b"stco", b"co64"})
"""What `stbl` needs beside, unless the samples are in fragments: then some writers leave out what would be empty."""

NAMED = {kind for wanted in (*NEEDED.values(), TABLES) for kinds in wanted for kind in kinds}

LETTERS = {*range(0x20, 0x7F), 0xA9}
"""What the name of a box of the file itself is made of. Inside the movie names of vendors hold any byte."""

MAY_BE_FIRST = {b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide", b"uuid", b"pnot"}
"""QuickTime had no `ftyp` at first, and players do not ask for it."""

OF_THE_FILE = MAY_BE_FIRST | {b"moof", b"mfra", b"sidx", b"ssix", b"emsg", b"prft", b"pdin", b"meta", b"udta"}
"""Boxes of the file that a cut is told by, even behind a movie that is whole."""

MAY_BE_LAST = {b"mdat", b"moov", b"free", b"skip", b"uuid"}
"""Boxes that are taken without a size, up to the end of the file."""

Steps = Generator[int, bytes, None]
"""Yields how many bytes it wants to see next, or as a negative number how many it wants passed over."""

HOMES: dict[bytes, set[bytes]] = {
    b"mdat": {FILE},
    b"sidx": {FILE},
    b"mehd": {b"mvex"},
    b"trex": {b"mvex"},
    b"tfdt": {b"traf"},
    b"trun": {b"traf"},
    b"tfra": {b"mfra"},
    b"mfro": {b"mfra"},
    b"hdlr": {b"minf"},
    b"dinf": {b"minf"},
    b"mfhd": {b"moof"},
}
"""Where a box may lie, of those that lie in one place only (QuickTime has `hdlr` in two)."""
for _parent, _kind in (
    *((parent, kind) for parent, kinds in INSIDE.items() for kind in kinds),
    *((parent, kind) for parent, wanted in NEEDED.items() for kinds in wanted for kind in kinds),
    *((b"stbl", kind) for kinds in TABLES for kind in kinds),
):
    HOMES.setdefault(_kind, set()).add(_parent)


def read_head(size: int, wanted: int) -> Generator[int, bytes, bytes]:
    """The first bytes of a box's content; whatever is behind them is left."""
    if size < wanted:
        raise misfit()
    return (yield wanted)


def read_whole(size: int, narrow: int, wide: int) -> Generator[int, bytes, bytes]:
    """The content of a box whose least size follows from its version."""
    data = yield from read_head(size, 4)
    wanted = wide if data[0] else narrow
    if size < wanted:
        raise misfit()
    data += yield wanted - 4
    yield from pass_rest(size - wanted)
    return data


def pass_box(size: int, fields: int) -> Steps:
    """A box of which nothing is needed, and that may not have swallowed the next one."""
    yield -min(size, fields)
    yield from pass_rest(max(size - fields, 0))


def pass_rest(size: int) -> Steps:
    """What a box holds behind its fields. Some writers add to them; but a size that lies swallows the next box."""
    looked = min(size, 8)
    if size > _MORE:
        raise misfit()
    if looked:
        head = yield looked
        if looked == 8 and begins_a_box(int.from_bytes(head[:4], "big"), head[4:]):
            raise misfit()
    yield looked - size


def read_rows(count: int, width: int, size: int, look: Callable[[bytes], None]) -> Steps:
    """A table of rows that fills the rest of its box, but for zeros, a slice at a time."""
    rest = size - count * width
    if rest < 0:
        raise misfit()
    while size > rest:
        data = yield min(size - rest, _SLICE_ROWS * width)
        look(data)
        size -= len(data)
    yield from read_zeros(rest)


def column_of(rows: bytes, columns: int, number: int) -> tuple[int, ...]:
    """One column of rows of 32-bit numbers."""
    return struct.unpack(f">{len(rows) // 4}I", rows)[number::columns]


def number_at(data: bytes, at: int, width: int = 4) -> int:
    if len(data) < at + width:
        raise misfit()
    return int.from_bytes(data[at : at + width], "big")


def read_duration(data: bytes) -> tuple[int, int]:
    """Timescale and ticks of a movie or media header."""
    if data[:1] == b"\1":
        return number_at(data, 20), known_ticks(number_at(data, 24, 8), data)
    return number_at(data, 12), known_ticks(number_at(data, 16), data)


def known_ticks(ticks: int, data: bytes) -> int:
    """A duration of ones means that it is not known."""
    unknown = 2**64 - 1 if data[:1] == b"\1" else 2**32 - 1
    return 0 if ticks == unknown else ticks


def read_zeros(size: int) -> Steps:
    """Zeros end a container or a table in some files: what QuickTime ends a list with, or room that was left."""
    while size:
        data = yield min(size, _SLICE_ROWS)
        if any(data):
            raise misfit()
        size -= len(data)


def begins_a_box(size: int, kind: bytes) -> bool:
    """Whether these can be the first bytes of a box of the file, rather than padding or what a server appends."""
    return (size > 7 or size == 1 or (size == 0 and kind in MAY_BE_LAST)) and all(byte in LETTERS for byte in kind)


def has_all(wanted: tuple[set[bytes], ...], seen: set[bytes]) -> bool:
    return all(kinds & seen for kinds in wanted)


def misfit() -> BadSourceError:
    return BadSourceError("not_mp4", "The boxes of the file do not fit into each other.")


def beside_media() -> BadSourceError:
    return BadSourceError("not_mp4", "The tables of the video point beside its media.")
