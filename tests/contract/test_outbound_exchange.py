"""What an exchange knows for certain when it fails: that nothing was sent, or only that something may have been."""

import gc
import gzip
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from local.emulator.certificate import Certificate, make_certificate
from tests.contract.socket_server import Connection, SocketServer, answers, free_port
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
LARGE = 4_000_000
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Odd: a\r\nContent-Length: 2\r\n\r\n{}"


def post(url: str, **more: Any) -> Reply:
    arguments: dict[str, Any] = {
        "headers": {"Authorization": "Bearer ours", "Content-Type": "application/json"},
        "body": BODY,
        "seconds": 20,
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

    monkeypatch.setattr(socket, "create_connection", times_out)
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
        post(f"https://127.0.0.1:{server.port}/", seconds=2)
    gc.collect()
    assert not any(b"Bearer ours" in request or b"prompt" in request for request in server.requests)


@leaves_a_socket
def test_a_handshake_that_hangs_sent_nothing() -> None:
    with SocketServer(Connection.hold) as server, pytest.raises(NotSentError):
        post(f"https://127.0.0.1:{server.port}/", seconds=0.3)
    gc.collect()


@leaves_a_socket
def test_a_certificate_that_only_this_machine_trusts_is_refused_before_the_key_is_sent(
    tls: ssl.SSLContext, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.ca_bundle))  # where Python finds the system's store
    _tls.cache_clear()
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
    "half of its gzip": answers(
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 20\r\n\r\n"
        + gzip.compress(b"{}" * 50, mtime=0)[:20]
    ),
    "a coding that is not read": answers(b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 2\r\n\r\n{}"),
}


@pytest.mark.parametrize("treatment", BROKEN.values(), ids=BROKEN)
def test_once_something_was_sent_the_outcome_is_unknown_and_nothing_is_sent_again(
    treatment: Callable[[Connection], None],
) -> None:
    with SocketServer(treatment) as server, pytest.raises(BrokenExchangeError):
        post(server.origin, seconds=1)
    assert len(server.connections) == 1
    assert BODY in server.requests[0]


# --- a request that broke off: certainly no effect until its last byte was handed over


def closes_in_the_middle_of_the_request(connection: Connection) -> None:
    connection._receive()


@pytest.mark.parametrize(
    "treatment", [resets_in_the_middle_of_the_request, closes_in_the_middle_of_the_request, hangs_up]
)
@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_a_request_that_breaks_off_before_its_last_byte_had_no_effect(
    treatment: Callable[[Connection], None], secure: bool, tls: ssl.SSLContext, trusted: None
) -> None:
    """A JSON body ends in its closing brace: what lacks it creates nothing."""
    with SocketServer(treatment, tls=tls if secure else None) as server, pytest.raises(NotSentError):
        post(server.origin, body=b"x" * LARGE)


def reads_slowly(seconds: float, then: bytes) -> Callable[[Connection], None]:
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
    """Off-peak requests carry up to 20 MB of images. The time-out for connecting once ended them."""
    monkeypatch.setattr(outbound, "CONNECT_SECONDS", 0.5)
    with SocketServer(reads_slowly(1.5, OK)) as server:
        assert post(server.origin, body=b"x" * 20_000_000 + b"}", seconds=60).status == 200


def test_a_server_that_takes_no_more_bytes_has_stalled_and_nothing_was_created(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(outbound, "LATE_REPLY_SECONDS", 0.1)
    began = time.monotonic()
    with SocketServer(Connection.hold) as server, pytest.raises(NotSentError) as caught:
        post(server.origin, body=b"x" * 20_000_000, seconds=60)
    assert caught.value.timed_out
    assert time.monotonic() - began < 30, "the stall ended it, not the deadline"


def test_an_upload_ends_with_the_deadline_however_busily_it_is_read() -> None:
    with SocketServer(reads_slowly(2, b"")) as server, pytest.raises(NotSentError) as caught:
        post(server.origin, body=b"x" * 20_000_000 + b"}", seconds=0.5)
    assert caught.value.timed_out


REFUSED = b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\n{}"


def answers_early(*, then: Callable[[Connection], None]) -> Callable[[Connection], None]:
    def treat(connection: Connection) -> None:
        connection._receive()
        connection.send(REFUSED)
        then(connection)

    return treat


@pytest.mark.parametrize("then", [lambda _: None, Connection.hold], ids=["closes", "stops reading"])
def test_a_reply_that_is_there_when_sending_breaks_decides(
    then: Callable[[Connection], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The provider refused the request before it had read it: that is an answer, and not a connection to try again."""
    monkeypatch.setattr(outbound, "STALL_SECONDS", 0.5)
    with SocketServer(answers_early(then=then)) as server:
        assert post(server.origin, body=b"x" * 20_000_000, seconds=60).status == 413


def test_half_a_reply_to_half_a_request_is_no_effect() -> None:
    def treat(connection: Connection) -> None:
        connection._receive()
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")

    with SocketServer(treat) as server, pytest.raises(NotSentError):
        post(server.origin, body=b"x" * LARGE)


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


# --- odd replies


@pytest.mark.parametrize("interim", [b"100 Continue", b"102 Processing", b"103 Early Hints", b"199 Odd"])
def test_interim_replies_are_read_over(interim: bytes) -> None:
    """RFC 9110 15.2: a client must take any 1xx before the final reply."""
    early = b"HTTP/1.1 " + interim + b"\r\nLink: </a>; rel=preload\r\n\r\n"
    with SocketServer(answers(early * 3 + OK)) as server:
        reply = post(server.origin)
    assert (reply.status, reply.body) == (200, b"{}")
    assert "link" not in reply.headers


JSON = b'{"id": "gen-1"}'
CODED: dict[str, tuple[bytes, bytes]] = {
    "gzip": (b"gzip", gzip.compress(JSON)),
    "gzip in another spelling": (b"X-GZip ", gzip.compress(JSON)),
    "deflate": (b"deflate", zlib.compress(JSON)),
    "gzip twice": (b"gzip, gzip", gzip.compress(gzip.compress(JSON))),
    "gzip said twice": (b"gzip, gzip", gzip.compress(JSON)),
    "gzip behind what is none": (b"aws-chunked,gzip", gzip.compress(JSON)),
    **{
        word.decode() or "empty": (word, JSON)
        for word in (b"gzip", b"deflate", b"identity, identity", b"aws-chunked", b"UTF-8", b"base64", b"none", b"")
    },
}


@pytest.mark.parametrize(("coding", "body"), CODED.values(), ids=CODED)
def test_bytes_prove_what_content_encoding_says(coding: bytes, body: bytes) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %s\r\nContent-Length: %d\r\n\r\n" % (coding, len(body))
    with SocketServer(answers(head + body)) as server:
        assert post(server.origin).body == JSON


def test_many_and_long_headers_lose_no_reply() -> None:
    odd = b"".join(b"X-%d: y\r\n" % number for number in range(200)) + b"X-Long: " + b"z" * 70_000 + b"\r\n folded\r\n"
    with SocketServer(answers(b"HTTP/1.1 200 OK\r\n" + odd + b"Content-Length: 2\r\n\r\n{}more")) as server:
        assert post(server.origin).body == b"{}"


def test_a_redirect_with_a_body_without_end_is_not_read() -> None:
    """requests itself would read it into memory, to prepare the request that follows it."""

    def treat(connection: Connection) -> None:
        answers(b"HTTP/1.1 302 Go\r\nLocation: /elsewhere\r\n\r\n")(connection)
        while True:
            connection.send(b"x" * 65536)

    with SocketServer(treat) as server, pytest.raises(BrokenExchangeError, match="longer than"):
        post(server.origin)
    assert len(server.connections) == 1


# --- after the last byte


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
        post(server.origin, seconds=1)
    assert left > [0]


def flood(connection: Connection) -> None:
    answers(b"HTTP/1.1 200 OK\r\n\r\n")(connection)
    while True:
        connection.send(b"x" * 65536)


def test_an_endless_reply_is_given_up() -> None:
    with SocketServer(flood) as server, pytest.raises(BrokenExchangeError, match="longer than"):
        post(server.origin, seconds=20)


@pytest.mark.parametrize("over", [0, 1])
def test_a_reply_may_have_eight_mebibytes_and_no_byte_more(over: int) -> None:
    size = MAX_REPLY_BYTES + over
    treatment = answers(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
    with SocketServer(treatment) as server:
        if over:
            with pytest.raises(BrokenExchangeError):
                post(server.origin, seconds=20)
        else:
            assert len(post(server.origin, seconds=20).body) == size


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
    sets = answers(
        b"HTTP/1.1 200 OK\r\nSet-Cookie: who=tenant-a; Path=/\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"
    )
    with SocketServer(sets) as server, Session() as kept:
        for _ in range(2):
            exchange("GET", f"{server.origin}/", headers={}, seconds=20, session=kept)
        assert len(server.requests) == 2
        assert not any(b"cookie:" in request.lower() for request in server.requests)
