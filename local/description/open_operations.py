"""The routes that need no API key: descriptions, the console, and the provider's callbacks."""

from __future__ import annotations

from collections.abc import Mapping

from local.description.answers import GATEWAY, JSON, TAG, TOO_LARGE, UNREADABLE, Operation, answers, response
from local.description.json_schema import ref
from local.description.request_parameters import TASK_ID

__all__ = ["OPEN_OPERATIONS"]

OPEN_OPERATIONS: Mapping[str, Operation] = {
    "POST /v1/callbacks/{task_id}": {
        "operationId": "receiveCallback",
        "tags": ["Provider"],
        "summary": "For the provider: something happened to a task",
        "description": "Not for clients. The token in the address says that the caller was given it for this task; "
        "nothing in the body is believed: the relay reads the task from the provider.",
        "security": [],
        "parameters": [
            TASK_ID,
            {
                "name": "token",
                "in": "query",
                "required": True,
                "description": "From the address that the relay gave to the provider.",
                "schema": {"type": "string"},
            },
        ],
        "requestBody": {"description": "Anything.", "content": {JSON: {"schema": {}}}},
        "responses": answers(
            response(200, "Understood.", {JSON: ref("CallbackTaken")}),
            {403: ("callback_refused",), 503: ("try_again",)},
            UNREADABLE,
            {404: "A path that is none of these."},
            TOO_LARGE,
            GATEWAY,
        ),
    },
    "GET /v1/openapi.json": {
        "operationId": "describeApi",
        "tags": ["Description"],
        "summary": "This document",
        "security": [],
        "responses": answers(response(200, "OpenAPI 3.1.", {JSON: {"type": "object"}}), {}, UNREADABLE, GATEWAY),
    },
    "GET /v1/console": {
        "operationId": "openConsole",
        "tags": ["Description"],
        "summary": "A console for browsers",
        "description": "Pages that show your tasks and what they cost, and submit them. They ask for an API key, and "
        "keep it in that tab alone.",
        "security": [],
        "responses": answers(
            response(200, "HTML.", {"text/html": {"type": "string"}}, {"ETag": TAG}), {}, UNREADABLE, GATEWAY
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
        "responses": answers(
            response(
                200,
                "A file that stays the same.",
                {kind: {"type": "string"} for kind in ("text/html", "text/css", "text/javascript", "image/svg+xml")},
                {"ETag": TAG},
            ),
            {404: ("file_not_found",)},
            UNREADABLE,
            GATEWAY,
            {404: "A path that is none of these."},
        ),
    },
    "GET /v1/docs": {
        "operationId": "readDescription",
        "tags": ["Description"],
        "summary": "This document as a page",
        "security": [],
        "responses": answers(
            response(200, "HTML without scripts.", {"text/html": {"type": "string"}}), {}, UNREADABLE, GATEWAY
        ),
    },
}
