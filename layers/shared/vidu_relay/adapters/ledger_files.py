"""The ledger as files of the inbox bucket, which keeps every version: `ledger/<yyyy-mm-dd>.csv`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

__all__ = ["LedgerFiles"]


class LedgerFiles:
    """Writes the files."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def write(self, day: str, text: str) -> None:
        """Write the rows of a UTC day, over an earlier version."""
        self._client.put_object(
            Bucket=self._bucket, Key=f"ledger/{day}.csv", Body=text.encode(), ContentType="text/csv; charset=utf-8"
        )
