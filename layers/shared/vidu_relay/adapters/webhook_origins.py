"""How much of the workers' time clients' servers may use: two kinds of items in the task table.

webhook#<sha256 of tenant and origin>    blocked_until, failures, fault_code, fault_message, quick_at, expires_at
webhook#<sha256 of tenant>               rested_at, expires_at

Times are in milliseconds, `expires_at` in seconds. Both are written only when a server of the tenant is in trouble: it
did not answer, or took more than two seconds.

- An *origin* in trouble is called by one worker at a time, and rests in between: after a slow answer four times as long
  as it took, after no answer 30 seconds, twice as long with each in a row.
- A *tenant* rests four times as long as all its slow calls took together, less what two calls may take at once. So one
  slow origin does not hold up the tenant's others, and many of them use a fifth of one worker in the long run. An
  origin that was quick meanwhile goes on in a tenant's rest, unless that lies very far ahead.

A tenant's trouble is its own: another tenant's notifications, also to the same origin, do not wait for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from vidu_relay.domain.snapshot import TaskError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["Turn", "WebhookOrigins"]

SLOW_MS = 2_000
"""A call that takes longer is slow, whatever its answer."""
REST_FACTOR = 4
"""A slow origin rests this many times as long: four fifths of one worker's time are left to others."""
TENANT_SLACK_MS = 80_000
"""How far a tenant's rest may lie ahead before its origins wait: the rest for two calls of ten seconds, one of each
worker."""
QUICK_SLACK_MS = 5 * TENANT_SLACK_MS
"""The same for an origin that was quick within the last hour: one quick answer long ago does not lift the ration."""
QUICK_MS = 3_600_000
PROBE_MS = 30_000
"""Longer than a try takes: meanwhile it is the only one."""
FIRST_BLOCK_MS = 30_000
LONGEST_BLOCK_MS = 30 * 60_000
KEEP_SECONDS = 2 * 86_400


@dataclass(frozen=True, slots=True)
class Turn:
    """Whether an origin may be called now.

    - `wait_ms` is how long to wait; 0 if it may be called.
    - `fault` is the last fault of the origin's since it last answered, None if there is none.
    - `blocked_until`, `failures` (in a row), `quick_at` and `rested_at` are as read from the table.
    """

    wait_ms: int
    fault: TaskError | None = None
    blocked_until: int = 0
    failures: int = 0
    quick_at: int = 0
    rested_at: int = 0


class WebhookOrigins:
    """Turns and rests. `now` is in milliseconds since the epoch, `took_ms` how long the call took that is over now."""

    def __init__(self, client: DynamoDBClient, table_name: str) -> None:
        self._client = client
        self._table = table_name

    def take_turn(self, tenant_id: str, origin: str, now: int) -> Turn:
        """To be called before each call. The first worker after an origin's rest has the turn, for 30 seconds."""
        rested_at = _number(self._get(_tenant_key(tenant_id)), "rested_at")
        item = self._get(_origin_key(tenant_id, origin))
        blocked_until, failures = _number(item, "blocked_until"), _number(item, "failures")
        code, message = (item.get(name, {}).get("S") for name in ("fault_code", "fault_message"))
        fault = TaskError(code, message) if code and message else None
        quick_at = _number(item, "quick_at")
        slack_ms = QUICK_SLACK_MS if now - quick_at < QUICK_MS else TENANT_SLACK_MS
        turn = Turn(
            max(blocked_until - now, rested_at - slack_ms - now, 0), fault, blocked_until, failures, quick_at, rested_at
        )
        if turn.wait_ms or not blocked_until:
            return turn
        taken = self._update(
            _origin_key(tenant_id, origin),
            "SET blocked_until = :until",
            "blocked_until = :seen",
            {":until": now + PROBE_MS, ":seen": blocked_until},
        )
        return turn if taken else replace(turn, wait_ms=PROBE_MS)

    def failed(self, tenant_id: str, origin: str, turn: Turn, now: int, took_ms: int, fault: TaskError) -> None:
        """The origin did not answer: it rests for 30 seconds, each time in a row twice as long, up to half an hour."""
        block = min(FIRST_BLOCK_MS * 2 ** min(turn.failures, 16), LONGEST_BLOCK_MS)
        self._update(
            _origin_key(tenant_id, origin),
            "SET blocked_until = :until, fault_code = :code, fault_message = :message, expires_at = :end "
            "ADD failures :one",
            None,
            {":until": now + block, ":code": fault.code, ":message": fault.message, ":end": _end(now), ":one": 1},
        )
        self._charge(tenant_id, turn, now, took_ms)

    def answered(self, tenant_id: str, origin: str, turn: Turn, now: int, took_ms: int) -> None:
        """The origin answered, whatever it said. Nothing is written if it was quick and there was no trouble before."""
        if took_ms > SLOW_MS:
            self._forget_faults(tenant_id, origin, turn, now + REST_FACTOR * took_ms, now)
            self._charge(tenant_id, turn, now, took_ms)
        elif turn.blocked_until:
            self._forget_faults(tenant_id, origin, turn, 0, now)
        elif turn.rested_at > now and now - turn.quick_at > QUICK_MS // 2:
            values = {":now": now, ":end": _end(now)}
            self._update(_origin_key(tenant_id, origin), "SET quick_at = :now, expires_at = :end", None, values)

    def _forget_faults(self, tenant_id: str, origin: str, turn: Turn, blocked_until: int, now: int) -> None:
        """Unless another worker has counted a fault since this one took its turn."""
        self._update(
            _origin_key(tenant_id, origin),
            "SET blocked_until = :until, failures = :none, expires_at = :end "
            "REMOVE fault_code, fault_message, quick_at",
            "attribute_not_exists(failures) OR failures = :seen",
            {":until": blocked_until, ":none": 0, ":seen": turn.failures, ":end": _end(now)},
        )

    def _charge(self, tenant_id: str, turn: Turn, now: int, took_ms: int) -> None:
        """Let a slow call lengthen the tenant's rest, or begin one."""
        rest, key = REST_FACTOR * took_ms, _tenant_key(tenant_id)
        if took_ms <= SLOW_MS:
            return
        if turn.rested_at <= now and self._update(
            key,
            "SET rested_at = :at, expires_at = :end",
            "attribute_not_exists(rested_at) OR rested_at = :seen",
            {":at": now + rest, ":end": _end(now), ":seen": turn.rested_at},
        ):
            return
        self._update(key, "SET expires_at = :end ADD rested_at :rest", None, {":end": _end(now), ":rest": rest})

    def _get(self, key: dict[str, Any]) -> Any:
        return self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item", {})

    def _update(self, key: dict[str, Any], change: str, condition: str | None, values: Mapping[str, int | str]) -> bool:
        """Whether the condition held and the change is written."""
        conditions: dict[str, Any] = {"ConditionExpression": condition} if condition else {}
        try:
            self._client.update_item(
                TableName=self._table,
                Key=key,
                UpdateExpression=change,
                ExpressionAttributeValues={
                    name: {"N": str(value)} if isinstance(value, int) else {"S": value}
                    for name, value in values.items()
                },
                **conditions,
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
        return True


def _number(item: Any, name: str) -> int:
    return int(item[name]["N"]) if name in item else 0


def _end(now: int) -> int:
    return now // 1000 + KEEP_SECONDS


def _origin_key(tenant_id: str, origin: str) -> dict[str, Any]:
    return _key(f"{tenant_id}\n{origin}")


def _tenant_key(tenant_id: str) -> dict[str, Any]:
    return _key(tenant_id)


def _key(text: str) -> dict[str, Any]:
    return {"pk": {"S": f"webhook#{hashlib.sha256(text.encode()).hexdigest()}"}}
