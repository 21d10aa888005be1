"""Messages about batches in the queue of requests.

{batch_id, bucket, key, version_id, first_byte, end_byte}   accept the lines from there on: one message at a time
{batch_id}                                                  do what is due
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from vidu_relay.domain.batch import Batch

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

__all__ = ["BatchQueue"]


class BatchQueue:
    """Sends messages about batches."""

    def __init__(self, client: SQSClient, url: str) -> None:
        self._client = client
        self._url = url

    def go_on(self, batch: Batch) -> None:
        """Have the next lines of a batch accepted. A message whose bytes are accepted already changes nothing."""
        file, rest = batch.file, {"first_byte": batch.next_byte, "end_byte": batch.size}
        content = {"batch_id": batch.batch_id, "bucket": file.bucket, "key": file.key, "version_id": file.version_id}
        self._client.send_message(
            QueueUrl=self._url, MessageBody=json.dumps({**content, **rest}), MessageGroupId=batch.tenant_id
        )

    def follow(self, batch_id: str) -> None:
        """Have done for a batch whatever is due."""
        self._client.send_message(
            QueueUrl=self._url, MessageBody=json.dumps({"batch_id": batch_id}), MessageGroupId=batch_id
        )
