"""Dropped request files and the answers to those that were refused: objects of the inbox bucket."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from vidu_relay.domain.errors import InvalidRequestError
from vidu_relay.domain.queued_requests import DroppedFile
from vidu_relay.domain.strict_json import valid_text

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["RequestInbox"]


class RequestInbox:
    """Reads what was dropped, writes why it was refused. `bucket` is the inbox bucket's name."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self.bucket = bucket

    def read(self, file: DroppedFile, *, max_bytes: int) -> bytes | None:
        """The bytes of exactly that upload, or None if it is gone.

        Raises `InvalidRequestError` (`body_too_large`) before a byte of a larger file is read.
        """
        version: Any = {"VersionId": file.version_id} if file.version_id else {}
        try:
            reply = self._client.get_object(Bucket=self.bucket, Key=file.key, **version)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "NoSuchVersion"):
                return None
            raise
        with reply["Body"] as body:
            if reply["ContentLength"] > max_bytes:
                raise InvalidRequestError(
                    "body_too_large",
                    f"The file has {reply['ContentLength']} bytes; at most {max_bytes} are taken. "
                    "Refer to large images by URL or key instead of embedding them.",
                )
            return body.read()

    def put_rejection(self, file: DroppedFile, problem: Mapping[str, Any]) -> None:
        """Write why a file was refused; the metadata names the upload."""
        self._client.put_object(
            Bucket=self.bucket,
            Key=file.rejected_key,
            Body=valid_text(json.dumps(dict(problem), ensure_ascii=False, indent=2)).encode(),
            ContentType="application/problem+json",
            Metadata={"request-version-id": file.version_id or ""},
        )
