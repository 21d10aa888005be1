"""HTTP APIs: their address, and what they answer where the function cannot."""

import json
from typing import Any

from ministack.services import apigateway, lambda_svc
from ministack.services.cloudformation import provisioners

from local.emulator.patches import replaces
from local.emulator.settings import Settings

BODY_BYTES = 10 * 1024 * 1024
EVENT_BYTES = 6 * 1024 * 1024
"""What Lambda takes in a synchronous call (Lambda developer guide, "Lambda quotas")."""
TOO_LARGE = "Request Entity Too Large"


def apply(settings: Settings) -> None:
    api_endpoint(settings)
    answers()


def api_endpoint(settings: Settings) -> None:
    """``ApiEndpoint`` is an address that answers (``AWS::ApiGatewayV2::Api``, return values).

    MiniStack's ``<id>.execute-api.localhost`` resolves on few machines, without certificate. Here it is the path form.
    """

    @replaces(provisioners._RESOURCE_HANDLERS["AWS::ApiGatewayV2::Api"], "create")
    def create(original: Any, *arguments: Any) -> tuple[str, dict[str, Any]]:
        api_id, attributes = original(*arguments)
        endpoint = f"{settings.endpoint_url}/_aws/execute-api/{api_id}/$default"
        apigateway._apis[api_id]["apiEndpoint"] = endpoint
        return api_id, {**attributes, "ApiEndpoint": endpoint}


def answers() -> None:
    """A failed function is 500, a throttled one 503; a body over 10 MB and an event over Lambda's 6 MB are 413.

    Each is a ``message`` alone, the 413 without a call (API Gateway developer guide, "Quotas for configuring and
    running an HTTP API"; no document has the 413 of an event). MiniStack passes the function's error on with 502,
    throttling with 429, and has no limits.
    """

    @replaces(apigateway, "handle_execute")
    async def handle(
        original: Any, api: str, stage: str, path: str, method: str, headers: Any, body: bytes, *rest: Any, **more: Any
    ) -> Any:
        if len(body or b"") > BODY_BYTES:
            refusal = _answer(413, TOO_LARGE)
            return 413, refusal["headers"], refusal["body"].encode()
        return await original(api, stage, path, method, headers, body, *rest, **more)

    @replaces(lambda_svc, "_execute_function_with_config_scope")
    def execute(original: Any, function: dict[str, Any], event: Any) -> Any:
        is_request = (
            isinstance(event, dict) and event.get("version") == "2.0" and "http" in event.get("requestContext", {})
        )
        if is_request and len(json.dumps(event, ensure_ascii=False).encode()) > EVENT_BYTES:
            return {"body": _answer(413, TOO_LARGE)}
        return original(function, event)

    @replaces(lambda_svc, "lambda_execute_result_to_api_proxy_response")
    def respond(original: Any, result: dict[str, Any]) -> Any:
        if result.get("throttle"):
            return _answer(503, "Service Unavailable"), None
        if result.get("error"):
            return _answer(500, "Internal Server Error"), None
        return original(result)


def _answer(status: int, message: str) -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    return {"statusCode": status, "headers": headers, "body": json.dumps({"message": message})}
