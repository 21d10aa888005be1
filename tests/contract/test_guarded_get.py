"""Opening a link from a client or a provider: which address is opened, what is sent, and for how long."""

import socket
import ssl
import time
from collections.abc import Sequence

import pytest

from local.emulator.certificate import Certificate
from tests.contract.socket_server import (
    Connection,
    SocketServer,
    answers,
    floods,
    free_port,
    redirects,
    says,
    server_context,
    then,
)
from vidu_relay.outbound import address_guard
from vidu_relay.outbound.address_guard import AddressGuard, RefusedAddressError
from vidu_relay.outbound.guarded_get import BadLinkError, UnreachableError, guarded_get

OK = says("200 OK", body=b"hi")


class Names:
    """A resolver that gives each of its answers once, and the last one ever after."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, host: str, _: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def get(
    url: str, *, resolve: Names | None = None, trusted: Sequence[str] = (), seconds: float = 5, total: float = 5
) -> bytes:
    origin = "/".join(url.split("/")[:3]).partition("?")[0]
    names = resolve or Names(["127.0.0.1"])
    guard = AddressGuard(trusted_origins=[origin, *trusted], resolve=names)
    deadline = time.monotonic() + 20
    with guarded_get(
        guard, url, what="link", deadline=deadline, open_seconds=total, read_stall_seconds=seconds
    ) as reply:
        return b"".join(iter(lambda: reply.read_block(65_536), b""))


def asked_for(server: SocketServer) -> list[bytes]:
    return [request.partition(b"\r\n")[0] for request in server.requests]


# --- which address is opened


def test_a_name_that_changes_its_mind_is_asked_once_and_its_second_answer_never_used() -> None:
    with SocketServer(OK) as server, socket.create_server(("127.0.0.2", server.port)) as evil:
        evil.setblocking(False)
        names = Names(["127.0.0.1"], ["127.0.0.2"])
        assert get(f"http://rebind.example:{server.port}/v.mp4", resolve=names) == b"hi"
        assert names.asked == ["rebind.example"]
        with pytest.raises(BlockingIOError):
            evil.accept()
    assert b"Host: rebind.example" in server.requests[0]


@pytest.mark.parametrize("second", ["169.254.169.254", "127.0.0.1", "10.0.0.1", "fd00:ec2::254"])
def test_a_redirect_to_a_name_is_checked_by_what_the_name_says_then(second: str) -> None:
    with SocketServer(redirects("https://rebind.example/")) as server:
        names = Names(["127.0.0.1"], [second])
        url = f"http://first.example:{server.port}/"
        with pytest.raises(BadLinkError) as caught:
            get(url, resolve=names)
    assert caught.value.code == "address_refused"
    assert names.asked == ["first.example", "rebind.example"]
    assert len(server.connections) == 1


@pytest.mark.allow_hosts(["127.0.0.1", "127.0.0.2", "127.0.0.3"])
def test_the_next_address_is_tried_where_the_first_cannot_be_reached() -> None:
    """A function outside a VPC has no way out by IPv6."""
    with SocketServer(OK) as server:
        for addresses in (["127.0.0.2", "127.0.0.3", "127.0.0.1"], ["2001:db8::1", "127.0.0.1"]):
            assert get(f"http://several.example:{server.port}/", resolve=Names(addresses)) == b"hi"
    with pytest.raises(UnreachableError):
        get(f"http://closed.example:{free_port()}/")


@pytest.mark.parametrize("host", ["127.0.0.1", "169.254.169.254", "[::1]", "[::ffff:a9fe:a9fe]", "localhost", "127.1"])
def test_the_system_s_own_resolver_leads_to_no_private_address(host: str) -> None:
    with pytest.raises(RefusedAddressError):
        AddressGuard().check(f"https://{host}/")


def test_a_look_up_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with SocketServer(OK) as server:
        hanging = server._released

        def look_up(*_: object, **__: object) -> None:
            hanging.wait(10)
            raise socket.gaierror(socket.EAI_AGAIN, "never")

        monkeypatch.setattr(address_guard, "RESOLVE_SECONDS", 0.05)
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        with (
            pytest.raises(UnreachableError, match="cannot be resolved"),
            guarded_get(AddressGuard(), "https://slow.example/", what="link", deadline=time.monotonic() + 20),
        ):
            pass


# --- whose certificate is asked for


def tls(certificate: Certificate, names: list[str | None]) -> ssl.SSLContext:
    """A server's side, which notes the names it is asked for."""
    context = server_context(certificate)
    context.sni_callback = lambda _sock, name, _context: names.append(name)
    return context


@pytest.mark.parametrize("host", ["localhost", "LocalHost", "localhost."])
def test_the_host_s_own_name_is_asked_for_and_proven(certificate: Certificate, trusting: None, host: str) -> None:
    names: list[str | None] = []
    with SocketServer(OK, tls=tls(certificate, names)) as server:
        assert get(f"https://{host}:{server.port}/") == b"hi"
    assert names == ["localhost"]


def test_a_certificate_for_another_name_is_refused_and_nothing_is_asked(
    certificate: Certificate, trusting: None
) -> None:
    names: list[str | None] = []
    with SocketServer(OK, tls=tls(certificate, names)) as server:
        with pytest.raises(BadLinkError) as caught:
            get(f"https://video.example:{server.port}/v.mp4?Signature=secret")
        assert caught.value.code == "certificate"
    assert names == ["video.example"]
    assert server.requests == []


def test_a_certificate_of_an_unknown_authority_is_refused(certificate: Certificate) -> None:
    with SocketServer(OK, tls=server_context(certificate)) as server, pytest.raises(BadLinkError) as caught:
        get(f"https://localhost:{server.port}/")
    assert caught.value.code == "certificate"


# --- what is sent

SIGNED = [
    "/v.mp4?X-Amz-Signature=a%2Bb%2fc&X-Amz-Credential=k%2F20261123",
    "/v%2Fw/%zz/%41.mp4?sig=a+b%20c==",
    "//a/./b/../c;p=1/;q?",
    "/v.mp4?",
    "/v.mp4?a=&&b;c=1&a=2",
    "/~tilde/(x)/'y'/!*$,@:=?[brackets]",
    "/?next=https://other.example/#",
]


@pytest.mark.parametrize("target", SIGNED)
@pytest.mark.parametrize("how", ["{}", "{}#fragment", "?{}"])
def test_a_signed_link_reaches_the_server_byte_for_byte(target: str, how: str) -> None:
    target = how.format(target)
    with SocketServer(OK) as server:
        get(server.origin + target)
    sent = target.partition("#")[0]
    assert asked_for(server) == [f"GET {sent if sent.startswith('/') else '/' + sent} HTTP/1.1".encode()]


@pytest.mark.parametrize("target", SIGNED)
@pytest.mark.parametrize("form", ["absolute", "of the same scheme", "of the same host"])
def test_a_signed_link_behind_a_redirect_reaches_the_server_byte_for_byte(target: str, form: str) -> None:
    with SocketServer(OK) as second:
        prefix = {
            "absolute": second.origin,
            "of the same scheme": second.origin.removeprefix("http:"),
        }.get(form, "")
        if form == "of the same host":
            with SocketServer(redirects(target if not target.startswith("//") else f"/.{target}"), OK) as both:
                get(both.origin)
            asked = asked_for(both)[1]
        else:
            with SocketServer(redirects(prefix + target)) as first:
                get(first.origin, trusted=[second.origin])
            asked = asked_for(second)[0]
    expected = target.partition("#")[0]
    if form == "of the same host" and target.startswith("//"):
        expected = f"/.{expected}"
    assert asked == f"GET {expected} HTTP/1.1".encode()


@pytest.mark.parametrize(
    ("location", "asked"),
    [
        ("next.mp4?sig=a%2Bb&", "/dir/next.mp4?sig=a%2Bb&"),
        ("../next.mp4?", "/next.mp4?"),
        ("?sig=a%2Bb/../c", "/dir/v.mp4?sig=a%2Bb/../c"),
        ("#top", "/dir/v.mp4"),
        ("./?x=//y", "/dir/?x=//y"),
    ],
)
def test_a_relative_redirect_keeps_its_query_as_it_is(location: str, asked: str) -> None:
    with SocketServer(redirects(location), OK) as server:
        get(f"{server.origin}/dir/v.mp4?old=1")
    assert asked_for(server)[1] == f"GET {asked} HTTP/1.1".encode()


# --- for how long

DRIPS = [b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 5000, b"HTTP/1.1 302 Elsewhere\r\nLocation: /\r\n\r\n"]


@pytest.mark.parametrize("reply", DRIPS, ids=["headers", "redirects share one time"])
def test_a_reply_that_comes_by_the_byte_ends_with_the_time(reply: bytes) -> None:
    """Each byte comes well within the socket's time-out: only a bound on the whole ends this."""

    def slowly(connection: Connection) -> None:
        connection.read_request()
        connection.drip(reply, 0.004)

    with SocketServer(slowly) as server, pytest.raises(UnreachableError):
        get(server.origin, seconds=5, total=0.3)
    assert len(server.connections) <= 3


def test_interim_replies_and_a_handshake_without_end_end_with_the_time() -> None:
    interim = floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n")
    for treatment, scheme in ((interim, "http:"), (Connection.hold, "https:")):
        with SocketServer(treatment) as server, pytest.raises(UnreachableError):
            get(server.origin.replace("http:", scheme), total=0.2)


def test_a_body_may_take_longer_than_its_headers() -> None:
    def slowly(connection: Connection) -> None:
        connection.drip(b"y" * 60, 0.03)

    with SocketServer(then(says("200 OK", length=60), slowly)) as server:
        assert get(server.origin, total=1.5) == b"y" * 60


def test_headers_that_break_off_are_no_reply() -> None:
    with SocketServer(answers(b"HTTP/1.1 200 OK\r\nContent-Le")) as server, pytest.raises(UnreachableError):
        get(server.origin)
