"""Clients' servers that misbehave: each try is taken or fails, and ends in time."""

import gzip
import threading

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
    redirects,
    says,
    server_context,
    then,
)
from vidu_relay.adapters.client_webhook import ClientWebhook, WebhookAnswer
from vidu_relay.domain.errors import NotificationFailedError
from vidu_relay.outbound.address_guard import AddressGuard
from vidu_relay.outbound.guarded_post import MAX_ANSWER_BYTES, START_BYTES

HEADERS = {"webhook-id": "task:3", "webhook-timestamp": "1795424400", "webhook-signature": "v1,c2ln"}
BODY = b'{"status":"processing"}'
SHORT_SECONDS = 0.6
"""What the ten seconds of a try are where they are waited for; what is answered at once has all of them."""
SECONDS = 10.0


def post(origin: str, *, trusted: bool = True, seconds: float = SECONDS) -> WebhookAnswer:
    guard = AddressGuard(trusted_origins=[origin] if trusted else [])
    return ClientWebhook(guard, seconds).post(f"{origin}/hook?key=secret", BODY, HEADERS)


def failure(*treatments: Treatment, seconds: float = SECONDS) -> NotificationFailedError:
    with SocketServer(*treatments) as server:
        with pytest.raises(NotificationFailedError) as caught:
            post(server.origin, seconds=seconds)
        assert len(server.connections) <= 1, "a try is one connection"
    assert "secret" not in caught.value.message
    return caught.value


def test_request_is_a_post_with_the_signed_bytes_to_the_very_address(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")  # the environment's proxy is not asked
    with SocketServer(says("204 No Content")) as server:
        assert post(server.origin).status == 204
        head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /hook?key=secret HTTP/1.1"
    assert {f"{name}: {value}" for name, value in HEADERS.items()} <= set(lines)
    assert {"Content-Type: application/json", f"Content-Length: {len(BODY)}", "Connection: close"} <= set(lines)
    assert body == BODY


TAKEN: dict[str, Treatment] = {
    "200 with a body": says("200 OK", body=b"thanks"),
    "202 of unknown length": says("202 Accepted", body=b"thanks", length=None),
    "200 in chunks": says("200 OK", CHUNKED, body=b"2\r\nok\r\n0\r\n\r\n", length=None),
    "as much as is read": says("200 OK", body=b"x" * MAX_ANSWER_BYTES),
    "a gzip bomb, which is not unpacked": says(
        "200 OK", "Content-Encoding: gzip", body=gzip.compress(bytes(9_000_000))
    ),
    "200 that breaks off in its headers, behind what counts": answers(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "103 before 204": says("103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_2xx_with_a_whole_answer_is_taken(name: str) -> None:
    with SocketServer(TAKEN[name]) as server:
        assert 200 <= post(server.origin).status < 300
        assert len(server.connections) == 1


HOSTILE: dict[str, tuple[bytes, str]] = {
    "escapes of a terminal": (b"\x1b[31mno\x1b[0m\r\nmore", "\ufffd[31mno\ufffd[0m  more"),
    "binary": (bytes(range(250, 256)) + b"\x00", "\ufffd" * 7),
    "as much as is read": (b"x" * MAX_ANSWER_BYTES, "x" * START_BYTES),
    "cut in a character": ("ü".encode() * 200 + b"!", "ü" * (START_BYTES // 2)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_beginning_of_an_answer_is_kept_as_harmless_text(name: str) -> None:
    body, text = HOSTILE[name]
    with SocketServer(says("200 OK", body=body)) as server:
        assert post(server.origin) == WebhookAnswer(200, text)
    refused = failure(says("500 Oh", body=body))
    assert (refused.status, refused.answer) == (500, text)


def test_nothing_is_kept_of_an_answer_of_ten_megabytes() -> None:
    error = failure(floods(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n", b"x" * 65_536))
    assert (error.code, error.status, error.answer) == ("answer_too_large", None, "")


def drips(head: bytes, data: bytes) -> Treatment:
    """Ends only when the client hangs up, long before the end."""

    def drip(connection: Connection) -> None:
        left = connection.drip(data, 0.01)
        assert left > len(data) // 2

    return then(answers(head), drip)


ENDLESS = b"y" * 100_000
FAILED: dict[str, tuple[Treatment, str]] = {
    **{status: (says(status), f"http_{status[:3]}") for status in ("300 Choose", "304 Same", "400 Bad", "999 What")},
    "redirect": (redirects("http://127.0.0.1:1/", 301), "http_301"),
    "500": (says("500 Oh", body=b"<html>"), "http_500"),
    "closes without an answer": (answers(b""), "answer_broken"),
    "resets": (Connection.reset, "answer_broken"),
    "breaks off in its body": (says("200 OK", body=b"half", length=10), "answer_broken"),
    "one byte too many": (says("200 OK", body=b"x" * (MAX_ANSWER_BYTES + 1)), "answer_too_large"),
    "floods": (floods(b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 65_536), "answer_too_large"),
    "floods with headers": (floods(b"HTTP/1.1 200 OK\r\n", b"X-Flood: y\r\n" * 100), "answer_broken"),
    "says nothing": (Connection.hold, "timeout"),
    "never ends its body": (then(says("200 OK", body=b"thanks", length=None), Connection.hold), "timeout"),
    "drips headers": (drips(b"HTTP/1.1 200 OK\r\nX: ", ENDLESS), "timeout"),
    "drips a body": (drips(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n", ENDLESS), "timeout"),
    "continues for ever": (drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 500), "timeout"),
}


@pytest.mark.parametrize("name", FAILED)
def test_everything_else_is_a_try_that_failed_and_ends(name: str) -> None:
    treatment, code = FAILED[name]
    error = failure(treatment, seconds=SHORT_SECONDS if code == "timeout" else SECONDS)
    # either side of a broken connection may be the first to notice
    either = ({"answer_broken", "answer_too_large"}, {"answer_broken", "unreachable"})
    assert error.code == code or {error.code, code} in either
    assert error.waited == (error.code in ("timeout", "unreachable"))
    assert not error.final


@pytest.mark.parametrize("rest", [b"-5\r\nabc", b"5\r\nab"], ids=["negative chunk", "half a chunk"])
def test_a_kept_error_does_not_keep_its_connection_open(rest: bytes) -> None:
    """An answer that says that it closes owns the socket, and an error's traceback owns the answer."""
    hung_up = threading.Event()

    def treat(connection: Connection) -> None:
        answers(b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + rest)(connection)
        if connection.hung_up():
            hung_up.set()

    with SocketServer(treat) as server, pytest.raises(NotificationFailedError) as kept:
        post(server.origin, seconds=SHORT_SECONDS)
    assert kept.value.code in ("answer_broken", "timeout")
    assert hung_up.is_set()


def test_410_is_final_and_retry_after_is_read_in_both_forms() -> None:
    assert failure(says("410 Gone")).final
    assert failure(says("429 Slow", "Retry-After: 120")).retry_after_seconds == 120
    dated = failure(says("503 Later", "Retry-After: Wed, 21 Oct 2099 07:28:00 GMT"))
    assert dated.retry_after_seconds == 86_400
    assert failure(says("503 Later", "Retry-After: soon")).retry_after_seconds is None


def test_a_host_that_refuses_connections_is_not_waited_for() -> None:
    with pytest.raises(NotificationFailedError) as caught:
        post(f"http://127.0.0.1:{free_port()}")
    assert (caught.value.code, caught.value.waited) == ("unreachable", True)


def test_address_that_has_come_to_point_inward_is_not_opened() -> None:
    """The name was public when the request came in."""
    with SocketServer(says("204 No Content")) as server:
        guard = AddressGuard(resolve=lambda *_: ["127.0.0.1"])
        with pytest.raises(NotificationFailedError) as caught:
            ClientWebhook(guard).post("https://rebind.example.com/hook", BODY, HEADERS)
        assert server.connections == []
    assert (caught.value.code, caught.value.waited) == ("address_refused", False)


def test_a_host_with_an_unknown_certificate_gets_no_byte(certificate: Certificate) -> None:
    with SocketServer(says("204 No Content"), tls=server_context(certificate)) as server:
        with pytest.raises(NotificationFailedError) as caught:
            post(server.origin)
        assert server.requests == []
    assert caught.value.code == "certificate"


@pytest.mark.parametrize("treat", [says("200 OK"), Connection.hold])
def test_handshake_that_fails_or_never_ends_is_over_in_time(treat: Treatment) -> None:
    with SocketServer(treat) as server:
        origin = server.origin.replace("http:", "https:")
        with pytest.raises(NotificationFailedError) as caught:
            post(origin, seconds=SHORT_SECONDS)
    assert (caught.value.code, caught.value.waited) == ("unreachable", True)
