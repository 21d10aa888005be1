"""The queue in front of each provider: the sparse index of tasks that wait, and what dispatches remember.

queue#<provider>    slots (id → moment), confirmed, limit, proven, credit, refused_at, opened_at, turn, revision
                    expires_at: 30 days after the last dispatch

The index `waiting` has the keys of tasks that wait, by provider and `task_item.place_of`; it may lag behind the table.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import ClientError

from vidu_relay.domain.admission import QueueState

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["MAX_COUNTED", "MAX_POSITION", "ProviderQueue", "Waiting"]

INDEX = "waiting"
NUMBERS = ("limit", "proven", "credit", "refused_at", "opened_at")
KEEP_SECONDS = 30 * 86_400
MAX_POSITION = 1000
"""So many places are counted for `queue_position`."""
MAX_COUNTED = 20_000
"""So many waiting tasks are read for the queue's length."""

_read = TypeDeserializer().deserialize
_write = TypeSerializer().serialize


@dataclass(frozen=True, slots=True)
class Waiting:
    """A task that waits, as its place in the index says."""

    task_id: str
    tenant_id: str
    created_at: int


class ProviderQueue:
    """Queries of the index, and conditional writes of the state."""

    def __init__(self, client: DynamoDBClient, table_name: str) -> None:
        self._client = client
        self._table = table_name

    def load(self, provider: str) -> QueueState:
        """What the last dispatch left (consistent read)."""
        item = self._client.get_item(TableName=self._table, Key=_key(provider), ConsistentRead=True).get("Item")
        if item is None:
            return QueueState()
        plain = {name: _read(value) for name, value in item.items() if name not in ("pk", "expires_at")}
        slots = {task_id: int(moment) for task_id, moment in plain.pop("slots").items()}
        confirmed, turn = tuple(plain.pop("confirmed")), plain.pop("turn")
        return QueueState(slots, confirmed, turn=turn, **{name: int(value) for name, value in plain.items()})

    def save(self, provider: str, state: QueueState) -> bool:
        """Write the state over the one that it came from; whether no other dispatch was faster."""
        plain: dict[str, Any] = {name: getattr(state, name) for name in NUMBERS}
        plain |= {"slots": dict(state.slots), "confirmed": list(state.confirmed), "turn": state.turn}
        plain["revision"] = state.revision + 1
        plain["expires_at"] = int(time.time()) + KEEP_SECONDS
        try:
            self._client.put_item(
                TableName=self._table,
                Item={**_key(provider), **{name: _write(value) for name, value in plain.items()}},
                ConditionExpression="attribute_not_exists(pk) OR revision = :seen",
                ExpressionAttributeValues={":seen": {"N": str(state.revision)}},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
        return True

    def next_of(self, provider: str, turn: str, passed_over: Collection[str] = ()) -> Waiting | None:
        """The first task that waits behind a tenant's, from the beginning again after the last; None if none waits.

        `passed_over` are ids of tasks that do not count; an empty `turn` begins with the first tenant.
        """
        behind = ("place > :from", {":from": {"S": f"{turn}$"}})  # behind the separator `#`, before any longer id
        up_to = ("place < :from", behind[1])
        for condition, values in (behind, up_to) if turn else (behind,):
            for waiting in self._query(provider, condition, values, len(passed_over) + 1):
                if waiting.task_id not in passed_over:
                    return waiting
        return None

    def count(self, provider: str) -> Iterator[Waiting]:
        """At most `MAX_COUNTED` tasks that wait, tenant by tenant."""
        found = self._query(provider, None, {}, None)
        return (waiting for _, waiting in zip(range(MAX_COUNTED), found, strict=False))

    def position(self, provider: str, tenant_id: str, place: str) -> int | None:
        """How many of the tenant's tasks, it included, go on before one at `place` has; None beyond `MAX_POSITION`."""
        values = {":from": {"S": f"{tenant_id}#"}, ":to": {"S": place}}
        ahead = 0
        for waiting in self._query(provider, "place BETWEEN :from AND :to", values, MAX_POSITION):
            ahead += not place.endswith(waiting.task_id)
            if ahead >= MAX_POSITION:
                return None
        return ahead + 1

    def _query(
        self, provider: str, condition: str | None, values: dict[str, Any], page_size: int | None
    ) -> Iterator[Waiting]:
        """In the index's order, page by page as they are taken."""
        more: dict[str, Any] = {} if page_size is None else {"Limit": page_size}
        while True:
            reply = self._client.query(
                TableName=self._table,
                IndexName=INDEX,
                KeyConditionExpression=" AND ".join(["waits_at = :provider", *([condition] if condition else [])]),
                ExpressionAttributeValues={":provider": {"S": provider}, **values},
                **more,
            )
            for item in reply["Items"]:
                tenant_id, _, created_at, task_id = item["place"]["S"].split("#")
                yield Waiting(task_id, tenant_id, int(created_at))
            if "LastEvaluatedKey" not in reply:
                return
            more["ExclusiveStartKey"] = reply["LastEvaluatedKey"]


def _key(provider: str) -> dict[str, Any]:
    return {"pk": {"S": f"queue#{provider}"}}
