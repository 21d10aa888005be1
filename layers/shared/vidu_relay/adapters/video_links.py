"""Links to objects in our buckets, such as videos. Apart from the archive, which loads what a copy takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from vidu_relay.domain.image_reference import S3Object
    from vidu_relay.domain.task import Video

__all__ = ["LINK_SECONDS", "VideoLinks"]

LINK_SECONDS = 900


class VideoLinks:
    """Signs links with the function's own credentials, which must be allowed to read the objects."""

    def __init__(self, client: S3Client) -> None:
        self._client = client

    def link(self, stored: Video | S3Object) -> str:
        """A link to the object, good for at most 15 minutes."""
        return self._client.generate_presigned_url(
            "get_object", Params={"Bucket": stored.bucket, "Key": stored.key}, ExpiresIn=LINK_SECONDS
        )
