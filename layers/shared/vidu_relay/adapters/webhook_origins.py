"""Which clients' servers are not worth waiting for just now: one item a tenant and origin in the task table.

webhook#<sha256 of tenant and origin>    failures, blocked_until (ms), expires_at (s)

Written only when a server was waited for in vain, and when it answers again. While it is blocked nobody opens it; then
one worker tries it, the others still wait. A tenant's trouble with an origin is its own: another tenant's
notifications to the same origin do not wait for it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["Turn", "WebhookOrigins"]

PROBE_MS = 30_000
"""Longer than a try takes: meanwhile it is the only one."""
FIRST_BLOCK_MS = 30_000
LONGEST_BLOCK_MS = 30 * 60_000
KEEP_SECONDS = 2 * 86_400


@dataclass(frozen=True, slots=True)
class Turn:
    """Whether an origin may be called now: if not, `wait_ms` says for how long. `failures` in a row so far."""

    wait_ms: int
    failures: int


class WebhookOrigins:
    """The cool-downs. `now` is in milliseconds since the epoch."""

    def __init__(self, client: DynamoDBClient, table_name: str) -> None:
        self._client = client
        self._table = table_name

    def take_turn(self, tenant_id: str, origin: str, now: int) -> Turn:
        """Ask before each call. Whoever comes first after a cool-down has the turn, for 30 seconds."""
        key = _key(tenant_id, origin)
        item = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")
        failures = int(item["failures"]["N"]) if item else 0
        if item is None or failures == 0:
            return Turn(0, 0)
        blocked_until = int(item["blocked_until"]["N"])
        if blocked_until > now:
            return Turn(blocked_until - now, failures)
        try:
            self._client.update_item(
                TableName=self._table,
                Key=key,
                UpdateExpression="SET blocked_until = :until",
                ConditionExpression="blocked_until = :seen",
                ExpressionAttributeValues={":until": {"N": str(now + PROBE_MS)}, ":seen": {"N": str(blocked_until)}},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return Turn(PROBE_MS, failures)
        return Turn(0, failures)

    def waited_in_vain(self, tenant_id: str, origin: str, turn: Turn, now: int) -> None:
        """Cool the origin down: 30 seconds, twice as long with each failure in a row, at most half an hour."""
        block = min(FIRST_BLOCK_MS * 2 ** min(turn.failures, 16), LONGEST_BLOCK_MS)
        self._set(tenant_id, origin, turn.failures + 1, now + block, now)

    def answered(self, tenant_id: str, origin: str, turn: Turn, now: int) -> None:
        """The origin answered, whatever it said. Nothing is written if there was no trouble."""
        if turn.failures:
            self._set(tenant_id, origin, 0, 0, now)

    def _set(self, tenant_id: str, origin: str, failures: int, blocked_until: int, now: int) -> None:
        self._client.update_item(
            TableName=self._table,
            Key=_key(tenant_id, origin),
            UpdateExpression="SET failures = :failures, blocked_until = :until, expires_at = :end",
            ExpressionAttributeValues={
                ":failures": {"N": str(failures)},
                ":until": {"N": str(blocked_until)},
                ":end": {"N": str(now // 1000 + KEEP_SECONDS)},
            },
        )


def _key(tenant_id: str, origin: str) -> dict[str, dict[str, str]]:
    digest = hashlib.sha256(f"{tenant_id}\n{origin}".encode()).hexdigest()
    return {"pk": {"S": f"webhook#{digest}"}}
