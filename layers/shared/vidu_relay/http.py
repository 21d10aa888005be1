"""HTTP API events (payload v2) in, responses and problem documents (RFC 9457) out."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from decimal import Decimal
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from vidu_relay.domain.budget import Budget, read_budget
from vidu_relay.domain.errors import DeliveryUnderwayError, ExternalIdTakenError, Fault, InvalidRequestError
from vidu_relay.domain.limit_errors import LimitReachedError
from vidu_relay.domain.money import parse_money

if TYPE_CHECKING:
    from vidu_relay.domain import documents

__all__ = [
    "MAX_BODY_BYTES",
    "budget_of",
    "daily_cap_of",
    "entity_tags",
    "header",
    "invalid_request",
    "json_response",
    "max_cost_of",
    "not_configured",
    "problem",
    "problem_document",
    "public_response",
    "read_body",
    "read_json_body",
    "task_not_found",
    "tenant_of",
]

MAX_BODY_BYTES = 4 * 1024 * 1024
"""A Lambda event may have 6 MB, and API Gateway escapes or encodes the body in it."""

MAX_FAULTS = 100
"""How many faults an answer lists: a function's answer has 6 MB at most."""

COMPRESSIONS = frozenset({"gzip", "x-gzip", "deflate", "compress", "x-compress", "br", "zstd", "dcb", "dcz"})
"""What Content-Encoding calls compressed. A label that is none of them (`identity`, `utf-8`) changes no byte."""

STATUS_OF_CODE: Mapping[str, HTTPStatus] = {
    "malformed_json": HTTPStatus.BAD_REQUEST,
    "malformed_body": HTTPStatus.BAD_REQUEST,
    "invalid_cursor": HTTPStatus.BAD_REQUEST,
    "invalid_query": HTTPStatus.BAD_REQUEST,
    "external_id_taken": HTTPStatus.CONFLICT,
    "notification_not_found": HTTPStatus.NOT_FOUND,
    "no_callback_url": HTTPStatus.CONFLICT,
    "submission_underway": HTTPStatus.CONFLICT,
    "task_already_settled": HTTPStatus.CONFLICT,
    "task_not_settled": HTTPStatus.CONFLICT,
    "delivery_underway": HTTPStatus.CONFLICT,
    "cancel_not_supported": HTTPStatus.CONFLICT,
    "cancel_refused": HTTPStatus.CONFLICT,
    "body_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "unsupported_encoding": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "daily_cap_reached": HTTPStatus.TOO_MANY_REQUESTS,
    "budget_reached": HTTPStatus.TOO_MANY_REQUESTS,
    "daily_uploads_reached": HTTPStatus.TOO_MANY_REQUESTS,
    "hourly_limit_reached": HTTPStatus.TOO_MANY_REQUESTS,
    "unknown_tenant": HTTPStatus.FORBIDDEN,
    "source_not_mapped": HTTPStatus.FORBIDDEN,
    "tenant_mismatch": HTTPStatus.FORBIDDEN,
    "tenant_disabled": HTTPStatus.FORBIDDEN,
}
"""The status of a refused request, by its code; 422 for every other."""


def header(event: Mapping[str, Any], name: str) -> str | None:
    """A request header, by its lower-case name."""
    value = (event.get("headers") or {}).get(name)
    return value if isinstance(value, str) else None


def entity_tags(event: Mapping[str, Any]) -> list[str]:
    """The tags in the client's `If-None-Match`: where one of them is the answer's, it is 304 without a body."""
    return [one.strip().removeprefix("W/") for one in (header(event, "if-none-match") or "").split(",")]


def tenant_of(event: Mapping[str, Any]) -> str:
    """The tenant the authorizer found. Raises `KeyError` if there was no authorizer."""
    tenant = event["requestContext"]["authorizer"]["lambda"]["tenant_id"]
    if not isinstance(tenant, str) or not tenant:
        raise KeyError("tenant_id")
    return tenant


def daily_cap_of(event: Mapping[str, Any]) -> int:
    """How many tasks the tenant may submit in a day, as the authorizer found it. Raises `KeyError`, `ValueError`."""
    return int(event["requestContext"]["authorizer"]["lambda"]["daily_cap"])


def budget_of(event: Mapping[str, Any]) -> Budget:
    """What the tenant may spend, as the authorizer found it. Raises `ValueError` for an amount that is none."""
    return read_budget(event["requestContext"]["authorizer"]["lambda"])


def max_cost_of(event: Mapping[str, Any]) -> Decimal | None:
    """What the client lets the task cost at most, by the header `Max-Cost-USD`. Raises `InvalidRequestError`."""
    text = header(event, "max-cost-usd")
    try:
        return None if text is None else parse_money(text, "Max-Cost-USD")
    except ValueError as error:
        raise InvalidRequestError("invalid_max_cost", f"{error}.") from error


def read_json_body(event: Mapping[str, Any]) -> bytes:
    """The bytes of a body that is to be JSON. Raises `InvalidRequestError` as `read_body` does, and
    `unsupported_encoding` if its sender compressed it.
    """
    for label in (header(event, "content-encoding") or "").lower().split(","):
        if label.strip() in COMPRESSIONS:
            raise InvalidRequestError(
                "unsupported_encoding",
                f"The body is compressed (Content-Encoding: {label.strip()}). "
                "Send it as plain JSON, without that header.",
            )
    return read_body(event)


def read_body(event: Mapping[str, Any]) -> bytes:
    """The request body's bytes. Raises `InvalidRequestError` (`body_too_large`, `malformed_body`)."""
    body = event.get("body") or ""
    if event.get("isBase64Encoded"):
        try:
            raw = base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidRequestError("malformed_body", "The body is not valid base 64.") from error
    else:
        raw = body.encode("utf-8", "surrogatepass")
    if len(raw) > MAX_BODY_BYTES:
        raise InvalidRequestError(
            "body_too_large",
            f"The body has {len(raw)} bytes; at most {MAX_BODY_BYTES} are taken. "
            "Upload large images (POST /v1/uploads) or refer to them by URL instead of embedding them; "
            "send text as plain UTF-8, since \\u escapes take several times as much.",
        )
    return raw


def json_response(status: int, body: Any, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A JSON response."""
    return {
        "statusCode": int(status),
        "headers": {"content-type": "application/json", "cache-control": "no-store", **(headers or {})},
        "body": json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":")),
    }


def public_response(content_type: str, text: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A response that is the same for all clients and may be cached for five minutes."""
    kept = {"cache-control": "public, max-age=300", "x-content-type-options": "nosniff"}
    return {"statusCode": 200, "headers": {"content-type": content_type, **kept, **(headers or {})}, "body": text}


def problem(status: int, code: str, detail: str, *, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """A problem document. `type` is `about:blank`, so `title` is the status' own phrase, as RFC 9457 asks."""
    body = _document(status, code, detail)
    return json_response(status, body, {"content-type": "application/problem+json", **(headers or {})})


def not_configured(then: str) -> dict[str, Any]:
    """The answer where the provider secret cannot be used; `then` says what became of the request."""
    return problem(
        503,
        "not_configured",
        "The operator must set the provider's key (`relay provider set-key`) or correct the secret that the log "
        f"names. {then}",
        headers={"retry-after": "300"},
    )


def task_not_found() -> dict[str, Any]:
    """The answer for a task that the tenant does not have."""
    return problem(404, "task_not_found", "There is no such task.")


def invalid_request(error: InvalidRequestError) -> dict[str, Any]:
    """The answer to a refused request."""
    document = problem_document(error)
    headers = {}
    if isinstance(error, LimitReachedError | DeliveryUnderwayError):
        headers["retry-after"] = str(error.retry_after_seconds)
    if isinstance(error, ExternalIdTakenError):
        headers["location"] = f"/v1/tasks/{error.task_id}"
    return json_response(document["status"], document, {"content-type": "application/problem+json", **headers})


def problem_document(error: InvalidRequestError) -> documents.Problem:
    """The problem document for a refused request of any entry point: 422 unless the code says otherwise."""
    left = len(error.faults) - MAX_FAULTS
    detail = f"{error.detail} {left} more are not listed." if left > 0 else error.detail
    document = _document(STATUS_OF_CODE.get(error.code, HTTPStatus.UNPROCESSABLE_ENTITY), error.code, detail)
    if error.faults:
        document["errors"] = [_fault(fault) for fault in error.faults[:MAX_FAULTS]]
    if isinstance(error, ExternalIdTakenError):
        document["task_id"] = error.task_id
    return document


def _fault(fault: Fault) -> documents.Fault:
    shown: documents.Fault = {"loc": fault.loc, "msg": fault.msg}
    if fault.code:
        shown["code"] = fault.code
    return shown


def _document(status: int, code: str, detail: str) -> documents.Problem:
    title = HTTPStatus(status).phrase
    return {"type": "about:blank", "title": title, "status": int(status), "detail": detail, "code": code}
