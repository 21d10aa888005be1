"""Secrets that are made to be found: what is searched for, and the search through what a run has written.

A canary is found whatever it was wrapped in: the searcher unwraps what it looks at (URL encoding, JSON's escapes,
base 64, hex, deflate and gzip, one inside another), and looks for pieces, so that a secret that was cut is found too.
"""

import base64
import binascii
import html
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

__all__ = ["PIECE", "STEP", "Searcher", "unwrapped"]

PIECE = 12
"""A secret is recognised by as many of its bytes in a row, beginning at every fourth one, or by its last ones."""

STEP = 4

DEPTH = 6
"""How many wrappings one inside another are undone."""

_BASE64 = re.compile(rb"[A-Za-z0-9+/_-]{16,}={0,2}")
_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2}){8,}")
_DEFLATED = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08")
_ESCAPED = re.compile(rb"\\(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|([\"\\/bfnrt']))")
_PLAIN = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_LARGEST = 64 * 1024 * 1024


@dataclass
class Searcher:
    """Looks for secrets, given by the name of what they are; at least `PIECE` characters each."""

    secrets: Mapping[str, str | bytes]
    _pieces: dict[bytes, set[str]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        for name, secret in self.secrets.items():
            content = secret.encode() if isinstance(secret, str) else secret
            if len(content) < PIECE:
                raise ValueError(f"{name} is too short to be recognised")
            last = len(content) - PIECE
            for start in (*range(0, last, STEP), last):
                self._pieces.setdefault(content[start : start + PIECE], set()).add(name)

    def find(self, content: str | bytes) -> set[str]:
        """The names of the secrets that stand in a content, in whatever form."""
        whole = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
        views = list(unwrapped(whole))
        found = (names for piece, names in self._pieces.items() if any(piece in view for view in views))
        return set[str]().union(*found)


def unwrapped(content: bytes) -> Iterator[bytes]:
    """A content as it is, and everything that can be read in it, each once."""
    seen: set[bytes] = set()
    layer = [content]
    for _ in range(DEPTH):
        inner: list[bytes] = []
        for part in layer:
            if part in seen:
                continue
            seen.add(part)
            yield part
            inner.extend(_inside(part))
        layer = inner


def _inside(content: bytes) -> Iterator[bytes]:
    if b"%" in content:
        yield unquote_to_bytes(content)
        yield unquote_to_bytes(content.replace(b"+", b" "))
    if b"\\" in content:
        yield _ESCAPED.sub(_unescape, content)
    if b"&" in content and b";" in content:
        yield html.unescape(content.decode("utf-8", "replace")).encode()
    for match in _BASE64.finditer(content):
        yield from _from_base64(match.group())
    for match in _HEX.finditer(content):
        yield bytes.fromhex(match.group().decode())
        yield bytes.fromhex(match.group()[1:-1].decode())
    for match in _DEFLATED.finditer(content):
        yield from _inflated(content[match.start() :], 47)
    yield from _inflated(content, -15)


def _unescape(match: re.Match[bytes]) -> bytes:
    long, short, character = match.groups()
    if character is not None:
        return _PLAIN.get(character, character)
    return chr(int(long or short, 16)).encode("utf-8", "surrogatepass")


def _from_base64(run: bytes) -> Iterator[bytes]:
    """A run read from each of the four places where a group may begin."""
    plain = run.rstrip(b"=").translate(bytes.maketrans(b"-_", b"+/"))
    for start in range(4):
        part = plain[start:]
        try:
            yield base64.b64decode(part[: len(part) - (len(part) % 4 == 1)] + b"=" * (-len(part) % 4))
        except binascii.Error:
            continue


def _inflated(content: bytes, wbits: int) -> Iterator[bytes]:
    """What can be inflated of a content, even if its end is missing; nothing from what is not deflated."""
    inflate = zlib.decompressobj(wbits=wbits)
    out = bytearray()
    try:
        for start in range(0, len(content), 4096):
            out += inflate.decompress(content[start : start + 4096], _LARGEST)
            if inflate.eof:
                break
    except zlib.error:
        pass  # not deflated, or broken from here on: what came before is looked at
    if out:
        yield bytes(out)
