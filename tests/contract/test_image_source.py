"""Looking at an image on a server that may do anything: little is read, and not for long."""

import gzip
import time
from collections.abc import Callable

import pytest

from tests.contract.socket_server import Connection, SocketServer, answers, free_port
from tests.unit.pictures import jpeg, png
from vidu_relay.adapters.image_source import ImageSource
from vidu_relay.domain.errors import BadImageError
from vidu_relay.domain.image_reference import ImageHead
from vidu_relay.outbound.address_guard import AddressGuard
from vidu_relay.usecases.check_images import MAX_HEAD_BYTES, _is_enough

PICTURE = png(comment=100_000)
TARGET = "/a%2Fb.png?Signature=a%2Bb+c%3D"
SIZE = len(PICTURE)


def look(origin: str, *, also: str = "", seconds: float = 20) -> ImageHead:
    source = ImageSource(AddressGuard(trusted_origins=(origin, also or origin)))
    return source.read_head(origin + TARGET, MAX_HEAD_BYTES, _is_enough, deadline=time.monotonic() + seconds)


def refusal(origin: str, *, seconds: float = 20) -> BadImageError:
    with pytest.raises(BadImageError) as caught:
        look(origin, seconds=seconds)
    assert "Signature" not in caught.value.message
    return caught.value


def reply(status: int, *headers: bytes, body: bytes = PICTURE) -> Callable[[Connection], None]:
    return answers(b"\r\n".join([b"HTTP/1.1 %d Said" % status, *headers, b"", b""]) + body)


def length(number: int) -> bytes:
    return b"Content-Length: %d" % number


def content_range(last: int, whole: object) -> bytes:
    return f"Content-Range: bytes 0-{last}/{whole}".encode()


PACKED = gzip.compress(PICTURE, mtime=0)
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (SIZE, PICTURE)

READABLE = {
    "range": (reply(206, content_range(SIZE - 1, SIZE), length(SIZE)), SIZE),
    "range of a larger image": (reply(206, content_range(SIZE - 1, 40_000_000), length(SIZE)), 40_000_000),
    "range ignored": (reply(200, length(SIZE)), SIZE),
    "no length, to the end": (reply(200), SIZE),
    "chunked": (reply(200, b"Transfer-Encoding: chunked", body=CHUNKED), SIZE),
    "gzip all the same": (reply(200, b"Content-Encoding: gzip", length(len(PACKED)), body=PACKED), len(PACKED)),
    "gzip, no length": (reply(200, b"Content-Encoding: x-gzip", body=PACKED), len(PACKED)),
    "no gzip": (reply(200, b"Content-Encoding: gzip", length(SIZE)), SIZE),
    "no coding": (reply(200, b"Content-Encoding: aws-chunked, utf-8", length(SIZE)), SIZE),
    "203": (reply(203, length(SIZE)), SIZE),
    "103 before 200": (
        answers(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE + PICTURE),
        SIZE,
    ),
    "larger than allowed": (reply(200, length(60_000_000)), 60_000_000),
}


@pytest.mark.parametrize(("treatment", "size"), READABLE.values(), ids=READABLE)
def test_image_is_looked_at_however_it_is_served(treatment: Callable[[Connection], None], size: int) -> None:
    with SocketServer(treatment) as server:
        head = look(server.origin)
        assert head.size == size
        assert PICTURE.startswith(head.data)
        assert size > 50_000_000 or head.data.startswith(PICTURE[:26])


def test_image_is_asked_for_by_its_first_bytes_and_as_it_was_given() -> None:
    with SocketServer(READABLE["range"][0]) as server:
        look(server.origin)
        request = server.requests[0]
    lines = request.split(b"\r\n")
    assert lines[0] == f"GET {TARGET} HTTP/1.1".encode()
    assert b"Range: bytes=0-1048575" in lines
    assert b"Accept-Encoding: identity" in lines
    assert b"authorization" not in request.lower()


def test_server_that_ignores_the_range_cannot_make_us_read_its_body() -> None:
    sent: list[int] = []

    def pour(connection: Connection) -> None:
        connection.read_request()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n" + PICTURE)
        for _ in range(700):
            connection.send(bytes(65536))
            sent.append(65536)

    with SocketServer(pour) as server:
        assert len(look(server.origin).data) < 64_000
    assert sum(sent) < 40_000_000  # it was hung up on, long before the end


def test_metadata_without_end_is_given_up_after_a_mebibyte() -> None:
    content = jpeg(metadata=3_000_000)
    with SocketServer(reply(200, length(len(content)), body=content)) as server:
        head = look(server.origin)
    assert (len(head.data), head.size) == (MAX_HEAD_BYTES, len(content))


def test_part_behind_the_first_bytes_is_read() -> None:
    part = answers(b"HTTP/1.1 206 P\r\nContent-Range: bytes 5-9/%d\r\nContent-Length: 5\r\n\r\n01234" % SIZE)
    with SocketServer(part) as server:
        source = ImageSource(AddressGuard(trusted_origins=[server.origin]))
        head = source.read_head(server.origin, 5, lambda *_: False, deadline=time.monotonic() + 20, start=5)
    assert head == ImageHead(b"01234", SIZE)
    assert b"\r\nRange: bytes=5-9\r\n" in server.requests[0]


@pytest.mark.parametrize(
    "treatment", [reply(200, length(SIZE)), reply(206, content_range(SIZE - 1, SIZE), length(SIZE))]
)
def test_another_part_than_was_asked_for_is_refused(treatment: Callable[[Connection], None]) -> None:
    with SocketServer(treatment) as server:
        source = ImageSource(AddressGuard(trusted_origins=[server.origin]))
        with pytest.raises(BadImageError) as caught:
            source.read_head(server.origin, 5, lambda *_: False, deadline=time.monotonic() + 20, start=5)
    assert caught.value.code == "image_refused"


def test_compressed_zeros_do_not_fill_the_memory() -> None:
    bomb = gzip.compress(b"\xff\xd8\xff\xe1\xff\xff" + bytes(200_000_000), 9, mtime=0)
    with SocketServer(reply(200, b"Content-Encoding: gzip", length(len(bomb)), body=bomb)) as server:
        assert len(look(server.origin).data) <= MAX_HEAD_BYTES


CODES = {
    "not there": (reply(404, length(0), body=b""), "image_not_found"),
    "gone": (reply(410, length(0), body=b""), "image_not_found"),
    "forbidden": (reply(403, length(0), body=b""), "image_refused"),
    "redirect to nowhere": (reply(302, length(0), body=b""), "image_refused"),
    "another range": (reply(206, b"Content-Range: bytes 5-9/10", length(5), body=b"01234"), "image_refused"),
    "range without saying which": (reply(206, length(5), body=b"01234"), "image_refused"),
    "range of a size beyond reading": (
        reply(206, content_range(4, "9" * 5000), length(5), body=b"01234"),
        "image_refused",
    ),
    "unwell": (reply(503, length(0), body=b""), "image_unreachable"),
    "throttled": (reply(429, length(0), body=b""), "image_unreachable"),
    "cut off": (reply(200, length(SIZE * 2), body=PICTURE[:20]), "image_unreachable"),
    "no HTTP": (answers(b"220 ftp ready\r\n"), "image_unreachable"),
    "brotli": (reply(200, b"Content-Encoding: br", length(SIZE)), "image_encoding"),
    "redirects for ever": (reply(302, b"Location: /again", length(0), body=b""), "too_many_redirects"),
    "redirect to the inside": (reply(302, b"Location: https://127.0.0.1/x", length(0), body=b""), "address_refused"),
    "redirect to the metadata": (reply(302, b"Location: http://169.254.169.254/", length(0)), "address_refused"),
}


@pytest.mark.parametrize(("treatment", "code"), CODES.values(), ids=CODES)
def test_what_cannot_be_looked_at_is_refused_with_a_code(treatment: Callable[[Connection], None], code: str) -> None:
    with SocketServer(treatment) as server:
        error = refusal(server.origin)
    assert error.code == code
    assert ("try again" in error.message) == (code == "image_unreachable")


def test_empty_answer_is_an_image_of_no_bytes() -> None:
    with SocketServer(reply(416, length(0), body=b"")) as server:
        assert look(server.origin) == ImageHead(b"", 0)


def test_redirect_is_followed() -> None:
    with (
        SocketServer(READABLE["range"][0]) as end,
        SocketServer(reply(302, f"Location: {end.origin}/x.png".encode(), length(0), body=b"")) as start,
    ):
        assert look(start.origin, also=end.origin).size == SIZE


def test_server_that_nobody_keeps_is_unreachable() -> None:
    assert refusal(f"http://127.0.0.1:{free_port()}").code == "image_unreachable"


def test_address_inside_is_never_opened() -> None:
    with SocketServer(READABLE["range"][0]) as server:
        with pytest.raises(BadImageError) as caught:
            ImageSource(AddressGuard()).read_head(
                server.origin + TARGET, MAX_HEAD_BYTES, _is_enough, deadline=time.monotonic() + 5
            )
        assert server.requests == []
    assert caught.value.code == "address_refused"


def test_silent_server_is_given_up_at_the_deadline() -> None:
    with SocketServer(Connection.hold) as server:
        assert refusal(server.origin, seconds=0.3).code == "image_unreachable"


def test_header_that_drips_is_given_up_at_the_deadline() -> None:
    left: list[int] = []

    def drip(connection: Connection) -> None:
        connection.read_request()
        left.append(connection.drip(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 2000, 0.02))

    with SocketServer(drip) as server:
        assert refusal(server.origin, seconds=1).code == "image_unreachable"
    assert left[0] > 0
