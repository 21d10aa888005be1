"""The proof that the bytes passing by are an MP4 file, and all of it."""

import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.builders import box, movie, mp4, track
from vidu_relay.domain.errors import BadSourceError
from vidu_relay.domain.video_proof import MAX_TRACKS, VideoFacts, VideoProof

FTYP = box(b"ftyp", b"isom\0\0\2\0isomiso2")
MOOV = movie()
MDAT = box(b"mdat", b"d" * 40)
FREE = box(b"free", b"f" * 10)


def prove(data: bytes, block: int = 1 << 20) -> VideoFacts:
    proof = VideoProof()
    for start in range(0, len(data), block):
        proof.feed(data[start : start + block])
    return proof.finish()


def fault(data: bytes, block: int = 1 << 20) -> str:
    with pytest.raises(BadSourceError) as caught:
        prove(data, block)
    return caught.value.code


GOOD = {
    "moov first": FTYP + MOOV + MDAT,
    "mdat first": FTYP + MDAT + MOOV,
    "free boxes": FTYP + FREE + MOOV + FREE + MDAT + FREE,
    "empty box": FTYP + box(b"free") + MOOV + MDAT,
    "64-bit mdat": FTYP + MOOV + box(b"mdat", b"d" * 40, wide=True),
    "64-bit mdat before moov": FTYP + box(b"mdat", b"d" * 40, wide=True) + MOOV,
    "64-bit ftyp": box(b"ftyp", b"isom", wide=True) + MOOV + MDAT,
    "last box to the end": FTYP + MOOV + box(b"mdat", b"d" * 40, size=0),
    "moov to the end": FTYP + MDAT + b"\0\0\0\0" + MOOV[4:],
    "no ftyp": MOOV + MDAT,
    "mdat, ftyp, moov": MDAT + FTYP + MOOV,
    "free box first": FREE + FTYP + MOOV + MDAT,
    "a second movie": FTYP + MOOV + MDAT + movie(track(pixels=(8, 8)), ticks=1),
    "no dinf": FTYP + MOOV.replace(b"dinf", b"free") + MDAT,
    "fragments": FTYP + MOOV + (box(b"moof", box(b"mfhd", b"\0" * 8)) + MDAT) * 3,
}


@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD)
@pytest.mark.parametrize("block", [1, 7, 8, 9, 16, 17, 1 << 20])
def test_a_whole_file_is_proven_in_blocks_of_any_size(data: bytes, block: int) -> None:
    assert prove(data, block) == VideoFacts(5.0, 1280, 720)


def test_memoryviews_and_empty_blocks_are_taken() -> None:
    proof = VideoProof()
    for block in (b"", memoryview(mp4()), b""):
        proof.feed(block)
    proof.finish()


@pytest.mark.parametrize("name", ["moov first", "mdat first", "64-bit mdat", "64-bit mdat before moov"])
def test_a_file_cut_anywhere_is_refused(name: str) -> None:
    data = GOOD[name]
    for end in range(len(data)):
        assert fault(data[:end], 13) in ("truncated", "not_mp4")


@pytest.mark.parametrize("end", [1, 7, 9, len(FTYP) + 4, len(mp4()) - 1])
def test_a_file_cut_inside_a_box_is_called_truncated(end: int) -> None:
    assert fault(mp4()[:end]) == "truncated"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<!DOCTYPE html><html>expired</html>",
        b'{"error": "AccessDenied"}',
        b"\0" * 64,
        b"\xff" * 64,
        box(b"idat") + FTYP + MOOV + MDAT,
        box(b"trak") + FTYP + MOOV + MDAT,
        FTYP,
        FTYP + MOOV,
        FTYP + MDAT,
        FTYP + FREE,
        FTYP + MOOV + MDAT + box(b"free", size=7),
        FTYP + MOOV + box(b"mdat", size=1) + (15).to_bytes(8, "big"),
        FTYP + MOOV + box(b"mdat", size=1) + (0).to_bytes(8, "big"),
        box(b"ftyp", size=0) + MOOV + MDAT,
        FTYP + box(b"free", size=0) + MOOV + MDAT,
        b"\x1a\x45\xdf\xa3" + b"\0" * 40,  # WebM
        b"RIFF\0\0\0\0AVI LIST",
    ],
    ids=lambda data: repr(data[:12]),
)
@pytest.mark.parametrize("block", [3, 1 << 20])
def test_what_is_no_mp4_is_refused(data: bytes, block: int) -> None:
    assert fault(data, block) == "not_mp4"


def test_a_file_without_any_media_is_refused() -> None:
    assert fault(FTYP + MOOV + box(b"mdat")) == "not_mp4"


def test_what_is_no_mp4_is_refused_at_its_first_bytes() -> None:
    with pytest.raises(BadSourceError):
        VideoProof().feed(b"<!DOCTYP")


@pytest.mark.parametrize("at", [0, len(FTYP), len(FTYP + MOOV)])
@given(size=st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_a_box_size_that_lies_is_found_out(at: int, size: int) -> None:
    data = FTYP + MOOV + MDAT
    true = int.from_bytes(data[at : at + 4], "big")
    last = at == len(FTYP + MOOV)
    if size == true or (last and size == 0):  # 0: "to the end", which is true of the last box
        return
    if last and 8 <= size < true:
        return  # what is left over must be boxes itself: the next test
    forged = data[:at] + size.to_bytes(4, "big") + data[at + 4 :]
    assert fault(forged) in ("not_mp4", "truncated")


# --- what it says of itself


def full(kind: bytes, content: bytes = b"", *, version: int = 0, flags: int = 0) -> bytes:
    return box(kind, version.to_bytes(1, "big") + flags.to_bytes(3, "big") + content)


def words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "big") for number in numbers)


def turned(moov: bytes) -> bytes:
    """The same movie, shown after a quarter turn."""
    upright, quarter = words(0x10000, 0, 0, 0, 0x10000), words(0, 0x10000, 0, 0xFFFF0000, 0)
    assert upright in moov
    return moov.replace(upright, quarter)


def test_a_film_turned_by_a_quarter_is_as_wide_as_it_is_shown() -> None:
    assert prove(FTYP + turned(MOOV) + MDAT) == VideoFacts(5.0, 720, 1280)


def test_headers_of_64_bits_are_read() -> None:
    wide = full(b"mvhd", b"\0" * 16 + words(600, 0, 4500) + b"\0" * 80, version=1)
    assert prove(FTYP + box(b"moov", wide + track()) + MDAT).duration_seconds == 7.5


@pytest.mark.parametrize("ticks", [0, 2**32 - 1])
def test_the_length_of_the_track_stands_in_for_a_movie_that_does_not_say(ticks: int) -> None:
    assert prove(FTYP + movie(track(ticks=2500), ticks=ticks) + MDAT).duration_seconds == 2.5


def test_what_a_file_does_not_say_is_left_open() -> None:
    silent = movie(track(pixels=(0, 0), timescale=0, ticks=0), timescale=0, ticks=0)
    assert prove(FTYP + silent + MDAT) == VideoFacts(None, None, None)


def test_the_video_is_found_among_other_tracks() -> None:
    tracks = (track(1, handler=b"soun", pixels=(0, 0)), track(2, pixels=(640, 360)), track(3, handler=b"text"))
    assert prove(FTYP + movie(*tracks) + MDAT) == VideoFacts(5.0, 640, 360)


def test_an_announced_length_of_a_fragmented_film_is_taken() -> None:
    mvex = box(b"mvex", full(b"mehd", words(9000)) + full(b"trex", words(1, 1, 40, 0, 0)))
    fragment = box(b"moof", full(b"mfhd", words(1)) + box(b"traf", full(b"tfhd", words(1)) + full(b"trun", words(25))))
    without = box(b"mvex", full(b"trex", words(1, 1, 40, 0, 0)))
    assert prove(FTYP + movie(track(), mvex, ticks=0) + fragment + MDAT).duration_seconds == 9.0
    assert prove(FTYP + movie(track(), without, ticks=0) + fragment + MDAT).duration_seconds == 1.0


# --- what its tables point to


def chunks(*offsets: int) -> bytes:
    return full(b"stco", words(len(offsets), *offsets))


def sizes(*weights: int) -> bytes:
    return full(b"stsz", words(0, len(weights), *weights))


def spread(offsets: list[int]) -> bytes:
    return full(b"co64", words(len(offsets)) + b"".join(offset.to_bytes(8, "big") for offset in offsets))


def small_sizes(bits: int, *weights: int) -> bytes:
    """Sizes of few bits each; of 4, two to a byte."""
    whole = sum(weight << bits * (len(weights) - 1 - at) for at, weight in enumerate(weights))
    odd = -len(weights) * bits % 8
    return full(b"stz2", words(bits, len(weights)) + (whole << odd).to_bytes((len(weights) * bits + 7) // 8, "big"))


def runs(*rows: tuple[int, int]) -> bytes:
    """From which chunk on a chunk holds how many samples."""
    return full(b"stsc", words(len(rows), *(number for first, many in rows for number in (first, many, 1))))


def filled(*tables: bytes) -> bytes:
    return FTYP + movie(track(tables=b"".join(tables))) + MDAT


def test_tables_that_stay_within_the_file_are_taken() -> None:
    begins = len(filled(chunks(0, 0, 0))) - 40
    ends = begins + 40
    for tables in (chunks(begins, begins + 9, ends), sizes(10, 20, 10), full(b"stsz", words(8, 5)), spread([ends])):
        assert prove(filled(tables)) == VideoFacts(5.0, 1280, 720)


@pytest.mark.parametrize(
    "table",
    [
        chunks(1 << 9, 1 << 20),
        full(b"co64", words(1, 1, 0)),
        sizes(40, 1),
        full(b"stsz", words(8, 6)),
        small_sizes(16, 39, 2),
        small_sizes(8, 20, 20, 1),
        small_sizes(4, 15, 15, 11),
    ],
    ids=["chunk", "far chunk", "samples", "equal samples", "16 bits", "8 bits", "4 bits"],
)
def test_a_file_that_ends_before_what_its_tables_name_is_truncated(table: bytes) -> None:
    assert fault(filled(table)) == "truncated"


@pytest.mark.parametrize(
    "table", [small_sizes(16, 38, 2), small_sizes(8, 20, 20), small_sizes(4, 15, 15, 10)], ids=["16", "8", "4"]
)
def test_sizes_of_few_bits_are_taken(table: bytes) -> None:
    assert prove(filled(table)) == VideoFacts(5.0, 1280, 720)


def placed(*offsets: int, weights: tuple[int, ...], rows: tuple[tuple[int, int], ...]) -> bytes:
    """A film whose chunks begin so many bytes behind the begin of its media."""
    tables = runs(*rows), sizes(*weights)
    begins = len(filled(*tables, chunks(*(0 for _ in offsets)))) - 40
    return filled(*tables, chunks(*(begins + offset for offset in offsets)))


CHUNKS_THAT_FIT: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, int], ...]]] = {
    "one": ((0,), (10, 20, 10), ((1, 3),)),
    "equal": ((0, 20), (10, 10, 10, 10), ((1, 2),)),
    "in two runs": ((0, 10, 20), (5, 5, 5, 5, 20), ((1, 2), (3, 1))),
    "in a run that goes on": ((0, 5, 10, 25), (5, 5, 15, 15), ((1, 1), (3, 1))),
    "last one not full": ((0, 30), (10, 10, 10, 10), ((1, 3),)),
    "last one of a later run not full": ((0, 10, 25), (5, 5, 5, 5, 5, 15), ((1, 2), (2, 3))),
}


@pytest.mark.parametrize(("offsets", "weights", "rows"), CHUNKS_THAT_FIT.values(), ids=CHUNKS_THAT_FIT)
def test_chunks_that_do_not_lie_in_the_media_are_refused(
    offsets: tuple[int, ...], weights: tuple[int, ...], rows: tuple[tuple[int, int], ...]
) -> None:
    """As when the movie header was moved, or the file has lost its front."""
    assert prove(placed(*offsets, weights=weights, rows=rows)) == VideoFacts(5.0, 1280, 720)
    for moved in (-1, 1):
        bent = placed(*(offset + moved for offset in offsets), weights=weights, rows=rows)
        assert fault(bent + FREE) == "not_mp4"
        assert fault(bent) in ("not_mp4", "truncated")


def test_a_last_chunk_of_very_many_samples_is_told_by_its_last_ones() -> None:
    weights, rows = (0,) * 5000 + (40,), ((1, 5001),)
    assert prove(placed(0, weights=weights, rows=rows)) == VideoFacts(5.0, 1280, 720)
    assert fault(placed(1, weights=weights, rows=rows) + FREE) == "not_mp4"


def test_the_size_of_sound_in_quicktime_is_not_taken_by_its_word() -> None:
    """Of compressed sound it says 1 for each sample, though 64 of them are 34 bytes."""
    tables = runs((1, 39)), full(b"stsz", words(1, 39))
    begins = len(FTYP + movie(track(), track(2, handler=b"soun", tables=b"".join((*tables, chunks(0)))))) + 8
    sound = track(2, handler=b"soun", tables=b"".join((*tables, chunks(begins + 19))))
    assert prove(FTYP + movie(track(), sound) + MDAT) == VideoFacts(5.0, 1280, 720)


@pytest.mark.parametrize(
    "tables", [full(b"stsz", words(0, 0)), small_sizes(8), full(b"stsd", words(0))], ids=["none", "none of 8 bits", "-"]
)
def test_a_video_track_without_pictures_is_refused(tables: bytes) -> None:
    empty = track(tables=tables)
    if b"stsd" in tables:
        entry = MOOV[MOOV.index(b"avc1") - 4 :]
        empty = track().replace(entry[: int.from_bytes(entry[:4], "big")], b"", 1)
        empty = _shrunk(empty, track(), (b"stsd", b"stbl", b"minf", b"mdia", b"trak"))
    assert fault(FTYP + movie(empty) + MDAT) == "not_mp4"
    assert prove(FTYP + movie(empty, track(2, pixels=(640, 360))) + MDAT) == VideoFacts(5.0, 640, 360)


def _shrunk(data: bytes, was: bytes, kinds: tuple[bytes, ...]) -> bytes:
    """The sizes of these boxes made right after something was taken out of them."""
    for kind in kinds:
        at = data.index(kind) - 4
        size = int.from_bytes(data[at : at + 4], "big") - (len(was) - len(data))
        data = data[:at] + size.to_bytes(4, "big") + data[at + 4 :]
    return data


@pytest.mark.parametrize(
    "table",
    [
        full(b"stco", words(2, 1)),
        full(b"stco", words(1, 1, 1)),
        full(b"stco", words(2**32 - 1)),
        full(b"stsz", words(0, 3, 1, 1)),
        full(b"stsz", b"\0\0"),
        full(b"stz2", words(12, 2) + b"\0\1\0"),
        full(b"stz2", words(16, 2, 1, 1)),
        full(b"stsc", words(2, 1, 1, 1)),
        full(b"stts", words(2, 1, 1)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("block", [3, 1 << 20])
def test_a_table_that_does_not_fill_its_box_is_refused(table: bytes, block: int) -> None:
    assert fault(filled(table), block) == "not_mp4"


@pytest.mark.parametrize("kind", [b"stsd", b"stts", b"stsc", b"stsz", b"stco", b"mdhd", b"hdlr", b"tkhd", b"mvhd"])
def test_a_movie_that_lacks_a_part_is_refused(kind: bytes) -> None:
    assert MOOV.count(kind) == 1
    assert fault(FTYP + MOOV.replace(kind, b"free") + MDAT) == "not_mp4"


def test_a_movie_without_a_video_track_is_refused() -> None:
    assert fault(FTYP + movie(track(handler=b"soun")) + MDAT) == "not_mp4"
    assert fault(FTYP + movie(FREE) + MDAT) == "not_mp4"


def test_more_tracks_than_anyone_needs_are_refused() -> None:
    assert prove(FTYP + movie(*[track()] * MAX_TRACKS) + MDAT) == VideoFacts(5.0, 1280, 720)
    assert fault(FTYP + movie(*[track()] * (MAX_TRACKS + 1)) + MDAT) == "not_mp4"


def test_a_table_of_a_hundred_million_rows_costs_no_memory() -> None:
    rows = 10**8
    head = full(b"stsz", words(0, rows))
    moov = movie(track(tables=head + b"stts stsc stco"))
    lying = moov[: moov.index(b"stsz") + 16]
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsz"):
        at = lying.index(name) - 4
        lying = lying[:at] + (int.from_bytes(lying[at : at + 4], "big") + 4 * rows).to_bytes(4, "big") + lying[at + 4 :]
    tracemalloc.start()
    proof = VideoProof()
    proof.feed(FTYP + lying)
    block = bytes(1 << 18)
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(16):
        proof.feed(block)
    peak = tracemalloc.get_traced_memory()[1] - before
    tracemalloc.stop()
    assert peak < 1 << 20


def test_bytes_behind_the_last_box_are_found_out() -> None:
    for extra in range(1, 8):
        assert fault(mp4() + b"\xff" * extra) == "truncated"
    assert fault(mp4() + b"\xff" * 8) == "not_mp4"


def test_an_enormous_box_costs_no_memory() -> None:
    proof = VideoProof()
    proof.feed(FTYP + MOOV + box(b"mdat", size=1) + (2**63).to_bytes(8, "big"))
    for _ in range(100):
        proof.feed(b"x" * 10_000)
    assert len(proof._taken) == 0
    with pytest.raises(BadSourceError):
        proof.finish()


boxes = st.lists(
    st.builds(
        box,
        st.sampled_from([b"free", b"moov", b"mdat", b"uuid", b"skip"]),
        st.binary(max_size=30),
        wide=st.booleans(),
    ),
    max_size=5,
)


@given(parts=boxes, cuts=st.lists(st.integers(1, 40), min_size=1))
@settings(max_examples=150)
def test_how_the_bytes_arrive_does_not_change_the_verdict(parts: list[bytes], cuts: list[int]) -> None:
    def verdict(blocks: list[bytes]) -> str | None:
        proof = VideoProof()
        try:
            for block in blocks:
                proof.feed(block)
            proof.finish()
        except BadSourceError as error:
            return error.code
        return None

    data = FTYP + b"".join(parts)
    blocks, start, number = [], 0, 0
    while start < len(data):
        step = cuts[number % len(cuts)]
        blocks.append(data[start : start + step])
        start, number = start + step, number + 1
    assert verdict(blocks) == verdict([data])
    assert verdict([data, b"\0\0\0"]) is not None
