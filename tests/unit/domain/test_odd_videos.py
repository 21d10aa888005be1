"""Files that stray from the standard where no player minds: accepted, and refused when they are cut."""

from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.builders import box
from tests.unit.domain.muxed import LAYOUTS, Muxed, edited, muxed, pictures, settled, top_boxes
from tests.unit.domain.proving import prove, refusal

FIRST = muxed(Muxed("libx264", flags="faststart", audio="aac", frames=30))
LAST = muxed(Muxed("libx264", audio="aac", frames=30))
FRAGMENTS = muxed(Muxed("libx264", flags="frag_keyframe+empty_moov+default_base_moof", audio="aac", frames=30))
OTHER = muxed(LAYOUTS["tall"])

STBL = (b"trak", b"mdia", b"minf", b"stbl")


def within(kind: bytes, file: bytes) -> list[bytes]:
    """The boxes of one kind in a box or a file."""
    return [file[start:end] for found, start, end in top_boxes(file) if found == kind]


(MOOV,) = within(b"moov", FIRST)
PICTURES, SOUND = within(b"trak", MOOV[8:])
BARE = box(b"trak", within(b"tkhd", SOUND[8:])[0])


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


def sound_without_stsd(file: bytes) -> bytes:
    bare = edited((*STBL, b"stsd"), lambda _: None, SOUND)
    return settled(edited((b"moov",), lambda content: content.replace(SOUND, bare), file), file)


EMPTY_TABLES = tuple((b"moov", *STBL, kind) for kind in (b"stts", b"stsc", b"stsz", b"stco"))
TRAILING, SHARED, INCOMPLETE = ("trailing_bytes",), ("shared_samples",), ("track_incomplete",)

ODD: dict[str, tuple[bytes, Callable[[bytes], bytes], tuple[str, ...]]] = {
    "no ftyp": (FIRST, without((b"ftyp",)), ()),
    "no ftyp, moov at the end": (LAST, without((b"ftyp",)), ()),
    "no ftyp, fragments": (FRAGMENTS, without((b"ftyp",)), ()),
    "room before ftyp": (FIRST, behind(box(b"free", b"f" * 30)), ()),
    "a preview before all": (LAST, behind(box(b"pnot", bytes(12)) + box(b"wide")), ()),
    "styp in place of ftyp": (FRAGMENTS, lambda file: file.replace(b"ftyp", b"styp", 1), ()),
    "no dinf": (FIRST, without((b"moov", *STBL[:3], b"dinf")), ()),
    "no number of a fragment": (FRAGMENTS, without((b"moof", b"mfhd")), ()),
    "no empty tables": (FRAGMENTS, without(*EMPTY_TABLES), ()),
    "longer movie header": (FIRST, grown((b"moov", b"mvhd"), bytes(4) + b"\xff" * 12), ()),
    "zeros behind stco": (FIRST, grown((b"moov", *STBL, b"stco"), bytes(20)), ()),
    "zeros behind a run": (FRAGMENTS, grown((b"moof", b"traf", b"trun"), bytes(20)), ()),
    "room of zeros in the movie": (FIRST, grown((b"moov",), bytes(5000)), ()),
    "the movie header again": (LAST, lambda file: file + within(b"moov", file)[0], ()),
    "an older movie header behind": (FIRST, lambda file: file + within(b"moov", OTHER)[0], ()),
    "the first part of a stream again": (FRAGMENTS, lambda file: file + within(b"moov", file)[0], ()),
    "another movie behind": (FIRST, lambda file: file + OTHER, ()),
    "a few zeros behind": (LAST, lambda file: file + bytes(3), TRAILING),
    "a block of zeros behind": (FIRST, lambda file: file + bytes(5000), TRAILING),
    "no box behind": (FIRST, lambda file: file + b"\0\0\0\x05\xff" * 9, TRAILING),
    "padding behind fragments": (FRAGMENTS, lambda file: file + bytes(999), TRAILING),
    "a line end behind fragments": (FRAGMENTS, lambda file: file + b"\r\n", TRAILING),
    "a page behind": (FIRST, lambda file: file + b"\r\n<html>gone</html>", TRAILING),
    "text behind": (LAST, lambda file: file + b"\n--boundary--\n", TRAILING),
    "the video track twice": (FIRST, grown((b"moov",), PICTURES), SHARED),
    "a text track on the bytes of the sound": (FIRST, grown((b"moov",), SOUND.replace(b"soun", b"text", 1)), SHARED),
    "a track that is a header alone": (
        FIRST,
        grown((b"moov",), box(b"trak", within(b"tkhd", SOUND[8:])[0])),
        INCOMPLETE,
    ),
    "a sound track without stsd": (FIRST, sound_without_stsd, INCOMPLETE),
}


@cache
def odd(name: str) -> bytes:
    file, change, _ = ODD[name]
    return change(file)


@pytest.mark.parametrize("name", ODD)
def test_what_no_player_minds_loses_no_paid_video(name: str) -> None:
    file, _, notes = ODD[name]
    shown, facts = odd(name), prove(file)
    assert shown != file
    assert facts.notes == ()
    assert pictures(shown) == pictures(file)
    assert prove(shown) == prove(shown, 7)
    found = prove(shown)
    assert (found.duration_seconds, found.width, found.height) == (facts.duration_seconds, facts.width, facts.height)
    assert found.notes == notes


# --- cut


def whole_from(name: str) -> int:
    """From which length on a cut file still shows all: what was put behind a whole one may be missing."""
    file = ODD[name][0]
    return len(file) if odd(name).startswith(file) else len(odd(name))


@pytest.mark.parametrize("name", ODD)
@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_such_a_file_cut_anywhere_is_refused(name: str, data: st.DataObject) -> None:
    """Only behind the media of a fragment it may end."""
    file = odd(name)
    end = whole_from(name)
    ends = {end for kind, _, end in top_boxes(file[:end]) if kind == b"mdat"} if b"moof" in file else set()
    at = data.draw(st.integers(0, end - 1).filter(lambda at: at not in ends))
    assert refusal(file[:at]) in ("truncated", "not_mp4")


@pytest.mark.parametrize("name", ["the movie header again", "another movie behind", "the first part of a stream again"])
def test_a_second_movie_that_is_cut_tells_of_a_cut(name: str) -> None:
    whole = odd(name)
    start = whole_from(name)
    ends = [start, *(end for _, _, end in top_boxes(whole))]
    inside = [at for at in range(start, len(whole), 29) if all(not 0 <= at - end < 8 for end in ends)]
    assert len(inside) > 10
    assert all(refusal(whole[:at]) for at in inside)


# --- whole by its boxes alone


def test_a_movie_header_that_was_moved_without_its_offsets_is_noted() -> None:
    start = top_boxes(FIRST)[0][2]
    moved = FIRST[:start] + box(b"free", bytes(40_000)) + FIRST[start:]
    assert prove(moved).notes == ("samples_outside_media",)


def test_zeros_in_place_of_fragments_are_refused() -> None:
    assert refusal(FRAGMENTS[: top_boxes(FRAGMENTS)[-3][1]] + bytes(900)) == "not_mp4"
