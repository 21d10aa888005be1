"""The OpenAPI document, as the function `describe_api` serves it."""

from __future__ import annotations

from typing import Any

from local.description.json_schema import reachable, ref
from local.description.operations import OPERATIONS
from local.description.schemas import schemas

__all__ = ["describe"]

INFO = {
    "title": "Vidu Relay",
    "version": "1",
    "description": "Submit a video task, get the finished video in your own bucket and an event on your own bus. Every "
    "refusal says what to change: problem documents (RFC 9457) from the relay, "
    '`{"message": …}` from API Gateway in front of it.',
}
SERVER = {
    "url": "{api}",
    "description": "Your stack's output ApiUrl.",
    "variables": {"api": {"default": "https://api.example.com"}},
}
API_KEY = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key of your tenant, from the operator. A revoked one works for another 60 seconds at most.",
}
MEANINGS = {
    "accepted": "Certainly nothing was created: the relay makes the create call (again).",
    "submitting": "The create call runs, or its outcome is unknown: the relay makes no second one.",
    "submitted": "The provider has the task.",
    "processing": "The provider works on it.",
    "generated": "The provider is done; the relay copies the videos into your bucket.",
    "completed": "Every video is in your bucket.",
    "failed": "The provider refused the task or could not do it: see `error`.",
    "expired": "The task did not end in time: see `error`. A late video changes it to `generated`.",
    "canceled": "By you, at the provider, or before submission because the operator disabled the tenant.",
}
"""What each state of a task means."""
TAGS = {
    "Tasks": "Submit, read, list.",
    "Batches": "Many requests in one file.",
    "Models": "What tasks can ask for.",
    "Uploads": "Reference images that are not on the web.",
    "Webhooks": "How they went, again, and a test.",
    "Description": "Needs no key. `GET /v1/console` is a page for browsers.",
    "Provider": "What the provider calls.",
}
WEBHOOKS: dict[str, Any] = {
    "taskChanged": {
        "post": {
            "operationId": "taskChanged",
            "summary": "What the relay sends to your own callback_url",
            "description": "On `processing`, after the fifth failed copy of a video, and at the end, at least once for "
            "each change, signed by the Standard Webhooks specification with your tenant's secret. Tried for 72 "
            "hours, at most 15 times; a later change has a higher `version`.",
            "security": [],
            "parameters": [
                {"name": name, "in": "header", "required": True, "description": text, "schema": {"type": "string"}}
                for name, text in (
                    ("webhook-id", "`<task_id>:<version>`: the same at every try."),
                    ("webhook-timestamp", "When this try was signed, in seconds since the epoch."),
                    ("webhook-signature", "`v1,<base64>`; two with a space between for a day after a rotation."),
                )
            ],
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": ref("Task")}},
            },
            "responses": {
                "2XX": {"description": "Taken. Any answer counts by its status; 256 bytes of its body are kept."},
                "410": {"description": "Wanted no more: not tried again."},
                "default": {"description": "Tried again later; `Retry-After` is honoured up to 6 hours."},
            },
        }
    }
}


def describe() -> dict[str, Any]:
    """The document: every operation, and the schemas that they refer to."""
    paths: dict[str, dict[str, Any]] = {}
    for route, operation in OPERATIONS.items():
        method, path = route.split(" ")
        paths.setdefault(path, {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": INFO,
        "servers": [SERVER],
        "security": [{"apiKey": []}],
        "x-states": MEANINGS,
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "webhooks": WEBHOOKS,
        "components": {
            "securitySchemes": {"apiKey": API_KEY},
            "schemas": reachable([paths, WEBHOOKS], schemas()),
        },
    }
