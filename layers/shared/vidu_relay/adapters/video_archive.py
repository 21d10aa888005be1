"""The videos bucket: create-only objects that become visible only when every byte is proven.

Known length: one PUT, streamed, with SHA-256 as trailer (botocore sends trailers over TLS only). Unknown length:
sequential parts, completed at the end. In both the last block waits until length and structure are checked, so a bad
file never exists. Retries are off in the client this is given: a stream cannot be sent twice.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

from botocore.exceptions import BotoCoreError, ClientError

from vidu_relay.domain.errors import DeliveryError, DeliveryInterruptedError
from vidu_relay.domain.task import Video
from vidu_relay.domain.video_proof import VideoProof

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["VideoArchive"]

BLOCK_BYTES = 256 * 1024
PART_BYTES = 8 * 1024 * 1024
"""S3 takes 10,000 parts: 80 GB, far above any video here; and this much memory, once."""

CONTENT_TYPE = "video/mp4"
LINK_SECONDS = 900


class Stream(Protocol):
    """What is copied: bytes until b"", and their number if known."""

    length: int | None

    def read(self, size: int) -> bytes: ...


class VideoArchive:
    """Writes and links videos in one bucket."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def find(self, key: str) -> Video | None:
        """The video under a key as it stands in the bucket, or None. Raises `DeliveryInterruptedError`."""
        try:
            return self._find(key)
        except ClientError as error:
            raise DeliveryInterruptedError("storage", _reason(error)) from error
        except BotoCoreError as error:
            raise DeliveryInterruptedError("storage", type(error).__name__) from error

    def _find(self, key: str) -> Video | None:
        try:
            head = self._client.head_object(Bucket=self._bucket, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey", "NotFound"):
                return None
            raise
        checksum = head.get("ChecksumSHA256", "")
        composite = head.get("ChecksumType") == "COMPOSITE" or "-" in checksum
        sha256 = self._hash(key) if composite or not checksum else _hex(checksum)
        return self._video(key, head["ContentLength"], sha256)

    def store(self, key: str, stream: Stream) -> Video:
        """Copy a stream to a key that holds nothing yet; the video as S3 has it.

        If the key holds an object already, that one is described and stays as it is.
        Raises `BadSourceError` if the stream is not a whole MP4 file, `DeliveryInterruptedError` on any trouble
        with S3.
        """
        proven = _Proven(stream)
        try:
            if stream.length is not None and stream.length > 0:
                return self._put(key, proven, stream.length)
            return self._put_parts(key, proven)
        except ClientError as error:
            if proven.fault:
                raise proven.fault from error
            if error.response["Error"]["Code"] in ("PreconditionFailed", "412"):
                there = self.find(key)
                if there:
                    return there
            raise DeliveryInterruptedError("storage", _reason(error)) from error
        except BotoCoreError as error:
            if proven.fault:
                raise proven.fault from error
            raise DeliveryInterruptedError("storage", type(error).__name__) from error

    def link(self, video: Video) -> str:
        """A link to the video, good for at most 15 minutes."""
        return self._client.generate_presigned_url(
            "get_object", Params={"Bucket": video.bucket, "Key": video.key}, ExpiresIn=LINK_SECONDS
        )

    def _put(self, key: str, proven: _Proven, length: int) -> Video:
        reply = self._client.put_object(
            Bucket=self._bucket,
            Key=key,
            Body=cast("IO[bytes]", proven),  # botocore needs `read` and nothing else of a file
            ContentLength=length,
            ContentType=CONTENT_TYPE,
            ChecksumAlgorithm="SHA256",
            IfNoneMatch="*",
        )
        return self._video(key, length, _hex(reply["ChecksumSHA256"]))

    def _put_parts(self, key: str, proven: _Proven) -> Video:
        target: Any = {"Bucket": self._bucket, "Key": key}
        digest, size = hashlib.sha256(), 0
        upload = self._client.create_multipart_upload(**target, ContentType=CONTENT_TYPE, ChecksumAlgorithm="SHA256")
        upload_id = upload["UploadId"]
        parts: list[Any] = []
        try:
            for number, part in enumerate(proven.parts(PART_BYTES), 1):
                digest.update(part)
                size += len(part)
                done = self._client.upload_part(
                    **target, UploadId=upload_id, PartNumber=number, Body=part, ChecksumAlgorithm="SHA256"
                )
                parts.append({"PartNumber": number, "ETag": done["ETag"], "ChecksumSHA256": done["ChecksumSHA256"]})
            self._client.complete_multipart_upload(
                **target, UploadId=upload_id, MultipartUpload={"Parts": parts}, IfNoneMatch="*"
            )
        except BaseException:  # whatever ends it, the parts are paid for until the upload is aborted
            self._abort(key, upload_id)
            raise
        return self._video(key, size, digest.hexdigest())

    def _abort(self, key: str, upload_id: str) -> None:
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)
        except (ClientError, BotoCoreError):
            return  # the first fault is the one to report; the bucket's lifecycle rule removes what is left

    def _hash(self, key: str) -> str:
        body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"]
        digest = hashlib.sha256()
        with closing(body):
            for block in body.iter_chunks(BLOCK_BYTES):
                digest.update(block)
        return digest.hexdigest()

    def _video(self, key: str, size: int, sha256: str) -> Video:
        return Video(bucket=self._bucket, key=key, size=size, sha256=sha256, content_type=CONTENT_TYPE)


class _Proven:
    """A stream as a request body whose last block is handed out only when the whole is proven.

    botocore turns an exception raised while it reads into one of its own, so the fault is kept here as well.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._proof = VideoProof()
        self._held: bytes | None = None
        self._rest = memoryview(b"")
        self.fault: DeliveryError | None = None

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes of the block at hand (any number for a negative size); empty at the end."""
        if not self._rest:
            self._rest = memoryview(self._next_block())
        size = len(self._rest) if size < 0 else size
        out, self._rest = bytes(self._rest[:size]), self._rest[size:]
        return out

    def parts(self, size: int) -> Iterator[bytes]:
        """The stream in parts of `size` bytes; the last, possibly shorter, comes only when all is proven."""
        part = bytearray()
        while block := self._next_block():
            part += block
            while len(part) > size:
                yield bytes(part[:size])
                del part[:size]
        yield bytes(part)

    def _next_block(self) -> bytes:
        try:
            held = self._read() if self._held is None else self._held
            if held:
                self._held = self._read()
            if not self._held:
                self._proof.finish()
        except DeliveryError as fault:
            self.fault = fault
            raise
        return held

    def _read(self) -> bytes:
        block = self._stream.read(BLOCK_BYTES)
        self._proof.feed(block)
        return block


def _hex(checksum: str) -> str:
    return base64.b64decode(checksum).hex()


def _reason(error: ClientError) -> str:
    return f"S3 answers {error.response['Error']['Code']} to {error.operation_name}"
