"""What OpenAPI operations answer in the same way: problems by code, and API Gateway's own answers."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from local.description.json_schema import Schema, ref

__all__ = [
    "BODY_PROBLEMS",
    "GATEWAY",
    "JSON",
    "KEYED",
    "REQUEST_PROBLEMS",
    "TOO_LARGE",
    "UNREADABLE",
    "Operation",
    "answers",
    "cached",
    "response",
]

Operation = dict[str, Any]

JSON = "application/json"
PROBLEM = "application/problem+json"

_KEY_REFUSED = {
    401: "No API key. Send `Authorization: Bearer <key>`.",
    403: "A key that is unknown or revoked, or whose tenant is disabled.",
}
GATEWAY = {
    429: "Too many requests at once.",
    500: "The relay failed: an alarm notifies the operator. A submission may be sent again under the same key.",
    503: "The relay is overloaded.",
}
TOO_LARGE = {413: "Over 10 MB."}
UNREADABLE = {400: "An HTTP request that cannot be read."}


def response(
    status: int,
    description: str,
    content: Mapping[str, Schema],
    headers: Mapping[str, Schema] | None = None,
) -> tuple[str, Operation]:
    """One answer: its status and description. `content` has a schema for each media type."""
    shown: Operation = {
        "description": description,
        "content": {kind: {"schema": schema} for kind, schema in content.items()},
    }
    if headers:
        shown["headers"] = dict(headers)
    return str(status), shown


def answers(
    good: tuple[str, Operation],
    problems: Mapping[int, tuple[str, ...]],
    *gateway: Mapping[int, str],
) -> dict[str, Operation]:
    """Every answer of an operation. `problems` are the relay's codes by status; `gateway` is API Gateway's own."""
    own = {status: text for some in gateway for status, text in some.items()}
    every = [good]
    for status in sorted({*problems, *own}):
        codes = problems.get(status)
        content: dict[str, Schema] = {}
        said = []
        if codes:
            content[PROBLEM] = {"allOf": [ref("Problem"), {"properties": {"code": {"enum": list(codes)}}}]}
            said.append("Codes: " + ", ".join(f"`{code}`" for code in codes) + ".")
        if status in own:
            content[JSON] = ref("GatewayMessage")
            said.append(f"API Gateway's own: {own[status]}")
        retry = codes and status in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
        headers = {"Retry-After": _RETRY_AFTER} if retry else None
        every.append(response(status, " ".join(said), content, headers))
    return dict(every)


def cached(description: str, name: str) -> tuple[str, Operation]:
    """A good answer with an `ETag`, of the schema `name`."""
    tag: Schema = {"description": "Send it as `If-None-Match`: 304 if nothing changed.", "schema": {"type": "string"}}
    return response(200, description, {JSON: ref(name)}, {"ETag": tag})


_RETRY_AFTER: Schema = {
    "description": "Seconds after which to try again. Not in API Gateway's own answer.",
    "schema": {"type": "integer", "minimum": 0},
}
BODY_PROBLEMS: Mapping[int, tuple[str, ...]] = {
    400: ("malformed_json", "malformed_body"),
    413: ("body_too_large",),
    415: ("unsupported_encoding",),
}
REQUEST_PROBLEMS = (
    "validation_error",
    "008017001",
    "008017002",
    "008017003",
    "invalid_image",
    "invalid_callback_url",
    "off_peak_too_large",
)
KEYED = (UNREADABLE, _KEY_REFUSED, GATEWAY)
