"""What an exchange knows for certain when it fails: that nothing was sent, or only that something may have been."""

import gc
import socket
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from local.emulator.certificate import Certificate, make_certificate
from tests.contract.socket_server import Connection, SocketServer, answers, free_port
from vidu_relay.outbound.exchange import (
    MAX_REPLY_BYTES,
    BrokenExchangeError,
    NotSentError,
    Reply,
    Session,
    exchange,
)

BODY = b'{"prompt":"\xc3\xa9"}'
LARGE = 4_000_000
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Odd: a\r\nContent-Length: 2\r\n\r\n{}"


def post(url: str, **more: Any) -> Reply:
    arguments: dict[str, Any] = {
        "headers": {"Authorization": "Bearer ours", "Content-Type": "application/json"},
        "body": BODY,
        "connect_seconds": 10,
        "reply_seconds": 10,
    }
    return exchange("POST", url, **{**arguments, **more})


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def tls(certificate: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    return context


@pytest.fixture
def trusted(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the client trust the test's authority."""
    context = ssl.create_default_context(cafile=str(certificate.ca_bundle))
    monkeypatch.setattr("vidu_relay.outbound.exchange._tls", lambda: context)


# --- what arrives


def test_one_request_goes_out_as_it_was_given_and_the_reply_comes_back() -> None:
    with SocketServer(answers(OK)) as server:
        reply = post(f"{server.origin}/a%2Fb?x=1")
    assert (reply.status, reply.body, reply.headers["x-odd"]) == (200, b"{}", "a")
    (request,) = server.requests
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /a%2Fb?x=1 HTTP/1.1"
    assert b"Authorization: Bearer ours" in lines
    assert b"Accept-Encoding: identity" in lines
    assert body == BODY


def test_nothing_of_the_machine_s_own_gets_into_the_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A netrc entry would replace our Authorization header, a proxy would see it."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with SocketServer(answers(OK)) as server:
        assert post(server.origin).status == 200
    assert b"\r\nAuthorization: Bearer ours\r\n" in server.requests[0]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_is_not_followed(status: int) -> None:
    """The create call would be sent again, to somebody else."""
    with SocketServer(answers(OK)) as elsewhere:
        location = f"HTTP/1.1 {status} Elsewhere\r\nLocation: {elsewhere.origin}/\r\nContent-Length: 0\r\n\r\n"
        with SocketServer(answers(location.encode())) as server:
            assert post(server.origin).status == status
        assert len(server.requests) == 1
        assert elsewhere.connections == []


@pytest.mark.parametrize("status", [500, 502, 503, 429, 408, 401])
def test_an_error_is_an_answer_and_nothing_is_retried(status: int) -> None:
    with SocketServer(answers(b"HTTP/1.1 %d E\r\nRetry-After: 0\r\nContent-Length: 1\r\n\r\nx" % status)) as server:
        assert post(server.origin) == Reply(status, {"retry-after": "0", "content-length": "1"}, b"x")
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "framing",
    [
        b"Content-Length: 4\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n",
        b"Connection: close\r\n\r\n",
    ],
)
def test_a_reply_is_read_whole_however_it_is_framed(framing: bytes) -> None:
    body = b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n" if b"chunked" in framing else b"abcd"
    with SocketServer(answers(b"HTTP/1.1 200 OK\r\n" + framing + body)) as server:
        assert post(server.origin).body == b"abcd"


# --- certainly not sent


def test_a_name_that_does_not_resolve_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(NotSentError):
        post("http://provider.invalid/generation")


def test_a_refused_connection_sent_nothing() -> None:
    with pytest.raises(NotSentError):
        post(f"http://127.0.0.1:{free_port()}/")


def test_a_connection_that_times_out_sent_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def times_out(*_: Any, **__: Any) -> Any:
        raise TimeoutError

    monkeypatch.setattr("urllib3.util.connection.create_connection", times_out)
    with pytest.raises(NotSentError):
        post("http://127.0.0.1:9/")


def hangs_up(connection: Connection) -> None:
    """Accept and close."""


# Early releases of Python 3.11 leave a socket whose handshake never began to the garbage collector, which says so.
leaves_a_socket = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@leaves_a_socket
@pytest.mark.parametrize("treatment", [hangs_up, Connection.reset, answers(b"HTTP/1.1 400 plain HTTP\r\n\r\n")])
def test_a_failed_tls_handshake_sent_nothing(treatment: Callable[[Connection], None]) -> None:
    with SocketServer(treatment) as server, pytest.raises(NotSentError):
        post(f"https://127.0.0.1:{server.port}/", connect_seconds=1)
    gc.collect()
    assert not any(b"Bearer ours" in request or b"prompt" in request for request in server.requests)


@leaves_a_socket
def test_a_handshake_that_hangs_sent_nothing() -> None:
    with SocketServer(Connection.hold) as server, pytest.raises(NotSentError):
        post(f"https://127.0.0.1:{server.port}/", connect_seconds=0.2, reply_seconds=0.2)
    gc.collect()


@leaves_a_socket
def test_a_certificate_nobody_signed_is_refused_before_the_key_is_sent(tls: ssl.SSLContext) -> None:
    with SocketServer(answers(OK), tls=tls) as server, pytest.raises(NotSentError):
        post(server.origin)
    gc.collect()
    assert server.connections == []


@pytest.mark.parametrize("url", ["http://", "http://[::1/", "nonsense", "http://127.0.0.1:99999/"])
def test_a_url_that_is_none_sent_nothing(url: str) -> None:
    with pytest.raises(NotSentError):
        post(url)


@pytest.mark.parametrize("key", ["k\n", "k\r\nX: y", "k\u2019"])
def test_a_key_that_fits_no_header_sent_nothing(key: str) -> None:
    with SocketServer(answers(OK)) as server, pytest.raises(NotSentError):
        post(server.origin, headers={"Authorization": f"Bearer {key}"})
    assert not any(server.requests)


# --- may have had its effect


def resets(connection: Connection) -> None:
    connection.read_request()
    connection.reset()


def holds(connection: Connection) -> None:
    connection.read_request()
    connection.hold()


def resets_in_the_middle_of_the_request(connection: Connection) -> None:
    connection._receive()
    connection.reset()


def half_a_head_then_silence(connection: Connection) -> None:
    answers(b"HTTP/1.1 200 OK\r\nContent-")(connection)
    connection.hold()


def half_a_body_then_silence(connection: Connection) -> None:
    answers(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{")(connection)
    connection.hold()


BROKEN: dict[str, Callable[[Connection], None]] = {
    "closed without a word": answers(b""),
    "reset after the request": resets,
    "silence": holds,
    "half a head, then silence": half_a_head_then_silence,
    "no HTTP at all": answers(b"SSH-2.0-OpenSSH\r\n"),
    "half a body": answers(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"),
    "half a body, then silence": half_a_body_then_silence,
    "half a chunked body": answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"),
    "no last chunk": answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n"),
    "no chunks at all": answers(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense"),
    "a chunk of a negative size": answers(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-ffff\r\n" + b"a" * 99
    ),
    "a chunk of a size without an end": answers(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"9" * 5000 + b"\r\n" + b"a" * 99
    ),
    "gzip that is none": answers(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"),
}


@pytest.mark.parametrize("treatment", BROKEN.values(), ids=BROKEN)
def test_once_something_was_sent_the_outcome_is_unknown_and_nothing_is_sent_again(
    treatment: Callable[[Connection], None],
) -> None:
    with SocketServer(treatment) as server, pytest.raises(BrokenExchangeError):
        post(server.origin, reply_seconds=1)
    assert len(server.connections) == 1
    assert BODY in server.requests[0]


def test_a_request_that_was_sent_in_part_may_have_had_its_effect() -> None:
    with SocketServer(resets_in_the_middle_of_the_request) as server, pytest.raises(BrokenExchangeError):
        post(server.origin, body=b"x" * LARGE)


def test_a_tls_connection_that_breaks_after_the_request_may_have_had_its_effect(
    tls: ssl.SSLContext, trusted: None
) -> None:
    """A TLS error is no proof that nothing was sent."""
    with SocketServer(resets, tls=tls) as server, pytest.raises(BrokenExchangeError):
        post(server.origin)
    assert BODY in server.requests[0]


def test_tls_to_a_trusted_server_works(tls: ssl.SSLContext, trusted: None) -> None:
    with SocketServer(answers(OK), tls=tls) as server:
        assert post(server.origin).body == b"{}"


def test_a_reply_that_drips_is_given_up_before_its_end() -> None:
    """Every byte comes within the socket's time-out: only the reply's own deadline ends it."""
    left: list[int] = []

    def drips(connection: Connection) -> None:
        answers(b"HTTP/1.1 200 OK\r\nContent-Length: 600\r\n\r\n")(connection)
        left.append(connection.drip(b"{" + b" " * 598 + b"}", 0.05))

    with SocketServer(drips) as server, pytest.raises(BrokenExchangeError):
        post(server.origin, connect_seconds=0.2, reply_seconds=1)
    assert left > [0]


def flood(connection: Connection) -> None:
    answers(b"HTTP/1.1 200 OK\r\n\r\n")(connection)
    while True:
        connection.send(b"x" * 65536)


def test_an_endless_reply_is_given_up() -> None:
    with SocketServer(flood) as server, pytest.raises(BrokenExchangeError, match="longer than"):
        post(server.origin, reply_seconds=10)


@pytest.mark.parametrize("over", [0, 1])
def test_a_reply_may_have_eight_mebibytes_and_no_byte_more(over: int) -> None:
    size = MAX_REPLY_BYTES + over
    treatment = answers(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    with SocketServer(treatment) as server:
        if over:
            with pytest.raises(BrokenExchangeError):
                post(server.origin, reply_seconds=10)
        else:
            assert len(post(server.origin, reply_seconds=10).body) == size


# --- a connection that is kept


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with Session() as kept:
        yield kept


def test_a_kept_connection_is_used_again(session: requests.Session) -> None:
    def twice(connection: Connection) -> None:
        for _ in range(2):
            connection.request = b""
            answers(OK)(connection)

    with SocketServer(twice) as server:
        for _ in range(2):
            assert post(server.origin, session=session).status == 200
    assert len(server.connections) == 1


def test_a_kept_connection_proves_nothing(session: requests.Session) -> None:
    with pytest.raises(BrokenExchangeError):
        post(f"http://127.0.0.1:{free_port()}/", session=session)


def test_no_key_and_no_body_gets_into_an_error() -> None:
    """The message of an error is logged."""
    with SocketServer(answers(b"")) as server, pytest.raises(BrokenExchangeError) as caught:
        post(server.origin + "/callback?token=secret")
    assert "secret" not in str(caught.value)
    assert "ours" not in str(caught.value)


@pytest.mark.parametrize("form", ("sk-0123/456+789abcdef", "sk-0123%2F456%2B789abcdef", "sk-0123\\/456+789abcdef"))
def test_a_reply_that_repeats_our_key_is_read_without_it(form: str) -> None:
    """Errors are shown to tenants, and a provider may quote the key that it did not like."""
    body = f'{{"error": "the key {form} is not ({form})"}}'.encode()
    head = f"HTTP/1.1 401 Unauthorized\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with SocketServer(answers(head + body)) as server:
        reply = post(server.origin, headers={"Authorization": "Bearer sk-0123/456+789abcdef"})
    assert reply.body.decode() == '{"error": "the key … is not (…)"}'


def test_a_key_too_short_to_be_told_from_a_word_stays_a_word() -> None:
    with SocketServer(answers(b'HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{"id": "ours"}')) as server:
        assert post(server.origin).body == b'{"id": "ours"}'


def test_a_kept_session_sends_back_no_cookie() -> None:
    sets = answers(b"HTTP/1.1 200 OK\r\nSet-Cookie: who=tenant-a; Path=/\r\nContent-Length: 2\r\n\r\n{}")
    with SocketServer(sets) as server, Session() as kept:
        for _ in range(2):
            exchange("GET", f"{server.origin}/", headers={}, connect_seconds=10, reply_seconds=10, session=kept)
        assert len(server.requests) == 2
        assert not any(b"cookie:" in request.lower() for request in server.requests)
