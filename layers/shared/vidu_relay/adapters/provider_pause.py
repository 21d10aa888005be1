"""The pause of a provider that refuses our account: one item of the task table for each provider.

pause#<provider>    paused_since?, probe_at?, code, message: while create calls wait for the account
                    tenant_id?: only this tenant's create calls wait
                    succeeded_at?: when a create call last succeeded, noted while the item lives
                    expires_at: an hour after the last refusal
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from vidu_relay.domain.snapshot import TaskError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["Pause", "ProviderPauses"]

KEEP_SECONDS = 3600


@dataclass(frozen=True, slots=True)
class Pause:
    """What is known of a provider's refusals. Moments in milliseconds since the epoch.

    `paused_since` is None once a create call succeeded again. While it is set, one create call may be made at
    `probe_at`. `tenant_id` is set while only this tenant's create calls were refused: no other tenant waits.
    """

    paused_since: int | None
    probe_at: int
    succeeded_at: int | None
    error: TaskError
    tenant_id: str | None = None

    def holds_up(self, tenant_id: str) -> bool:
        """Whether create calls of this tenant wait, but for the probe."""
        return self.paused_since is not None and self.tenant_id in (None, tenant_id)


class ProviderPauses:
    """Reads and conditional writes of the pauses."""

    def __init__(self, client: DynamoDBClient, table_name: str) -> None:
        self._client = client
        self._table = table_name

    def find(self, provider: str) -> Pause | None:
        """What is known of a provider's refusals (consistent read); None if it refused nothing lately."""
        item: Any = self._client.get_item(TableName=self._table, Key=_key(provider), ConsistentRead=True).get("Item")
        if item is None:
            return None
        return Pause(
            paused_since=int(item["paused_since"]["N"]) if "paused_since" in item else None,
            probe_at=int(item["probe_at"]["N"]),
            succeeded_at=int(item["succeeded_at"]["N"]) if "succeeded_at" in item else None,
            error=TaskError(item["code"]["S"], item["message"]["S"]),
            tenant_id=item["tenant_id"]["S"] if "tenant_id" in item else None,
        )

    def pause(self, provider: str, error: TaskError, *, now: int, probe_at: int, tenant_id: str | None = None) -> None:
        """Make create calls wait, with the next probe at `probe_at`. A pause under way keeps its beginning.

        With `tenant_id` only this tenant's wait.
        """
        values = {":tenant": {"S": tenant_id}} if tenant_id else {}
        self._client.update_item(
            TableName=self._table,
            Key=_key(provider),
            UpdateExpression=(
                "SET paused_since = if_not_exists(paused_since, :now), probe_at = :probe, code = :code, "
                f"message = :message, expires_at = :end{', tenant_id = :tenant' if tenant_id else ' REMOVE tenant_id'}"
            ),
            ExpressionAttributeValues={
                **values,
                ":now": {"N": str(now)},
                ":probe": {"N": str(probe_at)},
                ":code": {"S": error.code},
                ":message": {"S": error.message},
                ":end": {"N": str(now // 1000 + KEEP_SECONDS)},
            },
        )

    def take_probe(self, provider: str, pause: Pause, *, next_at: int) -> bool:
        """Whether the caller may make the one create call that is due; the next is due at `next_at`."""
        return self._change(
            provider,
            "SET probe_at = :next",
            "probe_at = :seen AND attribute_exists(paused_since)",
            {":next": next_at, ":seen": pause.probe_at},
        )

    def end(self, provider: str, *, now: int) -> None:
        """A create call succeeded: the pause is over. Nothing happens if the provider refused nothing lately."""
        self._change(
            provider, "SET succeeded_at = :now REMOVE paused_since, tenant_id", "attribute_exists(pk)", {":now": now}
        )

    def _change(self, provider: str, change: str, condition: str, values: dict[str, int]) -> bool:
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_key(provider),
                UpdateExpression=change,
                ConditionExpression=condition,
                ExpressionAttributeValues={name: {"N": str(value)} for name, value in values.items()},
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True


def _key(provider: str) -> dict[str, Any]:
    return {"pk": {"S": f"pause#{provider}"}}
