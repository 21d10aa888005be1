"""The proof that the bytes passing by are an MP4 file, and all of it: files made of single boxes."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.builders import box, movie, mp4, track
from tests.unit.domain.proving import prove, refusal
from vidu_relay.domain import video_proof
from vidu_relay.domain.errors import BadSourceError
from vidu_relay.domain.video_proof import MAX_HEADER_BYTES, UNKNOWN, VideoFacts, VideoProof

FTYP = box(b"ftyp", b"isom\0\0\2\0isomiso2")
MOOV = movie()
MDAT = box(b"mdat", b"d" * 40)
FREE = box(b"free", b"f" * 10)
FACTS = VideoFacts(5.0, 1280, 720)


def full(kind: bytes, content: bytes = b"", *, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, version.to_bytes(1, "big") + flags.to_bytes(3, "big") + content)


def words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "big") for number in numbers)


def chunks(*offsets: int) -> bytes:
    return full(b"stco", words(len(offsets), *offsets))


def fragment(*runs: bytes, header: bytes = words(1), flags: int = 0) -> bytes:
    return box(b"moof", box(b"traf", full(b"tfhd", header, flags=flags) + b"".join(runs)))


RUN = full(b"trun", words(25))
MVEX = box(b"mvex", full(b"trex", words(1, 1, 40, 0, 0)))
GOOD = {
    "moov first": FTYP + MOOV + MDAT,
    "mdat first": FTYP + MDAT + MOOV,
    "free boxes": FTYP + FREE + MOOV + FREE + MDAT + FREE,
    "empty box": FTYP + box(b"free") + MOOV + MDAT,
    "64-bit mdat": FTYP + MOOV + box(b"mdat", b"d" * 40, wide=True),
    "64-bit mdat before moov": FTYP + box(b"mdat", b"d" * 40, wide=True) + MOOV,
    "64-bit moov": FTYP + box(b"moov", MOOV[8:], wide=True) + MDAT,
    "last box to the end": FTYP + MOOV + box(b"mdat", b"d" * 40, size=0),
    "no ftyp": MOOV + MDAT,
    "free box first": FREE + FTYP + MOOV + MDAT,
    "a second movie": FTYP + MOOV + MDAT + movie(track(pixels=(8, 8)), ticks=1),
    "styp first": box(b"styp", b"msdh") + movie(track(), MVEX) + fragment(RUN) + MDAT,
    "a preview before all": box(b"pnot", bytes(12)) + box(b"wide") + FTYP + MOOV + MDAT,
    "a second file behind": FTYP + MOOV + MDAT + FTYP + movie(track(pixels=(8, 8))) + MDAT,
    "a box of another name": FTYP + MOOV + MDAT + box(b"AIGC", b"label") + FREE,
    "fragments": FTYP + movie(track(), MVEX) + (fragment(RUN) + MDAT) * 3,
    "a fragment without samples at the end": FTYP + movie(track(), MVEX) + fragment(RUN) + MDAT + fragment(),
}


@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD)
@pytest.mark.parametrize("block", [1, 9, 17, 1 << 20])
def test_a_whole_file_is_accepted_in_blocks_of_any_size(data: bytes, block: int) -> None:
    assert prove(data, block) == FACTS


# --- refused


@pytest.mark.parametrize("name", ["moov first", "mdat first", "64-bit mdat", "64-bit mdat before moov", "64-bit moov"])
def test_a_file_cut_anywhere_is_refused(name: str) -> None:
    data = GOOD[name]
    assert {refusal(data[:end], 13) for end in range(len(data))} == {"truncated", "not_mp4"}


def test_a_fragmented_file_is_refused_at_every_cut_that_is_not_behind_media() -> None:
    """Behind media data it may end: only the length that the source states tells of this cut."""
    data = GOOD["fragments"]
    ends = {end for end in range(1, len(data)) if data[:end].endswith(MDAT)}
    assert len(ends) == 2
    assert {end for end in range(len(data)) if refusal(data[:end]) is None} == ends


def test_media_that_run_beyond_the_end_of_the_file_cannot_be_told_from_a_cut() -> None:
    assert refusal(FTYP + MOOV + box(b"mdat", b"d" * 40, size=8 + 40 + 64)) == "truncated"


def test_a_box_that_is_cut_behind_a_complete_movie_tells_of_a_cut() -> None:
    for kind in (b"free", b"uuid", b"meta", b"mfra", b"moov", b"mdat", b"moof"):
        assert refusal((mp4() + box(kind, b"m" * 40))[:-1]) == "truncated", kind
    assert refusal((mp4() + box(b"AIGC", b"m" * 9) + FREE)[:-1]) == "truncated"
    assert refusal((GOOD["fragments"] + box(b"AIGC", b"m" * 9))[:-1]) == "truncated"


NO_MP4 = [
    b"",
    b"<!DOCTYPE html><html>expired</html>",
    b'{"error": "AccessDenied"}',
    b"\0" * 64,
    b"\xff" * 64,
    b"\x1a\x45\xdf\xa3" + b"\0" * 40,  # WebM
    b"RIFF\0\0\0\0AVI LIST",
    box(b"trak") + FTYP + MOOV + MDAT,
    FTYP,
    FTYP + MOOV,
    FTYP + MDAT,
    FTYP + MOOV + box(b"mdat"),
    FTYP + MOOV + box(b"free", size=7) + MDAT,
    FTYP + MOOV + b"\0\0\0\x09\0\0\0\0" + MDAT,
    FTYP + MOOV + box(b"mdat", size=1) + (15).to_bytes(8, "big"),
    FTYP + MOOV + box(b"mdat", size=1) + (0).to_bytes(8, "big"),
    box(b"ftyp", size=0) + MOOV + MDAT,
    FTYP + box(b"free", size=0) + MOOV + MDAT,
    FTYP + movie(track(), MVEX) + fragment(RUN) + MDAT + bytes(99),  # zeros in place of the other fragments
    FTYP + movie(track(handler=b"soun")) + MDAT,
    FTYP + movie(FREE) + MDAT,
]


@pytest.mark.parametrize("data", NO_MP4, ids=range(len(NO_MP4)))
@pytest.mark.parametrize("block", [3, 1 << 20])
def test_what_is_no_mp4_is_refused(data: bytes, block: int) -> None:
    assert refusal(data, block) == "not_mp4"


def test_what_is_no_mp4_is_refused_at_its_first_bytes() -> None:
    with pytest.raises(BadSourceError):
        VideoProof().feed(b"<!DOCTYP")


@pytest.mark.parametrize("at", [0, len(FTYP), len(FTYP + MOOV)])
@given(size=st.integers(0, 2**32 - 1) | st.integers(0, 1000))
@settings(max_examples=100)
def test_a_wrong_size_of_a_box_is_refused_or_noted(at: int, size: int) -> None:
    data = FTYP + MOOV + MDAT
    last = at == len(FTYP + MOOV)
    if size == int.from_bytes(data[at : at + 4], "big") or (last and size == 0):  # 0, "to the end", is true of the last
        return
    forged = data[:at] + size.to_bytes(4, "big") + data[at + 4 :]
    assert refusal(forged) in ("not_mp4", "truncated") or prove(forged).notes


# --- facts


def turned(moov: bytes) -> bytes:
    """The same movie, shown after a quarter turn."""
    upright, quarter = words(0x10000, 0, 0, 0, 0x10000), words(0, 0x10000, 0, 0xFFFF0000, 0)
    assert upright in moov
    return moov.replace(upright, quarter)


def test_a_video_turned_by_a_quarter_is_as_wide_as_it_is_shown() -> None:
    assert prove(FTYP + turned(MOOV) + MDAT) == VideoFacts(5.0, 720, 1280)


def test_headers_of_64_bits_are_read() -> None:
    wide = full(b"mvhd", b"\0" * 16 + words(600, 0, 4500) + b"\0" * 80, version=1)
    assert prove(FTYP + box(b"moov", wide + track()) + MDAT).duration_seconds == 7.5


@pytest.mark.parametrize("ticks", [0, 2**32 - 1])
def test_the_duration_of_the_track_stands_in_for_a_movie_that_does_not_say(ticks: int) -> None:
    assert prove(FTYP + movie(track(ticks=2500), ticks=ticks) + MDAT).duration_seconds == 2.5


def test_the_video_is_found_among_other_tracks() -> None:
    tracks = (track(1, handler=b"soun", pixels=(0, 0)), track(2, pixels=(640, 360)), track(3, handler=b"text"))
    assert prove(FTYP + movie(*tracks) + MDAT) == VideoFacts(5.0, 640, 360)


@pytest.mark.parametrize(
    "one",
    [
        fragment(RUN),
        fragment(full(b"trun", words(25)), header=words(1, 40), flags=0x8),
        fragment(full(b"trun", words(25)), header=words(1, 0, 0, 9, 40), flags=0x1 | 0x2 | 0x8),
        fragment(full(b"trun", words(2, 0, 0, 400, 7, 600, 7), flags=0x1 | 0x4 | 0x100 | 0x200)),
    ],
    ids=["default of the movie", "default of the fragment", "behind other fields", "each sample"],
)
def test_the_durations_of_fragments_are_summed_up(one: bytes) -> None:
    data = FTYP + movie(track(ticks=0), MVEX, ticks=0) + (one + MDAT) * 2
    assert prove(data).duration_seconds == 2.0


# --- notes


def placed(offset: int, *more: bytes) -> bytes:
    """A file with one chunk, so many bytes behind the begin of its media."""
    begin = len(FTYP + movie(track(tables=chunks(0)), *more)) + 8
    return FTYP + movie(track(tables=chunks(begin + offset)), *more) + MDAT


SHARED_AT = len(FTYP + movie(*(track(number, tables=chunks(0)) for number in (1, 2)))) + 8
LARGE_FRAGMENT = box(b"moof", bytes(MAX_HEADER_BYTES + 1))
LARGE = FTYP + movie(track(), box(b"udta", bytes(MAX_HEADER_BYTES))) + MDAT
NOTED = {
    "a movie header that says nothing": (
        FTYP + movie(track(pixels=(0, 0), timescale=0, ticks=0), timescale=0, ticks=0) + MDAT,
        UNKNOWN,
    ),
    "a large movie header": (LARGE, VideoFacts(notes=("duration_unknown", "header_not_read", "size_unknown"))),
    "a movie header without a size": (
        FTYP + MDAT + box(b"moov", MOOV[8:], size=0),
        VideoFacts(notes=("duration_unknown", "header_not_read", "size_unknown")),
    ),
    "a large fragment header": (
        FTYP + movie(track(ticks=0), MVEX, ticks=0) + fragment(RUN) + MDAT + LARGE_FRAGMENT + MDAT,
        VideoFacts(None, 1280, 720, ("duration_unknown", "header_not_read")),
    ),
    "a box that is larger than the movie": (
        FTYP + movie(track(), box(b"udta", size=99)) + MDAT,
        VideoFacts(5.0, 1280, 720, ("header_partly_read",)),
    ),
    "chunks before the media": (placed(-1), VideoFacts(5.0, 1280, 720, ("samples_outside_media",))),
    "chunks behind the media": (placed(40) + FREE, VideoFacts(5.0, 1280, 720, ("samples_outside_media",))),
    "far chunks": (
        FTYP + movie(track(tables=full(b"co64", words(1, 1, 0)))) + MDAT,
        VideoFacts(5.0, 1280, 720, ("samples_outside_media",)),
    ),
    "bytes that are no box": (mp4() + b"\xff" * 9, VideoFacts(5.0, 1280, 720, ("trailing_bytes",))),
    "the begin of a large box without a name": (
        mp4() + b"\0\0\0\1" + bytes(4),
        VideoFacts(5.0, 1280, 720, ("trailing_bytes",)),
    ),
    "less than the header of a box": (mp4() + b"\r\n", VideoFacts(5.0, 1280, 720, ("trailing_bytes",))),
    "padding behind listed fragments": (
        GOOD["fragments"] + box(b"mfra") + bytes(99),
        VideoFacts(5.0, 1280, 720, ("trailing_bytes",)),
    ),
    "two tracks on the same bytes": (
        FTYP + movie(*(track(number, tables=chunks(SHARED_AT)) for number in (1, 2))) + MDAT,
        VideoFacts(5.0, 1280, 720, ("shared_samples",)),
    ),
    "no handler": (FTYP + MOOV.replace(b"hdlr", b"free") + MDAT, VideoFacts(5.0, 1280, 720, ("track_incomplete",))),
}


@pytest.mark.parametrize(("data", "facts"), NOTED.values(), ids=NOTED)
@pytest.mark.parametrize("block", [17, 1 << 20])
def test_what_is_odd_is_noted_and_not_refused(data: bytes, facts: VideoFacts, block: int) -> None:
    assert prove(data, block) == facts


def test_chunks_within_the_media_are_not_noted() -> None:
    assert prove(placed(0)) == prove(placed(39)) == FACTS
    to_the_end = placed(39).removesuffix(MDAT) + box(b"mdat", b"d" * 40, size=0)
    assert prove(to_the_end) == prove(to_the_end, 17) == FACTS


@pytest.mark.parametrize("kind", [b"stsd", b"mdhd", b"hdlr", b"tkhd"])
def test_a_track_that_lacks_a_part_is_noted(kind: bytes) -> None:
    assert MOOV.count(kind) == 1
    assert prove(FTYP + MOOV.replace(kind, b"free") + MDAT).notes == ("track_incomplete",)


@pytest.mark.parametrize(
    "table",
    [full(b"stco", words(2**32 - 1)), full(b"co64", b"\0\0"), full(b"stts", words(9, 1)), box(b"stts")],
    ids=repr,
)
def test_a_table_is_read_as_far_as_its_box_goes(table: bytes) -> None:
    assert prove(FTYP + movie(track(tables=table)) + MDAT) == FACTS


def test_a_large_movie_header_that_is_cut_is_refused() -> None:
    assert refusal(LARGE[: -len(MDAT) - 1]) == "truncated"


def test_a_large_fragment_header_stands_in_for_neither_movie_nor_media() -> None:
    assert refusal(GOOD["fragments"] + LARGE_FRAGMENT) == "truncated"
    assert refusal(GOOD["fragments"] + fragment(RUN) + box(b"mfra") + b"\r\n") == "truncated"
    assert refusal(FTYP + LARGE_FRAGMENT + MDAT) == "not_mp4"


# --- memory


def test_a_large_header_costs_no_memory() -> None:
    block = bytes(1 << 18)
    tracemalloc.start()
    proof = VideoProof()
    proof.feed(FTYP + box(b"moov", size=1 << 28))
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(64):
        proof.feed(block)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < 1 << 16


def test_a_header_of_the_largest_size_that_is_read_costs_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Full of tracks without content, or of one table; 60 bytes for each of the header at most."""
    monkeypatch.setattr(video_proof, "MAX_HEADER_BYTES", 1 << 16)
    room = (1 << 16) - 2000
    for content in (track() + box(b"trak") * (room // 8), track(tables=chunks(*[9] * (room // 4)))):
        data = FTYP + movie(content) + MDAT
        tracemalloc.start()
        assert prove(data).duration_seconds == 5.0
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 4 << 20


def test_an_enormous_box_costs_no_memory() -> None:
    proof = VideoProof()
    proof.feed(FTYP + MOOV + box(b"mdat", size=1) + (2**63).to_bytes(8, "big"))
    for _ in range(100):
        proof.feed(b"x" * 10_000)
    assert len(proof._taken) == 0
    with pytest.raises(BadSourceError):
        proof.finish()


KINDS = st.sampled_from([b"free", b"moov", b"mdat", b"moof", b"mfra", b"skip", b"AIGC"])
boxes = st.lists(st.builds(box, KINDS, st.binary(max_size=30) | st.just(MOOV[8:]), wide=st.booleans()), max_size=6)


@given(parts=boxes, cuts=st.lists(st.integers(1, 40), min_size=1))
@settings(max_examples=150)
def test_how_the_bytes_arrive_does_not_change_the_result(parts: list[bytes], cuts: list[int]) -> None:
    data = FTYP + b"".join(parts)
    assert refusal(data, cuts[0]) == refusal(data)
    if refusal(data) is None:
        assert prove(data, cuts[0]) == prove(data)
        places = [sum(cuts[: number + 1]) for number in range(len(cuts)) if sum(cuts[: number + 1]) < len(data)]
        assert prove(data, cuts=places) == prove(data)
