"""Requests too large for a task record: one JSON object each, in the inbox bucket under `tasks/`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from vidu_relay.domain.request import Request
from vidu_relay.domain.task import Task

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["RequestArchive"]


class RequestArchive:
    """Keeps whole requests. The key names the content, so writing twice writes the same."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self.bucket = bucket

    def put(self, key: str, request: Mapping[str, Any]) -> None:
        """Store a request."""
        body = json.dumps(dict(request), ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
        self._client.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType="application/json")

    def request_of(self, task: Task) -> Request:
        """A task's whole request. Raises `ClientError` (`NoSuchKey`) if the object beside the record is gone."""
        return Request.of(self.get(task.request_key) if task.request_key else task.request)

    def find(self, key: str) -> dict[str, Any] | None:
        """A stored request, or None once the bucket's lifecycle has removed it."""
        try:
            return self.get(key)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise

    def get(self, key: str) -> dict[str, Any]:
        """A stored request, whole. Raises `ClientError` (`NoSuchKey`) if it is gone."""
        body = self._client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        content: dict[str, Any] = json.loads(body)
        return content
