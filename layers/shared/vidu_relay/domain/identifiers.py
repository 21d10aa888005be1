"""Names that are computed: task ids, key digests, object keys."""

from __future__ import annotations

import base64
import hashlib
import re
import time

__all__ = [
    "TASK_ID",
    "api_key_digest",
    "is_remote_id",
    "link_digest",
    "request_folder",
    "request_key",
    "task_id_for_key",
    "task_id_from_random",
    "video_folder",
    "video_key",
]

MAX_REMOTE_ID_BYTES = 512

TASK_ID = re.compile(r"[a-z2-7]{26}")
"""16 bytes in lower-case base 32: fits an execution name, an object key and a URL as it is."""


def task_id_for_key(tenant_id: str, idempotency_key: str) -> str:
    """The id of the task a tenant creates under an idempotency key: the record *is* the idempotency record."""
    return _base32(hashlib.sha256(f"{tenant_id}\0{idempotency_key}".encode()).digest()[:16])


def task_id_from_random(random16: bytes) -> str:
    """The id of a task without a key, from 16 random bytes."""
    return _base32(random16)


def api_key_digest(api_key: str) -> str:
    """What is stored of an API key: SHA-256 in hex. Keys are 256 random bits, so no salt or stretching is needed."""
    return hashlib.sha256(api_key.encode()).hexdigest()


def link_digest(url: str) -> str:
    """Identifies a video's link, whatever its signature: a digest of its path, 16 characters."""
    path = url.partition("://")[2].partition("?")[0].partition("/")[2]
    return base64.urlsafe_b64encode(hashlib.sha256(path.encode("utf-8", "surrogatepass")).digest()[:12]).decode()


def is_remote_id(text: str) -> bool:
    """Whether a text can be a provider's task id: 1 to 512 bytes, printable, no dot segment of a URL.

    A key of the table takes 2,048 bytes.
    """
    return (
        text.isprintable()
        and text not in (".", "..")
        and 0 < len(text.encode("utf-8", "surrogatepass")) <= MAX_REMOTE_ID_BYTES
    )


def request_key(tenant_id: str, task_id: str, digest: str) -> str:
    """Where a request too large for the record lives in the inbox bucket. Another request never overwrites it."""
    return f"{request_folder(tenant_id, task_id)}{digest}.json"


def request_folder(tenant_id: str, task_id: str) -> str:
    """Below which everything that the relay keeps of a task lies in the inbox bucket."""
    return f"tasks/{tenant_id}/{task_id}/"


def video_key(tenant_id: str, task_id: str, created_at: int, number: int) -> str:
    """`videos/<tenant>/<yyyy>/<mm>/<dd>/<task_id>/<n>.mp4`, by the UTC date of creation (`created_at` in ms)."""
    return f"{video_folder(tenant_id, task_id, created_at)}{number}.mp4"


def video_folder(tenant_id: str, task_id: str, created_at: int) -> str:
    """Below which a task's videos lie in the videos bucket."""
    day = time.strftime("%Y/%m/%d", time.gmtime(created_at / 1000))
    return f"videos/{tenant_id}/{day}/{task_id}/"


def _base32(data: bytes) -> str:
    return base64.b32encode(data).rstrip(b"=").decode().lower()
