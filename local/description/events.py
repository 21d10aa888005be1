"""What goes over the bus, as one JSON Schema: made of the types of the details and of the API's schemas.

Events that the relay sends are open: a field may be added, and a consumer that validates must accept it. What the relay
receives is closed, as the request is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, NotRequired, TypedDict

from local.description.json_schema import COMPONENTS, Schema, object_of, reachable, ref
from local.description.schemas import any_request, schemas
from vidu_relay.domain import documents, money_documents, webhook_documents
from vidu_relay.domain.batch import BatchState
from vidu_relay.domain.batch_representation import EVENT_TYPE_BATCH_ACCEPTED, EVENT_TYPE_BATCH_COMPLETED
from vidu_relay.domain.notification import EVENT_TYPE_NOTIFICATION_FAILED
from vidu_relay.domain.provider_books import EVENT_TYPE_BALANCE_LOW, EVENT_TYPE_BILL_DIFFERS
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

__all__ = ["RECEIVED", "SENT", "VERSION", "describe_events"]

VERSION = "1.1.0"
"""Of `docs/schemas/events.json`. Released versions that a later one follows are in `docs/schemas/released/`."""

SENT = (
    EVENT_TYPE_ACCEPTED,
    *EVENT_TYPES.values(),
    EVENT_TYPE_DELIVERY_DELAYED,
    EVENT_TYPE_BATCH_ACCEPTED,
    EVENT_TYPE_BATCH_COMPLETED,
    EVENT_TYPE_REJECTED,
    EVENT_TYPE_NOTIFICATION_FAILED,
    EVENT_TYPE_BILL_DIFFERS,
    EVENT_TYPE_BALANCE_LOW,
)
"""Detail types of the events that the relay publishes."""

RECEIVED = (REQUESTED,)
"""Detail types of the events that the relay receives."""

OF_TASKS: Mapping[str, tuple[str, tuple[Status, ...]]] = {
    EVENT_TYPE_ACCEPTED: ("A task was recorded.", (Status.ACCEPTED, Status.SUBMITTING)),
    **{
        EVENT_TYPES[status]: (meaning, (status,))
        for status, meaning in {
            Status.SUBMITTED: "The provider has the task.",
            Status.PROCESSING: "The provider works on the task.",
            Status.GENERATED: "The provider is done; the copy into your bucket is pending.",
            Status.COMPLETED: "Every video of the task is in your bucket.",
            Status.FAILED: "The task failed; `task.error` says why.",
            Status.EXPIRED: "The wait is over, and `task.error` says for what. A late video may still follow.",
            Status.CANCELED: "The task was canceled.",
        }.items()
    },
    EVENT_TYPE_DELIVERY_DELAYED: (
        "Five copies of the task's videos failed: `task.delivery` says why and when the next is tried. Published once.",
        (Status.GENERATED,),
    ),
}
"""What an event of a task means and the states that the task may be in, by detail type."""

OF_BATCHES = {
    EVENT_TYPE_BATCH_ACCEPTED: ("Each line of a batch is a task or was rejected.", BatchState.ACCEPTED),
    EVENT_TYPE_BATCH_COMPLETED: ("Each task of a batch has ended.", BatchState.COMPLETED),
}
"""What an event of a batch means and the state that the batch is in, by detail type."""

CLOSED = frozenset({*RECEIVED, "Subject"})
"""What senders of requests go by; every other schema is of events that the relay sends."""


class VideoTaskRequested(TypedDict):
    """Asks for a video. Sent by you, under a source that is mapped to your tenant."""

    request: Annotated[dict[str, Any], ref("VideoRequest"), "The body of `POST /v1/tasks`."]
    idempotency_key: NotRequired[
        Annotated[
            Annotated[str, {"minLength": 1, "maxLength": MAX_KEY_CHARACTERS, "pattern": "^[ -~]+$"}] | None,
            "As over HTTP, in the same namespace. Without one, the event's own id.",
        ]
    ]
    tenant_id: NotRequired[Annotated[str | None, "May confirm the tenant of the source, never choose it."]]


def describe_events() -> Schema:
    """The file: a schema that any detail fits, and in its `$defs` one for each detail type."""
    types = [ref(name) for name in (*SENT, *RECEIVED)]
    described = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:vidu-relay:events:{VERSION}",
        "title": "The detail of an event of Vidu Relay",
        "anyOf": types,
        "$defs": reachable([*types, ref("EventEnvelope")], _definitions()),
    }
    made: Schema = json.loads(json.dumps(described).replace(COMPONENTS, "#/$defs/"))
    return made


def _definitions() -> dict[str, Schema]:
    every = {
        **{name: _event_of_task(*facts) for name, facts in OF_TASKS.items()},
        **schemas(),
        "VideoRequest": any_request(),
        **{name: _event_of_batch(*facts) for name, facts in OF_BATCHES.items()},
        EVENT_TYPE_REJECTED: object_of(documents.Rejection),
        EVENT_TYPE_NOTIFICATION_FAILED: object_of(webhook_documents.NotificationFailure),
        EVENT_TYPE_BILL_DIFFERS: object_of(money_documents.BillDifference),
        EVENT_TYPE_BALANCE_LOW: object_of(money_documents.LowBalance),
        REQUESTED: object_of(VideoTaskRequested),
    }
    del every["TaskResult"]["properties"]["url"]
    shown = every["TaskRequest"]["properties"]
    for name in EVENT_HIDDEN_FIELDS:
        del shown[name]
    shown["prompt"] |= {"maxLength": EVENT_PROMPT_CHARACTERS, "description": "What was asked for, cut short."}
    for name in every.keys() - CLOSED:
        every[name].pop("additionalProperties", None)
    return every


def _event_of_task(meaning: str, states: Iterable[Status]) -> Schema:
    status = {"enum": [state.value for state in states]}
    return {
        "description": meaning,
        "allOf": [ref("VideoTaskEvent"), {"properties": {"task": {"properties": {"status": status}}}}],
    }


def _event_of_batch(meaning: str, state: BatchState) -> Schema:
    return {
        "description": meaning,
        "allOf": [ref("VideoBatchEvent"), {"properties": {"batch": {"properties": {"state": {"const": state.value}}}}}],
    }
