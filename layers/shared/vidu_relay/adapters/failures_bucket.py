"""The failures bucket: stream records that cannot be published, whole, until the operator has seen to them.

Lambda writes the batches that it gives up on into the same bucket, below `aws/lambda/`, as a document whose `payload`
is the event as text. Records that `publish_events` sets aside have that form too, so the operator's tool reads both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["FailuresBucket"]

PREFIX = "publish_events/"


class FailuresBucket:
    """Writes records into the bucket."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def keep(self, record: Mapping[str, Any], reason: str) -> str:
        """Write a stream record and why it was set aside; the key. The same record again overwrites its own object."""
        key = f"{PREFIX}{record['dynamodb']['SequenceNumber']}.json"
        document = {"reason": reason, "payload": json.dumps({"Records": [record]})}
        self._client.put_object(
            Bucket=self._bucket, Key=key, Body=json.dumps(document).encode(), ContentType="application/json"
        )
        return key
