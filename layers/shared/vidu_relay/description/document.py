"""The OpenAPI document, as it is kept in `docs/` and served."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

from vidu_relay.description.operations import OPERATIONS
from vidu_relay.description.schemas import COMPONENTS, schemas

__all__ = ["describe", "written"]

TAGS = {
    "Tasks": "Submit, read, list.",
    "Uploads": "Reference images that are not on the web.",
    "Description": "Needs no key.",
    "Provider": "What the provider calls.",
}


WEBHOOKS: dict[str, Any] = {
    "taskChanged": {
        "post": {
            "operationId": "taskChanged",
            "summary": "What the relay sends to your own callback_url",
            "description": "On `processing`, after the fifth failed copy of a video, and at the end, at least once for "
            "each change, signed by the Standard Webhooks specification with your tenant's secret. Tried again for a "
            "day; a later change has a higher `version`.",
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
                "content": {"application/json": {"schema": {"$ref": f"{COMPONENTS}Task"}}},
            },
            "responses": {
                "2XX": {"description": "Taken. Any answer counts by its status; its body is dropped, up to 64 KB."},
                "410": {"description": "Wanted no more: not tried again."},
                "default": {"description": "Tried again later; `Retry-After` is honoured up to 6 hours."},
            },
        }
    }
}


def describe(routes: Iterable[str]) -> dict[str, Any]:
    """The document for these routes (`POST /v1/tasks`). Raises `KeyError` for one that no operation describes."""
    paths: dict[str, dict[str, Any]] = {}
    wanted = set(routes)
    for route in wanted:
        OPERATIONS[route]  # described, or an error
    for route, operation in OPERATIONS.items():
        if route in wanted:
            method, path = route.split(" ")
            paths.setdefault(path, {})[method.lower()] = operation
    webhooks = WEBHOOKS if "POST /v1/tasks" in wanted else {}
    used = {tag for path in paths.values() for operation in path.values() for tag in operation["tags"]}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Vidu Relay",
            "version": "1",
            "description": "Submit a video task, get the finished video in your own bucket and an event on your own "
            "bus. Every refusal says what to change: problem documents (RFC 9457) from the relay, "
            '`{"message": …}` from API Gateway in front of it.',
        },
        "servers": [
            {
                "url": "{api}",
                "description": "Your stack's output ApiUrl.",
                "variables": {"api": {"default": "https://api.example.com"}},
            }
        ],
        "security": [{"apiKey": []}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items() if name in used],
        "paths": paths,
        "webhooks": webhooks,
        "components": {
            "securitySchemes": {
                "apiKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key of your tenant, from the operator. A revoked one works for another "
                    "60 seconds at most.",
                }
            },
            "schemas": _reachable({**paths, **webhooks}),
        },
    }


def written(document: dict[str, Any]) -> str:
    """The document as its file holds it."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _reachable(paths: dict[str, Any]) -> dict[str, Any]:
    """The schemas that these paths refer to, directly or through others."""
    every = schemas()
    found: set[str] = set()
    seen = _references(paths)
    while new := seen - found:
        found |= new
        seen = set().union(*(_references(every[name]) for name in new))
    return {name: schema for name, schema in every.items() if name in found}


def _references(part: Any) -> set[str]:
    return set(re.findall(rf'"\$ref": "{COMPONENTS}(\w+)"', json.dumps(part)))
