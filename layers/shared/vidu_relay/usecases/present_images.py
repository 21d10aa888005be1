"""Every reference image in the form the provider can read: a link, or for an off-peak task its bytes."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from vidu_relay.adapters.image_bucket import ImageBucket
from vidu_relay.domain.image_reference import (
    DATA_SCHEME,
    NAME_SCHEME,
    S3_SCHEME,
    S3Object,
    content_type_of,
    each_image,
    image_key,
    name_data_uri,
    read_data_uri,
    read_s3_uri,
    with_images,
)

__all__ = ["present_images", "store_images"]


def store_images(given: Mapping[str, Any], tenant_id: str, task_id: str, bucket: ImageBucket) -> None:
    """Store what came as data URIs, each under the name of its content, so that a repetition writes the same."""
    for uri in dict.fromkeys(image for _, image in each_image(given) if image.startswith(DATA_SCHEME)):
        name = name_data_uri(uri)
        bucket.store(image_key(tenant_id, task_id, name), read_data_uri(uri), name.rpartition("?ct=")[2])


def present_images(
    request: Mapping[str, Any], *, tenant_id: str, task_id: str, versions: tuple[str, ...], bucket: ImageBucket
) -> dict[str, Any]:
    """A recorded request as the provider is to get it: URLs as they are, all others as links signed anew.

    `versions` are the task's `image_versions`. An off-peak task may start when a link has long died, so its images are
    read and put inside. Raises what S3 raises: call it before an attempt is recorded.
    """
    pinned = iter(versions)
    off_peak = bool(request.get("off_peak"))

    def present(image: str) -> str:
        version = next(pinned, "") or None
        if image.startswith(NAME_SCHEME):
            there = S3Object(bucket.inbox, image_key(tenant_id, task_id, image))
        elif image.startswith(S3_SCHEME):
            there = read_s3_uri(image)
        else:  # a URL, or a data URI in a request kept by an earlier release
            return image
        if not off_peak:
            return bucket.link(there, version)
        content = bucket.read(there, version)
        kind = content_type_of(content) or "application/octet-stream"
        return f"data:{kind};base64,{base64.b64encode(content).decode()}"

    return with_images(request, present)
