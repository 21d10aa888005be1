"""Where a reference image is, and what its first bytes say of it.

A request names an image by URL, as a data URI, or as `s3://bucket/key`. A task's record never holds bytes: a data URI
becomes the RFC 6920 name of its content (`ni:///sha-256;…?ct=image/png`), whose object lies under the task's prefix.
"""

from __future__ import annotations

import base64
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
    "content_type_of",
    "each_image",
    "image_key",
    "is_data_uri",
    "name_data_uri",
    "read_data_uri",
    "read_s3_uri",
    "with_images",
]

S3_SCHEME = "s3://"
DATA_SCHEME = "data:"
NAME_SCHEME = "ni:///sha-256;"
MAX_KEY_BYTES = 1024  # S3's own limit, of the key in UTF-8

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


def is_data_uri(text: str) -> bool:
    """Whether a text is meant as a data URI, in whatever case its scheme is written: only the small one is taken."""
    return text[: len(DATA_SCHEME)].lower() == DATA_SCHEME


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
