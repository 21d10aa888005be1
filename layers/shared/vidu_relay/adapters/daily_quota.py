"""How many tasks a tenant may still submit today: one counter item a tenant and UTC day in the task table.

A place is taken before the task is recorded and given back if the record turns out to be there already. Taking is one
conditional write, so parallel submits cannot pass the cap; a crash or an error in between leaves one place unused until
midnight.
(One transaction with the record would cost twice the write units and fail under parallel submits, which all write this
one item.)
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from vidu_relay.domain.errors import DailyCapReachedError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["DailyQuota"]

DAY_MS = 86_400_000
KEEP_DAYS = 3


class DailyQuota:
    """The counters of accepted tasks."""

    def __init__(
        self, client: DynamoDBClient, table_name: str, mark: Callable[[], str] = lambda: secrets.token_urlsafe(6)
    ) -> None:
        self._client = client
        self._table = table_name
        self._mark = mark

    def take(self, tenant_id: str, cap: int, now: int) -> None:
        """Take one of the tenant's `cap` places of the UTC day that `now` (ms) is in.

        Raises `DailyCapReachedError` if none is left.
        """
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_key(tenant_id, now),
                UpdateExpression="SET expires_at = if_not_exists(expires_at, :end) ADD accepted :one",
                ConditionExpression=":cap > :none AND (attribute_not_exists(accepted) OR accepted < :cap)",
                ExpressionAttributeValues={
                    ":one": {"N": "1"},
                    ":none": {"N": "0"},
                    ":cap": {"N": str(cap)},
                    ":end": {"N": str((now // DAY_MS + KEEP_DAYS) * DAY_MS // 1000)},
                },
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            raise DailyCapReachedError(cap, retry_after_seconds=(DAY_MS - now % DAY_MS) // 1000 + 1) from error

    def give_back(self, tenant_id: str, now: int) -> None:
        """Give back the place taken at `now`: what was submitted is a task that was there before.

        Each return is marked, so that the SDK's repetition of one whose reply was lost gives back nothing more.
        """
        try:
            self._client.update_item(
                TableName=self._table,
                Key=_key(tenant_id, now),
                UpdateExpression="SET returned = :mark ADD accepted :minus",
                ConditionExpression="accepted > :none AND (attribute_not_exists(returned) OR returned <> :mark)",
                ExpressionAttributeValues={
                    ":minus": {"N": "-1"},
                    ":none": {"N": "0"},
                    ":mark": {"S": self._mark()},
                },
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise


def _key(tenant_id: str, now: int) -> dict[str, Any]:
    return {"pk": {"S": f"cap#{tenant_id}#{time.strftime('%Y-%m-%d', time.gmtime(now / 1000))}"}}
