"""S3 as the delivery of videos needs it: the proof by SHA-256, and what AWS refuses."""

import base64
import hashlib
import http.client
import json
import ssl
import urllib.parse
import uuid
from contextlib import closing

import pytest
from botocore.exceptions import ClientError

from tests.local.emulator.test_events import a_queue, allow
from tests.local.probe import Emulator, eventually


@pytest.fixture
def bucket(emulator: Emulator) -> str:
    name = f"bucket-{uuid.uuid4().hex}"
    emulator.client("s3").create_bucket(Bucket=name)
    return name


def sha256(content: bytes) -> str:
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def test_an_object_answers_with_its_sha256(emulator: Emulator, bucket: str) -> None:
    reply = emulator.client("s3").put_object(Bucket=bucket, Key="video", Body=b"video", ChecksumAlgorithm="SHA256")
    assert (reply["ChecksumSHA256"], reply["ChecksumType"]) == (sha256(b"video"), "FULL_OBJECT")


@pytest.mark.parametrize(("sizes", "taken"), [([8192, 8191], True), ([8191], True), ([8192, 8191, 8192], False)])
def test_only_the_last_chunk_of_an_upload_may_be_below_8192_bytes(
    emulator: Emulator, bucket: str, sizes: list[int], taken: bool
) -> None:
    s3 = emulator.client("s3")
    url = urllib.parse.urlsplit(s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "video"}))
    headers = {
        "Content-Encoding": "aws-chunked",
        "X-Amz-Trailer": "x-amz-checksum-sha256",
        "X-Amz-Decoded-Content-Length": str(sum(sizes)),
        "X-Amz-Content-SHA256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    }
    chunks = b"".join(b"%x\r\n%s\r\n" % (size, b"x" * size) for size in sizes)
    body = chunks + f"0\r\nx-amz-checksum-sha256:{sha256(b'x' * sum(sizes))}\r\n\r\n".encode()
    tls = ssl.create_default_context(cafile=emulator.ca_bundle)
    with closing(http.client.HTTPSConnection("127.0.0.1", url.port, context=tls, timeout=30)) as connection:
        connection.request("PUT", f"{url.path}?{url.query}", body, headers)
        reply = connection.getresponse()
        assert (reply.status == 200, b"<Code>InvalidChunkSizeError</Code>" in reply.read()) == (taken, not taken)
    assert ("Contents" in s3.list_objects_v2(Bucket=bucket)) == taken


def test_parts_below_5_mib_cannot_be_completed(emulator: Emulator, bucket: str) -> None:
    s3, which = emulator.client("s3"), {"Bucket": bucket, "Key": "video"}
    which["UploadId"] = s3.create_multipart_upload(**which)["UploadId"]
    tags = {number: s3.upload_part(**which, PartNumber=number, Body=b"x")["ETag"] for number in (1, 2)}
    parts = [{"PartNumber": number, "ETag": tag} for number, tag in tags.items()]
    with pytest.raises(ClientError, match="EntityTooSmall"):
        s3.complete_multipart_upload(**which, MultipartUpload={"Parts": parts})


def test_events_of_a_versioned_bucket_name_the_version(emulator: Emulator, bucket: str) -> None:
    s3, sqs, events = (emulator.client(name) for name in ("s3", "sqs", "events"))
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"EventBridgeConfiguration": {}})
    queue, arn, set_policy = a_queue(emulator, bucket)
    set_policy(allow("events", "sqs:SendMessage", arn))
    pattern = {"source": ["aws.s3"], "detail": {"bucket": {"name": [bucket]}}}
    events.put_rule(Name=bucket, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=bucket, Targets=[{"Id": "queue", "Arn": arn}])
    version = s3.put_object(Bucket=bucket, Key="a key+", Body=b"x")["VersionId"]
    (message,) = eventually(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"))
    found = json.loads(message["Body"])["detail"]["object"]
    assert (found["key"], found["version-id"]) == ("a key+", version)


def test_part_of_a_version_is_read_by_its_range(emulator: Emulator, bucket: str) -> None:
    s3 = emulator.client("s3")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = {
        "Bucket": bucket,
        "Key": "a",
        "VersionId": s3.put_object(Bucket=bucket, Key="a", Body=b"video")["VersionId"],
    }
    s3.put_object(Bucket=bucket, Key="a", Body=b"other")
    reply = s3.get_object(**version, Range="bytes=1-3")
    assert (reply["Body"].read(), reply["ContentRange"]) == (b"ide", "bytes 1-3/5")
    with pytest.raises(ClientError, match="InvalidRange"):
        s3.get_object(**version, Range="bytes=5-9")
