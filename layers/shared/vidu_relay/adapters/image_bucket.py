"""Reference images in S3: the first bytes of one, links for the provider, and the bytes that came with a request."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from vidu_relay.domain.errors import BadImageError
from vidu_relay.domain.image_format import ImageHead
from vidu_relay.domain.image_reference import S3Object

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["ImageBucket", "image_not_found"]

LINK_SECONDS = 43_200
"""The longest life of a role's credentials: a link ends with the credentials that signed it."""
BLOCK_BYTES = 64 * 1024

MISSING = frozenset(
    {"403", "404", "AccessDenied", "Forbidden", "NoSuchBucket", "NoSuchKey", "NoSuchVersion", "NotFound"}
    | {"InvalidObjectState", "KMS.DisabledException", "KMS.NotFoundException", "KMS.KMSInvalidStateException"}
)
"""With what S3 says of archived objects, and of those whose key cannot be used: a repetition changes nothing."""


class ImageBucket:
    """Reads and links images in any bucket, and stores them in the inbox bucket, whose name is `inbox`."""

    def __init__(self, client: S3Client, inbox: str) -> None:
        self._client = client
        self.inbox = inbox

    def read_head(
        self, image: S3Object, most: int, enough: Callable[[bytes, int | None], bool], *, start: int = 0
    ) -> ImageHead:
        """Bytes of an object from `start` on, at most `most`, until they are `enough` (given also the whole's size).

        Raises `BadImageError` (`image_not_found`, the same for an object that is not there and one we may not read),
        `ClientError` or `BotoCoreError` when S3 is in trouble.
        """
        try:
            reply = self._client.get_object(
                Bucket=image.bucket, Key=image.key, Range=f"bytes={start}-{start + most - 1}"
            )
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in MISSING:
                raise image_not_found() from error
            if code in ("InvalidRange", "416"):  # what S3 says of an object without a single byte
                return ImageHead(b"", 0)
            raise
        size = int(reply["ContentRange"].rpartition("/")[2])
        data = b""
        with closing(reply["Body"]) as body:
            while len(data) < most and not enough(data, size) and (block := body.read(BLOCK_BYTES)):
                data += block
        version = reply.get("VersionId")
        return ImageHead(data[:most], size, None if version == "null" else version)

    def read(self, image: S3Object, version_id: str | None = None) -> bytes:
        """A whole object. Raises `ClientError` or `BotoCoreError`."""
        body = self._client.get_object(**_target(image, version_id))["Body"]
        with closing(body):
            content: bytes = body.read()
        return content

    def store(self, key: str, content: bytes, content_type: str) -> None:
        """Put an image into the inbox bucket."""
        self._client.put_object(Bucket=self.inbox, Key=key, Body=content, ContentType=content_type)

    def link(self, image: S3Object, version_id: str | None = None) -> str:
        """A link that lets its holder read the object (or this version of it). Makes no request."""
        return self._client.generate_presigned_url(
            "get_object", Params=_target(image, version_id), ExpiresIn=LINK_SECONDS
        )

    def upload_form(self, key: str, content_type: str, *, max_bytes: int, seconds: int) -> tuple[str, dict[str, str]]:
        """Address and fields of a form that stores one object, under exactly this key and of exactly this type.

        It takes 1 to `max_bytes`, for so many seconds. Makes no request.
        """
        return self._form(key, {"Content-Type": content_type}, (1, max_bytes), seconds)

    def file_form(self, key: str, *, sha256: bytes, size: int, seconds: int) -> tuple[str, dict[str, str]]:
        """The same for one certain file: S3 compares its SHA-256."""
        digest = base64.b64encode(sha256).decode()
        fields = {"x-amz-checksum-algorithm": "SHA256", "x-amz-checksum-sha256": digest}
        return self._form(key, fields, (size, size), seconds)

    def _form(
        self, key: str, fields: dict[str, str], size: tuple[int, int], seconds: int
    ) -> tuple[str, dict[str, str]]:
        exact = [{name: value} for name, value in fields.items()]
        form = self._client.generate_presigned_post(
            self.inbox, key, Fields=fields, Conditions=[*exact, ["content-length-range", *size]], ExpiresIn=seconds
        )
        return form["url"], dict(form["fields"])


def image_not_found() -> BadImageError:
    """What is said of every object that this tenant cannot use, for whatever reason."""
    return BadImageError(
        "image_not_found",
        "there is no such object that you may use: name one of your own uploads (POST /v1/uploads), of your own "
        "requests/ prefix, or in a bucket that is mapped to you",
    )


def _target(image: S3Object, version_id: str | None) -> Any:
    return {"Bucket": image.bucket, "Key": image.key, **({"VersionId": version_id} if version_id else {})}
