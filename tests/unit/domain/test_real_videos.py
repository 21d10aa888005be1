"""Files of a real muxer: accepted whole with what FFmpeg says of them, refused when anything is missing."""

from collections.abc import Iterator

import pytest

from tests.unit.builders import box
from tests.unit.domain.muxed import (
    LAYOUTS,
    RATE,
    Muxed,
    edited,
    muxed,
    seen_by_the_muxer,
    top_boxes,
)
from tests.unit.domain.proving import prove, refusal
from vidu_relay.domain.video_proof import VideoProof

HARMLESS = {b"free", b"skip", b"uuid", b"mfra"}
"""Boxes at the end of a file without which it shows the same."""


@pytest.mark.parametrize("what", LAYOUTS.values(), ids=LAYOUTS)
def test_every_layout_is_accepted_with_what_the_muxer_says(what: Muxed) -> None:
    data = muxed(what)
    seconds, width, height = seen_by_the_muxer(data)
    facts = prove(data)
    assert facts.notes == ()
    assert (facts.width, facts.height) == (width, height) == (what.width, what.height)
    assert facts.duration_seconds is not None
    # B-frames are shown up to two frames later than they are stored, sound may be longer by a packet
    assert abs(facts.duration_seconds - seconds) <= 2 / RATE + 0.01
    assert abs(facts.duration_seconds - what.frames / RATE) <= 2 / RATE + 0.01


@pytest.mark.parametrize("what", LAYOUTS.values(), ids=LAYOUTS)
def test_a_file_passed_over_where_nothing_need_be_seen_is_found_the_same(what: Muxed) -> None:
    file, proof, at, seen = muxed(what), VideoProof(), 0, 0
    while at < len(file):
        unseen = min(len(file) - at, proof.unseen if proof.unseen is not None else len(file))
        if unseen:
            proof.pass_over(unseen)
        else:
            seen += 1
            proof.feed(file[at : at + 1])
        at += unseen or 1
    assert proof.finish() == prove(file)
    assert seen < len(file) // 2


# --- cut


def cut_points(file: bytes) -> Iterator[int]:
    """Every end of a box, the bytes around it, and the middle of each box."""
    for _, start, end in top_boxes(file):
        yield from (start + 1, start + 4, start + 7, start + 8, start + 9, (start + end) // 2, end - 1, end)


def lost(file: bytes, at: int) -> set[bytes]:
    """Kinds of the boxes that are missing in a file cut at the end of one."""
    return {kind for kind, start, _ in top_boxes(file) if start >= at}


def may_pass(file: bytes, at: int) -> bool:
    """Whether a cut leaves a whole file: boxes are gone without which it shows the same, or whole fragments."""
    kinds = {kind for kind, _, _ in top_boxes(file)}
    missing = lost(file, at)
    gone = HARMLESS | {b"moof", b"mdat", b"sidx"} if b"moof" in kinds else HARMLESS
    behind = {end for kind, _, end in top_boxes(file) if kind in HARMLESS | {b"mdat", b"sidx"}}
    return at in behind and missing <= gone


@pytest.mark.parametrize("what", LAYOUTS.values(), ids=LAYOUTS)
def test_a_file_cut_at_a_box_is_refused(what: Muxed) -> None:
    file = muxed(what)
    for at in set(cut_points(file)) - {len(file)}:
        assert refusal(file[:at]) or may_pass(file, at), (at, lost(file, at))


def test_a_file_cut_where_no_size_tells_is_noted_if_chunks_are_lost() -> None:
    """Media that run to the end of the file: only the length that the source states is a proof."""
    whole = muxed(LAYOUTS["moov first, with sound"])
    (start,) = (start for kind, start, _ in top_boxes(whole) if kind == b"mdat")
    file = whole[:start] + bytes(4) + whole[start + 4 :]
    assert prove(file) == prove(whole)
    assert prove(file[: start + 100]).notes == ("samples_outside_media",)


# --- what players take, and providers write


def with_more_at(path: tuple[bytes, ...], more: bytes, file: bytes) -> bytes:
    """The same file with bytes added at the end of each box with this path, the sizes around it made right."""
    return edited(path, lambda content: content + more, file)


IN_THE_MOVIE = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd")
FOUND_IN_THE_WILD = {
    "C2PA or AIGC metadata": box(b"uuid", b"\xd8\xfe\xc3\xd6" + b"m" * 60),
    "metadata of players": box(b"meta", bytes(4) + box(b"hdlr", bytes(24)) + box(b"ilst", box(b"\xa9nam", b"n"))),
    "metadata of QuickTime, ended by zeros": box(b"udta", box(b"\xa9xyz", b"+0") + bytes(4)),
    "a vendor's box": box(b"\xe9\x00\x01x", b"v" * 9),
    "room": box(b"skip", b"s" * 20),
    "edit list": box(b"edts", box(b"elst", bytes(8))),
    "track reference": box(b"tref", box(b"cdsc", bytes(4))),
    "sample groups": box(b"sgpd", bytes(16)) + box(b"sbgp", bytes(12)),
    "object descriptor": box(b"iods", bytes(16)),
    "zeros that are too few for a box": bytes(4),
}


@pytest.mark.parametrize("more", FOUND_IN_THE_WILD.values(), ids=FOUND_IN_THE_WILD)
@pytest.mark.parametrize("depth", range(1, len(IN_THE_MOVIE) + 1))
def test_what_writers_add_anywhere_in_the_movie_loses_no_paid_video(depth: int, more: bytes) -> None:
    file = muxed(LAYOUTS["moov at the end, with sound"])
    assert prove(with_more_at(IN_THE_MOVIE[:depth], more, file)) == prove(file)


@pytest.mark.parametrize("name", ["moov first, with sound", "moov at the end", "fragments, with sound"])
def test_zeros_in_place_of_what_is_missing_are_refused(name: str) -> None:
    """A file that was given its length before its content."""
    file = muxed(LAYOUTS[name])
    *_, (_, start, _) = top_boxes(file)
    assert refusal(file[:start] + bytes(len(file) - start))


# --- not a video in MP4


def _sound_only() -> bytes:
    """A whole file whose video track says that it is sound."""
    return muxed(LAYOUTS["moov first"]).replace(b"vide", b"soun")


FOREIGN = {
    "WebM": muxed(Muxed("libvpx", container="webm")),
    "Matroska": muxed(Muxed(container="matroska")),
    "AVI": muxed(Muxed(container="avi")),
    "FLV": muxed(Muxed("flv1", container="flv")),
    "MPEG-TS": muxed(Muxed(container="mpegts")),
    "sound only": _sound_only(),
    "HEIC": box(b"ftyp", b"heic\0\0\0\0mif1heic") + box(b"meta", b"\0" * 90) + box(b"mdat", b"x" * 900),
}


@pytest.mark.parametrize("data", FOREIGN.values(), ids=FOREIGN)
@pytest.mark.parametrize("end", [None, 700])
def test_a_foreign_file_is_refused(data: bytes, end: int | None) -> None:
    assert refusal(data[:end]) in ("truncated", "not_mp4")
