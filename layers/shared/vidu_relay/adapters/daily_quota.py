"""How many tasks and uploads a tenant may still ask for today: one item of counters a tenant and UTC day in the table,
and one an hour for what is bounded by the hour.

A slot is taken before the task is recorded and returned if the record exists already. Taking is one
conditional write, so parallel submits cannot pass the cap; a crash or an error in between leaves one slot unused until
midnight. Other things are counted apart, and none is given back.
(One transaction with the record would cost twice the write units and fail under parallel submits, which all write this
one item.)
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from vidu_relay.domain.errors import DailyCapReachedError, DailyUploadsReachedError, HourlyLimitReachedError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["DailyQuota"]

DAY_MS, HOUR_MS = 86_400_000, 3_600_000
KEEP_DAYS = 3
DAY, HOUR = ("cap#", "%Y-%m-%d"), ("hour#", "%Y-%m-%dT%H")
"""Prefix of the item of counters, and how its key names the period."""

UPLOADS_PER_TASK = 10
"""Upload forms a day, times the daily cap: a task has 7 images at most, and some uploads are repeated."""


class DailyQuota:
    """The counters of accepted tasks and of uploads. `once` is a client that sends each call a single time."""

    def __init__(self, client: DynamoDBClient, table_name: str, *, once: DynamoDBClient) -> None:
        self._client = client
        self._table = table_name
        self._once = once

    def take(self, tenant_id: str, cap: int, now: int) -> None:
        """Take one of the tenant's `cap` slots of the UTC day that `now` (ms) is in.

        Raises `DailyCapReachedError` if none is left.
        """
        if not self._take("accepted", tenant_id, cap, now):
            raise DailyCapReachedError(cap, _seconds_left(now))

    def take_upload(self, tenant_id: str, cap: int, now: int) -> None:
        """Take one of the day's uploads: `UPLOADS_PER_TASK` for each task of the tenant's daily `cap`.

        Raises `DailyUploadsReachedError` if none is left.
        """
        if not self._take("uploads", tenant_id, cap * UPLOADS_PER_TASK, now):
            raise DailyUploadsReachedError(cap * UPLOADS_PER_TASK, _seconds_left(now))

    def take_hourly(self, what: str, tenant_id: str, most: int, now: int) -> None:
        """Take one of the tenant's `most` in the UTC hour that `now` is in; `what` names them and their counter.

        Raises `HourlyLimitReachedError` if none is left.
        """
        if not self._take(what, tenant_id, most, now, HOUR):
            raise HourlyLimitReachedError(what, most, (HOUR_MS - now % HOUR_MS) // 1000 + 1)

    def give_back(self, tenant_id: str, now: int) -> None:
        """Return the slot taken at `now`: the task existed already.

        Sent once: repeated after a lost reply, it could lower the counter twice and let a task past the cap. If the
        call itself is lost, one slot stays taken until midnight.
        """
        self._update(
            self._once,
            _key(tenant_id, now),
            UpdateExpression="ADD accepted :minus",
            ConditionExpression="accepted > :none",
            ExpressionAttributeValues={":minus": {"N": "-1"}, ":none": {"N": "0"}},
        )

    def _take(self, counter: str, tenant_id: str, most: int, now: int, period: tuple[str, str] = DAY) -> bool:
        return self._update(
            self._client,
            _key(tenant_id, now, period),
            UpdateExpression="SET expires_at = if_not_exists(expires_at, :end) ADD #counter :one",
            ConditionExpression=":most > :none AND (attribute_not_exists(#counter) OR #counter < :most)",
            ExpressionAttributeNames={"#counter": counter},
            ExpressionAttributeValues={
                ":one": {"N": "1"},
                ":none": {"N": "0"},
                ":most": {"N": str(most)},
                ":end": {"N": str((now // DAY_MS + KEEP_DAYS) * DAY_MS // 1000)},
            },
        )

    def _update(self, client: DynamoDBClient, key: dict[str, Any], **arguments: Any) -> bool:
        """Whether the item of counters met the condition, and was changed."""
        try:
            client.update_item(TableName=self._table, Key=key, **arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
        return True


def _seconds_left(now: int) -> int:
    """Until the next UTC day has begun."""
    return (DAY_MS - now % DAY_MS) // 1000 + 1


def _key(tenant_id: str, now: int, period: tuple[str, str] = DAY) -> dict[str, Any]:
    prefix, form = period
    return {"pk": {"S": f"{prefix}{tenant_id}#{time.strftime(form, time.gmtime(now / 1000))}"}}
