"""Stands in for the checksums in S3's answer to PutObject.

On AWS the answer names every checksum that S3 computed and checked (`x-amz-checksum-sha256` and its like), which is
the proof of what was stored. MiniStack checks and keeps them, and leaves them out of the answer.
"""

from typing import Any

from ministack.services import s3

from local.emulator.settings import Settings

Response = tuple[int, dict[str, str], bytes]


def apply(settings: Settings) -> None:
    put = s3._put_object

    def put_object(bucket_name: str, key: str, body: bytes, headers: dict[str, Any]) -> Response:
        response: Response = put(bucket_name, key, body, headers)
        status, answer, content = response
        if status != 200:
            return response
        checksums = s3._buckets[bucket_name]["objects"][key].get("checksums", {})
        named = {f"x-amz-checksum-{algorithm.lower()}": value for algorithm, value in checksums.items()}
        if named:
            named["x-amz-checksum-type"] = "FULL_OBJECT"
        return status, {**answer, **named}, content

    s3._put_object = put_object
