"""How many tasks and uploads a tenant may still ask for today: one item of counters a tenant and UTC day in the table.

A place is taken before the task is recorded and given back if the record turns out to be there already. Taking is one
conditional write, so parallel submits cannot pass the cap; a crash or an error in between leaves one place unused until
midnight. Uploads are counted apart, and none is given back.
(One transaction with the record would cost twice the write units and fail under parallel submits, which all write this
one item.)
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from vidu_relay.domain.errors import DailyCapReachedError, DailyUploadsReachedError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["DailyQuota"]

DAY_MS = 86_400_000
KEEP_DAYS = 3

UPLOADS_PER_TASK = 10
"""Upload forms a day, times the daily cap: a task has 7 images at most, and some uploads are repeated."""

MAX_RETURNS = 64
"""Places that a tenant gets back in a day. Their marks keep the item below the kilobyte that one write unit takes."""


class DailyQuota:
    """The counters of accepted tasks and of uploads. `mark` gives the random mark of a return."""

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
        if not self._take("accepted", tenant_id, cap, now):
            raise DailyCapReachedError(cap, _seconds_left(now))

    def take_upload(self, tenant_id: str, cap: int, now: int) -> None:
        """Take one of the day's uploads: `UPLOADS_PER_TASK` for each task of the tenant's daily `cap`.

        Raises `DailyUploadsReachedError` if none is left.
        """
        if not self._take("uploads", tenant_id, cap * UPLOADS_PER_TASK, now):
            raise DailyUploadsReachedError(cap * UPLOADS_PER_TASK, _seconds_left(now))

    def give_back(self, tenant_id: str, now: int) -> None:
        """Give back the place taken at `now`: what was submitted is a task that was there before.

        The item keeps the mark of each return of the day, so that the SDK's repetition of one whose reply was lost
        gives back nothing more, whatever was returned in between. After `MAX_RETURNS` of them places stay taken.
        """
        mark = self._mark()
        self._update(
            tenant_id,
            now,
            UpdateExpression="ADD accepted :minus, return_marks :marks",
            ConditionExpression="accepted > :none AND (attribute_not_exists(return_marks) OR "
            "(NOT contains(return_marks, :mark) AND size(return_marks) < :most))",
            ExpressionAttributeValues={
                ":minus": {"N": "-1"},
                ":none": {"N": "0"},
                ":mark": {"S": mark},
                ":marks": {"SS": [mark]},
                ":most": {"N": str(MAX_RETURNS)},
            },
        )

    def _take(self, counter: str, tenant_id: str, most: int, now: int) -> bool:
        return self._update(
            tenant_id,
            now,
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

    def _update(self, tenant_id: str, now: int, **arguments: Any) -> bool:
        """Whether the day's item met the condition, and was changed."""
        try:
            self._client.update_item(TableName=self._table, Key=_key(tenant_id, now), **arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            return False
        return True


def _seconds_left(now: int) -> int:
    """Until the next UTC day has begun."""
    return (DAY_MS - now % DAY_MS) // 1000 + 1


def _key(tenant_id: str, now: int) -> dict[str, Any]:
    return {"pk": {"S": f"cap#{tenant_id}#{time.strftime('%Y-%m-%d', time.gmtime(now / 1000))}"}}
