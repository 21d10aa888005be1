"""Links to objects in our buckets: videos, images, answers. Apart from the archive, which loads what a copy takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

    from vidu_relay.domain.image_reference import S3Object
    from vidu_relay.domain.task import Video

__all__ = ["LINK_SECONDS", "VideoLinks"]

LINK_SECONDS = 900


class VideoLinks:
    """Signs links with the function's own credentials, which must be allowed to read the objects.

    Each is good for at most 15 minutes.
    """

    def __init__(self, client: S3Client) -> None:
        self._client = client

    def link(self, stored: Video | S3Object) -> str:
        """A link to the object."""
        return self._sign({"Bucket": stored.bucket, "Key": stored.key})

    def download(self, video: Video, name: str) -> str:
        """A link under which browsers save the video as a file of this name."""
        disposition = f'attachment; filename="{name}"'
        return self._sign({"Bucket": video.bucket, "Key": video.key, "ResponseContentDisposition": disposition})

    def _sign(self, target: Any) -> str:
        return self._client.generate_presigned_url("get_object", Params=target, ExpiresIn=LINK_SECONDS)
