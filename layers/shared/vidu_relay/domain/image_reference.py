"""Where a reference image is: `s3://bucket/key`. (URLs and data URIs need no reading apart.)"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["S3_SCHEME", "S3Object", "read_s3_uri"]

S3_SCHEME = "s3://"
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
