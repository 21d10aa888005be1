"""How a request names a reference image.

A request names an image by URL, as a data URI, or as `s3://bucket/key`. A task's record never holds bytes: a data URI
becomes the RFC 6920 name of its content (`ni:///sha-256;…?ct=image/png`), whose object lies under the task's prefix.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from vidu_relay.domain.image_format import FILE_ENDINGS, content_type_of

__all__ = [
    "DATA_SCHEME",
    "DATA_URI_TYPES",
    "NAME_SCHEME",
    "S3_SCHEME",
    "S3Object",
    "check_data_uri",
    "image_key",
    "is_bare_base64",
    "is_data_uri",
    "name_content",
    "named_type",
    "read_data_uri",
    "read_s3_uri",
]

S3_SCHEME = "s3://"
DATA_SCHEME = "data:"
NAME_SCHEME = "ni:///sha-256;"
MAX_KEY_BYTES = 1024  # S3's own limit, of the key in UTF-8

DATA_URI_TYPES = tuple(
    dict.fromkeys(name for kind, ending in FILE_ENDINGS.items() for name in (kind.removeprefix("image/"), ending))
)
"""What may stand behind `data:image/`."""
_DATA_URI_HEAD = re.compile(rf"data:image/(?:{'|'.join(DATA_URI_TYPES)});base64")
_BUCKET = re.compile(r"[a-z0-9][a-z0-9-]{1,61}[a-z0-9]")
"""S3's rule without dots: the certificate of a bucket's host name covers no dotted name, so no link could be read."""


@dataclass(frozen=True, slots=True)
class S3Object:
    """An object in S3. The key is taken literally: nothing in it is percent-decoded."""

    bucket: str
    key: str

    def __str__(self) -> str:
        return f"{S3_SCHEME}{self.bucket}/{self.key}"


def read_s3_uri(uri: str) -> S3Object:
    """The object that an `s3://` URI names. Raises `ValueError` saying what to change.

    A segment `.` or `..` is refused: HTTP clients resolve them, so a link would lead to another object.
    """
    if not uri.startswith(S3_SCHEME):
        raise ValueError("must begin with s3://")
    bucket, _, key = uri.removeprefix(S3_SCHEME).partition("/")
    if not _BUCKET.fullmatch(bucket):
        raise ValueError("must name a bucket: 3 to 63 lower-case letters, digits and hyphens, without dots")
    try:
        size = len(key.encode())
    except UnicodeEncodeError as fault:
        raise ValueError("the key must be valid Unicode") from fault
    if not 1 <= size <= MAX_KEY_BYTES:
        raise ValueError(f"must be s3://bucket/key with a key of 1 to {MAX_KEY_BYTES} bytes")
    if any(ord(c) < 32 or ord(c) == 127 for c in key):
        raise ValueError("the key must not hold control characters")
    if any(segment in (".", "..") for segment in key.split("/")):
        raise ValueError("the key must not hold the segments . or ..")
    return S3Object(bucket, key)


def is_data_uri(text: str) -> bool:
    """Whether a text is meant as a data URI, in whatever case its scheme is written: only the small one is taken."""
    return text[: len(DATA_SCHEME)].lower() == DATA_SCHEME


def check_data_uri(uri: str) -> None:
    """Raises `ValueError` that says what to change in a data URI that is not taken."""
    head, comma, text = uri.partition(",")
    if not _DATA_URI_HEAD.fullmatch(head) or not text:
        first, *others = DATA_URI_TYPES
        form = f"a data URI must begin with {DATA_SCHEME}image/{first};base64, (or {', '.join(others)}) and hold data"
        parameters = head.lower().split(";")[1:-1]
        if comma and parameters and head.lower().endswith(";base64"):
            raise ValueError(f"{form}: leave out the parameter {parameters[0][:40]}")
        if comma and head != head.lower():
            raise ValueError(f"{form}, in lower case")
        raise ValueError(form)
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as fault:
        raise ValueError(f"the data URI does not hold valid base 64: {_base64_fault(text)}") from fault


def _base64_fault(text: str) -> str:
    if "\n" in text or "\r" in text:
        return "it has line breaks, take them out"
    if re.search(r"\s", text):
        return "it has blanks in it, take them out"
    if "%" in text:
        return "it is percent-encoded, give it as it is"
    if re.fullmatch(r"[A-Za-z0-9_-]+={0,2}", text) and re.search("[_-]", text):
        return "it is in the URL-safe alphabet, use + and / in place of - and _"
    if re.fullmatch(r"[A-Za-z0-9+/]+=?", text) and len(text) % 4 > 1:
        return "its padding is missing, end it with = up to a multiple of 4 characters"
    odd = re.search(r"[^A-Za-z0-9+/=]", text)
    if odd:
        return f"it has the character {odd[0]!r}"
    return "it is cut, or = stands where data should"


def is_bare_base64(text: str) -> bool:
    """Whether a text that should name an image is the base 64 of one: those, and GIFs, begin so."""
    return text.startswith(("iVBORw0KGgo", "/9j/", "UklGR", "R0lGOD")) and not re.search("[:.]", text[:100])


def read_data_uri(uri: str) -> bytes:
    """The bytes of a data URI that the request model accepted."""
    return base64.b64decode(uri.partition(";base64,")[2])


def name_content(content: bytes, uri: str) -> str:
    """The name of what a data URI holds. Its type is what the content is, or else what the URI says."""
    kind = content_type_of(content) or uri.partition(";base64,")[0].removeprefix(DATA_SCHEME)
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{NAME_SCHEME}{digest}?ct={kind}"


def named_type(name: str) -> str:
    """The content type in the name of a content."""
    return name.rpartition("?ct=")[2]


def image_key(tenant_id: str, task_id: str, name: str) -> str:
    """Where the content behind an `ni:` name lives in the inbox bucket. It names its content: written twice it is the
    same."""
    digest, _, kind = name.removeprefix(NAME_SCHEME).partition("?ct=image/")
    return f"tasks/{tenant_id}/{task_id}/{digest}.{kind}"
