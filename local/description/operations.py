"""Each route as an OpenAPI operation: what it takes, and everything it may answer.

A test compares the routes with the template's.
"""

from __future__ import annotations

from collections.abc import Mapping

from local.description.answers import (
    BODY_PROBLEMS,
    JSON,
    KEYED,
    REQUEST_PROBLEMS,
    TOO_LARGE,
    Operation,
    answers,
    cached,
    response,
)
from local.description.json_schema import Schema, ref
from local.description.open_operations import OPEN_OPERATIONS
from local.description.request_parameters import BATCH_ID, LIST_PARAMETERS, SUBMIT_PARAMETERS, TASK_ID, VERSION
from vidu_relay.domain.batch_lines import MAX_FILE_BYTES, MAX_REQUESTS
from vidu_relay.domain.image_format import MAX_IMAGE_BYTES
from vidu_relay.domain.states import Status
from vidu_relay.domain.usage import MAX_DAYS, Grouping
from vidu_relay.http import MAX_BODY_BYTES
from vidu_relay.usecases.estimate_task import HOURLY_ESTIMATES
from vidu_relay.usecases.send_webhook import HOURLY_REPLAYS, HOURLY_TESTS

__all__ = ["OPERATIONS", "Operation"]

_LOOK_AGAIN: Schema = {
    "description": "Seconds after which to read an open task again, by what such tasks of yours took lately.",
    "schema": {"type": "integer", "minimum": 5},
}

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
        "parameters": SUBMIT_PARAMETERS,
        "requestBody": {"required": True, "content": {JSON: {"schema": ref("VideoRequest")}}},
        "responses": answers(
            response(
                202,
                "Recorded: the task as it stands.",
                {JSON: ref("Task")},
                {"Location": {"description": "The task's path.", "required": True, "schema": {"type": "string"}}},
            ),
            {
                **BODY_PROBLEMS,
                409: ("external_id_taken",),
                422: (
                    *REQUEST_PROBLEMS,
                    "invalid_idempotency_key",
                    "idempotency_key_reused",
                    "invalid_max_cost",
                    "max_cost_exceeded",
                ),
                429: ("daily_cap_reached", "budget_reached"),
                503: ("not_configured",),
            },
            *KEYED,
            TOO_LARGE,
        ),
    },
    "POST /v1/estimates": {
        "operationId": "estimateTask",
        "tags": ["Tasks"],
        "summary": "What a task would cost",
        "description": "Takes the body of `POST /v1/tasks` and checks all of it, images included. Nothing is recorded, "
        f"and the provider is not called. A tenant has {HOURLY_ESTIMATES} estimates an hour.",
        "requestBody": {"required": True, "content": {JSON: {"schema": ref("VideoRequest")}}},
        "responses": answers(
            response(200, "What would be sent, and its price.", {JSON: ref("Estimate")}),
            {
                **BODY_PROBLEMS,
                422: REQUEST_PROBLEMS,
                429: ("hourly_limit_reached",),
                503: ("not_configured",),
            },
            *KEYED,
            TOO_LARGE,
        ),
    },
    "GET /v1/tasks": {
        "operationId": "listTasks",
        "tags": ["Tasks"],
        "summary": "List your tasks",
        "description": "Newest first, a page at a time. Following `next_cursor` shows each task that was there at the "
        "beginning exactly once, whatever is submitted meanwhile. A new task may take a moment to appear.",
        "parameters": LIST_PARAMETERS,
        "responses": answers(
            cached("A page. After 304 the links of an earlier answer may have ended.", "TaskPage"),
            {400: ("invalid_query", "invalid_cursor"), 422: ("invalid_date",)},
            *KEYED,
        ),
    },
    "GET /v1/tasks/{task_id}": {
        "operationId": "readTask",
        "tags": ["Tasks"],
        "summary": "Read a task",
        "description": "With its whole request, and links to our copies of its videos.",
        "parameters": [TASK_ID],
        "responses": answers(
            cached(
                "The task. After 304 the links of an earlier answer may have ended.",
                "Task",
                **{"Retry-After": _LOOK_AGAIN},
            ),
            {404: ("task_not_found",)},
            *KEYED,
            {404: "A path that is none of these."},
        ),
    },
    "DELETE /v1/tasks/{task_id}": {
        "operationId": "deleteTask",
        "tags": ["Tasks"],
        "summary": "Delete a task's content",
        "description": "Removes request, images and videos of a settled task, and keeps ids, states, sizes and what it "
        "cost. Safe to repeat; repeat it after a fault.",
        "parameters": [TASK_ID],
        "responses": answers(
            response(204, "The content is gone.", {}),
            {
                404: ("task_not_found",),
                409: ("task_not_settled", "delivery_underway"),
                503: ("deletion_incomplete",),
            },
            *KEYED,
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
        "responses": answers(
            response(200, "Sums of each group, and of all.", {JSON: ref("Usage")}),
            {400: ("invalid_query",), 422: ("period_too_large",)},
            *KEYED,
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
        "parameters": [TASK_ID],
        "responses": answers(
            response(202, "The task as it stands.", {JSON: ref("Task")}),
            {
                404: ("task_not_found",),
                409: ("submission_underway", "task_already_settled", "cancel_not_supported", "cancel_refused"),
                503: ("cancel_unconfirmed", "not_configured"),
            },
            *KEYED,
            TOO_LARGE,
            {404: "A path that is none of these."},
        ),
    },
    "GET /v1/models": {
        "operationId": "listModels",
        "tags": ["Models"],
        "summary": "List the models",
        "description": "What this deployment offers: each model's parameters as JSON Schema, and how certain they are.",
        "responses": answers(cached("Every model.", "ModelList"), {503: ("not_configured",)}, *KEYED),
    },
    "GET /v1/models/{model_id}": {
        "operationId": "readModel",
        "tags": ["Models"],
        "summary": "Read a model",
        "parameters": [{"name": "model_id", "in": "path", "required": True, "schema": {"type": "string"}}],
        "responses": answers(
            cached("The model.", "OfferedModel"),
            {404: ("model_not_found",), 503: ("not_configured",)},
            *KEYED,
            {404: "A path that is none of these."},
        ),
    },
    "GET /v1/tasks/{task_id}/notifications": {
        "operationId": "listNotifications",
        "tags": ["Webhooks"],
        "summary": "See how a task's webhooks went",
        "description": "Each notification of the task that was attempted, with its attempts. They are kept as long as "
        "the task.",
        "parameters": [TASK_ID],
        "responses": answers(
            response(200, "Empty without a `callback_url`.", {JSON: ref("TaskNotifications")}),
            {404: ("task_not_found",)},
            *KEYED,
            {404: "A path that is none of these."},
        ),
    },
    "POST /v1/tasks/{task_id}/notifications/{version}/replay": {
        "operationId": "replayNotification",
        "tags": ["Webhooks"],
        "summary": "Send a webhook again",
        "description": "Under the same `webhook-id`, signed by the present secret, and retried as the first time. "
        f"At most {HOURLY_REPLAYS} an hour.",
        "parameters": [TASK_ID, VERSION],
        "responses": answers(
            response(202, "Queued.", {JSON: ref("ReplayTaken")}),
            {
                404: ("task_not_found", "notification_not_found"),
                409: ("no_callback_url",),
                429: ("hourly_limit_reached",),
            },
            *KEYED,
            TOO_LARGE,
            {404: "A path that is none of these."},
        ),
    },
    "POST /v1/webhooks/test": {
        "operationId": "testWebhook",
        "tags": ["Webhooks"],
        "summary": "Test an address",
        "description": "Sends one signed message of type `webhook.test` to an address that a `callback_url` may have, "
        f"and says what came of it; nothing is retried. At most {HOURLY_TESTS} an hour.",
        "requestBody": {"required": True, "content": {JSON: {"schema": ref("WebhookTestRequest")}}},
        "responses": answers(
            response(200, "What came of it, good or bad.", {JSON: ref("WebhookTest")}),
            {
                **BODY_PROBLEMS,
                422: ("validation_error", "invalid_callback_url"),
                429: ("hourly_limit_reached",),
                503: ("not_configured",),
            },
            *KEYED,
            TOO_LARGE,
        ),
    },
    "POST /v1/uploads": {
        "operationId": "createUpload",
        "tags": ["Uploads"],
        "summary": "Prepare the upload of a reference image",
        "description": f"For images of up to {MAX_IMAGE_BYTES // 1024**2} MB: POST the form, then write `uri` into "
        "`images`.",
        "requestBody": {"required": True, "content": {JSON: {"schema": ref("UploadRequest")}}},
        "responses": answers(
            response(201, "The form.", {JSON: ref("Upload")}),
            {**BODY_PROBLEMS, 422: ("validation_error",), 429: ("daily_uploads_reached",)},
            *KEYED,
            TOO_LARGE,
        ),
    },
    "POST /v1/batches": {
        "operationId": "createBatchUpload",
        "tags": ["Batches"],
        "summary": "Prepare the upload of a batch",
        "description": "A batch is a file with a request a line (JSON Lines, the body of `POST /v1/tasks`), up to "
        f"{MAX_REQUESTS:,} requests and {MAX_FILE_BYTES // 10**6} MB. POST the form: then the file is read, cap and "
        "budget are reserved for all of it, and its lines wait at the provider behind other tasks. The same file is "
        "the same batch.",
        "requestBody": {"required": True, "content": {JSON: {"schema": ref("BatchUploadRequest")}}},
        "responses": answers(
            response(201, "The form, and the id of the batch.", {JSON: ref("BatchUpload")}),
            {**BODY_PROBLEMS, 422: ("validation_error",), 429: ("daily_uploads_reached",)},
            *KEYED,
            TOO_LARGE,
        ),
    },
    "GET /v1/batches/{batch_id}": {
        "operationId": "readBatch",
        "tags": ["Batches"],
        "summary": "Read a batch",
        "description": "404 until the file is read, some seconds after its upload. An open batch is counted again "
        "after a tenth of its age, 1 to 15 minutes.",
        "parameters": [BATCH_ID],
        "responses": answers(
            response(
                200,
                "The batch, or why its file was refused.",
                {JSON: {"anyOf": [ref("Batch"), ref("RejectedBatch")]}},
            ),
            {404: ("batch_not_found",)},
            *KEYED,
            {404: "A path that is none of these."},
        ),
    },
    **OPEN_OPERATIONS,
}
"""The operations by route key, as API Gateway writes it."""
