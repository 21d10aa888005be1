"""Dropped request files, the answers to those that were refused, and what became of batches: objects of the inbox."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from vidu_relay.domain.batch_lines import read_lines
from vidu_relay.domain.errors import FileGoneError, InvalidRequestError
from vidu_relay.domain.queued_requests import DroppedFile
from vidu_relay.domain.strict_json import valid_text

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from vidu_relay.domain import documents

__all__ = ["RequestInbox"]

PIECE_BYTES = 1024 * 1024
GONE = ("404", "405", "MethodNotAllowed", "NoSuchKey", "NoSuchVersion")
"""Codes for an object or version that was deleted. 405: a delete marker."""


class RequestInbox:
    """Reads what was dropped, writes why it was refused. `bucket` is the inbox bucket's name."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self.bucket = bucket

    def read(self, file: DroppedFile, *, max_bytes: int) -> bytes | None:
        """The bytes of exactly that upload, or None if it is gone.

        Raises `InvalidRequestError` (`body_too_large`) before a byte of a larger file is read.
        """
        try:
            reply = self._client.get_object(**self._version(file))
        except ClientError as error:
            if error.response["Error"]["Code"] in GONE:
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

    def size(self, file: DroppedFile) -> int:
        """Bytes of exactly that upload. Raises `FileGoneError`."""
        try:
            return self._client.head_object(**self._version(file))["ContentLength"]
        except ClientError as error:
            if error.response["Error"]["Code"] in GONE:
                raise FileGoneError(file.source) from error
            raise

    def pieces(self, file: DroppedFile, first_byte: int, size: int) -> Iterator[bytes]:
        """The bytes from `first_byte` on of exactly that upload, which has `size`: each piece of a MiB by a call of its
        own, so that no connection waits for the work on the piece before. Raises `FileGoneError`.
        """
        for at in range(first_byte, size, PIECE_BYTES):
            wanted = f"bytes={at}-{min(at + PIECE_BYTES, size) - 1}"
            try:
                reply = self._client.get_object(**self._version(file), Range=wanted)
            except ClientError as error:
                if error.response["Error"]["Code"] in GONE:
                    raise FileGoneError(file.source) from error
                raise
            with reply["Body"] as body:
                yield body.read()

    def put_lines(self, key: str, documents: Iterable[Mapping[str, Any]]) -> None:
        """Write an object with a JSON document a line."""
        lines = (valid_text(json.dumps(dict(document), ensure_ascii=False)) for document in documents)
        body = "".join(f"{line}\n" for line in lines).encode()
        self._client.put_object(Bucket=self.bucket, Key=key, Body=body, ContentType="application/x-ndjson")

    def read_lines(self, key: str) -> Iterator[Any]:
        """The documents of such an object, one after the other; none where the bucket's lifecycle has removed it."""
        try:
            reply = self._client.get_object(Bucket=self.bucket, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in GONE:
                return
            raise
        with closing(reply["Body"]) as body:
            yield from (json.loads(line.whole()) for line in read_lines(iter(partial(body.read, PIECE_BYTES), b"")))

    def put_file(self, key: str, file: IO[bytes], content_type: str) -> None:
        """Write an object from the whole of a file."""
        file.seek(0)
        self._client.put_object(Bucket=self.bucket, Key=key, Body=file, ContentType=content_type)

    def _version(self, file: DroppedFile) -> dict[str, Any]:
        version = {"VersionId": file.version_id} if file.version_id else {}
        return {"Bucket": self.bucket, "Key": file.key, **version}

    def put_rejection(self, file: DroppedFile, problem: Mapping[str, Any]) -> None:
        """Write why a file was refused; the metadata names the upload."""
        self._client.put_object(
            Bucket=self.bucket,
            Key=file.rejected_key,
            Body=valid_text(json.dumps(dict(problem), ensure_ascii=False, indent=2)).encode(),
            ContentType="application/problem+json",
            Metadata={"request-version-id": file.version_id or ""},
        )

    def find_rejection(self, file: DroppedFile) -> tuple[int, documents.Problem] | None:
        """When (ms) and why a file was refused, as the latest answer to its key says; None where there is none."""
        try:
            reply = self._client.get_object(Bucket=self.bucket, Key=file.rejected_key)
        except ClientError as error:
            if error.response["Error"]["Code"] in GONE:
                return None
            raise
        return int(reply["LastModified"].timestamp() * 1000), json.loads(reply["Body"].read())
