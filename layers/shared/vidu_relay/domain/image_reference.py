"""Where a reference image is, and what its first bytes say of it.

A request names an image by URL, as a data URI, or as `s3://bucket/key`. A task's record never holds bytes: a data URI
becomes the RFC 6920 name of its content (`ni:///sha-256;…?ct=image/png`), whose object lies under the task's prefix.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "DATA_SCHEME",
    "NAME_SCHEME",
    "S3_SCHEME",
    "ImageHead",
    "S3Object",
    "check_data_uri",
    "content_type_of",
    "each_image",
    "image_key",
    "is_bare_base64",
    "is_data_uri",
    "is_web_page",
    "jpeg_continues_at",
    "name_data_uri",
    "read_data_uri",
    "read_s3_uri",
    "unreadable_because",
    "with_images",
]

S3_SCHEME = "s3://"
DATA_SCHEME = "data:"
NAME_SCHEME = "ni:///sha-256;"
MAX_KEY_BYTES = 1024  # S3's own limit, of the key in UTF-8

_DATA_URI_HEAD = re.compile(r"data:image/(?:png|jpeg|jpg|webp);base64")
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


@dataclass(frozen=True, slots=True)
class ImageHead:
    """The first bytes of an image. `size` is the whole image's in bytes, None where its server does not say;
    `version_id` pins what was read, where the bucket keeps versions."""

    data: bytes
    size: int | None
    version_id: str | None = None


def content_type_of(head: bytes) -> str | None:
    """The content type of an image by its first twelve bytes; None if it is neither png, jpeg nor webp."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    return None


def jpeg_continues_at(data: bytes) -> int | None:
    """Where the first segment of a JPEG begins that does not lie in these bytes, its first ones. It may lie far behind.

    None if nothing behind these bytes can hold the picture's size: the frame or the end was there, or no JPEG is.
    """
    at = 2
    while at < len(data):
        if data[at] != 0xFF:  # readers skip what stands between segments
            at = data.find(b"\xff", at)
            if at < 0:
                return None
        kind = data[at + 1] if at + 1 < len(data) else None
        if kind == 0xFF:  # a fill byte
            at += 1
        elif kind is None or at + 4 > len(data):
            break
        elif kind in (0x00, 0x01) or 0xD0 <= kind <= 0xD8:  # without a length
            at += 2
        elif kind in (0xD9, 0xDA) or _is_frame(kind):
            return None
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return at


def _is_frame(kind: int) -> bool:
    return 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC)


def unreadable_because(head: ImageHead) -> str:
    """Why width and height cannot be read from the first bytes of a png, jpeg or webp, and what to do about it."""
    data = head.data
    if data[12:16] == b"CgBI":
        return "is a PNG in the form of iOS apps (CgBI), which nothing else reads: export it as an ordinary PNG"
    if content_type_of(data) == "image/jpeg":
        if _frame_without_height(data):
            return "is a JPEG that gives its height behind the picture only (DNL): save it anew"
        if jpeg_continues_at(data) is None:
            return "is a JPEG without a picture in it: save it anew"
        return f"ends after {head.size} bytes, before its picture: upload the whole file"
    if head.size is not None and len(data) >= head.size:
        return f"ends after {head.size} bytes, before its width and height: upload the whole file"
    return "has a header that does not give its width and height: save it anew"


def _frame_without_height(data: bytes) -> bool:
    frame = re.search(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]\0.[\x08\x0c\x10]\0\0", data, re.DOTALL)
    return frame is not None


def is_web_page(data: bytes) -> bool:
    """Whether these first bytes are HTML."""
    return data[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith((b"<!doctype html", b"<html"))


def is_data_uri(text: str) -> bool:
    """Whether a text is meant as a data URI, in whatever case its scheme is written: only the small one is taken."""
    return text[: len(DATA_SCHEME)].lower() == DATA_SCHEME


def check_data_uri(uri: str) -> None:
    """Raises `ValueError` that says what to change in a data URI that is not taken."""
    head, comma, text = uri.partition(",")
    if not _DATA_URI_HEAD.fullmatch(head) or not text:
        form = f"a data URI must begin with {DATA_SCHEME}image/png;base64, (or jpeg, jpg, webp) and hold data"
        parameters = head.lower().split(";")[1:-1]
        if comma and parameters and head.lower().endswith(";base64"):
            raise ValueError(f"{form}: leave out the parameter {parameters[0][:40]}")
        if comma and head != head.lower():
            raise ValueError(f"{form}, in small letters")
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
    """Whether a text that should name an image is the base 64 of one: those begin so (png, jpeg, webp, gif)."""
    return text.startswith(("iVBORw0KGgo", "/9j/", "UklGR", "R0lGOD")) and ":" not in text[:100]


def read_data_uri(uri: str) -> bytes:
    """The bytes of a data URI that the request model accepted."""
    return base64.b64decode(uri.partition(";base64,")[2])


def name_data_uri(uri: str) -> str:
    """The name of a data URI's content. Its type is what the content is, or else what the URI says."""
    content = read_data_uri(uri)
    kind = content_type_of(content) or uri.partition(";base64,")[0].removeprefix(DATA_SCHEME)
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{NAME_SCHEME}{digest}?ct={kind}"


def image_key(tenant_id: str, task_id: str, name: str) -> str:
    """Where the content behind an `ni:` name lives in the inbox bucket. It names its content: written twice it is the
    same."""
    digest, _, kind = name.removeprefix(NAME_SCHEME).partition("?ct=image/")
    return f"tasks/{tenant_id}/{task_id}/{digest}.{kind}"


def each_image(request: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every reference image of a request with its location (`subjects.0.images.1`), in order."""
    for number, image in enumerate(request.get("images") or ()):
        yield f"images.{number}", image
    for place, subject in enumerate(request.get("subjects") or ()):
        for number, image in enumerate(subject["images"]):
            yield f"subjects.{place}.images.{number}", image


def with_images(request: Mapping[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """The request with each reference image changed, everything else as it is, in the same order."""
    changed = dict(request)
    if changed.get("images"):
        changed["images"] = [change(image) for image in changed["images"]]
    if changed.get("subjects"):
        changed["subjects"] = [{**s, "images": [change(image) for image in s["images"]]} for s in changed["subjects"]]
    return changed
