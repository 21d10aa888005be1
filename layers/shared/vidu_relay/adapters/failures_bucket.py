"""The failures bucket: stream records that cannot be processed, whole, until the operator has seen to them.

Lambda writes the batches that it gives up on into the same bucket, below `aws/lambda/`, as a document whose `payload`
is the event as text. Records that a function sets aside have that form too, so the operator's tool reads both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["FailuresBucket"]


class FailuresBucket:
    """Writes records into the bucket, below the folder of the `function` that could not process them."""

    def __init__(self, client: S3Client, bucket: str, function: str) -> None:
        self._client = client
        self._bucket = bucket
        self._function = function

    def keep(self, record: Mapping[str, Any], reason: str) -> str:
        """Write a stream record and why it was set aside; the key. The same record again overwrites its own object."""
        key = f"{self._function}/{record['dynamodb']['SequenceNumber']}.json"
        document = {"reason": reason, "payload": json.dumps({"Records": [record]})}
        self._client.put_object(
            Bucket=self._bucket, Key=key, Body=json.dumps(document).encode(), ContentType="application/json"
        )
        return key
