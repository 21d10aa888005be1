"""S3 as the delivery of videos needs it: proven by SHA-256, never overwritten, never visible in parts."""

import base64
import hashlib
import http.client
import io
import json
import ssl
import urllib.parse
import uuid
from contextlib import closing
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.emulator.test_events import a_queue, allow
from tests.local.probe import Emulator, eventually

CONTENT = b"0123456789" * 50_000


@pytest.fixture
def bucket(emulator: Emulator) -> str:
    name = f"bucket-{uuid.uuid4().hex}"
    emulator.client("s3").create_bucket(Bucket=name)
    return name


def sha256(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


class Stream:
    """A body that can be read once, as a download is."""

    def __init__(self) -> None:
        self._rest = io.BytesIO(CONTENT)

    def read(self, size: int = -1) -> bytes:
        return self._rest.read(size)


def put(emulator: Emulator, bucket: str, key: str) -> Any:
    return emulator.client("s3").put_object(
        Bucket=bucket,
        Key=key,
        Body=Stream(),
        ContentLength=len(CONTENT),
        ChecksumAlgorithm="SHA256",
        IfNoneMatch="*",
    )


def test_a_streamed_object_answers_with_its_sha256_and_keeps_it(emulator: Emulator, bucket: str) -> None:
    reply = put(emulator, bucket, "video")
    assert (reply["ChecksumSHA256"], reply["ChecksumType"]) == (sha256(CONTENT), "FULL_OBJECT")
    s3 = emulator.client("s3")
    assert s3.head_object(Bucket=bucket, Key="video", ChecksumMode="ENABLED")["ChecksumSHA256"] == sha256(CONTENT)
    found = s3.get_object(Bucket=bucket, Key="video", ChecksumMode="ENABLED")
    assert (found["ChecksumSHA256"], found["Body"].read()) == (sha256(CONTENT), CONTENT)


def test_an_object_that_is_there_is_never_overwritten(emulator: Emulator, bucket: str) -> None:
    put(emulator, bucket, "video")
    with pytest.raises(ClientError) as refusal:
        put(emulator, bucket, "video")
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412
    s3 = emulator.client("s3")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="video")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="video", UploadId=upload, PartNumber=1, Body=b"other")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    with pytest.raises(ClientError) as refusal:
        s3.complete_multipart_upload(
            Bucket=bucket, Key="video", UploadId=upload, MultipartUpload=parts, IfNoneMatch="*"
        )
    assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 412


def put_chunks(emulator: Emulator, bucket: str, chunks: list[bytes], trailer: str | None) -> tuple[int, bytes]:
    """Put `video` in chunks as given, with a SHA-256 as trailer or without: the status and the answer."""
    parameters = {"Bucket": bucket, "Key": "video"}
    url = urllib.parse.urlsplit(emulator.client("s3").generate_presigned_url("put_object", Params=parameters))
    assert url.port is not None
    tls = ssl.create_default_context(cafile=emulator.ca_bundle)
    end = b"0\r\n" + (f"x-amz-checksum-sha256:{trailer}\r\n\r\n".encode() if trailer else b"\r\n")
    headers = {
        "Content-Encoding": "aws-chunked",
        "X-Amz-Trailer": "x-amz-checksum-sha256",
        "X-Amz-Decoded-Content-Length": str(sum(map(len, chunks))),
        "X-Amz-Content-SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    }
    with closing(http.client.HTTPSConnection("127.0.0.1", url.port, context=tls, timeout=10)) as connection:
        body = b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + end
        connection.request("PUT", f"{url.path}?{url.query}", body, headers)
        reply = connection.getresponse()
        return reply.status, reply.read()


@pytest.mark.parametrize("trailer", [sha256(b"something else"), None])
def test_an_object_with_a_wrong_trailer_or_none_never_appears(
    emulator: Emulator, bucket: str, trailer: str | None
) -> None:
    status, _ = put_chunks(emulator, bucket, [b"video"], trailer)
    assert status == 400
    assert "Contents" not in emulator.client("s3").list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize(("sizes", "taken"), [([8192, 8191], True), ([8191], True), ([8192, 8191, 8192], False)])
def test_only_the_last_chunk_of_an_upload_may_be_below_8192_bytes(
    emulator: Emulator, bucket: str, sizes: list[int], taken: bool
) -> None:
    status, answer = put_chunks(emulator, bucket, [b"x" * size for size in sizes], sha256(b"x" * sum(sizes)))
    assert (status == 200, b"<Code>InvalidChunkSizeError</Code>" in answer) == (taken, not taken)
    assert ("Contents" in emulator.client("s3").list_objects_v2(Bucket=bucket)) == taken


def test_parts_below_5_mib_cannot_be_completed(emulator: Emulator, bucket: str) -> None:
    s3 = emulator.client("s3")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="video")["UploadId"]
    parts = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(Bucket=bucket, Key="video", UploadId=upload, PartNumber=number, Body=b"x")["ETag"],
        }
        for number in (1, 2)
    ]
    with pytest.raises(ClientError) as refusal:
        s3.complete_multipart_upload(Bucket=bucket, Key="video", UploadId=upload, MultipartUpload={"Parts": parts})
    assert refusal.value.response["Error"]["Code"] == "EntityTooSmall"


def test_events_of_a_versioned_bucket_name_the_version(emulator: Emulator, bucket: str) -> None:
    s3, sqs, events = (emulator.client(name) for name in ("s3", "sqs", "events"))
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}})
    queue, arn, set_policy = a_queue(emulator, bucket)
    set_policy(allow("events", "sqs:SendMessage", arn))
    events.put_rule(
        Name=bucket, EventPattern=json.dumps({"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}})
    )
    events.put_targets(Rule=bucket, Targets=[{"Id": "queue", "Arn": arn}])
    version = s3.put_object(Bucket=bucket, Key="a key+", Body=b"x")["VersionId"]
    (message,) = eventually(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))
    found = json.loads(message["Body"])["detail"]["object"]
    assert (found["key"], found["version-id"]) == ("a key+", version)
