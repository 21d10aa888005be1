"""S3: the sizes of chunks and parts, checksums, ranges of versions, the version in events, and the host of a bucket."""

import json
import re
from contextvars import ContextVar
from typing import Any
from urllib.parse import urlsplit

from ministack import app
from ministack.services import eventbridge, s3
from ministack.services.cloudformation import provisioners

from local.emulator.patches import replaces
from local.emulator.settings import Settings

CHUNK_BYTES, PART_BYTES = 8192, 5 * 1024 * 1024
CHUNK_MESSAGE = f"Only the last chunk is allowed to have a size less than {CHUNK_BYTES} bytes"
REFUSED = "x-emulator-small-chunk"


def apply(settings: Settings) -> None:
    chunk_sizes()
    part_sizes()
    checksums()
    ranges_of_versions()
    version_in_events()
    host_of_bucket(settings)


def chunk_sizes() -> None:
    """Every chunk of an `aws-chunked` body but the last has at least 8,192 bytes, else the upload is refused.

    S3 API reference, "Signature calculations for the Authorization header: Transferring payload in multiple chunks".
    MiniStack takes chunks of any size.
    """

    @replaces(app, "_decode_aws_chunked_body")
    def decode(original: Any, body: bytes, headers: dict[str, str]) -> Any:
        decoded = original(body, headers)
        if decoded is not body and any(size < CHUNK_BYTES for size in _sizes(body)[:-1]):
            headers[REFUSED] = "yes"
            raise app._IncompleteRequestBody(CHUNK_MESSAGE)
        return decoded

    @replaces(app, "_incomplete_request_body_response")
    def answer(original: Any, method: str, path: str, headers: dict[str, str], query: Any) -> Any:
        refused = REFUSED in headers
        return (
            s3._error("InvalidChunkSizeError", CHUNK_MESSAGE, 403)
            if refused
            else original(method, path, headers, query)
        )


def _sizes(body: bytes) -> list[int]:
    """The sizes of the chunks of a body that was decoded, without the empty one at its end."""
    sizes, at = [], 0
    while size := int(body[at : (end := body.index(b"\r\n", at))].partition(b";")[0], 16):
        sizes.append(size)
        at = end + 2 + size + 2
    return sizes


def part_sizes() -> None:
    """Every part of a multipart upload but the last has at least 5 MiB, else ``EntityTooSmall``; MiniStack takes any.

    S3 user guide, "Amazon S3 multipart upload limits"; API reference, CompleteMultipartUpload.
    """

    @replaces(s3, "_complete_multipart_upload")
    def complete(original: Any, bucket: str, key: str, body: bytes, query: dict[str, Any], *rest: Any) -> Any:
        upload = s3._multipart_uploads.get(s3._qp(query, "uploadId")) or {"parts": {}}
        numbers = sorted(int(number) for number in re.findall(rb"<PartNumber>\s*(\d+)", body))
        parts = [upload["parts"].get(number) for number in numbers[:-1]]
        if any(part is not None and len(part["body"]) < PART_BYTES for part in parts):
            message = "Your proposed upload is smaller than the minimum allowed size"
            return s3._error("EntityTooSmall", message, 400, f"/{bucket}/{key}")
        return original(bucket, key, body, query, *rest)


def checksums() -> None:
    """The answer to PutObject names every checksum that S3 computed (S3 API reference, PutObject).

    It is the proof of what was stored. MiniStack checks and keeps the checksums, and leaves them out of the answer.
    """

    @replaces(s3, "_put_object")
    def put(original: Any, bucket: str, key: str, *rest: Any) -> Any:
        status, answer, content = original(bucket, key, *rest)
        kept = s3._buckets[bucket]["objects"][key].get("checksums", {}) if status == 200 else {}
        named = {f"x-amz-checksum-{algorithm.lower()}": value for algorithm, value in kept.items()}
        return status, {**answer, **named, **({"x-amz-checksum-type": "FULL_OBJECT"} if named else {})}, content


def ranges_of_versions() -> None:
    """GetObject of a version sends the `Range` that is asked for (S3 API reference, GetObject); MiniStack all of it."""

    @replaces(s3, "_get_object")
    def get(original: Any, bucket: str, key: str, headers: dict[str, str], query: Any = None) -> Any:
        status, answer, content = original(bucket, key, headers, query)
        if status != 200 or "range" not in headers or not s3._qp(query or {}, "versionId", ""):
            return status, answer, content
        span = s3._parse_range(headers["range"], len(content))
        if span is None:
            return s3._error("InvalidRange", "The requested range is not satisfiable", 416, f"/{bucket}/{key}")
        part = content[span[0] : span[1] + 1]
        sliced = {"Content-Length": str(len(part)), "Content-Range": f"bytes {span[0]}-{span[1]}/{len(content)}"}
        whole = {name: value for name, value in answer.items() if not name.startswith("x-amz-checksum-")}
        return 206, {**whole, **sliced}, part


def version_in_events() -> None:
    """``detail.object`` of a versioned bucket's event has ``version-id`` (S3 user guide, "EventBridge event message
    structure"). MiniStack has it in bucket notifications alone."""
    version: ContextVar[str | None] = ContextVar("version", default=None)

    @replaces(s3, "_fire_s3_event")
    def fire(original: Any, *arguments: Any, version_id: str | None = None, **named: Any) -> None:
        token = version.set(version_id)
        try:
            original(*arguments, version_id=version_id, **named)
        finally:
            version.reset(token)

    @replaces(eventbridge, "_dispatch_event")
    def dispatch(original: Any, event: dict[str, Any], *rest: Any) -> None:
        if event["Source"] == "aws.s3" and (version_id := version.get()):
            detail = json.loads(event["Detail"])
            detail["object"]["version-id"] = version_id
            event = {**event, "Detail": json.dumps(detail)}
        original(event, *rest)


def host_of_bucket(settings: Settings) -> None:
    """``RegionalDomainName`` is the host in signed links (``AWS::S3::Bucket``, return values): here the emulator's."""

    @replaces(provisioners, "_s3_attrs")
    def attributes(original: Any, name: str) -> dict[str, str]:
        return {**original(name), "RegionalDomainName": urlsplit(settings.endpoint_url).netloc}
