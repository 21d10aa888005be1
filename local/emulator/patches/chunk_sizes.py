"""Stands in for the smallest chunk of a streamed upload.

On AWS every chunk of an `aws-chunked` body but the last has at least 8,192 bytes, or the upload is refused with
``InvalidChunkSizeError`` and leaves nothing. MiniStack takes chunks of any size.
"""

from typing import Any

from ministack import app
from ministack.services import s3

from local.emulator.settings import Settings

SMALLEST_CHUNK_BYTES = 8192
MESSAGE = f"Only the last chunk is allowed to have a size less than {SMALLEST_CHUNK_BYTES} bytes"
_REFUSED = "x-emulator-small-chunk"


def apply(settings: Settings) -> None:
    decode, answer_incomplete = app._decode_aws_chunked_body, app._incomplete_request_body_response

    def decode_aws_chunked_body(body: bytes, headers: dict[str, str]) -> bytes:
        decoded: bytes = decode(body, headers)
        if decoded is not body and any(size < SMALLEST_CHUNK_BYTES for size in _sizes(body)[:-1]):
            headers[_REFUSED] = "yes"
            raise app._IncompleteRequestBody(MESSAGE)
        return decoded

    def answer(method: str, path: str, headers: dict[str, str], query_params: Any) -> Any:
        if _REFUSED in headers:
            return s3._error("InvalidChunkSizeError", MESSAGE, 403)
        return answer_incomplete(method, path, headers, query_params)

    app._decode_aws_chunked_body = decode_aws_chunked_body
    app._incomplete_request_body_response = answer


def _sizes(body: bytes) -> list[int]:
    """The sizes of the chunks of a body that was decoded, without the empty one at its end."""
    sizes, at = [], 0
    while size := int(body[at : (end := body.index(b"\r\n", at))].partition(b";")[0], 16):
        sizes.append(size)
        at = end + 2 + size + 2
    return sizes
