"""The videos bucket: create-only objects that become visible only when every byte is proven.

Known length: one PUT, streamed, with SHA-256 as trailer (botocore sends trailers over TLS only). Unknown length: one
part's worth is kept; if that is all, it is one PUT too, else sequential parts, completed at the end. In all of them the
last block waits until length and structure are checked, so a bad file never exists. Retries are off in the client this
is given: a stream cannot be sent twice.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any, Protocol, cast

from botocore.exceptions import BotoCoreError, ClientError

from vidu_relay.domain.errors import BadSourceError, DeliveryError, DeliveryInterruptedError
from vidu_relay.domain.task import Video
from vidu_relay.domain.video_proof import UNKNOWN, VideoFacts, VideoProof

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["VideoArchive"]

BLOCK_BYTES = 128 * 1024 - 9
"""With its chunk's head and end exactly what botocore writes to the socket at once, so that nothing is copied."""

PART_BYTES = 6 * 1024 * 1024
"""S3 takes 10,000 parts of 5 MiB and more: 60 GB, far above any video here; and this much memory, once."""

LOOK_BYTES = 64 * 1024
MAX_LOOKS = 32
"""How many ranges of an existing object are read at most to find its headers."""

CONTENT_TYPE = "video/mp4"


class Stream(Protocol):
    """What is copied: bytes until b"", and their number if known."""

    length: int | None

    def read(self, size: int) -> bytes: ...


class VideoArchive:
    """Writes videos into one bucket."""

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
        checksum, size = head.get("ChecksumSHA256", ""), head["ContentLength"]
        if head.get("ChecksumType") == "COMPOSITE" or "-" in checksum or not checksum:
            return self._read_through(key, size)
        return self._video(key, size, _hex(checksum), self._look(key, size))

    def store(self, key: str, stream: Stream, metadata: Mapping[str, str] | None = None) -> Video:
        """Copy a stream to a key that holds nothing yet; the video as S3 has it. `metadata` is ASCII, 2 KB at most.

        If the key holds an object already, that one is described and stays as it is.
        Raises `BadSourceError` if the stream is not a whole MP4 file, `DeliveryInterruptedError` on any trouble
        with S3.
        """
        proven = _Proven(stream)
        described: Any = {"ContentType": CONTENT_TYPE, **({"Metadata": dict(metadata)} if metadata else {})}
        try:
            if stream.length:
                return self._put(key, proven, proven, stream.length, described)
            return self._put_unmeasured(key, proven, described)
        except ClientError as error:
            if proven.fault:
                raise proven.fault from error
            if error.response["Error"]["Code"] in ("PreconditionFailed", "412"):
                existing = self.find(key)
                if existing:
                    return existing
            raise DeliveryInterruptedError("storage", _reason(error)) from error
        except BotoCoreError as error:
            if proven.fault:
                raise proven.fault from error
            raise DeliveryInterruptedError("storage", type(error).__name__) from error

    def _put(self, key: str, proven: _Proven, body: _Readable, length: int, described: Any) -> Video:
        reply = self._client.put_object(
            Bucket=self._bucket,
            Key=key,
            Body=_as_file(body),
            ContentLength=length,
            ChecksumAlgorithm="SHA256",
            IfNoneMatch="*",
            **described,
        )
        return self._video(key, length, _hex(reply["ChecksumSHA256"]), proven.facts)

    def _put_unmeasured(self, key: str, proven: _Proven, described: Any) -> Video:
        part = memoryview(bytearray(PART_BYTES))
        size = proven.fill(part)
        if proven.exhausted:
            return self._put(key, proven, _Part(part[:size]), size, described)
        target: Any = {"Bucket": self._bucket, "Key": key}
        digest, total = hashlib.sha256(), 0
        upload = self._client.create_multipart_upload(**target, **described, ChecksumAlgorithm="SHA256")
        upload_id = upload["UploadId"]
        parts: list[Any] = []
        try:
            while size:
                digest.update(part[:size])
                total += size
                done = self._client.upload_part(
                    **target,
                    UploadId=upload_id,
                    PartNumber=len(parts) + 1,
                    Body=_as_file(_Part(part[:size])),
                    ContentLength=size,
                    ChecksumAlgorithm="SHA256",
                )
                checksum = done["ChecksumSHA256"]
                parts.append({"PartNumber": len(parts) + 1, "ETag": done["ETag"], "ChecksumSHA256": checksum})
                size = proven.fill(part)
            self._client.complete_multipart_upload(
                **target, UploadId=upload_id, MultipartUpload={"Parts": parts}, IfNoneMatch="*"
            )
        except BaseException:  # the parts are billed until the upload is aborted
            self._abort(key, upload_id)
            raise
        return self._video(key, total, digest.hexdigest(), proven.facts)

    def _abort(self, key: str, upload_id: str) -> None:
        try:
            self._client.abort_multipart_upload(Bucket=self._bucket, Key=key, UploadId=upload_id)
        except (ClientError, BotoCoreError):
            return  # the first fault is the one to report; the bucket's lifecycle rule removes what is left

    def _read_through(self, key: str, size: int) -> Video:
        """An object whose SHA-256 S3 does not know, read as a whole."""
        body = self._client.get_object(Bucket=self._bucket, Key=key)["Body"]
        digest, sight = hashlib.sha256(), _Sight()
        with closing(body):
            for block in body.iter_chunks(BLOCK_BYTES):
                digest.update(block)
                sight.feed(block)
        return self._video(key, size, digest.hexdigest(), sight.facts())

    def _look(self, key: str, size: int) -> VideoFacts:
        """The facts of an object, read from a few small ranges of it; `UNKNOWN` if they hold no whole headers."""
        sight, at = _Sight(), 0
        for _ in range(MAX_LOOKS):
            stop = min(at + LOOK_BYTES, size)
            reply = self._client.get_object(Bucket=self._bucket, Key=key, Range=f"bytes={at}-{stop - 1}")
            with closing(reply["Body"]) as body:
                sight.feed(body.read())
            at = stop + sight.pass_over(size - stop)
            if at == size:
                return sight.facts()
        return UNKNOWN

    def _video(self, key: str, size: int, sha256: str, facts: VideoFacts) -> Video:
        return Video(
            bucket=self._bucket,
            key=key,
            size=size,
            sha256=sha256,
            content_type=CONTENT_TYPE,
            duration_seconds=facts.duration_seconds,
            width=facts.width,
            height=facts.height,
            notes=facts.notes,
        )


class _Sight:
    """Reads the facts of an existing object. One that is no MP4 video is kept, with `UNKNOWN` facts."""

    def __init__(self) -> None:
        self._proof: VideoProof | None = VideoProof()

    def feed(self, block: bytes) -> None:
        if self._proof:
            try:
                self._proof.feed(block)
            except BadSourceError:
                self._proof = None

    def pass_over(self, left: int) -> int:
        """Leave out what need not be seen of the `left` bytes to come; how many."""
        if not self._proof:
            return left
        unseen = left if self._proof.unseen is None else min(self._proof.unseen, left)
        self._proof.pass_over(unseen)
        return unseen

    def facts(self) -> VideoFacts:
        try:
            return self._proof.finish() if self._proof else UNKNOWN
        except BadSourceError:
            return UNKNOWN


class _Readable(Protocol):
    def read(self, size: int = -1) -> bytes: ...


class _Part:
    """Bytes at hand as a request body that is read in blocks: botocore would copy them whole."""

    def __init__(self, content: memoryview) -> None:
        self._content = content

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, and no more than a block; empty at the end."""
        size = BLOCK_BYTES if size < 0 else min(size, BLOCK_BYTES)
        block, self._content = bytes(self._content[:size]), self._content[size:]
        return block


class _Proven:
    """A stream as a request body whose last block is handed out only when the whole is proven.

    botocore turns an exception raised while it reads into one of its own, so the fault is kept here as well.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._proof = VideoProof()
        self._held: bytes | None = None
        self._left = memoryview(b"")
        self._ended = False
        self.facts = VideoFacts()
        """Known at the end."""
        self.fault: DeliveryError | None = None

    @property
    def exhausted(self) -> bool:
        """All is proven, and handed out."""
        return self._ended and not self._left

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, and no more than a block; empty at the end."""
        if not self._left:
            block = self._next_block()
            if size < 0 or size >= len(block):  # as botocore asks: nothing is copied
                return block
            self._left = memoryview(block)
        out, self._left = bytes(self._left[:size]), self._left[size:]
        return out

    def fill(self, part: memoryview) -> int:
        """Fill `part` from the stream, as far as it goes; how many bytes."""
        at = 0
        while at < len(part):
            if not self._left:
                self._left = memoryview(self._next_block())
            if not self._left:
                break
            step = min(len(self._left), len(part) - at)
            part[at : at + step] = self._left[:step]
            self._left = self._left[step:]
            at += step
        return at

    def _next_block(self) -> bytes:
        try:
            held = self._read() if self._held is None else self._held
            if held:
                self._held = self._read()
            if not self._held and not self._ended:
                self.facts = self._proof.finish()
                self._ended = True
        except DeliveryError as fault:
            self.fault = fault
            raise
        return held

    def _read(self) -> bytes:
        block = self._stream.read(BLOCK_BYTES)
        self._proof.feed(block)
        return block


def _as_file(body: _Readable) -> IO[bytes]:
    return cast("IO[bytes]", body)  # botocore needs `read` and nothing else of a file


def _hex(checksum: str) -> str:
    return base64.b64decode(checksum).hex()


def _reason(error: ClientError) -> str:
    return f"S3 answers {error.response['Error']['Code']} to {error.operation_name}"
