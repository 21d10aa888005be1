"""Reading the first bytes of an image on a server that may do anything: few bytes, and not for long."""

import gzip
import time
from typing import Any

import pytest

from tests.contract.socket_server import Connection, SocketServer, Treatment, answers, free_port, says
from tests.unit.pictures import jpeg, png
from vidu_relay.adapters.image_source import ImageSource
from vidu_relay.domain.errors import BadImageError
from vidu_relay.domain.image_format import ImageHead
from vidu_relay.outbound.address_guard import AddressGuard
from vidu_relay.usecases.check_references import MAX_HEAD_BYTES, _is_enough

PICTURE = png(comment=100_000)
TARGET = "/a%2Fb.png?Signature=a%2Bb+c%3D"
SIZE = len(PICTURE)


def head_of(origin: str, *, also: str = "", seconds: float = 20) -> ImageHead:
    source = ImageSource(AddressGuard(trusted_origins=(origin, also or origin)))
    return source.read_head(origin + TARGET, MAX_HEAD_BYTES, _is_enough, deadline=time.monotonic() + seconds)


def refusal(origin: str, *, seconds: float = 20) -> BadImageError:
    with pytest.raises(BadImageError) as caught:
        head_of(origin, seconds=seconds)
    assert "Signature" not in caught.value.message
    return caught.value


def reply(status: str, *headers: str, body: bytes = PICTURE, **more: Any) -> Treatment:
    return says(status, *headers, body=body, **more)


def part(last: int, whole: object, *, start: int = 0, body: bytes = PICTURE) -> Treatment:
    return reply("206 Part", f"Content-Range: bytes {start}-{last}/{whole}", body=body)


PACKED = gzip.compress(PICTURE, mtime=0)
READABLE = {
    "range": (part(SIZE - 1, SIZE), SIZE),
    "range ignored": (reply("200 OK"), SIZE),
    "no length, to the end": (reply("200 OK", length=None), SIZE),
    "gzip all the same": (reply("200 OK", "Content-Encoding: gzip", body=PACKED), len(PACKED)),
    "203": (reply("203 OK"), SIZE),
    "larger than allowed": (reply("200 OK", length=60_000_000), 60_000_000),
}


@pytest.mark.parametrize(("treatment", "size"), READABLE.values(), ids=READABLE)
def test_the_first_bytes_and_the_size_are_read_however_an_image_is_served(treatment: Treatment, size: int) -> None:
    with SocketServer(treatment) as server:
        head = head_of(server.origin)
    assert head.size == size
    assert PICTURE.startswith(head.data)
    assert size > 50_000_000 or head.data.startswith(PICTURE[:26])
    lines = server.requests[0].split(b"\r\n")
    assert lines[0] == f"GET {TARGET} HTTP/1.1".encode()
    assert {b"Range: bytes=0-1048575", b"Accept-Encoding: identity"} <= set(lines)
    assert b"authorization" not in server.requests[0].lower()


def test_server_that_ignores_the_range_cannot_make_us_read_its_body() -> None:
    sent: list[int] = []

    def pour(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n" + PICTURE)
        for _ in range(700):
            connection.send(bytes(65536))
            sent.append(65536)

    with SocketServer(pour) as server:
        assert len(head_of(server.origin).data) < 64_000
    assert sum(sent) < 40_000_000  # it was hung up on, long before the end


def test_metadata_without_end_is_given_up_after_a_mebibyte_packed_or_not() -> None:
    content = jpeg(metadata=3_000_000)
    with SocketServer(reply("200 OK", body=content)) as server:
        head = head_of(server.origin)
    assert (len(head.data), head.size) == (MAX_HEAD_BYTES, len(content))
    bomb = gzip.compress(b"\xff\xd8\xff\xe1\xff\xff" + bytes(30_000_000), 9, mtime=0)
    with SocketServer(reply("200 OK", "Content-Encoding: gzip", body=bomb)) as server:
        assert len(head_of(server.origin).data) <= MAX_HEAD_BYTES


def read_part(origin: str) -> ImageHead:
    source = ImageSource(AddressGuard(trusted_origins=[origin]))
    return source.read_head(origin, 5, lambda *_: False, deadline=time.monotonic() + 20, start=5)


def test_part_behind_the_first_bytes_is_read_and_no_other() -> None:
    with SocketServer(part(9, SIZE, start=5, body=b"01234")) as server:
        assert read_part(server.origin) == ImageHead(b"01234", SIZE)
    assert b"\r\nRange: bytes=5-9\r\n" in server.requests[0]
    for another in (reply("200 OK"), part(SIZE - 1, SIZE)):
        with SocketServer(another) as server, pytest.raises(BadImageError) as caught:
            read_part(server.origin)
        assert caught.value.code == "image_refused"


CODES = {
    "not found": (says("404 Not Found"), "image_not_found"),
    "forbidden": (says("403 Forbidden"), "image_refused"),
    "redirect to nowhere": (says("302 Found"), "image_refused"),
    "another range": (part(9, 10, start=5, body=b"01234"), "image_refused"),
    "range without saying which": (reply("206 Part", body=b"01234"), "image_refused"),
    "range of a size beyond reading": (part(4, "9" * 5000, body=b"01234"), "image_refused"),
    "unwell": (says("503 Unwell"), "image_unreachable"),
    "cut off": (reply("200 OK", body=PICTURE[:20], length=SIZE * 2), "image_unreachable"),
    "no HTTP": (answers(b"220 ftp ready\r\n"), "image_unreachable"),
    "brotli": (reply("200 OK", "Content-Encoding: br"), "image_encoding"),
    "redirects for ever": (says("302 Found", "Location: /again"), "too_many_redirects"),
    "redirect to the metadata": (says("302 Found", "Location: http://169.254.169.254/"), "address_refused"),
}


@pytest.mark.parametrize(("treatment", "code"), CODES.values(), ids=CODES)
def test_an_image_that_cannot_be_read_is_refused_with_a_code(treatment: Treatment, code: str) -> None:
    with SocketServer(treatment) as server:
        error = refusal(server.origin)
    assert error.code == code
    assert ("try again" in error.message) == (code == "image_unreachable")


def test_redirect_is_followed_and_an_empty_answer_is_an_image_of_no_bytes() -> None:
    with (
        SocketServer(READABLE["range"][0], says("416 Range Not Satisfiable")) as end,
        SocketServer(says("302 Found", f"Location: {end.origin}/x.png")) as start,
    ):
        assert head_of(start.origin, also=end.origin).size == SIZE
        assert head_of(start.origin, also=end.origin) == ImageHead(b"", 0)


def test_no_server_or_a_silent_one_is_unreachable() -> None:
    assert refusal(f"http://127.0.0.1:{free_port()}").code == "image_unreachable"
    with SocketServer(Connection.hold) as server:
        assert refusal(server.origin, seconds=0.3).code == "image_unreachable"


def test_address_inside_is_never_opened() -> None:
    with SocketServer(READABLE["range"][0]) as server:
        with pytest.raises(BadImageError) as caught:
            ImageSource(AddressGuard()).read_head(
                server.origin + TARGET, MAX_HEAD_BYTES, _is_enough, deadline=time.monotonic() + 5
            )
        assert server.requests == []
    assert caught.value.code == "address_refused"
