"""What an exchange knows for certain when it fails: that nothing was sent, or only that something may have been."""

import gc
import gzip
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from local.emulator.certificate import Certificate
from tests.contract.socket_server import (
    CHUNKED,
    Connection,
    SocketServer,
    Treatment,
    answers,
    floods,
    free_port,
    says,
    server_context,
    then,
)
from vidu_relay.outbound import exchange as outbound
from vidu_relay.outbound.exchange import (
    MAX_REPLY_BYTES,
    BrokenExchangeError,
    NotSentError,
    Reply,
    Session,
    _tls,
    exchange,
)

BODY = b'{"prompt":"\xc3\xa9"}'
LARGE = b"x" * 20_000_000 + b"}"
OK = says("200 OK", "Content-Type: application/json", "X-Odd: a", body=b"{}")
HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"


def post(url: str, **more: Any) -> Reply:
    arguments: dict[str, Any] = {
        "headers": {"Authorization": "Bearer ours", "Content-Type": "application/json"},
        "body": BODY,
        "seconds": 20,
    }
    return exchange("POST", url, **{**arguments, **more})


@pytest.fixture
def tls(certificate: Certificate) -> ssl.SSLContext:
    return server_context(certificate)


# --- what arrives


def test_one_request_goes_out_as_it_was_given_and_nothing_of_the_machine_s_own_gets_into_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A netrc entry would replace our Authorization header, a proxy would see it."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with SocketServer(OK) as server:
        reply = post(f"{server.origin}/a%2Fb?x=1")
    assert (reply.status, reply.body, reply.headers["x-odd"]) == (200, b"{}", "a")
    (request,) = server.requests
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /a%2Fb?x=1 HTTP/1.1"
    assert {b"Authorization: Bearer ours", b"Accept-Encoding: identity"} <= set(lines)
    assert body == BODY


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 401, 408, 429, 500, 503])
def test_an_error_or_a_redirect_is_an_answer_and_nothing_is_sent_again(status: int) -> None:
    """The create call would be sent again, to another host."""
    with SocketServer(OK) as elsewhere:
        answer = says(f"{status} E", f"Location: {elsewhere.origin}/", "Retry-After: 0", body=b"x")
        with SocketServer(answer) as server:
            reply = post(server.origin)
        assert (reply.status, reply.headers["retry-after"], reply.body) == (status, "0", b"x")
        assert len(server.requests) == 1
        assert elsewhere.connections == []


@pytest.mark.parametrize(
    "treatment",
    [
        says("200 OK", body=b"abcd"),
        says("200 OK", CHUNKED, body=b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n", length=None),
        says("200 OK", "Connection: close", body=b"abcd", length=None),
        # RFC 9110 15.2: a client must take any 1xx before the final reply
        *(
            says(f"{interim}\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK", body=b"abcd")
            for interim in ("100 Continue", "102 Processing", "103 Early Hints", "199 Odd")
        ),
        says(
            "200 OK",
            *(f"X-{n}: y" for n in range(200)),
            f"X-Long: {'z' * 70_000}\r\n folded",
            body=b"abcd, more",
            length=4,
        ),
    ],
)
def test_a_reply_is_read_whole_however_it_is_framed(treatment: Treatment) -> None:
    with SocketServer(treatment) as server:
        reply = post(server.origin)
    assert (reply.status, reply.body) == (200, b"abcd")
    assert "link" not in reply.headers


JSON = b'{"id": "gen-1"}'
CODED: dict[str, tuple[str, bytes]] = {
    "gzip": ("gzip", gzip.compress(JSON)),
    "gzip in another spelling": ("X-GZip ", gzip.compress(JSON)),
    "deflate": ("deflate", zlib.compress(JSON)),
    "gzip twice": ("gzip, gzip", gzip.compress(gzip.compress(JSON))),
    "gzip said twice": ("gzip, gzip", gzip.compress(JSON)),
    "gzip behind what is none": ("aws-chunked,gzip", gzip.compress(JSON)),
    **{word or "empty": (word, JSON) for word in ("gzip", "deflate", "identity, identity", "UTF-8", "video/mp4", "")},
}


@pytest.mark.parametrize(("coding", "body"), CODED.values(), ids=CODED)
def test_bytes_prove_what_content_encoding_says(coding: str, body: bytes) -> None:
    with SocketServer(says("200 OK", f"Content-Encoding: {coding}", body=body)) as server:
        assert post(server.origin).body == JSON


# --- certainly not sent


def test_without_a_connection_nothing_was_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    def times_out(*_: Any, **__: Any) -> Any:
        raise TimeoutError

    for url in (f"http://127.0.0.1:{free_port()}/", "http://", "http://[::1/", "nonsense", "http://127.0.0.1:99999/"):
        with pytest.raises(NotSentError):
            post(url)
    for name, trouble in (("getaddrinfo", fails), ("create_connection", times_out)):
        with monkeypatch.context() as now:
            now.setattr(socket, name, trouble)
            with pytest.raises(NotSentError):
                post("http://127.0.0.1:9/" if name == "create_connection" else "http://provider.invalid/")


def hangs_up(connection: Connection) -> None:
    """Accept and close."""


# Early releases of Python 3.11 leave a socket whose handshake never began to the garbage collector, which says so.
leaves_a_socket = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@leaves_a_socket
@pytest.mark.parametrize(
    ("treatment", "seconds"), [(hangs_up, 2), (Connection.reset, 2), (says("400 plain"), 0.5), (Connection.hold, 0.3)]
)
def test_a_failed_tls_handshake_sent_nothing(treatment: Treatment, seconds: float) -> None:
    with SocketServer(treatment) as server, pytest.raises(NotSentError):
        post(f"https://127.0.0.1:{server.port}/", seconds=seconds)
    gc.collect()
    assert not any(b"Bearer ours" in request or b"prompt" in request for request in server.requests)


@leaves_a_socket
def test_a_certificate_that_only_this_machine_trusts_is_refused_before_the_key_is_sent(
    tls: ssl.SSLContext, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.ca_bundle))  # where Python finds the system's store
    _tls.cache_clear()
    with SocketServer(OK, tls=tls) as server, pytest.raises(NotSentError):
        post(server.origin)
    gc.collect()
    assert server.connections == []


@pytest.mark.parametrize("key", ["k\n", "k\r\nX: y", "k\u2019"])
def test_a_key_that_fits_no_header_sent_nothing(key: str) -> None:
    with SocketServer(OK) as server, pytest.raises(NotSentError):
        post(server.origin, headers={"Authorization": f"Bearer {key}"})
    assert not any(server.requests)


# --- may have had its effect


def resets(connection: Connection) -> None:
    connection.read_request()
    connection.reset()


def drips(connection: Connection) -> None:
    connection.drip(b" " * 600, 0.05)


def broken_chunks(body: bytes) -> Treatment:
    return says("200 OK", CHUNKED, body=body, length=None)


BROKEN: dict[str, Treatment] = {
    "closed without a word": answers(b""),
    "reset after the request": resets,
    "silence": then(answers(b""), Connection.hold),
    "half a head, then silence": then(answers(b"HTTP/1.1 200 OK\r\nContent-"), Connection.hold),
    "no HTTP at all": answers(b"SSH-2.0-OpenSSH\r\n"),
    "half a body": answers(HALF),
    "half a body, then silence": then(answers(HALF), Connection.hold),
    "half a chunked body": broken_chunks(b"5\r\nab"),
    "no last chunk": broken_chunks(b"2\r\nab\r\n"),
    "no chunks at all": broken_chunks(b"nonsense"),
    "a chunk of a negative size": broken_chunks(b"-ffff\r\n" + b"a" * 99),
    "a chunk of a size without an end": broken_chunks(b"9" * 5000 + b"\r\n" + b"a" * 99),
    "half of its gzip": says("200 OK", "Content-Encoding: gzip", body=gzip.compress(b"{}" * 50, mtime=0)[:20]),
    "a coding that is not read": says("200 OK", "Content-Encoding: br", body=b"{}"),
    "drips": then(says("200 OK", length=600), drips),
    "a head without end": says("200 OK", f"X-Long: {'x' * 300_000}"),
    "headers without number": says("200 OK", *(f"X-{n}: y" for n in range(40_000))),
    "interim replies without end": floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_once_something_was_sent_the_outcome_is_unknown_and_nothing_is_sent_again(name: str) -> None:
    with SocketServer(BROKEN[name]) as server, pytest.raises(BrokenExchangeError) as caught:
        post(server.origin + "/callback?token=secret", seconds=1 if "silence" in name or "drips" in name else 20)
    assert len(server.connections) == 1
    assert BODY in server.requests[0]
    assert not {"secret", "ours"} & set(str(caught.value).split()), "the message of an error is logged"


def test_a_tls_connection_that_breaks_after_the_request_may_have_had_its_effect(
    tls: ssl.SSLContext, trusting: None
) -> None:
    """A TLS error is no proof that nothing was sent."""
    with SocketServer(resets, OK, tls=tls) as server:
        with pytest.raises(BrokenExchangeError):
            post(server.origin)
        assert post(server.origin).body == b"{}"
    assert BODY in server.requests[0]


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 302 Go\r\nLocation: /elsewhere\r\n\r\n"])
def test_an_endless_reply_is_given_up(head: bytes) -> None:
    """requests itself would read that of a redirect into memory, to prepare the request that follows it."""
    with SocketServer(floods(head, b"x" * 65536)) as server, pytest.raises(BrokenExchangeError, match="longer than"):
        post(server.origin)
    assert len(server.connections) == 1


@pytest.mark.parametrize("over", [0, 1])
def test_a_reply_may_have_eight_mebibytes_and_no_byte_more(over: int) -> None:
    with SocketServer(says("200 OK", body=b"x" * (MAX_REPLY_BYTES + over))) as server:
        if over:
            with pytest.raises(BrokenExchangeError):
                post(server.origin)
        else:
            assert len(post(server.origin).body) == MAX_REPLY_BYTES


# --- a request that broke off: certainly no effect until its last byte was handed over


def takes_some(connection: Connection) -> None:
    """Read the beginning of the request, and close."""
    connection._receive()


@pytest.mark.parametrize(
    "treatment", [then(takes_some, Connection.reset), takes_some, hangs_up, then(takes_some, lambda c: c.send(HALF))]
)
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_a_request_that_breaks_off_before_its_last_byte_had_no_effect(
    treatment: Treatment, secure: bool, tls: ssl.SSLContext, trusting: None
) -> None:
    """A JSON body ends in its closing brace: what lacks it creates nothing."""
    with SocketServer(treatment, tls=tls if secure else None) as server, pytest.raises(NotSentError):
        post(server.origin, body=LARGE[-4_000_000:])


def reads_slowly(seconds: float, then: bytes) -> Treatment:
    """Take a few bytes now and then, for so long, and then all that comes."""

    def treat(connection: Connection) -> None:
        until, sock = time.monotonic() + seconds, connection._socket
        while time.monotonic() < until:
            connection.request = sock.recv(2048)
            time.sleep(0.01)
        while connection.request and not connection.request.endswith(b"}"):
            connection.request = sock.recv(1_000_000)
        connection.send(then)

    return treat


def test_a_slow_upload_is_waited_for_longer_than_connecting_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """Off-peak requests carry up to 20 MB of images."""
    monkeypatch.setattr(outbound, "CONNECT_SECONDS", 0.3)
    with SocketServer(reads_slowly(0.9, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) as server:
        assert post(server.origin, body=LARGE, seconds=60).status == 200


def test_a_server_that_takes_no_more_bytes_has_stalled_and_nothing_was_created(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(outbound, "LATE_REPLY_SECONDS", 0.1)
    began = time.monotonic()
    with SocketServer(Connection.hold) as server, pytest.raises(NotSentError) as caught:
        post(server.origin, body=LARGE, seconds=60)
    assert caught.value.timed_out
    assert time.monotonic() - began < 30, "the stall ended it, not the deadline"


def test_an_upload_ends_with_the_deadline_however_busily_it_is_read() -> None:
    with SocketServer(reads_slowly(1.5, b"")) as server, pytest.raises(NotSentError) as caught:
        post(server.origin, body=LARGE, seconds=0.5)
    assert caught.value.timed_out


@pytest.mark.parametrize("after", [hangs_up, Connection.hold], ids=["closes", "stops reading"])
def test_a_reply_that_is_there_when_sending_breaks_decides(after: Treatment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider refused the request before it had read it: that is an answer, and not a connection to try again."""
    monkeypatch.setattr(outbound, "STALL_SECONDS", 0.5)

    def refuses(connection: Connection) -> None:
        connection._receive()
        connection.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}")

    with SocketServer(then(refuses, after)) as server:
        assert post(server.origin, body=LARGE, seconds=60).status == 413


# --- one deadline for everything


def test_a_name_look_up_that_never_ends_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hangs(*_: Any, **__: Any) -> Any:
        released.wait(30)
        raise socket.gaierror(socket.EAI_AGAIN, "never")

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    began = time.monotonic()
    with pytest.raises(NotSentError, match="cannot be resolved in time"):
        post("http://provider.example/generation", seconds=0.3)
    assert time.monotonic() - began < 20
    released.set()


def test_addresses_that_take_no_connection_share_the_time_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def swallows(_: object, timeout: float) -> socket.socket:
        asked.append(timeout)
        time.sleep(timeout)
        raise TimeoutError

    dead = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.1.{number}", 1)) for number in range(1, 9)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: dead)
    monkeypatch.setattr(socket, "create_connection", swallows)
    monkeypatch.setattr(outbound, "CONNECT_SECONDS", 0.4)
    with pytest.raises(NotSentError):
        post("http://provider.example/generation", seconds=30)
    assert len(asked) == 4
    assert sum(asked) < 3


# --- a connection that is kept


@pytest.fixture
def session() -> Iterator[Session]:
    with Session() as kept:
        yield kept


def test_a_kept_connection_is_used_again_and_proves_nothing(session: Session) -> None:
    def twice(connection: Connection) -> None:
        for _ in range(2):
            connection.request = b""
            OK(connection)

    with SocketServer(twice) as server:
        for _ in range(2):
            assert post(server.origin, session=session).status == 200
    assert len(server.connections) == 1
    with pytest.raises(BrokenExchangeError):
        post(f"http://127.0.0.1:{free_port()}/", session=session)


def test_a_kept_session_follows_no_redirect_and_sends_back_no_cookie(session: Session) -> None:
    sets = says("302 Go", "Location: /x", "Set-Cookie: who=tenant-a; Path=/", "Connection: close", body=b"{}")
    with SocketServer(sets) as server:
        for _ in range(2):
            exchange("GET", f"{server.origin}/", headers={}, seconds=20, session=session)
        assert len(server.requests) == 2
        assert not any(b"cookie:" in request.lower() for request in server.requests)


@pytest.mark.parametrize(
    ("form", "left"),
    [
        *((form, "…") for form in ("sk-0123/456+789abcdef", "sk-0123%2F456%2B789abcdef", "sk-0123\\/456+789abcdef")),
        ("ours", "ours"),  # too short to be distinguished from a word
    ],
)
def test_a_reply_that_repeats_our_key_is_read_without_it(form: str, left: str) -> None:
    """Errors are shown to tenants, and a provider may quote the key that it did not like."""
    with SocketServer(says("401 Unauthorized", body=f"the key {form} is not ({form})".encode())) as server:
        key = "ours" if form == "ours" else "sk-0123/456+789abcdef"
        reply = post(server.origin, headers={"Authorization": f"Bearer {key}"})
    assert reply.body.decode() == f"the key {left} is not ({left})"
