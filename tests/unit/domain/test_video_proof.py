"""The proof that the bytes passing by are an MP4 file, and all of it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.builders import box, mp4
from vidu_relay.domain.errors import BadSourceError
from vidu_relay.domain.video_proof import VideoProof

FTYP = box(b"ftyp", b"isom\0\0\2\0isomiso2")
MOOV = box(b"moov", b"m" * 24)
MDAT = box(b"mdat", b"d" * 40)
FREE = box(b"free", b"f" * 10)


def prove(data: bytes, block: int = 1 << 20) -> None:
    proof = VideoProof()
    for start in range(0, len(data), block):
        proof.feed(data[start : start + block])
    proof.finish()


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
    "moov to the end": FTYP + MDAT + box(b"moov", b"m" * 24, size=0),
    "fragments": FTYP + MOOV + (box(b"moof", b"x" * 9) + MDAT) * 3,
}


@pytest.mark.parametrize("data", GOOD.values(), ids=GOOD)
@pytest.mark.parametrize("block", [1, 7, 8, 9, 16, 17, 1 << 20])
def test_a_whole_file_is_proven_in_blocks_of_any_size(data: bytes, block: int) -> None:
    prove(data, block)


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
        MOOV + MDAT,
        MDAT + FTYP + MOOV,
        FREE + FTYP + MOOV + MDAT,
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


def test_bytes_behind_the_last_box_are_found_out() -> None:
    for extra in range(1, 8):
        assert fault(mp4() + b"\xff" * extra) == "truncated"
    assert fault(mp4() + b"\xff" * 8) == "truncated"


def test_an_enormous_box_costs_no_memory() -> None:
    proof = VideoProof()
    proof.feed(FTYP + MOOV + box(b"mdat", size=1) + (2**63).to_bytes(8, "big"))
    for _ in range(100):
        proof.feed(b"x" * 10_000)
    assert len(proof._header) == 0
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
