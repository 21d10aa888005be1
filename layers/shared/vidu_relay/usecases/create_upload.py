"""Let a tenant upload one reference image: a form for one new key."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

from vidu_relay.adapters.daily_quota import DailyQuota
from vidu_relay.adapters.image_bucket import ImageBucket
from vidu_relay.domain.errors import Fault, InvalidRequestError
from vidu_relay.domain.image_format import FILE_ENDINGS, MAX_IMAGE_BYTES
from vidu_relay.domain.image_reference import S3Object
from vidu_relay.domain.strict_json import read_json
from vidu_relay.usecases.ports import Clock, clock

__all__ = ["Upload", "create_upload"]

UPLOAD_SECONDS = 900


@dataclass(frozen=True, slots=True)
class Upload:
    """A form to send within 15 minutes: POST `fields`, then the file as `file`, to `url`.

    `uri` goes into a request's images as soon as S3 has answered. `expires_at` in ms.
    """

    url: str
    fields: dict[str, str]
    uri: str
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


def _content_type(body: bytes) -> str:
    content = read_json(body)
    if not isinstance(content, dict):
        raise _refusal(Fault("", "must be a JSON object"))
    faults = [Fault(name[:100], "unknown field; known is: content_type") for name in content if name != "content_type"]
    wanted = content.get("content_type")
    if not isinstance(wanted, str) or wanted not in FILE_ENDINGS:
        faults.append(Fault("content_type", f"must be one of {', '.join(FILE_ENDINGS)}"))
    if faults:
        raise _refusal(*faults)
    return str(wanted)


def _refusal(*faults: Fault) -> InvalidRequestError:
    return InvalidRequestError("validation_error", "The request is not valid. See `errors`.", faults)
