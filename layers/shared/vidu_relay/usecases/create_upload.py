"""Let a tenant upload one reference image, or the file of a batch: a form for one key."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vidu_relay.adapters.daily_quota import DailyQuota
from vidu_relay.adapters.image_bucket import ImageBucket
from vidu_relay.domain.batch import batch_id_of, uploaded_key
from vidu_relay.domain.batch_lines import MAX_FILE_BYTES
from vidu_relay.domain.errors import Fault, InvalidRequestError
from vidu_relay.domain.image_format import FILE_ENDINGS, MAX_IMAGE_BYTES
from vidu_relay.domain.image_reference import S3Object
from vidu_relay.domain.strict_json import read_json
from vidu_relay.usecases.ports import Clock, clock

__all__ = ["UPLOAD_SECONDS", "BatchUpload", "Upload", "create_batch_upload", "create_upload"]

UPLOAD_SECONDS = 900
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Upload:
    """A form to send within 15 minutes: POST `fields`, then the file as `file`, to `url`.

    `uri` goes into a request's images as soon as S3 has answered. `expires_at` in ms.
    """

    url: str
    fields: dict[str, str]
    uri: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class BatchUpload:
    """The same for the file of a batch, whose id is known before."""

    batch_id: str
    url: str
    fields: dict[str, str]
    expires_at: int


def create_upload(
    body: bytes,
    *,
    tenant_id: str,
    daily_cap: int,
    quota: DailyQuota,
    bucket: ImageBucket,
    now: Clock = clock,
    name: Callable[[], str] = lambda: secrets.token_hex(16),
) -> Upload:
    """An upload of the type, of `FILE_ENDINGS`, that the body asks for: `{"content_type": "image/png"}`.

    Each form counts towards the day's uploads, which follow from the tenant's `daily_cap` of tasks. Raises
    `InvalidRequestError` (`malformed_json`, `validation_error`) and `DailyUploadsReachedError`.
    """
    content_type = _content_type(body)
    key = f"uploads/{tenant_id}/{name()}.{FILE_ENDINGS[content_type]}"
    began = now()
    quota.take_upload(tenant_id, daily_cap, began)
    url, fields = bucket.upload_form(key, content_type, max_bytes=MAX_IMAGE_BYTES, seconds=UPLOAD_SECONDS)
    return Upload(url, fields, str(S3Object(bucket.inbox, key)), began + UPLOAD_SECONDS * 1000)


def create_batch_upload(
    body: bytes, *, tenant_id: str, daily_cap: int, quota: DailyQuota, bucket: ImageBucket, now: Clock = clock
) -> BatchUpload:
    """An upload of the file with the SHA-256 (hex) and size that the body names: `{"sha256": "…", "size": 4711}`.

    Counts and raises as `create_upload`.
    """
    content, faults = _members(body, "sha256", "size")
    sha256, size = content.get("sha256"), content.get("size")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        faults.append(Fault("sha256", "must be the file's SHA-256 as 64 digits of 0-9 and a-f"))
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= MAX_FILE_BYTES:
        faults.append(Fault("size", f"must be the file's size, 1 to {MAX_FILE_BYTES} bytes: split a larger file"))
    if faults:
        raise _refusal(*faults)
    batch_id, began = batch_id_of(tenant_id, str(sha256)), now()
    quota.take_upload(tenant_id, daily_cap, began)
    url, fields = bucket.file_form(
        uploaded_key(tenant_id, batch_id),
        sha256=bytes.fromhex(str(sha256)),
        size=int(size or 0),
        seconds=UPLOAD_SECONDS,
    )
    return BatchUpload(batch_id, url, fields, began + UPLOAD_SECONDS * 1000)


def _content_type(body: bytes) -> str:
    content, faults = _members(body, "content_type")
    wanted = content.get("content_type")
    if not isinstance(wanted, str) or wanted not in FILE_ENDINGS:
        faults.append(Fault("content_type", f"must be one of {', '.join(FILE_ENDINGS)}"))
    if faults:
        raise _refusal(*faults)
    return str(wanted)


def _members(body: bytes, *known: str) -> tuple[dict[str, Any], list[Fault]]:
    """The members of a JSON object, and a fault for each that is not known."""
    content = read_json(body)
    if not isinstance(content, dict):
        raise _refusal(Fault("", "must be a JSON object"))
    others = [name[:100] for name in content if name not in known]
    return content, [Fault(name, f"unknown field; known: {', '.join(known)}") for name in others]


def _refusal(*faults: Fault) -> InvalidRequestError:
    return InvalidRequestError("validation_error", "The request is not valid. See `errors`.", faults)
