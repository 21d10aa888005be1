"""Which addresses are opened on someone else's word: every way round it that we know of."""

import re
import socket
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidu_relay.domain.errors import ConfigurationError
from vidu_relay.outbound.address_guard import AddressGuard, RefusedAddressError, is_public

PUBLIC = "93.184.216.34"
PUBLIC_6 = "2606:4700::1111"


def guard(*addresses: str, hosts: Sequence[str] = (), trusted: Sequence[str] = ()) -> AddressGuard:
    return AddressGuard(hosts=hosts, trusted_origins=trusted, resolve=lambda *_: addresses or (PUBLIC,))


NOT_PUBLIC = [
    "0.0.0.0",  # noqa: S104 - nothing is bound
    *("0.1.2.3", "10.0.0.1", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254"),
    *("169.254.0.1", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1"),
    *("192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1"),
    *("239.255.255.255", "240.0.0.1", "255.255.255.255", "::", "::1", "::2", "::7f00:1", "::127.0.0.1"),
    *("::ffff:127.0.0.1", "::ffff:100.64.0.1", "::ffff:0.0.0.0", "::ffff:0:169.254.169.254", "64:ff9b::127.0.0.1"),
    *("64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "100::1", "200::1", "1::1", "4000::1", "8000::1", "2001::1"),
    *("2001:0:a9fe:a9fe::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1", "2002::1", "2002:7f00:1::1"),
    *("2002:a9fe:a9fe::1", "2606:4700::5efe:a9fe:a9fe", "2606:4700::5efe:127.0.0.1"),
    *("2606:4700::200:5efe:10.0.0.1", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fe00::1", "fe80::1"),
    *("fe80::1%eth0", "fec0::1", "feff::1", "ff01::1", "ff02::fb", "ff0e::1"),
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_on_the_public_internet_is_never_opened(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(RefusedAddressError):
        guard(address).check("https://video.example/v.mp4")


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", PUBLIC, "100.63.255.255", "100.128.0.1", "172.32.0.1", "198.20.0.1", PUBLIC_6, "::ffff:8.8.8.8"],
)
def test_an_ordinary_address_is_opened(address: str) -> None:
    assert guard(address).check("https://video.example/v.mp4") == (address,)


@given(number=st.integers(0, 255))
def test_no_address_behind_an_embedding_gets_past_what_is_refused_plainly(number: int) -> None:
    for head in ("10.1.2.", "169.254.169.", "127.0.0.", "192.168.1."):
        inner = f"{head}{number}"
        assert not any(is_public(f"{prefix}{inner}") for prefix in ("", "::ffff:", "::", "64:ff9b::"))


UNCLEAR = [
    *("/", "video.example/v.mp4", "//video.example/v.mp4", "https:", "https://", "https:///v.mp4"),
    *("https:video.example", "http://video.example/v.mp4", "ftp://video.example/v.mp4", "file:///etc/passwd"),
    *("data:video/mp4;base64,AAAA", "s3://bucket/key", "https://video.example:80/", "https://video.example:8443/"),
    *("https://video.example:0/", "https://video.example:99999/", "https://video.example:x/"),
    *("https://video.example:+443/", "https://video.example:443:80/", "https://video.example:443@127.0.0.1/"),
    *("https://user@video.example/", "https://user:password@video.example/", "https://@video.example/"),
    *("https://video.example@127.0.0.1/", "https://video.example\\@127.0.0.1/", "https://video.example/a\\b"),
    *("https://127.0.0.1\\.video.example/", "https://video|example/", "https://video{}.example/"),
    *("https://vidéo.example/", "https://①②⑦.⓪.⓪.①/", "https://video。example/", "https://[::1", "https://]/"),
    *("https://[2606:4700::1111]evil.example/", "https://evil.example[2606:4700::1111]/"),
    *("https://[93.184.216.34]/", "https://[fe80::1%25eth0]/", "https://[2606:4700::1111%2525eth0]/"),
    *("https://[v1.x]/", "https://[::ffff:127.0.0.1.]/", "https://video%2eexample/", "https://%31%32%37.0.0.1/"),
    *("https://169.254.169.254%00.video.example/", "https://video.example%23@127.0.0.1/"),
    *("https://video.example;@127.0.0.1/", "https://video.example,127.0.0.1/", "https://video.example&x=1/"),
    *("https://*.video.example/", "https://.video.example/", "https://video..example/", "https://video.example../"),
    *("https://127.1/", "https://2130706433/", "https://2130706433./", "https://0x7f000001/"),
    *("https://0x7f.0.0.1/", "https://0X7F.1/", "https://0177.0.0.1/", "https://017700000001/"),
    *("https://127.0.0.01/", "https://127.0.0.1./", "https://93.184.216.34./", "https://0/", "https://0x/"),
    *("https://1.2.3.4.5/", "https://256.256.256.256/", "https://169.254.43518/", "https://0xa9fea9fe/"),
    *("https://video.example.1/", "https://video.example.0x7f/"),
]
WITH_BLANKS = [
    *("", "https://video.example/a\tb", "https://video.example/a\x85b", "https://video.example/\ud83d"),
    *("https://video .example/", "\thttps://video.example/", "https:// video.example/", "https://video.example/\n"),
    *("https://video.example/\r\nHost: internal", "https://video\t.example/", "https://video.example/\0"),
    "https://video.example:4 43/",
]


@pytest.mark.parametrize("url", [*UNCLEAR, *WITH_BLANKS])
def test_a_url_that_two_readers_may_read_differently_is_not_opened(url: str) -> None:
    asked: list[str] = []

    def resolve(host: str, _: int) -> Sequence[str]:
        asked.append(host)
        return [PUBLIC]

    with pytest.raises(RefusedAddressError):
        AddressGuard(resolve=resolve).check(url)
    assert asked == [], "not even its name is looked up"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://video.example", "/"),
        ("https://video.example/", "/"),
        ("https://video.example?", "/?"),
        ("https://video.example?x=1", "/?x=1"),
        ("https://video.example/v.mp4?", "/v.mp4?"),
        ("https://video.example/v.mp4#frag?ment", "/v.mp4"),
        ("https://video.example/v%2Fw.mp4?sig=a%2Bb+c%3D%3d&x=;'()*!~", "/v%2Fw.mp4?sig=a%2Bb+c%3D%3d&x=;'()*!~"),
        ("https://video.example//a/../b;p=1/", "//a/../b;p=1/"),
        ("https://video.example/%zz", "/%zz"),
        ("HTTPS://Video.Example:443/V.mp4", "/V.mp4"),
        ("https://video.example/(x)/'y'/!*$,@:=;?[brackets]&a=~-._%41%2f", "/(x)/'y'/!*$,@:=;?[brackets]&a=~-._%41%2f"),
    ],
)
def test_a_signed_link_is_asked_for_byte_for_byte(url: str, target: str) -> None:
    checked = guard().read(url)
    assert checked.request_target == target
    assert (checked.scheme, checked.host, checked.port) == ("https", "video.example", 443)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://video.example/my video.mp4", "/my%20video.mp4"),
        ("https://video.example/狐🦊é.mp4", "/%E7%8B%90%F0%9F%A6%8A%C3%A9.mp4"),
        ('https://video.example/a|b{c}^`<d>"e".mp4?x=a|b%7C', "/a%7Cb%7Bc%7D%5E%60%3Cd%3E%22e%22.mp4?x=a%7Cb%7C"),
        ('https://video.example?n=attachment; filename="fox.mp4"', "/?n=attachment;%20filename=%22fox.mp4%22"),
        ("  https://video.example/v.mp4 ", "/v.mp4"),
        ("hTTpS://video.example/ #frag ment|", "/%20"),
        ("https://video.example/\u202e\u00a0", "/%E2%80%AE%C2%A0"),
    ],
)
def test_what_a_request_line_cannot_carry_is_percent_encoded(url: str, target: str) -> None:
    """Browsers and curl open such links. What is legal, or escaped already, stays as it is."""
    assert guard().read(url).request_target == target


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("https://video.example/a\\b", "backslash"),
        ("https://video.example/\n", "U+000A"),
        ("https://v.example/\0", "U+0000"),
    ],
)
def test_what_is_refused_is_named(url: str, named: str) -> None:
    with pytest.raises(RefusedAddressError, match=re.escape(named)):
        guard().read(url)


@pytest.mark.parametrize("addresses", [(PUBLIC, "10.0.0.1"), ("::1", PUBLIC), (PUBLIC, PUBLIC_6, "169.254.169.254")])
def test_one_private_address_among_several_is_enough_to_refuse(addresses: tuple[str, ...]) -> None:
    with pytest.raises(RefusedAddressError):
        guard(*addresses).check("https://video.example/")


def test_a_name_without_addresses_is_a_connection_error_and_refuses_no_link() -> None:
    def fails(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_AGAIN, "try again")

    def finds_none(host: str, port: int) -> Sequence[str]:
        return []

    for resolve in (fails, finds_none):
        with pytest.raises(ConnectionError):
            AddressGuard(resolve=resolve).check("https://video.example/")


@pytest.mark.parametrize("host", ["a..example", "a" * 64 + ".example", "..."])
def test_a_name_that_cannot_be_one_is_refused(host: str) -> None:
    def encodes(name: str, port: int) -> Sequence[str]:
        name.encode("idna")
        return []

    with pytest.raises(RefusedAddressError):
        AddressGuard(resolve=encodes).check(f"https://{host}/")


# --- the operator's lists


@pytest.mark.parametrize("listed", ["CDN.example", "*.cdn.example", ".cdn.example"])
def test_a_listed_host_admits_itself_and_what_is_below_it_however_it_is_written(listed: str) -> None:
    opened = guard(hosts=[listed, "other.example"])
    for host in ("cdn.example", "a.cdn.example", "A.B.CDN.Example", "cdn.example."):
        assert opened.check(f"https://{host}/") == (PUBLIC,)
    for host in ("evilcdn.example", "cdn.example.evil.example", "example", "cdn-example", PUBLIC):
        with pytest.raises(RefusedAddressError):
            opened.check(f"https://{host}/")


def test_a_listed_host_with_a_private_address_is_not_opened() -> None:
    with pytest.raises(RefusedAddressError):
        guard("10.0.0.1", hosts=["cdn.example"]).check("https://cdn.example/")


@pytest.mark.parametrize("origin", ["http://127.0.0.1:9000/", "http://127.0.0.1:*"])
@pytest.mark.parametrize("url", ["http://127.0.0.1:9000/v.mp4", "HTTP://127.0.0.1:9000/v.mp4"])
def test_a_trusted_origin_is_opened_as_it_is(url: str, origin: str) -> None:
    trusting = guard("127.0.0.1", trusted=[origin])
    assert (trusting.check(url), trusting.read(url).port) == (("127.0.0.1",), 9000)


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.0.0.1/", "http://127.0.0.1:90001/", "http://127.0.0.1:9001/", "https://127.0.0.1:9000/"),
        *("http://127.0.0.1:9000@127.0.0.1/", "http://u@127.0.0.1:9000/", "http://127.0.0.1:9000.evil.example/"),
        *("http://127.0.0.2:9000/", "http://localhost:9000/"),
    ],
)
def test_trust_in_an_origin_covers_no_other(url: str) -> None:
    with pytest.raises(RefusedAddressError):
        guard("127.0.0.1", trusted=["http://127.0.0.1:9000"]).check(url)


@pytest.mark.parametrize("url", ["https://127.0.0.1/", "http://127.0.0.2:9000/", "http://127.0.0.1:9000@10.0.0.1/"])
def test_trust_in_every_port_of_an_origin_covers_no_other_scheme_or_host(url: str) -> None:
    with pytest.raises(RefusedAddressError):
        guard("127.0.0.1", trusted=["http://127.0.0.1:*"]).check(url)


@pytest.mark.parametrize(
    "origin",
    [
        *("", "*", "video.example", "https://*.video.example", "https://video.example/videos"),
        *("https://video.example?x", "https://video.example?", "https://video.example#", "https://user@video.example"),
        *("https://video.example:99999", "ftp://video.example", "https://video.example:80:*", "https://a.example:*/"),
    ],
)
def test_what_is_no_origin_is_never_trusted_in_silence(origin: str) -> None:
    with pytest.raises(ConfigurationError, match="trusted origin"):
        guard("127.0.0.1", trusted=[origin])


@pytest.mark.parametrize(
    ("origin", "url"),
    [
        ("https://video.example", "https://video.example:443/v.mp4"),
        ("https://video.example:443", "https://video.example/v.mp4"),
        ("https://video.example", "https://video.example:/v.mp4"),
        ("http://Video.Example:80/", "http://video.example?x"),
        ("http://[::1]:9000", "http://[::1]:9000/v.mp4"),
    ],
)
def test_a_port_that_is_the_scheme_s_own_may_be_spelt_out_or_not(origin: str, url: str) -> None:
    assert guard("127.0.0.1", trusted=[origin]).check(url) == ("127.0.0.1",)


def test_a_fault_of_the_look_up_is_raised_at_once_and_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> Sequence[str]:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("vidu_relay.outbound.address_guard.RESOLVE_SECONDS", 0.5)
    with pytest.raises(RuntimeError, match="thread"):
        AddressGuard(resolve=broken).check("https://video.example/")
