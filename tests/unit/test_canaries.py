"""The search for leaked secrets finds what it is there to find."""

import base64
import gzip
import html
import json
import secrets
import zlib
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.canaries import PIECE, STEP, Searcher

SECRET = 'Zq7/"Kx+wé=Rt9&Lm3 Pv_Uj-84~aB5'


def raw_deflate(content: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflate.compress(content) + deflate.flush()


WRAPPINGS: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda content: content,
    "URL": lambda content: quote(content, safe="").encode(),
    "URL, every byte, lower case": lambda content: "".join(f"%{byte:02x}" for byte in content).encode(),
    "URL twice": lambda content: quote(quote(content, safe=""), safe="").encode(),
    "form": lambda content: quote_plus(content).encode(),
    "JSON": lambda content: json.dumps(content.decode("latin-1")).encode("utf-8"),
    "JSON in UTF-8": lambda content: json.dumps(content.decode("utf-8", "replace"), ensure_ascii=False).encode(),
    "JSON in JSON": lambda content: json.dumps(json.dumps(content.decode("utf-8", "replace"))).encode(),
    "JSON, every character": lambda content: "".join(
        f"\\u{ord(char):04x}" for char in content.decode("utf-8", "replace")
    ).encode(),
    "HTML": lambda content: html.escape(content.decode("utf-8", "replace")).encode(),
    "base 64": base64.b64encode,
    "base 64 for URLs": lambda content: base64.urlsafe_b64encode(content).rstrip(b"="),
    "base 64 twice": lambda content: base64.b64encode(base64.b64encode(content)),
    "hex": lambda content: content.hex().encode(),
    "HEX": lambda content: content.hex().upper().encode(),
    "deflate": lambda content: zlib.compress(content, 9),
    "raw deflate": raw_deflate,
    "gzip": gzip.compress,
    "deflate in base 64": lambda content: base64.b64encode(zlib.compress(content)),
    "deflate in base 64 in JSON": lambda content: json.dumps(
        {"request": {"B": base64.b64encode(zlib.compress(content)).decode()}}
    ).encode(),
    "Python's repr": lambda content: repr(content).encode(),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_secret_is_found_in_every_wrapping(wrapping: str) -> None:
    searcher = Searcher({"the secret": SECRET})
    for before in (b"", b"x", b"xy", b"some text before it: "):
        content = WRAPPINGS[wrapping](before + SECRET.encode() + b" and more")
        assert searcher.find(b"prefix " * (wrapping != "raw deflate") + content) == {"the secret"}
    if wrapping != "raw deflate":
        alone = b"'before=" + WRAPPINGS[wrapping](SECRET.encode()) + b"' after"
        assert searcher.find(alone) == {"the secret"}


@pytest.mark.parametrize("part", (SECRET[:PIECE], SECRET[-PIECE:], SECRET[5 : 5 + PIECE + STEP - 1]))
def test_secret_that_was_cut_is_found(part: str) -> None:
    assert Searcher({"it": SECRET}).find(f"error: {part}…") == {"it"}


def test_secret_of_bytes_is_found_and_distinguished_from_another() -> None:
    image, other = secrets.token_bytes(64), secrets.token_bytes(64)
    searcher = Searcher({"image": image, "other": other})

    assert searcher.find(b"data:image/png;base64," + base64.b64encode(image)) == {"image"}
    assert searcher.find(other.hex()) == {"other"}


@given(st.binary(max_size=400))
def test_nothing_is_found_where_nothing_is_and_nothing_breaks_the_search(content: bytes) -> None:
    assert Searcher({"it": SECRET}).find(content) == set()


def test_secret_that_could_be_anything_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        Searcher({"it": "short"})
