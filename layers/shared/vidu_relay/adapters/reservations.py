"""The half hours of a day's counters (`adapters.daily_quota`), compared with tasks and corrected.

`verified` rises with each half hour that was compared: nothing is given back for it after that, and a second
comparison of it changes nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from vidu_relay.adapters.daily_quota import quota_key
from vidu_relay.domain.money import money_text
from vidu_relay.domain.utc_day import BUCKET_MS

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["DayOfReservations", "Reservations"]

BATCH_GET_LIMIT = 100
PAUSE_SECONDS = 0.05
TRIES = 8


@dataclass(frozen=True, slots=True)
class DayOfReservations:
    """What a tenant's requests have reserved on a UTC day that begins at `day` (ms).

    `taken` is in US dollars, by half hour (0 to 47); `verified` the latest half hour that was compared, -1 for none.
    """

    tenant_id: str
    day: int
    taken: Mapping[int, Decimal]
    verified: int

    def ended(self, before: int) -> list[int]:
        """The half hours with reservations that are not compared yet and had ended at `before` (ms), oldest first."""
        return [n for n in sorted(self.taken) if n > self.verified and self.day + (n + 1) * BUCKET_MS <= before]


class Reservations:
    """Reads and corrects the counters of days."""

    def __init__(self, client: DynamoDBClient, table_name: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._table = table_name
        self._sleep = sleep

    def read(self, tenant_ids: Sequence[str], day: int) -> list[DayOfReservations]:
        """The counters of tenants for the UTC day that `day` (ms) begins (consistent); without those that have none."""
        keys: list[Any] = [quota_key(tenant_id, day) for tenant_id in tenant_ids]
        found: list[DayOfReservations] = []
        while keys:
            asked: Any = {self._table: {"Keys": keys[:BATCH_GET_LIMIT], "ConsistentRead": True}}
            keys = keys[BATCH_GET_LIMIT:]
            reply: Any = self._client.batch_get_item(RequestItems=asked)
            found += [_day(item, day) for item in reply["Responses"].get(self._table, [])]
            if self._table in reply["UnprocessedKeys"]:
                keys += reply["UnprocessedKeys"][self._table]["Keys"]
                self._sleep(PAUSE_SECONDS)
        return found

    def correct(self, day: DayOfReservations, bucket: int, reserved: Decimal) -> bool:
        """Let a half hour count `reserved`, what its tasks have reserved; False if its counters have moved since `day`.

        One conditional write, so it is done once, however often it is sent.
        """
        taken = day.taken[bucket]
        call: dict[str, Any] = {
            "TableName": self._table,
            "Key": quota_key(day.tenant_id, day.day),
            "UpdateExpression": f"SET taken_{bucket} = :reserved, verified = :bucket ADD committed :difference",
            "ConditionExpression": (
                f"taken_{bucket} = :taken AND (attribute_not_exists(verified) OR verified < :bucket)"
            ),
            "ExpressionAttributeValues": {
                ":reserved": {"N": money_text(reserved)},
                ":taken": {"N": money_text(taken)},
                ":difference": {"N": money_text(reserved - taken)},
                ":bucket": {"N": str(bucket)},
            },
        }
        for attempt in range(1, TRIES + 1):
            try:
                self._client.update_item(**call)
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == "ConditionalCheckFailedException":
                    return False
                # a bill is being booked on this item
                if code != "TransactionConflictException" or attempt == TRIES:
                    raise
                self._sleep(PAUSE_SECONDS * attempt)
            else:
                return True
        raise AssertionError("unreachable")


def _day(item: Mapping[str, Any], day: int) -> DayOfReservations:
    prefix = "taken_"
    return DayOfReservations(
        tenant_id=item["pk"]["S"].split("#")[1],
        day=day,
        taken={int(n.removeprefix(prefix)): Decimal(item[n]["N"]) for n in item if n.startswith(prefix)},
        verified=int(item.get("verified", {}).get("N", "-1")),
    )
