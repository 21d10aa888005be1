"""Reference images for the provider: content stored in the inbox bucket, and links to what lies in S3."""

from __future__ import annotations

import base64
from typing import Any

from vidu_relay.adapters.image_bucket import ImageBucket
from vidu_relay.domain.image_format import content_type_of
from vidu_relay.domain.image_reference import image_key, named_type
from vidu_relay.domain.request import Request
from vidu_relay.domain.task import Task

__all__ = ["resolve_image_links", "store_images"]


def store_images(request: Request, tenant_id: str, task_id: str, bucket: ImageBucket) -> None:
    """Store the content that came with a request, each under the name of it: a repetition writes the same."""
    contents = {slot.reference: slot.content for slot in request.slots if slot.content is not None}
    for name, content in contents.items():
        bucket.store(image_key(tenant_id, task_id, name), content, named_type(name))


def resolve_image_links(request: Request, task: Task, bucket: ImageBucket) -> dict[str, Any]:
    """The parameters of a task's request as the provider is sent them: URLs as they are, other images as fresh links.

    An off-peak task may start after the links have expired, so its images are read and sent inside. Raises what S3
    raises: call it before an attempt is recorded.
    """
    versions = task.image_versions or ("",) * len(request.slots)
    references = []
    for slot, version in zip(request.slots, versions, strict=True):
        image = slot.object(bucket.inbox, task.tenant_id, task.task_id)
        if image is None:
            references.append(slot.reference)
        elif request.off_peak:
            content = bucket.read(image, version or None)
            kind = content_type_of(content) or "application/octet-stream"
            references.append(f"data:{kind};base64,{base64.b64encode(content).decode()}")
        else:
            references.append(bucket.link(image, version or None))
    return request.sent(references)
