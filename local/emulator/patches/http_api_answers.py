"""Stands in for what API Gateway answers itself when an HTTP API's function cannot.

On AWS a failed function is ``500 {"message":"Internal Server Error"}`` and one that is throttled or takes longer than
the API waits ``503 {"message":"Service Unavailable"}``; a body over 10 MB, or one that makes an event over Lambda's
6 MB, is ``413 {"message":"Request Entity Too Large"}`` without a call. MiniStack passes the function's error on with
502, throttling with 429, and sets no limits.
"""

import json
from typing import Any

from ministack.services import apigateway, lambda_svc

from local.emulator.settings import Settings

BODY_BYTES = 10 * 1024 * 1024
EVENT_BYTES = 6 * 1024 * 1024
"""What Lambda takes in a synchronous call. An answer may have 100 bytes more."""

TOO_LARGE = "Request Entity Too Large"


def apply(settings: Settings) -> None:
    handle, execute = apigateway.handle_execute, lambda_svc._execute_function_with_config_scope
    to_proxy_response = lambda_svc.lambda_execute_result_to_api_proxy_response

    async def handle_execute(
        api_id: str, stage: str, path: str, method: str, headers: dict[str, str], body: bytes, *rest: Any, **named: Any
    ) -> Any:
        if len(body or b"") > BODY_BYTES:
            message = json.dumps({"message": TOO_LARGE}).encode()
            return 413, {"Content-Type": "application/json"}, message
        return await handle(api_id, stage, path, method, headers, body, *rest, **named)

    def execute_within_limits(function: dict[str, Any], event: Any) -> Any:
        if _is_http_api_event(event) and len(json.dumps(event, ensure_ascii=False).encode()) > EVENT_BYTES:
            return {"body": _answer(413, TOO_LARGE)}
        return execute(function, event)

    def answer(result: dict[str, Any]) -> Any:
        if result.get("throttle"):
            return _answer(503, "Service Unavailable"), None
        if result.get("error"):
            return _answer(500, "Internal Server Error"), None
        return to_proxy_response(result)

    apigateway.handle_execute = handle_execute
    lambda_svc._execute_function_with_config_scope = execute_within_limits
    lambda_svc.lambda_execute_result_to_api_proxy_response = answer


def _answer(status: int, message: str) -> dict[str, Any]:
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json"},
        "body": json.dumps({"message": message}),
    }


def _is_http_api_event(event: object) -> bool:
    return isinstance(event, dict) and event.get("version") == "2.0" and "http" in event.get("requestContext", {})
