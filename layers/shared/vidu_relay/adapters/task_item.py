"""A task as a DynamoDB item, and back; and the items of the ids that it owns.

The attributes have the names and shapes of `domain.task.Task`: maps and lists, readable as they stand. A field that has
its default is left out. A field that this release does not know is passed over: a later release may have written it.
`owner` is the tenant and `pk` is `task#<task_id>`; `due_shard` is the due index's partition. Only a task that waits in
a queue has `waits_at` and `place`, the keys of the index `waiting`.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer

from vidu_relay.domain.client_fields import MOST_URGENT
from vidu_relay.domain.snapshot import TaskError, Usage
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Attempt, Candidate, Delivery, HistoryEntry, Output, Refusal, Task, Video

__all__ = [
    "DUE_SHARDS",
    "REMOTE_PREFIX",
    "TASK_PREFIX",
    "external_key",
    "external_put",
    "ownership_put",
    "place_of",
    "task_from_image",
    "to_item",
]

TASK_PREFIX = "task#"
REMOTE_PREFIX = "remote#"
EXTERNAL_PREFIX = "external#"
OWNERSHIP_SECONDS = 90 * 86_400
"""How long beyond a task's deadline its remote ids stay its own: longer than any late video is waited for."""
DUE_SHARDS = 8
"""Partitions of the due index: 1,000 index writes a second each (DynamoDB's limit for one partition)."""
REFUSALS_IN_PLACE = 3

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


def task_from_image(item: Mapping[str, Any]) -> Task:
    """A task from its DynamoDB item or stream image."""
    plain = {name: _plain(_deserialize(value)) for name, value in item.items()}
    attempt = plain.pop("attempt", None)
    delivery = plain.pop("delivery", None)
    return Task(
        task_id=plain.pop("pk").removeprefix(TASK_PREFIX),
        tenant_id=plain.pop("owner"),
        status=Status(plain.pop("status")),
        attempt=_attempt(attempt) if attempt else None,
        aliases=tuple(plain.pop("aliases", ())),
        candidates=tuple(Candidate(**_known(Candidate, c)) for c in plain.pop("candidates", ())),
        image_versions=tuple(plain.pop("image_versions", ())),
        error=_error(plain.pop("error", None)),
        delivery=_delivery(delivery) if delivery is not None else None,
        outputs=tuple(_output(output) for output in plain.pop("outputs", ())),
        usage=Usage(**_known(Usage, usage)) if (usage := plain.pop("usage", None)) is not None else None,
        videos=tuple(_video(video) for video in plain.pop("videos", ())),
        history=tuple(HistoryEntry(e["at"], Status(e["status"]), e["source"]) for e in plain.pop("history", ())),
        **_known(Task, plain),
    )


def to_item(task: Task) -> dict[str, Any]:
    plain = _shown(task)
    plain["pk"] = TASK_PREFIX + plain.pop("task_id")
    plain["owner"] = plain.pop("tenant_id")
    plain.pop("due_since", None)  # the sweep alone writes it: every other write means that a check has followed
    if task.due_at is not None:
        plain["due_shard"] = str(zlib.crc32(task.task_id.encode()) % DUE_SHARDS)
    if task.waits:
        plain |= {"waits_at": task.provider, "place": place_of(task)}
    return {name: _serialize(value) for name, value in plain.items()}


def place_of(task: Task) -> str:
    """Where a task waits: its tenant's tasks stand together, by priority, then by age.

    One that the provider has refused `REFUSALS_IN_PLACE` times stands behind those that came before its last refusal:
    it cannot hold up all others.
    """
    since = task.created_at if task.attempts < REFUSALS_IN_PLACE else task.queued_at or task.created_at
    return f"{task.tenant_id}#{MOST_URGENT - task.priority:02d}#{since:014d}#{task.task_id}"


def _shown(value: Any) -> Any:
    """A value of the domain as DynamoDB's serializer takes it; a field that has its default is left out.

    A fraction is stored as text (`duration_seconds`): the serializer takes no `float`.
    """
    if isinstance(value, Status):
        return value.value
    if is_dataclass(value) and not isinstance(value, type):
        given = ((field, getattr(value, field.name)) for field in fields(value))
        return {field.name: _shown(content) for field, content in given if content != field.default}
    if isinstance(value, tuple):
        return [_shown(part) for part in value]
    return str(value) if isinstance(value, float) else value


def _plain(value: Any) -> Any:
    """What the deserializer gave, with whole numbers as `int`."""
    match value:
        case Decimal():
            return int(value) if value == value.to_integral_value() else float(value)
        case dict():
            return {name: _plain(part) for name, part in value.items()}
        case list():
            return [_plain(part) for part in value]
        case _:
            return value


def _known(of: type[Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a class that a content has."""
    return {field.name: content[field.name] for field in fields(of) if field.name in content}


def _attempt(content: Mapping[str, Any]) -> Attempt:
    refusal = content.get("refusal")
    kept = None
    if refusal is not None:
        wait = refusal.get("retry_after_seconds")
        kept = Refusal(_error(refusal.get("error")), float(wait) if wait is not None else None)
    return Attempt(content["token"], content["started_at"], content.get("ended_at"), kept)


def _delivery(content: Mapping[str, Any]) -> Delivery:
    return Delivery(**{**_known(Delivery, content), "last_error": _error(content.get("last_error"))})


def _error(content: Mapping[str, Any] | None) -> TaskError | None:
    return TaskError(content["code"], content["message"]) if content else None


def _output(content: Mapping[str, Any]) -> Output:
    return Output(content.get("task_id"), content.get("task_status"), tuple(content.get("links", ())))


def _video(content: Mapping[str, Any]) -> Video:
    duration = content.get("duration_seconds")
    seconds = float(duration) if duration is not None else None
    return Video(**{**_known(Video, content), "duration_seconds": seconds, "notes": tuple(content.get("notes", ()))})


def external_key(tenant_id: str, external_id: str | None) -> dict[str, Any]:
    """The key of the item of an external id."""
    return {"pk": {"S": f"{EXTERNAL_PREFIX}{tenant_id}#{external_id}"}}


def external_put(task: Task, owner: str, until: int) -> dict[str, Any]:
    """The put by which a task takes its external id until then (seconds), if it is free or the task `owner` has it."""
    return {
        "Item": {
            **external_key(task.tenant_id, task.external_id),
            "task_id": {"S": task.task_id},
            "expires_at": {"N": str(until)},
        },
        "ConditionExpression": "attribute_not_exists(pk) OR task_id = :owner",
        "ExpressionAttributeValues": {":owner": {"S": owner}},
    }


def ownership_put(task: Task, remote_id: str) -> dict[str, Any]:
    """The put by which a task takes a remote id, once and for all."""
    return {
        "Item": {
            "pk": {"S": f"{REMOTE_PREFIX}{task.provider}#{remote_id}"},
            "task_id": {"S": task.task_id},
            "expires_at": {"N": str(task.deadline_at // 1000 + OWNERSHIP_SECONDS)},
        },
        "ConditionExpression": "attribute_not_exists(pk) OR task_id = :me",
        "ExpressionAttributeValues": {":me": {"S": task.task_id}},
    }
