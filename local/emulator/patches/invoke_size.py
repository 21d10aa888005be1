"""Stands in for the largest request of Lambda's Invoke: 6,291,456 bytes for an answer that is waited for, else 413
(Lambda developer guide, "Lambda quotas"; "Deep Dive: Lambda's Request Payload Size Limit" by Zac Charles has bytes and
words). MiniStack takes requests of any size.
"""

from typing import Any

from ministack.core import responses
from ministack.services import lambda_svc

from local.emulator.patches.http_api_answers import EVENT_BYTES
from local.emulator.settings import Settings


def apply(settings: Settings) -> None:
    invoke = lambda_svc._invoke

    async def invoke_small(name: str, event: Any, headers: dict[str, str], *rest: Any) -> Any:
        if int(headers.get("content-length", 0)) > EVENT_BYTES:
            message = f"Request must be smaller than {EVENT_BYTES} bytes for the InvokeFunction operation"
            return responses.error_response_json("RequestEntityTooLargeException", message, 413)
        return await invoke(name, event, headers, *rest)

    lambda_svc._invoke = invoke_small
