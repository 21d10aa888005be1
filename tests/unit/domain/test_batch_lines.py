"""The lines of a batch's file: where each begins and ends, whatever ends it, and no more than one of them in memory."""

import tracemalloc
from collections.abc import Iterable, Iterator
from itertools import pairwise, repeat

import pytest

from vidu_relay.domain.batch import BATCH_ID, Batch, BatchState, batch_id_of
from vidu_relay.domain.batch_lines import MAX_LINE_BYTES, FirstReading, Header, read_lines
from vidu_relay.domain.errors import InvalidRequestError
from vidu_relay.domain.identifiers import TASK_ID
from vidu_relay.domain.queued_requests import DroppedFile

BOM = b"\xef\xbb\xbf"


def chopped(content: bytes, size: int) -> Iterator[bytes]:
    return (content[at : at + size] for at in range(0, len(content), size))


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (b"a\nb\n", [b"a", b"b"]),
        (b"a\nb", [b"a", b"b"]),
        (b"a\r\nb\r\n", [b"a", b"b"]),
        (BOM + b"a\nb", [b"a", b"b"]),
        (b"a\n\n \t\r\n\nb\n\n", [b"a", b"", b" \t", b"", b"b", b""]),
        (b"a\rb\n" + BOM + b"c", [b"a\rb", BOM + b"c"]),
        (b"", []),
        (BOM, [b""]),
    ],
)
def test_lines_are_those_of_the_file_in_chunks_of_any_size(content: bytes, lines: list[bytes], size: int) -> None:
    read = list(read_lines(chopped(content, size)))
    assert [line.content for line in read] == lines
    assert [line.number for line in read] == list(range(1, len(lines) + 1))
    assert [one.end_byte for one in read] == [other.first_byte for _, other in pairwise(read)] + [len(content)] * bool(
        read
    )
    for line in read:  # each can be read again from where it begins
        again = next(read_lines(chopped(content[line.first_byte :], size), line.number, line.first_byte))
        assert again == line


@pytest.mark.parametrize(("length", "whole"), [(MAX_LINE_BYTES, True), (MAX_LINE_BYTES + 1, False)])
def test_line_that_is_too_long_is_passed_over(length: int, whole: bool) -> None:
    first, second = read_lines(chopped(b"x" * length + b"\ngood", 65_536))
    assert (first.content is not None) is whole
    assert (second.content, second.first_byte, second.end_byte) == (b"good", length + 1, length + 5)
    if not whole:
        with pytest.raises(InvalidRequestError, match="at most 1000000"):
            first.whole()


def test_long_line_and_long_file_take_no_memory() -> None:
    chunks = [b"x" * 100_000, *repeat(b"y" * 1_000_000, 200), b"\n", *repeat(b"z" * 999 + b"\n", 30_000)]
    tracemalloc.start()
    try:
        number = sum(1 for _ in read_lines(chunks))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert number == 30_001
    assert peak < 4 * MAX_LINE_BYTES


def read(chunks: Iterable[bytes]) -> FirstReading:
    reading = FirstReading()
    for _ in reading.requests(chunks):
        pass
    return reading


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "file_compressed"),
        ('{"prompt": "é"}'.encode("latin-1"), "file_not_utf8"),
        ("{}\n".encode("utf-16"), "file_not_utf8"),
        (b"{}\n\xf0\x9f", "file_not_utf8"),
        (b"", "file_empty"),
        (BOM + b"\r\n \n", "file_empty"),
        (b'{"batch": {"name": "night"}}\n\n', "file_empty"),
        (b"{}\n" * 10_001, "too_many_lines"),
        (b"\n" * 20_001, "too_many_lines"),
        (b'{"batch": {"nme": "night"}}\n{}', "validation_error"),
        (b'{"batch": {}, "model": "viduq2"}\n{}', "validation_error"),
        (b'{"batch": "night"}\n{}', "validation_error"),
        (b'{"batch": {"name": ""}}\n{}', "validation_error"),
        (b'{"batch": {"name": 7, "attempt": true, "retry_of": "x"}}\n{}', "validation_error"),
    ],
    ids=lambda value: repr(value[:20]),
)
def test_file_that_cannot_be_a_batch_is_refused(content: bytes, code: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        read(chopped(content, 7))
    assert caught.value.code == code


def test_largest_file_is_read() -> None:
    reading = read([b"\n" * 10_000, b"{}\n" * 10_000])
    assert (reading.lines, reading.last_line, reading.first_line, reading.first_byte) == (10_000, 20_000, 1, 0)


RETRY = f'{{"batch": {{"retry_of": "{batch_id_of("acme", "00")}", "attempt": 2}}}}\n'.encode()


@pytest.mark.parametrize(
    ("first", "header", "begins"),
    [
        (b'{"batch": {"name": "night"}}\n', Header("night"), (2, 29)),
        (BOM + b'\n{"batch": {}}\n', Header(), (3, 18)),
        (RETRY, Header(None, batch_id_of("acme", "00"), 2), (2, len(RETRY))),
        (b'{"prompt": "the \\"batch\\" of \\u0031"}\n', Header(), (1, 0)),
        (b'{"batch"\n', Header(), (1, 0)),
        (b'{}\n{"batch": {"name": "too late"}}\n', Header(), (1, 0)),
    ],
    ids=range(6),
)
def test_header_is_the_first_line_or_none(first: bytes, header: Header, begins: tuple[int, int]) -> None:
    reading = read([first + b"{}"])
    assert (reading.header, (reading.first_line, reading.first_byte)) == (header, begins)


NIGHT = 1_800_057_600_000
"""2027-01-16T00:00:00Z."""


@pytest.mark.parametrize("created_at", [NIGHT - 1, NIGHT, NIGHT + 500, NIGHT + 60_000])
def test_tasks_are_created_in_order_on_the_day_that_is_charged_and_never_in_the_future(created_at: int) -> None:
    batch = Batch(
        batch_id=batch_id_of("acme", "00"),
        tenant_id="acme",
        state=BatchState.ACCEPTING,
        file=DroppedFile("inbox", "requests/acme/a.jsonl", "1"),
        sha256="00",
        size=1,
        created_at=created_at,
        lines=1000,
        bad_lines=0,
        last_line=1000,
        reserved_usd="1",
    )
    moments = [batch.created_at_of(line) for line in range(1, 1001)]
    assert moments == sorted(moments)
    assert moments[-1] == created_at
    assert {moment // 86_400_000 for moment in moments} == {created_at // 86_400_000}
    ids = {batch.task_id(line) for line in range(1, 1001)}
    assert len(ids) == 1000
    assert all(TASK_ID.fullmatch(task_id) for task_id in ids)
    assert BATCH_ID.fullmatch(batch.batch_id)
    assert batch_id_of("acme", "00") != batch_id_of("globex", "00") != batch_id_of("globex", "01")
