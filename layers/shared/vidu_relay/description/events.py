"""What goes over the bus, as JSON Schema: made from the schemas of the API, which describe the task.

Events of ours are open: a field may be added, and whoever validates must not trip over it. What others send us is
closed, as the request is.
"""

from __future__ import annotations

from typing import Any

from vidu_relay.description.schemas import COMPONENTS, TASK_ID_SCHEMA, Schema, nullable, schemas
from vidu_relay.domain.notification import EVENT_TYPE_NOTIFICATION_FAILED
from vidu_relay.domain.queued_requests import REQUESTED
from vidu_relay.domain.representation import EVENT_HIDDEN_FIELDS, EVENT_PROMPT_CHARACTERS
from vidu_relay.domain.states import (
    EVENT_TYPE_ACCEPTED,
    EVENT_TYPE_DELIVERY_DELAYED,
    EVENT_TYPE_REJECTED,
    EVENT_TYPES,
    Status,
)
from vidu_relay.usecases.submit_task import MAX_KEY_CHARACTERS

__all__ = ["RECEIVED", "SENT", "VERSION", "details", "published"]

VERSION = "1.0.0"
"""Of the published schemas; their last released files lie in `docs/schemas/released/<version>/`."""

DIALECT = "https://json-schema.org/draft/2020-12/schema"

SENT = (
    EVENT_TYPE_ACCEPTED,
    *EVENT_TYPES.values(),
    EVENT_TYPE_DELIVERY_DELAYED,
    EVENT_TYPE_REJECTED,
    EVENT_TYPE_NOTIFICATION_FAILED,
)
"""Detail types of the events that the relay publishes."""

RECEIVED = (REQUESTED,)
"""Detail types of the events that the relay receives."""

MEANINGS = {
    EVENT_TYPE_ACCEPTED: "A task was recorded.",
    EVENT_TYPES[Status.SUBMITTED]: "The provider has the task.",
    EVENT_TYPES[Status.PROCESSING]: "The provider works on the task.",
    EVENT_TYPES[Status.GENERATED]: "The provider is done; the copy into your bucket is pending.",
    EVENT_TYPES[Status.COMPLETED]: "Every video of the task is in your bucket.",
    EVENT_TYPES[Status.FAILED]: "The task failed; `task.error` says why.",
    EVENT_TYPES[Status.EXPIRED]: "The wait is over, and `task.error` says for what. A late video may still follow.",
    EVENT_TYPES[Status.CANCELED]: "The task was canceled.",
    EVENT_TYPE_DELIVERY_DELAYED: "Five copies of the task's videos failed: `task.delivery` says why and when the next "
    "is tried. Published once.",
    EVENT_TYPE_REJECTED: "A dropped file or an event was refused: no task came of it.",
    EVENT_TYPE_NOTIFICATION_FAILED: "A webhook to a client's `callback_url` failed, and is not sent again.",
    REQUESTED: "Asks for a video. Sent by you, under a source that is mapped to your tenant.",
}

STATES = {
    EVENT_TYPE_ACCEPTED: (Status.ACCEPTED, Status.SUBMITTING),
    **{name: (status,) for status, name in EVENT_TYPES.items()},
    EVENT_TYPE_DELIVERY_DELAYED: (Status.GENERATED,),
}
"""The states that a task may be in, by the detail type of its event."""

ECHOED = frozenset({"type", "description", "properties", "items", "anyOf", "additionalProperties", "required"})
"""Of the request's schema, what a task in an event promises. Its limits may grow without a word to consumers, and a
default says nothing there: the reduced form leaves out what was given."""

TENANT_ID: Schema = {"type": "string", "description": "Whose task it is."}


def details() -> dict[str, Schema]:
    """The schema of each detail type's `detail`, closed: with nothing in it but what is described."""
    task = _task()
    return {
        **{name: _task_event(task, STATES[name]) for name in STATES},
        EVENT_TYPE_REJECTED: _rejected(),
        EVENT_TYPE_NOTIFICATION_FAILED: _notification_failed(),
        REQUESTED: _requested(),
    }


def published() -> dict[str, Schema]:
    """Each schema as its file holds it, by detail type: whole in itself, and open where it describes events of ours."""
    return {
        name: {
            "$schema": DIALECT,
            "$id": f"urn:vidu-relay:event-detail:{name}",
            "title": name,
            "description": MEANINGS[name],
            **(schema if name in RECEIVED else _opened(schema)),
        }
        for name, schema in details().items()
    }


def _task_event(task: Schema, states: tuple[Status, ...]) -> Schema:
    words = [status.value for status in states]
    status = {**task["properties"]["status"], "enum": words}
    return _detail(
        optional=("client_callback",),
        event_id={
            "type": "string",
            "pattern": f"{TASK_ID_SCHEMA['pattern'].removesuffix('$')}:[1-9][0-9]*$",
            "description": "`<task_id>:<version>`: the same however often the event comes.",
        },
        tenant_id=TENANT_ID,
        client_callback={"type": "boolean", "description": "Whether the client gave a `callback_url`."},
        task={**task, "properties": {**task["properties"], "status": status}},
    )


def _task() -> Schema:
    """The task as `event_detail` makes it of what the API shows."""
    task = _whole("Task")
    shown = task["properties"]
    for schema in (task, shown["output"]["items"]["properties"]["results"]["items"]):
        schema.pop("examples", None)
        schema["properties"].pop("url", None)
    del shown["history"]
    task["required"].remove("history")
    task["description"] = "The task at this version, without what opens anything. Too large for an event, it comes "
    task["description"] += "with an empty `output`, and of its request with numbers and switches only."
    shown["videos"]["description"] = "The copies in your bucket, checked: those that are there, and the first of them "
    shown["videos"]["description"] += "where not all fit."
    shown["videos_total"] = {
        "type": "integer",
        "minimum": 1,
        "description": "How many videos the task has, only where `videos` lacks some: read the task to get all.",
    }
    request = _echo(shown["request"])
    for name in EVENT_HIDDEN_FIELDS:
        del request["properties"][name]
    request["properties"]["prompt"]["maxLength"] = EVENT_PROMPT_CHARACTERS
    request["properties"]["prompt"]["description"] = "What was asked for, cut short."
    request["description"] = "The parameters that were given. Image URLs end before their query; embedded images are "
    request["description"] += "named by their hash (RFC 6920: `ni:///sha-256;…`)."
    shown["request"] = request
    _title(
        task,
        {
            "": "Task",
            "request": "TaskRequest",
            "request.subjects": "TaskSubject",
            "error": "TaskError",
            "output": "TaskOutput",
            "output.results": "TaskResult",
            "usage": "TaskUsage",
            "delivery": "TaskDelivery",
            "delivery.last_error": "TaskError",
            "metadata": "TaskMetadata",
            "videos": "Video",
        },
    )
    return task


def _rejected() -> Schema:
    problem = _whole("Problem")
    _title(problem, {"": "Problem", "errors": "Fault"})
    return _detail(
        event_id={
            "type": "string",
            "pattern": "^.+:rejected$",
            "description": "The same however often the rejection is repeated.",
        },
        tenant_id={**nullable({"type": "string"}), "description": "Null where the request acts for nobody."},
        source={"type": "string", "description": "The event's source, or the file as `s3://bucket/key`."},
        error=problem,
    )


def _notification_failed() -> Schema:
    task = _whole("Task")["properties"]
    return _detail(
        event_id={
            "type": "string",
            "pattern": f"{TASK_ID_SCHEMA['pattern'].removesuffix('$')}:[1-9][0-9]*:notification$",
            "description": "The same however often the event comes.",
        },
        tenant_id=TENANT_ID,
        task_id=TASK_ID_SCHEMA,
        version={**task["version"], "description": "Of the change that the client was to be told of."},
        url_origin={"type": "string", "description": "The client's address without path and query."},
        attempts={"type": "integer", "minimum": 0, "description": "How often it was tried."},
        error={**task["error"]["anyOf"][0], "title": "TaskError", "description": "Why the last try failed."},
    )


def _requested() -> Schema:
    request = _whole("VideoRequest")
    del request["examples"]
    return _detail(
        optional=("idempotency_key", "tenant_id"),
        request={**request, "description": "The body of `POST /v1/tasks`."},
        idempotency_key={
            **nullable({"type": "string", "minLength": 1, "maxLength": MAX_KEY_CHARACTERS, "pattern": "^[ -~]+$"}),
            "description": "As over HTTP, in the same namespace. Without one, the event's own id.",
        },
        tenant_id={
            **nullable({"type": "string"}),
            "description": "May confirm the tenant of the source, never choose it.",
        },
    )


def _detail(*, optional: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {
        "type": "object",
        "required": [name for name in properties if name not in optional],
        "properties": properties,
        "additionalProperties": False,
    }


def _whole(name: str) -> Schema:
    """A schema of the API with those it refers to put in their places."""
    every = schemas()

    def resolved(part: Any) -> Any:
        if isinstance(part, dict):
            if "$ref" in part:
                return resolved(every[part["$ref"].removeprefix(COMPONENTS)])
            return {key: resolved(value) for key, value in part.items()}
        return [resolved(value) for value in part] if isinstance(part, list) else part

    schema: Schema = resolved(every[name])
    return schema


def _echo(schema: Schema) -> Schema:
    """The schema without limits and defaults: names and types."""
    kept: Schema = {}
    for key, value in schema.items():
        if key == "properties":
            kept[key] = {name: _echo(inner) for name, inner in value.items()}
        elif key == "items":
            kept[key] = _echo(value)
        elif key == "anyOf":
            kept[key] = [_echo(choice) for choice in value]
        elif key in ECHOED:
            kept[key] = value
    return kept


def _title(schema: Schema, titles: dict[str, str]) -> None:
    """Name the objects at these paths (`output.results`; lists and nullable ones are looked through)."""
    for path, title in titles.items():
        found = schema
        for step in filter(None, path.split(".")):
            found = _object_in(found["properties"][step])
        found["title"] = title


def _object_in(schema: Schema) -> Schema:
    if "anyOf" in schema:
        return _object_in(schema["anyOf"][0])
    return _object_in(schema["items"]) if "items" in schema else schema


def _opened(part: Any) -> Any:
    """The schema with objects that may have more properties. `properties` holds names, not keywords."""
    if isinstance(part, list):
        return [_opened(value) for value in part]
    if not isinstance(part, dict):
        return part
    return {
        key: {name: _opened(value) for name, value in inner.items()} if key == "properties" else _opened(inner)
        for key, inner in part.items()
        if not (key == "additionalProperties" and inner is False)
    }
