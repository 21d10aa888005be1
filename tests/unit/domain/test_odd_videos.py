"""Files that stray from the standard where no player minds: taken as they are, refused when cut or bent."""

from collections.abc import Callable, Iterator
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.builders import box
from tests.unit.domain.muxed import LAYOUTS, Muxed, edited, muxed, pictures, settled, top_boxes
from vidu_relay.domain.errors import BadSourceError
from vidu_relay.domain.video_proof import VideoFacts, VideoProof

FIRST = muxed(Muxed("libx264", flags="faststart", audio="aac", frames=30))
LAST = muxed(Muxed("libx264", audio="aac", frames=30))
FRAGMENTS = muxed(Muxed("libx264", flags="frag_keyframe+empty_moov+default_base_moof", audio="aac", frames=30))
OTHER = muxed(LAYOUTS["tall"])

STBL = (b"moov", b"trak", b"mdia", b"minf", b"stbl")
TRAF = (b"moof", b"traf")


def prove(data: bytes, block: int = 1 << 20) -> VideoFacts:
    proof = VideoProof()
    for start in range(0, len(data), block):
        proof.feed(data[start : start + block])
    return proof.finish()


def refused(data: bytes, block: int = 1 << 20) -> bool:
    try:
        prove(data, block)
    except BadSourceError as error:
        return error.code in ("truncated", "not_mp4")
    return False


def grown(path: tuple[bytes, ...], more: bytes) -> Callable[[bytes], bytes]:
    return lambda file: settled(edited(path, lambda content: content + more, file), file)


def without(*paths: tuple[bytes, ...]) -> Callable[[bytes], bytes]:
    def change(file: bytes) -> bytes:
        out = file
        for path in paths:
            out = edited(path, lambda _: None, out)
        return settled(out, file)

    return change


def behind(first: bytes) -> Callable[[bytes], bytes]:
    return lambda file: settled(first + file, file)


def movie_of(file: bytes) -> bytes:
    return next(file[start:end] for kind, start, end in top_boxes(file) if kind == b"moov")


EMPTY_TABLES = tuple((*STBL, kind) for kind in (b"stts", b"stsc", b"stsz", b"stco"))
LONGER = bytes(4) + b"\xff" * 12

ODD: dict[str, tuple[bytes, Callable[[bytes], bytes]]] = {
    "no ftyp": (FIRST, without((b"ftyp",))),
    "no ftyp, moov at the end": (LAST, without((b"ftyp",))),
    "no ftyp, fragments": (FRAGMENTS, without((b"ftyp",))),
    "room before ftyp": (FIRST, behind(box(b"free", b"f" * 30))),
    "a preview before all": (LAST, behind(box(b"pnot", bytes(12)) + box(b"wide"))),
    "styp in place of ftyp": (FRAGMENTS, lambda file: file.replace(b"ftyp", b"styp", 1)),
    "no dinf": (FIRST, without((*STBL[:4], b"dinf"))),
    "no number of a fragment": (FRAGMENTS, without((b"moof", b"mfhd"))),
    "no empty tables": (FRAGMENTS, without(*EMPTY_TABLES)),
    "longer movie header": (FIRST, grown((b"moov", b"mvhd"), LONGER)),
    "longer track header": (FIRST, grown((*STBL[:2], b"tkhd"), LONGER)),
    "longer media header": (LAST, grown((*STBL[:3], b"mdhd"), LONGER)),
    "longer picture header": (LAST, grown((*STBL[:4], b"vmhd"), LONGER)),
    "longer defaults": (FRAGMENTS, grown((b"moov", b"mvex", b"trex"), LONGER)),
    "longer number": (FRAGMENTS, grown((b"moof", b"mfhd"), LONGER)),
    "longer fragment header": (FRAGMENTS, grown((*TRAF, b"tfhd"), LONGER)),
    "a byte too many": (FIRST, grown((b"moov", b"mvhd"), b"\1")),
    "zeros behind stts": (FIRST, grown((*STBL, b"stts"), bytes(20))),
    "zeros behind stsz": (FIRST, grown((*STBL, b"stsz"), bytes(20))),
    "zeros behind stco": (FIRST, grown((*STBL, b"stco"), bytes(20))),
    "zeros behind stsc": (LAST, grown((*STBL, b"stsc"), bytes(5))),
    "zeros behind a run": (FRAGMENTS, grown((*TRAF, b"trun"), bytes(20))),
    "room of zeros in the movie": (FIRST, grown((b"moov",), bytes(5000))),
    "room of zeros in a track": (LAST, grown((b"moov", b"trak"), bytes(8))),
    "room of zeros in a fragment": (FRAGMENTS, grown(TRAF, bytes(30))),
    "the movie header again": (LAST, lambda file: file + movie_of(file)),
    "an older movie header behind": (FIRST, lambda file: file + movie_of(OTHER)),
    "the first part of a stream again": (FRAGMENTS, lambda file: file + movie_of(file)),
    "another film behind": (FIRST, lambda file: file + OTHER),
    "padding behind fragments": (FRAGMENTS, lambda file: file + bytes(999)),
    "a line end behind fragments": (FRAGMENTS, lambda file: file + b"\r\n"),
    "a page behind": (FIRST, lambda file: file + b"\r\n<html>gone</html>"),
    "text behind": (LAST, lambda file: file + b"\n--boundary--\n"),
}


@cache
def odd(name: str) -> bytes:
    file, change = ODD[name]
    return change(file)


@pytest.mark.parametrize("name", ODD)
def test_what_no_player_minds_loses_no_paid_video(name: str) -> None:
    file, _ = ODD[name]
    shown = odd(name)
    assert shown != file
    assert pictures(shown) == pictures(file)
    assert prove(shown) == prove(shown, 7) == prove(file)


# --- cut


def whole_from(name: str) -> int:
    """From which length on a cut file still shows all of the film: what was put behind a whole one may be missing."""
    file, _ = ODD[name]
    return len(file) if odd(name).startswith(file) else len(odd(name))


def may_end(file: bytes) -> set[int]:
    """Behind whole fragments, which nothing counts, and before their list."""
    boxes = list(top_boxes(file)) if b"moof" in file else []
    return {end for kind, _, end in boxes if kind == b"mdat"}


@pytest.mark.parametrize("name", ODD)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_such_a_file_cut_anywhere_is_refused(name: str, data: st.DataObject) -> None:
    file = odd(name)
    end = whole_from(name)
    ends = may_end(file[:end])
    at = data.draw(st.integers(0, end - 1).filter(lambda at: at not in ends))
    assert refused(file[:at])


@pytest.mark.parametrize("name", ["the movie header again", "another film behind", "the first part of a stream again"])
def test_a_second_movie_that_is_cut_tells_of_a_cut(name: str) -> None:
    whole = odd(name)
    start = whole_from(name)
    ends = [start, *(end for _, _, end in top_boxes(whole))]
    inside = [at for at in range(start, len(whole), 3) if all(not 0 <= at - end < 8 for end in ends)]
    assert len(inside) > 100
    assert all(refused(whole[:at]) for at in inside)


def test_a_box_of_the_file_that_is_cut_behind_a_whole_movie_tells_of_a_cut() -> None:
    for kind in (b"free", b"uuid", b"meta", b"mfra", b"moov", b"mdat"):
        whole = LAST + box(kind, b"m" * 40)
        assert refused(whole[:-1]), kind
    assert refused((LAST + box(b"vend", b"m" * 9) + box(b"free", b"f" * 9))[:-1])


# --- bent

HOLDS_BOXES = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"mvex", b"moof", b"traf"}


def sizes(file: bytes, start: int, end: int) -> Iterator[int]:
    """Where the size of each box stands, as far as boxes hold boxes."""
    at = start
    while at + 8 <= end and (size := int.from_bytes(file[at : at + 4], "big")) >= 8:
        yield at
        kind = file[at + 4 : at + 8]
        if kind in HOLDS_BOXES:
            yield from sizes(file, at + (16 if kind == b"stsd" else 8), at + size)
        at += size


@pytest.mark.parametrize("name", ODD)
def test_a_flipped_bit_in_the_size_of_a_box_of_such_a_file_is_found_out(name: str) -> None:
    file = odd(name)
    shown = passed = 0
    for at in sizes(file, 0, whole_from(name)):
        for bit in range(32):
            bent = bytearray(file)
            bent[at + 3 - bit // 8] ^= 1 << bit % 8
            shown += 1
            if not refused(bytes(bent)):
                passed += 1
                assert pictures(bytes(bent)) == pictures(file), (file[at : at + 8], bit)
    assert shown > 800
    assert passed < shown // 20


# --- whole by its boxes alone

START = top_boxes(FIRST)[0][2]
BENT: dict[str, bytes] = {
    "moov moved, chunks not": FIRST[:START] + box(b"free", bytes(40)) + FIRST[START:],
    "front lost": LAST[top_boxes(LAST)[0][2] :],
    "fragment grown, run not": edited((b"moof",), lambda content: content + box(b"free", bytes(12)), FRAGMENTS),
    "fragment shrunk, run not": edited((*TRAF, b"tfdt"), lambda _: None, FRAGMENTS),
    "fragments nobody announced": without((b"moov", b"mvex"))(FRAGMENTS),
    "fragments of no track": without((b"moov", b"mvex", b"trex"))(FRAGMENTS),
    "fragments without runs": without((*TRAF, b"trun"))(FRAGMENTS),
    "no tables": without(*EMPTY_TABLES)(LAST),
    "no sample description": without((*STBL, b"stsd", b"avc1"))(LAST),
    "zeros where fragments are missing": FRAGMENTS[: top_boxes(FRAGMENTS)[-3][1]] + bytes(900),
    "list of fragments that is none": FRAGMENTS[: top_boxes(FRAGMENTS)[-1][1]] + box(b"mfra", bytes(40)) + bytes(3),
}


@pytest.mark.parametrize("name", BENT)
def test_what_adds_up_but_shows_nothing_or_something_else_is_refused(name: str) -> None:
    assert refused(BENT[name])
