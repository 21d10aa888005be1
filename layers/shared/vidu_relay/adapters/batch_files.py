"""The objects of batches in the inbox bucket: rejected lines, summaries and retry files, and answers to refused files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any, BinaryIO

from botocore.exceptions import ClientError

from vidu_relay.adapters.video_links import LINK_SECONDS
from vidu_relay.domain.batch import Batch

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from vidu_relay.domain import batch_documents, documents

__all__ = ["BatchFiles"]


class BatchFiles:
    """Reads and writes them. `bucket` is the inbox bucket's name."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self.bucket = bucket

    def put(self, key: str, file: BinaryIO, content_type: str) -> None:
        """Store a file, from its beginning on."""
        file.seek(0)
        self._client.put_object(Bucket=self.bucket, Key=key, Body=file, ContentType=content_type)

    def read_rejections(self, batch: Batch, first_line: int) -> Iterator[batch_documents.BatchRejection]:
        """The rejected lines of the range that begins at `first_line`, one after the other."""
        reply = self._client.get_object(Bucket=self.bucket, Key=batch.rejections_key(first_line))
        with closing(reply["Body"]) as body:
            yield from map(json.loads, body.iter_lines())

    def find_rejection(self, key: str) -> tuple[int, documents.Problem] | None:
        """When (ms) and why a file was refused as a whole, by the key of the answer; None where there is no answer."""
        try:
            reply = self._client.get_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise
        return int(reply["LastModified"].timestamp() * 1000), json.loads(reply["Body"].read())

    def link(self, key: str) -> str:
        """A link to an object, good for at most 15 minutes, signed with credentials that must be allowed to read it."""
        params: Any = {"Bucket": self.bucket, "Key": key}
        return self._client.generate_presigned_url("get_object", Params=params, ExpiresIn=LINK_SECONDS)
