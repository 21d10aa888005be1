"""Reading a video from a source that may do anything."""

import gzip
import time
from collections.abc import Callable

import pytest

from tests.contract.socket_server import Connection, SocketServer, answers, free_port
from tests.unit.builders import mp4
from vidu_relay.adapters import video_source
from vidu_relay.adapters.video_source import VideoSource
from vidu_relay.domain.errors import BadSourceError, DeliveryInterruptedError
from vidu_relay.outbound.address_guard import AddressGuard

DATA = mp4(300_000)
TARGET = "/v%2Fw.mp4?Signature=a%2Bb+c%3D&x=;"
MAX = 1_000_000


def source(*origins: str, max_bytes: int = MAX) -> VideoSource:
    return VideoSource(AddressGuard(trusted_origins=origins), max_bytes)


def fetch(origin: str, *, max_bytes: int = MAX, seconds: float = 30, block: int = 65536, also: str = "") -> bytes:
    opened = source(origin, also or origin, max_bytes=max_bytes).open(
        origin + TARGET, deadline=time.monotonic() + seconds
    )
    with opened as stream:
        received = b""
        while data := stream.read(block):
            assert len(data) <= block
            received += data
        assert stream.length in (None, len(received))
        return received


def ok(*headers: bytes, body: bytes = DATA) -> Callable[[Connection], None]:
    return answers(b"\r\n".join([b"HTTP/1.1 200 OK", b"Content-Type: video/mp4", *headers, b"", b""]) + body)


def length(number: int) -> bytes:
    return b"Content-Length: %d" % number


CHUNKED = b"Transfer-Encoding: chunked"
GZIP = b"Content-Encoding: gzip"


def chunks(data: bytes, size: int = 50_000) -> bytes:
    parts = [data[start : start + size] for start in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)


def says(*lines: str) -> Callable[[Connection], None]:
    head = "\r\n".join(["HTTP/1.1 " + lines[0], *lines[1:], f"Content-Length: {len(DATA)}", "", ""])
    return answers(head.encode() + DATA)


PACKED = gzip.compress(DATA, mtime=0)

WHOLE = {
    "length": ok(length(len(DATA))),
    "to the end of the connection": ok(),
    "chunked": ok(CHUNKED, body=chunks(DATA) + b"0\r\n\r\n"),
    "identity": ok(b"Content-Encoding: identity", length(len(DATA))),
    "gzip": ok(GZIP, length(len(PACKED)), body=PACKED),
    "gzip, chunked": ok(GZIP, CHUNKED, body=chunks(PACKED) + b"0\r\n\r\n"),
    "gzip, to the end": ok(b"Content-Encoding: x-gzip", body=PACKED),
    "gzip that is none": ok(GZIP, length(len(DATA))),
    "gzip behind what is none": ok(b"Content-Encoding: aws-chunked,gzip", length(len(PACKED)), body=PACKED),
    **{
        f"coding {coding or 'empty'}": ok(f"Content-Encoding: {coding}".encode(), length(len(DATA)))
        for coding in ("aws-chunked", "identity, identity", "UTF-8", "base64", "binary", "none", "video/mp4", "")
    },
    "all of it as a part": says("206 Part", f"Content-Range: bytes 0-{len(DATA) - 1}/{len(DATA)}"),
    "203": says("203 Non-Authoritative Information"),
    "103 before 200": says("103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\nHTTP/1.1 200 OK"),
    "150 header lines": ok(*(b"X-%d: y" % number for number in range(150)), length(len(DATA))),
    "a header of 70 KB": ok(b"Content-Security-Policy: " + b"x" * 70_000, length(len(DATA))),
}


@pytest.mark.parametrize("treatment", WHOLE.values(), ids=WHOLE)
@pytest.mark.parametrize("block", [65536, 1 << 20, 1000])
def test_a_video_arrives_byte_for_byte_however_it_is_served(
    treatment: Callable[[Connection], None], block: int
) -> None:
    with SocketServer(treatment) as server:
        assert fetch(server.origin, block=block) == DATA


def test_a_signed_link_is_asked_for_as_it_was_given_and_without_our_key() -> None:
    with SocketServer(ok(length(len(DATA)))) as server:
        fetch(server.origin)
    lines = server.requests[0].split(b"\r\n")
    assert lines[0] == f"GET {TARGET} HTTP/1.1".encode()
    names = {line.partition(b":")[0].lower() for line in lines[1:] if line}
    assert names == {b"host", b"accept-encoding", b"user-agent"}
    assert b"Accept-Encoding: identity" in lines


# --- sources that are not the video


BAD: dict[str, tuple[str, Callable[[Connection], None]]] = {
    "half of the gzip": ("truncated", ok(GZIP, body=PACKED[:-100])),
    "gzip with a wrong sum": ("source_encoding", ok(GZIP, body=PACKED[:-8] + b"\0" * 8)),
    "an encoding we do not read": ("source_encoding", ok(b"Content-Encoding: br")),
    "gone": ("source_refused", answers(b"HTTP/1.1 404 Gone\r\n\r\n")),
    "expired": ("source_refused", answers(b"HTTP/1.1 403 Expired\r\n\r\n")),
    "a redirect to nowhere": ("source_refused", answers(b"HTTP/1.1 302 Somewhere\r\n\r\n")),
    "announced too large": ("too_large", ok(length(MAX + 1))),
    "too large": ("too_large", ok(body=b"x" * (MAX + 1))),
    "too large, chunked": ("too_large", ok(CHUNKED, body=chunks(b"x" * (MAX + 200_000)))),
    "too large once inflated": ("too_large", ok(GZIP, body=gzip.compress(b"\0" * (MAX + 1)))),
}


@pytest.mark.parametrize(("code", "treatment"), BAD.values(), ids=BAD)
def test_a_source_that_does_not_serve_the_video_is_bad(code: str, treatment: Callable[[Connection], None]) -> None:
    with SocketServer(treatment) as server, pytest.raises(BadSourceError) as caught:
        fetch(server.origin)
    assert caught.value.code == code


@pytest.mark.parametrize("framing", [[length(MAX)], []])
def test_a_video_may_be_exactly_as_large_as_allowed(framing: list[bytes]) -> None:
    with SocketServer(ok(*framing, body=b"x" * MAX)) as server:
        assert len(fetch(server.origin)) == MAX


def endless(connection: Connection) -> None:
    answers(b"HTTP/1.1 200 OK\r\n\r\n")(connection)
    while True:
        connection.send(b"x" * 65536)


def test_an_endless_source_is_given_up() -> None:
    with SocketServer(endless) as server, pytest.raises(BadSourceError) as caught:
        fetch(server.origin)
    assert caught.value.code == "too_large"


def test_a_small_file_that_inflates_without_end_is_read_in_small_blocks() -> None:
    bomb = gzip.compress(b"\0" * 5_000_000)
    with SocketServer(ok(GZIP, length(len(bomb)), body=bomb)) as server:
        opened = source(server.origin).open(server.origin + "/", deadline=time.monotonic() + 30)
        with opened as stream:
            assert len(stream.read(1000)) <= 1000


# --- trouble on the way: tried again


def silent(connection: Connection) -> None:
    connection.read_request()
    connection.hold()


def stalls(connection: Connection) -> None:
    ok(length(len(DATA)), body=DATA[:1000])(connection)
    connection.hold()


def resets(connection: Connection) -> None:
    ok(length(len(DATA)), body=DATA[:1000])(connection)
    connection.reset()


INTERRUPTED: dict[str, Callable[[Connection], None]] = {
    "hangs up": lambda _: None,
    "resets": Connection.reset,
    "no HTTP": answers(b"SSH-2.0-OpenSSH\r\n"),
    "silent": silent,
    "stalls": stalls,
    "resets in the middle": resets,
    "throttled": answers(b"HTTP/1.1 429 Slow down\r\n\r\n"),
    "timed out": answers(b"HTTP/1.1 408 Late\r\n\r\n"),
    "unwell": answers(b"HTTP/1.1 503 Unwell\r\n\r\n"),
    "part of it": answers(b"HTTP/1.1 206 Part\r\nContent-Length: 1\r\n\r\nx"),
    "a part that says so": answers(b"HTTP/1.1 206 Part\r\nContent-Range: bytes 0-0/9\r\nContent-Length: 1\r\n\r\nx"),
    "headers that break off": answers(b"HTTP/1.1 200 OK\r\nContent-Le"),
    # an early FIN: a proxy that restarts, or a load balancer, ends its connections so
    "shorter than announced": ok(length(len(DATA) + 1)),
    "half of it": ok(length(len(DATA)), body=DATA[:1000]),
    "nothing of it": ok(length(len(DATA)), body=b""),
    "no last chunk": ok(CHUNKED, body=chunks(DATA)),
    "half a chunk": ok(CHUNKED, body=chunks(DATA)[:-5000]),
    "chunks that are none": ok(CHUNKED, body=b"nonsense\r\n" + DATA),
    "a chunk of a negative size": ok(CHUNKED, body=b"-ffff\r\n" + DATA),
    "half of the gzip by length": ok(GZIP, length(len(PACKED)), body=PACKED[:-100]),
}


@pytest.mark.parametrize("treatment", INTERRUPTED.values(), ids=INTERRUPTED)
def test_trouble_on_the_way_is_not_the_source_s_fault(
    treatment: Callable[[Connection], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_source, "SOCKET_SECONDS", 0.3)
    with SocketServer(treatment) as server, pytest.raises(DeliveryInterruptedError):
        fetch(server.origin)


def test_a_source_that_cannot_be_reached_is_tried_again() -> None:
    with pytest.raises(DeliveryInterruptedError):
        fetch(f"http://127.0.0.1:{free_port()}")


def test_a_source_that_drips_is_given_up_before_the_function_s_time_is() -> None:
    """Every byte comes within the socket's time-out; the function would be killed without a word."""
    left: list[int] = []

    def drips(connection: Connection) -> None:
        ok(length(600), body=b"")(connection)
        left.append(connection.drip(b"x" * 600, 0.05))

    with SocketServer(drips) as server, pytest.raises(DeliveryInterruptedError) as caught:
        fetch(server.origin, seconds=1)
    assert caught.value.code == "source_too_slow"
    assert left > [0]


def test_a_video_that_takes_too_long_is_given_up() -> None:
    with SocketServer(ok(length(len(DATA)))) as server, pytest.raises(DeliveryInterruptedError) as caught:
        fetch(server.origin, seconds=-1)
    assert caught.value.code == "source_too_slow"


# --- the first bytes only, to see whether a link that was bad is well again


def probe(origin: str, first_bytes: int) -> bytes:
    opened = source(origin).open(origin + TARGET, deadline=time.monotonic() + 30, first_bytes=first_bytes)
    with opened as stream:
        assert stream.length is None
        return b"".join(iter(lambda: stream.read(65_536), b""))


@pytest.mark.parametrize(
    "treatment",
    [
        answers(
            b"HTTP/1.1 206 Part\r\nContent-Range: bytes 0-999/300000\r\nContent-Length: 1000\r\n\r\n" + DATA[:1000]
        ),
        ok(length(len(DATA))),
        ok(),
    ],
    ids=["range", "range ignored", "range ignored, no length"],
)
def test_a_probe_reads_the_first_bytes_and_no_more(treatment: Callable[[Connection], None]) -> None:
    with SocketServer(treatment) as server:
        assert probe(server.origin, 1000) == DATA[:1000]
    assert b"\r\nRange: bytes=0-999\r\n" in server.requests[0]


def test_a_probe_of_a_link_that_is_still_bad_says_so() -> None:
    for answer, code in (
        (b"HTTP/1.1 403 Expired\r\n\r\n", "source_refused"),
        (b"HTTP/1.1 206 Part\r\nContent-Range: bytes 0-9/1000001\r\nContent-Length: 10\r\n\r\n0123456789", "too_large"),
    ):
        with SocketServer(answers(answer)) as server, pytest.raises(BadSourceError) as caught:
            probe(server.origin, 10)
        assert caught.value.code == code


# --- redirects


def redirect(location: str, status: int = 302) -> Callable[[Connection], None]:
    return answers(f"HTTP/1.1 {status} Elsewhere\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/other?sig=a%2Bb", "other?sig=a%2Bb"])
def test_a_redirect_is_followed(status: int, location: str) -> None:
    with SocketServer(redirect(location, status), ok(length(len(DATA)))) as server:
        assert fetch(server.origin) == DATA
    assert server.requests[1].startswith(b"GET /other?sig=a%2Bb HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        ("/v/my video.mp4 ", "/v/my%20video.mp4"),
        ("my video.mp4?a=b c|d", "/my%20video.mp4?a=b%20c%7Cd"),
        ("/v/视频à….mp4", "/v/%E8%A7%86%E9%A2%91%C3%A0%E2%80%A6.mp4"),
        ("{origin}/v/狐.mp4", "/v/%E7%8B%90.mp4"),
    ],
)
def test_a_redirect_that_needs_escaping_is_followed(location: str, asked: str) -> None:
    """Browsers and curl follow it."""

    def leads_on(connection: Connection) -> None:
        redirect(location.replace("{origin}", server.origin))(connection)

    with SocketServer(leads_on, ok(length(len(DATA)))) as server:
        assert fetch(server.origin) == DATA
    assert server.requests[1].startswith(f"GET {asked} HTTP/1.1\r\n".encode())


def test_a_redirect_with_a_body_without_end_is_followed_at_once() -> None:
    def floods(connection: Connection) -> None:
        answers(b"HTTP/1.1 302 Go\r\nLocation: /other\r\n\r\n")(connection)
        while True:
            connection.send(b"x" * 65536)

    with SocketServer(floods, ok(length(len(DATA)))) as server:
        assert fetch(server.origin) == DATA


def test_three_redirects_are_followed_and_a_fourth_is_not() -> None:
    hops = [redirect("/next")] * 3
    with SocketServer(*hops, ok(length(len(DATA)))) as server:
        assert fetch(server.origin) == DATA
    with SocketServer(*hops, redirect("/next")) as server, pytest.raises(BadSourceError) as caught:
        fetch(server.origin)
    assert caught.value.code == "too_many_redirects"
    assert len(server.connections) == 4


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/latest/meta-data/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "http://localhost:1/",
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "//169.254.169.254/",
        "http://[::1",
        "http://[",
        "https://x:99999999/",
        "\\\\127.0.0.1\\x",
    ],
)
def test_a_redirect_leads_nowhere_we_would_not_have_gone_ourselves(location: str) -> None:
    with SocketServer(redirect(location)) as server, pytest.raises(BadSourceError):
        fetch(server.origin)
    assert len(server.connections) == 1


def test_a_redirect_to_another_port_of_a_trusted_host_is_not_trusted() -> None:
    with SocketServer(ok(length(len(DATA)))) as inside, SocketServer(redirect(inside.origin + "/")) as server:
        with pytest.raises(BadSourceError) as caught:
            fetch(server.origin)
        assert caught.value.code == "address_refused"
        assert inside.connections == []


def test_no_error_repeats_the_link() -> None:
    """It is signed, and errors are logged and recorded."""
    for treatment in (redirect("http://10.0.0.1/?Signature=secret"), answers(b"HTTP/1.1 403 Expired\r\n\r\n")):
        with SocketServer(treatment) as server, pytest.raises(BadSourceError) as caught:
            fetch(server.origin)
        assert "ignature" not in f"{caught.value} {caught.value.message}"
