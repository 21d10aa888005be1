"""Stands in for the smallest part of a multipart upload.

On AWS every part but the last has at least 5 MiB, or CompleteMultipartUpload is refused with ``EntityTooSmall``.
MiniStack takes parts of any size.
"""

import re
from typing import Any

from ministack.services import s3

from local.emulator.settings import Settings

SMALLEST_PART_BYTES = 5 * 1024 * 1024


def apply(settings: Settings) -> None:
    complete = s3._complete_multipart_upload

    def complete_multipart_upload(
        bucket: str, key: str, body: bytes, query: dict[str, Any], headers: dict[str, str] | None = None
    ) -> Any:
        upload = s3._multipart_uploads.get(s3._qp(query, "uploadId")) or {}
        numbers = sorted(int(number) for number in re.findall(rb"<PartNumber>\s*(\d+)", body))
        parts = [upload["parts"].get(number) for number in numbers[:-1]] if upload else []
        if any(part is not None and len(part["body"]) < SMALLEST_PART_BYTES for part in parts):
            message = "Your proposed upload is smaller than the minimum allowed size"
            return s3._error("EntityTooSmall", message, 400, f"/{bucket}/{key}")
        return complete(bucket, key, body, query, headers)

    s3._complete_multipart_upload = complete_multipart_upload
