"""What became of each notification, for the tenant to read: one item of the task table for each.

notification#<task_id>#<version>    attempts, delivered_at?, next_at?, erased?, expires_at

`attempts` has at most `MOST_ATTEMPTS`, the latest. Times are in milliseconds, `expires_at` in seconds. Nothing in the
relay acts on these items: a lost one changes no notification.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer, TypeSerializer
from botocore.exceptions import BotoCoreError, ClientError

from vidu_relay.domain.notification import Notification, NotificationAttempt, NotificationRecord

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["NotificationLog"]

MOST_ATTEMPTS = 30
DROPPED_AT_ONCE = 10
"""So many of the oldest attempts make room where `MOST_ATTEMPTS` is reached."""

_serialize = TypeSerializer().serialize
_deserialize = TypeDeserializer().deserialize


class NotificationLog:
    """Writes with a client that sends each call a single time: a call that hangs must leave the function its time."""

    def __init__(self, client: DynamoDBClient, table_name: str) -> None:
        self._client = client
        self._table = table_name

    def record(
        self,
        notification: Notification,
        attempt: NotificationAttempt | None,
        *,
        delivered_at: int | None = None,
        next_at: int | None = None,
        expires_at: int,
    ) -> bool:
        """Add an attempt, or None where a notification is given up without another; whether that is written.

        It raises nothing that AWS raises: the webhook was sent, and an error here would send it again.
        """
        values: dict[str, Any] = {":end": expires_at}
        sets = ["expires_at = :end"]
        if attempt is not None:
            values |= {":none": [], ":one": [asdict(attempt)]}
            sets.append("attempts = list_append(if_not_exists(attempts, :none), :one)")
        for name, moment in (("delivered_at", delivered_at), ("next_at", next_at)):
            if moment is not None:
                values[f":{name}"] = moment
                sets.append(f"{name} = :{name}")
        change = f"SET {', '.join(sets)}" + ("" if next_at is not None else " REMOVE next_at")
        key, open_ = _key(notification.task_id, notification.version), "attribute_not_exists(erased)"
        room = f"{open_} AND (attribute_not_exists(attempts) OR size(attempts) < :most)"
        full = "attribute_exists(attempts) AND size(attempts) >= :most"  # still: another worker may have made room
        try:
            if attempt is None:
                return self._update(key, change, open_, values)
            values[":most"] = MOST_ATTEMPTS
            if self._update(key, change, room, values):
                return True
            oldest = ", ".join(f"attempts[{number}]" for number in range(DROPPED_AT_ONCE))
            self._update(key, f"REMOVE {oldest}", full, {":most": MOST_ATTEMPTS})
            return self._update(key, change, room, values)
        except (ClientError, BotoCoreError):
            return False

    def erase(self, task_id: str, versions: Iterable[int], expires_at: int) -> None:
        """Remove what was answered to a task's notifications; an attempt that is under way is not recorded any more."""
        change = "SET erased = :yes, expires_at = :end REMOVE attempts, delivered_at, next_at"
        for version in versions:
            self._update(_key(task_id, version), change, None, {":yes": True, ":end": expires_at})

    def find(self, task_id: str, versions: Iterable[int]) -> dict[int, NotificationRecord]:
        """The records of a task's notifications, by version; those not attempted, and those erased, have none."""
        found: dict[int, NotificationRecord] = {}
        for version in versions:
            item = self._client.get_item(TableName=self._table, Key=_key(task_id, version)).get("Item")
            if item and "erased" not in item:
                found[version] = _record({name: _deserialize(value) for name, value in item.items()})
        return found

    def _update(self, key: Any, change: str, condition: str | None, values: Mapping[str, Any]) -> bool:
        """Whether the condition held and the change is written."""
        arguments: Any = {"ConditionExpression": condition} if condition else {}
        arguments["ExpressionAttributeValues"] = {name: _serialize(value) for name, value in values.items()}
        try:
            self._client.update_item(TableName=self._table, Key=key, UpdateExpression=change, **arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
        return True


def _record(plain: Mapping[str, Any]) -> NotificationRecord:
    return NotificationRecord(
        attempts=tuple(
            NotificationAttempt(
                int(one["at"]),
                int(one["latency_ms"]),
                int(one["status"]) if one["status"] is not None else None,
                one["fault"],
                one["answer"],
            )
            for one in plain.get("attempts", ())
        ),
        delivered="delivered_at" in plain,
        next_at=int(plain["next_at"]) if "next_at" in plain else None,
    )


def _key(task_id: str, version: int) -> dict[str, Any]:
    return {"pk": {"S": f"notification#{task_id}#{version}"}}
