"""What holds up create calls at a provider, in one item of the task table: the pause of one that refuses our account,
and the flag of its queue.

pause#<provider>    paused_since?, probe_at?, code, message: while create calls wait for the account
                    tenant_id?: only this tenant's create calls wait
                    succeeded_at?: when a create call last succeeded, noted while the item lives
                    expires_at: an hour after the last refusal, or after the flag was last raised
                    queued_at?: when the flag was last raised; while it is set, tasks wait in the queue
                    refused_at?: the last 429; hold_until?: nothing is let go on before
                    held?, held_tenants?: the operator lets nothing go on, or nothing of these tenants
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
NO_REFUSAL = "none"
"""The code in an item that only the queue needs: version 1.0.0 reads a code in each."""

MOMENTS = ("paused_since", "probe_at", "succeeded_at", "queued_at", "refused_at", "hold_until")


@dataclass(frozen=True, slots=True)
class Pause:
    """What is known of a provider's refusals and of its queue. Moments in milliseconds since the epoch.

    `paused_since` is None once a create call succeeded again. While it is set, one create call may be made at
    `probe_at`. `tenant_id` is set while only this tenant's create calls were refused: no other tenant waits.
    """

    paused_since: int | None
    probe_at: int
    succeeded_at: int | None
    error: TaskError
    tenant_id: str | None = None
    queued_at: int | None = None
    refused_at: int | None = None
    hold_until: int = 0
    held: bool = False
    held_tenants: frozenset[str] = frozenset()

    @property
    def refused(self) -> bool:
        """Whether the provider refused our account lately: other items only hold the queue's flag."""
        return self.error.code != NO_REFUSAL

    def queues(self, tenant_id: str) -> bool:
        """Whether new tasks of this tenant wait in the queue."""
        return self.queued_at is not None or self.held or tenant_id in self.held_tenants

    def holds_up(self, tenant_id: str) -> bool:
        """Whether create calls of this tenant wait, but for the probe."""
        return self.paused_since is not None and self.tenant_id in (None, tenant_id)


class ProviderPauses:
    """Reads and conditional writes of the pauses."""

    def __init__(self, client: DynamoDBClient, table_name: str) -> None:
        self._client = client
        self._table = table_name

    def find(self, provider: str) -> Pause | None:
        """What holds up create calls at a provider (consistent read); None if nothing has lately."""
        item: Any = self._client.get_item(TableName=self._table, Key=_key(provider), ConsistentRead=True).get("Item")
        if item is None:
            return None
        moments = {name: int(item[name]["N"]) for name in MOMENTS if name in item}
        pause = Pause(
            paused_since=moments.get("paused_since"),
            probe_at=moments["probe_at"],
            succeeded_at=moments.get("succeeded_at"),
            error=TaskError(item["code"]["S"], item["message"]["S"]),
            tenant_id=item["tenant_id"]["S"] if "tenant_id" in item else None,
            queued_at=moments.get("queued_at"),
            refused_at=moments.get("refused_at"),
            hold_until=moments.get("hold_until", 0),
            held="held" in item,
            held_tenants=frozenset(item.get("held_tenants", {}).get("SS", ())),
        )
        return pause if pause.refused or pause.queued_at or pause.held or pause.held_tenants else None

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

    def raise_flag(self, provider: str, *, now: int, hold_until: int | None = None) -> None:
        """Tasks wait in the queue from now on. After a 429, none is let go on before `hold_until`."""
        values = {"queued_at": now}
        if hold_until is not None:
            values |= {"hold_until": hold_until, "refused_at": now}
        self._hold(provider, now, "".join(f", {name} = :{name}" for name in values), values)

    def lower_flag(self, provider: str, pause: Pause) -> None:
        """Nothing waits, and slots are free; nothing happens if the flag was raised since `pause` was read."""
        if pause.queued_at is not None:
            change = "REMOVE queued_at, hold_until"
            self._change(provider, change, "queued_at = :seen", {":seen": pause.queued_at})

    def hold(self, provider: str, tenant_id: str | None, *, now: int) -> None:
        """Let nothing of the provider's queue go on, or nothing of one tenant."""
        if tenant_id is None:
            self._hold(provider, now, ", held = :queued_at", {"queued_at": now})
        else:
            self._hold(provider, now, " ADD held_tenants :tenants", {}, {":tenants": {"SS": [tenant_id]}})

    def release(self, provider: str, tenant_id: str | None, *, now: int) -> None:
        """End what `hold` began. The queue's flag stays up until the sweep has found the queue empty."""
        if tenant_id is None:
            self._hold(provider, now, ", queued_at = :queued_at REMOVE held", {"queued_at": now})
        else:
            change, values = ", queued_at = :queued_at DELETE held_tenants :tenants", {":tenants": {"SS": [tenant_id]}}
            self._hold(provider, now, change, {"queued_at": now}, values)

    def keep(self, provider: str, *, now: int) -> None:
        """Keep what the operator holds up from its expiry, for another hour."""
        self._hold(provider, now, "", {})

    def _hold(
        self, provider: str, now: int, change: str, values: dict[str, int], more: dict[str, Any] | None = None
    ) -> None:
        """Change an item of which the queue has need: it is made if need be, and lives on."""
        numbers = {**values, "zero": 0, "end": now // 1000 + KEEP_SECONDS}
        self._client.update_item(
            TableName=self._table,
            Key=_key(provider),
            UpdateExpression=(
                "SET probe_at = if_not_exists(probe_at, :zero), code = if_not_exists(code, :none), "
                f"message = if_not_exists(message, :none), expires_at = :end{change}"
            ),
            ExpressionAttributeValues={
                ":none": {"S": NO_REFUSAL},
                **{f":{name}": {"N": str(value)} for name, value in numbers.items()},
                **(more or {}),
            },
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
