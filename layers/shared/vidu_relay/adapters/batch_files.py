"""The objects of batches in the inbox bucket: lists, summaries, retry files, and the answers to refused files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from vidu_relay.domain.batch_lines import read_lines
from vidu_relay.domain.queued_requests import DroppedFile

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3 import S3Client

    from vidu_relay.domain import documents

__all__ = ["BatchFiles"]

CHUNK_BYTES = 1024 * 1024


class BatchFiles:
    """Reads and writes them. `bucket` is the inbox bucket's name."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self.bucket = bucket

    def put(self, key: str, file: IO[bytes], content_type: str) -> None:
        """Store a file, from its beginning on."""
        file.seek(0)
        self._client.put_object(Bucket=self.bucket, Key=key, Body=file, ContentType=content_type)

    def put_list(self, key: str, entries: Iterable[Mapping[str, Any]]) -> None:
        """Store entries, a line of JSON each."""
        lines = [json.dumps(entry, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n" for entry in entries]
        self._client.put_object(Bucket=self.bucket, Key=key, Body=b"".join(lines), ContentType="application/jsonl")

    def read_list(self, key: str) -> Iterator[Any]:
        """The entries of such an object, one after the other."""
        chunks = _chunks(self._client.get_object(Bucket=self.bucket, Key=key)["Body"])
        return (json.loads(line.whole()) for line in read_lines(chunks))

    def read(self, file: DroppedFile) -> Iterator[bytes] | None:
        """The bytes of a version in chunks; None if it is gone."""
        version: Any = {"VersionId": file.version_id} if file.version_id else {}
        try:
            return _chunks(self._client.get_object(Bucket=file.bucket, Key=file.key, **version)["Body"])
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "NoSuchVersion"):
                return None
            raise

    def find_rejection(self, key: str) -> tuple[int, documents.Problem] | None:
        """When (ms) and why a file was refused as a whole, by the key of the answer; None where there is no answer."""
        try:
            reply = self._client.get_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchKey":
                return None
            raise
        return int(reply["LastModified"].timestamp() * 1000), json.loads(reply["Body"].read())


def _chunks(body: StreamingBody) -> Iterator[bytes]:
    with closing(body):
        yield from iter(partial(body.read, CHUNK_BYTES), b"")
