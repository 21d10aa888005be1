"""Each route as an OpenAPI operation: what it takes, and everything it may answer.

A test compares the routes with the template's.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from local.description.json_schema import Schema, ref
from local.description.schemas import TASK_ID_SCHEMA
from vidu_relay.domain.client_fields import client_field_schemas
from vidu_relay.domain.image_format import MAX_IMAGE_BYTES
from vidu_relay.domain.states import Status
from vidu_relay.domain.task_query import DEFAULT_LIMIT, MAX_LIMIT
from vidu_relay.domain.usage import MAX_DAYS, Grouping
from vidu_relay.http import MAX_BODY_BYTES
from vidu_relay.usecases.estimate_task import HOURLY_ESTIMATES
from vidu_relay.usecases.submit_task import MAX_KEY_CHARACTERS

__all__ = ["OPERATIONS", "Operation"]

Operation = dict[str, Any]

JSON = "application/json"
PROBLEM = "application/problem+json"

_TASK_ID: Schema = {"name": "task_id", "in": "path", "required": True, "schema": TASK_ID_SCHEMA}
_KEY_REFUSED = {
    401: "No API key. Send `Authorization: Bearer <key>`.",
    403: "A key that is unknown or revoked, or whose tenant is disabled.",
}
_GATEWAY = {
    429: "Too many requests at once.",
    500: "The relay failed: an alarm notifies the operator. A submission may be sent again under the same key.",
    503: "The relay is overloaded.",
}
_TOO_LARGE = {413: "Over 10 MB."}
_UNREADABLE = {400: "An HTTP request that cannot be read."}


def _response(
    status: int,
    description: str,
    content: Mapping[str, Schema],
    headers: Mapping[str, Schema] | None = None,
) -> tuple[str, Operation]:
    shown: Operation = {
        "description": description,
        "content": {kind: {"schema": schema} for kind, schema in content.items()},
    }
    if headers:
        shown["headers"] = dict(headers)
    return str(status), shown


def _answers(
    good: tuple[str, Operation],
    problems: Mapping[int, tuple[str, ...]],
    *gateway: Mapping[int, str],
) -> dict[str, Operation]:
    """Every answer of an operation. `problems` are the relay's codes by status; `gateway` is API Gateway's own."""
    own = {status: text for some in gateway for status, text in some.items()}
    answers = [good]
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
        answers.append(_response(status, " ".join(said), content, headers))
    return dict(answers)


_TAG: Schema = {"description": "Send it as `If-None-Match`: 304 if nothing changed.", "schema": {"type": "string"}}


def _cached(description: str, name: str, **headers: Schema) -> tuple[str, Operation]:
    return _response(200, description, {JSON: ref(name)}, {**headers, "ETag": _TAG})


_RETRY_AFTER: Schema = {
    "description": "Seconds after which to try again. Not in API Gateway's own answer.",
    "schema": {"type": "integer", "minimum": 0},
}
_LOOK_AGAIN: Schema = {
    "description": "Seconds after which to read an open task again, by what such tasks of yours took lately.",
    "schema": {"type": "integer", "minimum": 5},
}
_CREATED = [
    {
        "name": name,
        "in": "query",
        "description": f"{meaning} RFC 3339, or a date: the whole day in UTC.",
        "schema": {"type": "string"},
    }
    for name, meaning in (
        ("created_from", "Only tasks created at this moment or later."),
        ("created_to", "Only tasks created before this moment."),
    )
]
_BODY_PROBLEMS: Mapping[int, tuple[str, ...]] = {
    400: ("malformed_json", "malformed_body"),
    413: ("body_too_large",),
    415: ("unsupported_encoding",),
}
_REQUEST_PROBLEMS = (
    "validation_error",
    "008017001",
    "008017002",
    "008017003",
    "invalid_image",
    "invalid_callback_url",
    "off_peak_too_large",
)
_KEYED = (_UNREADABLE, _KEY_REFUSED, _GATEWAY)

OPERATIONS: Mapping[str, Operation] = {
    "POST /v1/tasks": {
        "operationId": "submitTask",
        "tags": ["Tasks"],
        "summary": "Submit a task",
        "description": "Records the task and creates it at the provider, at most once. 202 means recorded: `status` "
        f"says how far it came. `{Status.SUBMITTED}`: the provider has it. `{Status.SUBMITTING}`: the provider has not "
        f"answered. `{Status.ACCEPTED}`: the relay submits it after this answer, at once where the body for the "
        "provider has more than 1 MB, later where the provider is busy or refuses the operator's account. Bodies of up "
        f"to {MAX_BODY_BYTES // 1024**2} MB are accepted. Either `subjects` or `images` must be given.",
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "description": "Yours to choose, for each task you want. The same key with the same request gives the "
                "same task, without a second call to the provider. The same parameters in another order are the "
                "same request; a default that is written out is another one.",
                "schema": {
                    "type": "string",
                    "minLength": 1,
                    "maxLength": MAX_KEY_CHARACTERS,
                    "pattern": "^[ -~]+$",
                },
                "example": "order-4711",
            },
            {
                "name": "Max-Cost-USD",
                "in": "header",
                "description": "Refuse the request if it reserves more than so many US dollars. An unknown price "
                "counts with what is reserved for it.",
                "schema": {"type": "string", "pattern": "^[0-9]{1,9}([.][0-9]{1,9})?$"},
                "example": "0.25",
            },
        ],
        "requestBody": {"required": True, "content": {JSON: {"schema": ref("VideoRequest")}}},
        "responses": _answers(
            _response(
                202,
                "Recorded: the task as it stands.",
                {JSON: ref("Task")},
                {"Location": {"description": "The task's path.", "required": True, "schema": {"type": "string"}}},
            ),
            {
                **_BODY_PROBLEMS,
                422: (
                    *_REQUEST_PROBLEMS,
                    "invalid_idempotency_key",
                    "idempotency_key_reused",
                    "invalid_max_cost",
                    "max_cost_exceeded",
                ),
                429: ("daily_cap_reached", "budget_reached"),
                503: ("not_configured",),
            },
            *_KEYED,
            _TOO_LARGE,
        ),
    },
    "POST /v1/estimates": {
        "operationId": "estimateTask",
        "tags": ["Tasks"],
        "summary": "What a task would cost",
        "description": "Takes the body of `POST /v1/tasks` and checks all of it, images included. Nothing is recorded, "
        f"and the provider is not called. A tenant has {HOURLY_ESTIMATES} estimates an hour.",
        "requestBody": {"required": True, "content": {JSON: {"schema": ref("VideoRequest")}}},
        "responses": _answers(
            _response(200, "What would be sent, and its price.", {JSON: ref("Estimate")}),
            {
                **_BODY_PROBLEMS,
                422: _REQUEST_PROBLEMS,
                429: ("hourly_limit_reached",),
                503: ("not_configured",),
            },
            *_KEYED,
            _TOO_LARGE,
        ),
    },
    "GET /v1/tasks": {
        "operationId": "listTasks",
        "tags": ["Tasks"],
        "summary": "List your tasks",
        "description": "Newest first, a page at a time. Following `next_cursor` shows each task that was there at the "
        "beginning exactly once, whatever is submitted meanwhile. A new task may take a moment to appear.",
        "parameters": [
            {
                "name": "status",
                "in": "query",
                "description": "Only tasks that are in this state when the page is read.",
                "schema": {"type": "string", "enum": [status.value for status in Status]},
            },
            {
                "name": "model",
                "in": "query",
                "description": "Only tasks of this model.",
                "schema": {"type": "string"},
            },
            *_CREATED,
            {
                "name": "external_id",
                "in": "query",
                "description": "The one task with this `external_id`, as it is now; without any other parameter.",
                "schema": client_field_schemas()["external_id"],
            },
            {
                "name": "limit",
                "in": "query",
                "description": "Tasks of a page.",
                "schema": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
            },
            {
                "name": "cursor",
                "in": "query",
                "description": "`next_cursor` of the page before, with the same filters.",
                "schema": {"type": "string"},
            },
        ],
        "responses": _answers(
            _cached("A page. After 304 the links of an earlier answer may have ended.", "TaskPage"),
            {400: ("invalid_query", "invalid_cursor"), 422: ("invalid_date",)},
            *_KEYED,
        ),
    },
    "GET /v1/tasks/{task_id}": {
        "operationId": "readTask",
        "tags": ["Tasks"],
        "summary": "Read a task",
        "description": "With its whole request, and links to our copies of its videos.",
        "parameters": [_TASK_ID],
        "responses": _answers(
            _cached(
                "The task. After 304 the links of an earlier answer may have ended.",
                "Task",
                **{"Retry-After": _LOOK_AGAIN},
            ),
            {404: ("task_not_found",)},
            *_KEYED,
            {404: "A path that is none of these."},
        ),
    },
    "DELETE /v1/tasks/{task_id}": {
        "operationId": "deleteTask",
        "tags": ["Tasks"],
        "summary": "Delete a task's content",
        "description": "Removes request, images and videos of a settled task, and keeps ids, states, sizes and what it "
        "cost. Safe to repeat; repeat it after a fault.",
        "parameters": [_TASK_ID],
        "responses": _answers(
            _response(204, "The content is gone.", {}),
            {
                404: ("task_not_found",),
                409: ("task_not_settled", "delivery_underway"),
                503: ("deletion_incomplete",),
            },
            *_KEYED,
            {404: "A path that is none of these."},
        ),
    },
    "GET /v1/usage": {
        "operationId": "readUsage",
        "tags": ["Tasks"],
        "summary": "Read what your tasks cost",
        "description": "By the UTC day of creation. A change of a bill takes a minute to appear.",
        "parameters": [
            {
                "name": "from",
                "in": "query",
                "description": "First day; 29 days before `to` by default, at most 400 days ago.",
                "schema": {"type": "string", "format": "date"},
            },
            {
                "name": "to",
                "in": "query",
                "description": f"Last day; today by default. At most {MAX_DAYS} days at once.",
                "schema": {"type": "string", "format": "date"},
            },
            {"name": "group_by", "in": "query", "schema": {"type": "string", "enum": list(map(str, Grouping))}},
        ],
        "responses": _answers(
            _response(200, "Sums of each group, and of all.", {JSON: ref("Usage")}),
            {400: ("invalid_query",), 422: ("period_too_large",)},
            *_KEYED,
        ),
    },
    "POST /v1/tasks/{task_id}/cancel": {
        "operationId": "cancelTask",
        "tags": ["Tasks"],
        "summary": "Cancel a task",
        "description": "A task that was not submitted yet is canceled at once. One that is at the provider is canceled "
        "there, if the provider can; the relay then reads what became of it, and the answer may still be `processing`. "
        "A task that expired while the provider still works on it is canceled there and stays `expired`. A task that "
        "is done stays done.",
        "parameters": [_TASK_ID],
        "responses": _answers(
            _response(202, "The task as it stands.", {JSON: ref("Task")}),
            {
                404: ("task_not_found",),
                409: ("submission_underway", "task_already_settled", "cancel_not_supported", "cancel_refused"),
                503: ("cancel_unconfirmed", "not_configured"),
            },
            *_KEYED,
            _TOO_LARGE,
            {404: "A path that is none of these."},
        ),
    },
    "GET /v1/models": {
        "operationId": "listModels",
        "tags": ["Models"],
        "summary": "List the models",
        "description": "What this deployment offers: each model's parameters as JSON Schema, and how certain they are.",
        "responses": _answers(_cached("Every model.", "ModelList"), {503: ("not_configured",)}, *_KEYED),
    },
    "GET /v1/models/{model_id}": {
        "operationId": "readModel",
        "tags": ["Models"],
        "summary": "Read a model",
        "parameters": [{"name": "model_id", "in": "path", "required": True, "schema": {"type": "string"}}],
        "responses": _answers(
            _cached("The model.", "OfferedModel"),
            {404: ("model_not_found",), 503: ("not_configured",)},
            *_KEYED,
            {404: "A path that is none of these."},
        ),
    },
    "POST /v1/uploads": {
        "operationId": "createUpload",
        "tags": ["Uploads"],
        "summary": "Prepare the upload of a reference image",
        "description": f"For images of up to {MAX_IMAGE_BYTES // 1024**2} MB: POST the form, then write `uri` into "
        "`images`.",
        "requestBody": {"required": True, "content": {JSON: {"schema": ref("UploadRequest")}}},
        "responses": _answers(
            _response(201, "The form.", {JSON: ref("Upload")}),
            {**_BODY_PROBLEMS, 422: ("validation_error",), 429: ("daily_uploads_reached",)},
            *_KEYED,
            _TOO_LARGE,
        ),
    },
    "POST /v1/callbacks/{task_id}": {
        "operationId": "receiveCallback",
        "tags": ["Provider"],
        "summary": "For the provider: something happened to a task",
        "description": "Not for clients. The token in the address says that the caller was given it for this task; "
        "nothing in the body is believed: the relay reads the task from the provider.",
        "security": [],
        "parameters": [
            _TASK_ID,
            {
                "name": "token",
                "in": "query",
                "required": True,
                "description": "From the address that the relay gave to the provider.",
                "schema": {"type": "string"},
            },
        ],
        "requestBody": {"description": "Anything.", "content": {JSON: {"schema": {}}}},
        "responses": _answers(
            _response(200, "Understood.", {JSON: ref("CallbackTaken")}),
            {403: ("callback_refused",), 503: ("try_again",)},
            _UNREADABLE,
            {404: "A path that is none of these."},
            _TOO_LARGE,
            _GATEWAY,
        ),
    },
    "GET /v1/openapi.json": {
        "operationId": "describeApi",
        "tags": ["Description"],
        "summary": "This document",
        "security": [],
        "responses": _answers(_response(200, "OpenAPI 3.1.", {JSON: {"type": "object"}}), {}, _UNREADABLE, _GATEWAY),
    },
    "GET /v1/console": {
        "operationId": "openConsole",
        "tags": ["Description"],
        "summary": "A console for browsers",
        "description": "Pages that show your tasks and what they cost, and submit them. They ask for an API key, and "
        "keep it in that tab alone.",
        "security": [],
        "responses": _answers(
            _response(200, "HTML.", {"text/html": {"type": "string"}}, {"ETag": _TAG}), {}, _UNREADABLE, _GATEWAY
        ),
    },
    "GET /v1/console/{file}": {
        "operationId": "readConsoleFile",
        "tags": ["Description"],
        "summary": "A file of the console",
        "security": [],
        "parameters": [
            {
                "name": "file",
                "in": "path",
                "required": True,
                "description": "As the page names it. It may have slashes.",
                "schema": {"type": "string"},
            }
        ],
        "responses": _answers(
            _response(
                200,
                "A file that stays the same.",
                {kind: {"type": "string"} for kind in ("text/html", "text/css", "text/javascript", "image/svg+xml")},
                {"ETag": _TAG},
            ),
            {404: ("file_not_found",)},
            _UNREADABLE,
            _GATEWAY,
            {404: "A path that is none of these."},
        ),
    },
    "GET /v1/docs": {
        "operationId": "readDescription",
        "tags": ["Description"],
        "summary": "This document as a page",
        "security": [],
        "responses": _answers(
            _response(200, "HTML without scripts.", {"text/html": {"type": "string"}}), {}, _UNREADABLE, _GATEWAY
        ),
    },
}
"""The operations by route key, as API Gateway writes it."""
