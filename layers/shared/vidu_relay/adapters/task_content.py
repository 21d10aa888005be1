"""What lies in S3 of a task: parts of its request and its images in the inbox bucket, its videos."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from vidu_relay.domain.errors import DeletionIncompleteError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["TaskContent"]


class TaskContent:
    """Deletes objects: in the inbox bucket, which keeps versions, with all their versions."""

    def __init__(self, client: S3Client, inbox: str, videos: str) -> None:
        self._client = client
        self.inbox = inbox
        self._videos = videos

    def delete_inbox(self, prefix: str, *, whole_key: bool = False) -> None:
        """Delete every version of each object below a prefix, or of the one with exactly this key.

        Raises `DeletionIncompleteError` if S3 kept some; what is gone already is no fault.
        """
        pages = self._client.get_paginator("list_object_versions").paginate(Bucket=self.inbox, Prefix=prefix)
        for page in pages:
            found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            versions = [
                {"Key": one["Key"], "VersionId": one["VersionId"]}
                for one in found
                if not whole_key or one["Key"] == prefix
            ]
            self._delete(self.inbox, versions)

    def delete_videos(self, prefix: str) -> None:
        """Delete each object below a prefix of the videos bucket. Raises `DeletionIncompleteError`."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._videos, Prefix=prefix)
        for page in pages:
            self._delete(self._videos, [{"Key": one["Key"]} for one in page.get("Contents", [])])

    def _delete(self, bucket: str, objects: Iterable[Any]) -> None:
        """At most a page's: 1,000, as many as S3 takes at once."""
        listed = list(objects)
        if listed:
            reply = self._client.delete_objects(Bucket=bucket, Delete={"Objects": listed, "Quiet": True})
            if errors := reply.get("Errors", []):
                raise DeletionIncompleteError(f"S3 kept {len(errors)} objects: {errors[0].get('Code')}")
