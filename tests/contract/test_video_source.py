import gzip
import time
from typing import Any

import pytest

from tests.contract.socket_server import (
    CHUNKED,
    Connection,
    SocketServer,
    Treatment,
    answers,
    chunks,
    floods,
    free_port,
    redirects,
    says,
    then,
)
from tests.unit.builders import mp4
from vidu_relay.adapters import video_source
from vidu_relay.adapters.video_source import VideoSource
from vidu_relay.domain.errors import BadSourceError, DeliveryInterruptedError
from vidu_relay.outbound.address_guard import AddressGuard

DATA = mp4(300_000)
TARGET = "/v%2Fw.mp4?Signature=a%2Bb+c%3D&x=;"
MAX = 1_000_000
GZIP, PACKED = "Content-Encoding: gzip", gzip.compress(DATA, mtime=0)
TO_THE_END: dict[str, Any] = {"length": None}


def source(*origins: str) -> VideoSource:
    return VideoSource(AddressGuard(trusted_origins=origins), MAX)


def fetch(origin: str, *, seconds: float = 30, block: int = 65536) -> bytes:
    opened = source(origin).open(origin + TARGET, deadline=time.monotonic() + seconds)
    with opened as stream:
        received = b""
        while data := stream.read(block):
            assert len(data) <= block
            received += data
        assert stream.length in (None, len(received))
        return received


def ok(*headers: str, body: bytes = DATA, **more: Any) -> Treatment:
    return says("200 OK", "Content-Type: video/mp4", *headers, body=body, **more)


WHOLE = {
    "length": ok(),
    "to the end of the connection": ok(**TO_THE_END),
    "chunked": ok(CHUNKED, body=chunks(DATA), **TO_THE_END),
    "gzip": ok(GZIP, body=PACKED),
    "gzip, chunked": ok(GZIP, CHUNKED, body=chunks(PACKED), **TO_THE_END),
    "gzip, to the end": ok("Content-Encoding: x-gzip", body=PACKED, **TO_THE_END),
    "gzip that is none": ok(GZIP),
    "coding that is none": ok("Content-Encoding: aws-chunked, utf-8"),
    "all of it as a part": says("206 Part", f"Content-Range: bytes 0-{len(DATA) - 1}/{len(DATA)}", body=DATA),
    "203": says("203 Non-Authoritative Information", body=DATA),
    "103 before 200": says("103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK", body=DATA),
    "exactly as large as allowed": ok(body=DATA.ljust(MAX, b"x")),
}


@pytest.mark.parametrize("treatment", WHOLE.values(), ids=WHOLE)
@pytest.mark.parametrize("block", [65536, 1 << 20, 1000])
def test_a_video_arrives_byte_for_byte_however_it_is_served(treatment: Treatment, block: int) -> None:
    with SocketServer(treatment) as server:
        received = fetch(server.origin, block=block)
    assert received[: len(DATA)] == DATA
    assert len(received) in (len(DATA), MAX)


def test_a_signed_link_is_asked_for_as_it_was_given_and_without_our_key() -> None:
    with SocketServer(ok()) as server:
        fetch(server.origin)
    lines = server.requests[0].split(b"\r\n")
    assert lines[0] == f"GET {TARGET} HTTP/1.1".encode()
    names = {line.partition(b":")[0].lower() for line in lines[1:] if line}
    assert names == {b"host", b"accept-encoding", b"user-agent"}
    assert b"Accept-Encoding: identity" in lines


# --- sources that are not the video


BAD: dict[str, tuple[str, Treatment]] = {
    "half of the gzip": ("truncated", ok(GZIP, body=PACKED[:-100], **TO_THE_END)),
    "gzip with a wrong sum": ("source_encoding", ok(GZIP, body=PACKED[:-8] + b"\0" * 8)),
    "an encoding we do not read": ("source_encoding", ok("Content-Encoding: br")),
    "gone": ("source_refused", says("404 Gone")),
    "expired": ("source_refused", says("403 Expired")),
    "a redirect to nowhere": ("source_refused", says("302 Somewhere")),
    "announced too large": ("too_large", ok(length=MAX + 1)),
    "too large, chunked": ("too_large", ok(CHUNKED, body=chunks(b"x" * (MAX + 200_000)), **TO_THE_END)),
    "too large once inflated": ("too_large", ok(GZIP, body=gzip.compress(b"\0" * (MAX + 1)))),
    "endless": ("too_large", floods(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65536)),
}


@pytest.mark.parametrize(("code", "treatment"), BAD.values(), ids=BAD)
def test_a_source_that_does_not_serve_the_video_is_bad(code: str, treatment: Treatment) -> None:
    with SocketServer(treatment) as server, pytest.raises(BadSourceError) as caught:
        fetch(server.origin)
    assert caught.value.code == code
    assert "ignature" not in f"{caught.value} {caught.value.message}", "the link is signed, and errors are recorded"


def test_a_small_file_that_inflates_without_end_is_read_in_small_blocks() -> None:
    with SocketServer(ok(GZIP, body=gzip.compress(b"\0" * 5_000_000))) as server:
        opened = source(server.origin).open(server.origin + "/", deadline=time.monotonic() + 30)
        with opened as stream:
            assert len(stream.read(1000)) <= 1000


# --- trouble on the way: tried again


SOME = ok(body=DATA[:1000], length=len(DATA))
INTERRUPTED: dict[str, Treatment] = {
    "hangs up": lambda _: None,
    "resets": Connection.reset,
    "no HTTP": answers(b"SSH-2.0-OpenSSH\r\n"),
    "silent": then(answers(b""), Connection.hold),
    "stalls": then(SOME, Connection.hold),
    "resets in the middle": then(SOME, Connection.reset),
    "throttled": says("429 Slow down"),
    "timed out": says("408 Late"),
    "unwell": says("503 Unwell"),
    "part of it": says("206 Part", body=b"x"),
    "a part that says so": says("206 Part", "Content-Range: bytes 0-0/9", body=b"x"),
    "a part of another length than it says": says("206 Part", "Content-Range: bytes 0-8/9", body=DATA),
    # an early FIN: a proxy that restarts, or a load balancer, ends its connections so
    "shorter than announced": ok(length=len(DATA) + 1),
    "nothing of it": ok(body=b"", length=len(DATA)),
    "no last chunk": ok(CHUNKED, body=chunks(DATA, end=b""), **TO_THE_END),
    "half a chunk": ok(CHUNKED, body=chunks(DATA)[:-5000], **TO_THE_END),
    "a chunk of a negative size": ok(CHUNKED, body=b"-ffff\r\n" + DATA, **TO_THE_END),
    "half of the gzip by length": ok(GZIP, body=PACKED[:-100], length=len(PACKED)),
}


@pytest.mark.parametrize("treatment", INTERRUPTED.values(), ids=INTERRUPTED)
def test_trouble_on_the_way_is_not_the_source_s_fault(treatment: Treatment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_source, "SOCKET_SECONDS", 0.3)
    with SocketServer(treatment) as server, pytest.raises(DeliveryInterruptedError):
        fetch(server.origin)


def test_a_source_that_cannot_be_reached_is_tried_again() -> None:
    with pytest.raises(DeliveryInterruptedError):
        fetch(f"http://127.0.0.1:{free_port()}")


def test_a_source_that_drips_or_takes_too_long_is_given_up_before_the_function_s_time_is() -> None:
    """Every byte comes within the socket's time-out; the function would be killed without a word."""
    left: list[int] = []

    def drips(connection: Connection) -> None:
        left.append(connection.drip(b"x" * 600, 0.05))

    for treatment, seconds in ((then(ok(body=b"", length=600), drips), 1), (ok(), -1)):
        with SocketServer(treatment) as server, pytest.raises(DeliveryInterruptedError) as caught:
            fetch(server.origin, seconds=seconds)
        assert caught.value.code == "source_too_slow"
    assert left > [0]


# --- the first bytes only, to see whether a link that was bad is well again


def probe(origin: str, first_bytes: int) -> bytes:
    opened = source(origin).open(origin + TARGET, deadline=time.monotonic() + 30, first_bytes=first_bytes)
    with opened as stream:
        assert stream.length is None
        return b"".join(iter(lambda: stream.read(65_536), b""))


@pytest.mark.parametrize(
    "treatment",
    [says("206 Part", "Content-Range: bytes 0-999/300000", body=DATA[:1000]), ok(), ok(**TO_THE_END)],
    ids=["range", "range ignored", "range ignored, no length"],
)
def test_a_probe_reads_the_first_bytes_and_no_more(treatment: Treatment) -> None:
    with SocketServer(treatment) as server:
        assert probe(server.origin, 1000) == DATA[:1000]
    assert b"\r\nRange: bytes=0-999\r\n" in server.requests[0]


def test_a_probe_of_a_link_that_is_still_bad_says_so() -> None:
    large = says("206 Part", "Content-Range: bytes 0-9/1000001", body=b"0123456789")
    for treatment, code in ((says("403 Expired"), "source_refused"), (large, "too_large")):
        with SocketServer(treatment) as server, pytest.raises(BadSourceError) as caught:
            probe(server.origin, 10)
        assert caught.value.code == code


# --- redirects


@pytest.mark.parametrize(
    ("status", "location", "asked"),
    [
        *((status, "/other?sig=a%2Bb", "/other?sig=a%2Bb") for status in (301, 302, 303, 307, 308)),
        (302, "other?sig=a%2Bb", "/other?sig=a%2Bb"),
        # what needs escaping: browsers and curl follow it
        (302, "/v/my video.mp4 ", "/v/my%20video.mp4"),
        (302, "my video.mp4?a=b c|d", "/my%20video.mp4?a=b%20c%7Cd"),
        (302, "/v/视频à….mp4", "/v/%E8%A7%86%E9%A2%91%C3%A0%E2%80%A6.mp4"),
        (302, "{origin}/v/狐.mp4", "/v/%E7%8B%90.mp4"),
    ],
)
def test_a_redirect_is_followed(status: int, location: str, asked: str) -> None:
    def leads_on(connection: Connection) -> None:
        redirects(location.replace("{origin}", server.origin), status)(connection)

    with SocketServer(leads_on, ok()) as server:
        assert fetch(server.origin) == DATA
    assert server.requests[1].startswith(f"GET {asked} HTTP/1.1\r\n".encode())


def test_three_redirects_are_followed_and_a_fourth_is_not() -> None:
    endless = floods(b"HTTP/1.1 302 Go\r\nLocation: /other\r\n\r\n", b"x" * 65536)
    hops = [redirects("/next"), endless, redirects("/next")]
    with SocketServer(*hops, ok()) as server:
        assert fetch(server.origin) == DATA
    with SocketServer(*hops, redirects("/next")) as server, pytest.raises(BadSourceError) as caught:
        fetch(server.origin)
    assert (caught.value.code, len(server.connections)) == ("too_many_redirects", 4)


@pytest.mark.parametrize(
    "location",
    [
        *(
            "http://169.254.169.254/latest/meta-data/",
            "https://169.254.169.254/latest/meta-data/",
            "https://127.0.0.1/",
        ),
        *("https://[::1]/", "http://localhost:1/", "file:///etc/passwd", "ftp://127.0.0.1/", "//169.254.169.254/"),
        *("http://[::1", "http://[", "https://x:99999999/", "\\\\127.0.0.1\\x", "http://10.0.0.1/?Signature=secret"),
    ],
)
def test_a_redirect_leads_nowhere_we_would_not_have_gone_ourselves(location: str) -> None:
    with SocketServer(redirects(location)) as server, pytest.raises(BadSourceError) as caught:
        fetch(server.origin)
    assert len(server.connections) == 1
    assert "ignature" not in f"{caught.value} {caught.value.message}"


def test_a_redirect_to_another_port_of_a_trusted_host_is_not_trusted() -> None:
    with SocketServer(ok()) as inside, SocketServer(redirects(inside.origin + "/")) as server:
        with pytest.raises(BadSourceError) as caught:
            fetch(server.origin)
        assert caught.value.code == "address_refused"
        assert inside.connections == []
