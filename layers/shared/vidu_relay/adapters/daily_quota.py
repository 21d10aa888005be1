"""What a tenant may still ask for and spend today: one item of counters a tenant and UTC day in the table.

cap#<tenant>#<yyyy-mm-dd>   accepted: tasks; uploads: forms; committed: US dollars, reserved or billed, of the day's
                            tasks; taken_<0 to 47>: what was reserved in each half hour; closed?: the day is over;
                            verified?: the latest half hour whose reservations were compared with its tasks
hour#<tenant>#<yyyy-mm-ddThh>   a counter of each thing that is bounded by the hour

A slot and the task's price are taken before the task is recorded and returned if the record exists already. Taking is
one conditional write, so parallel submits pass neither cap nor budget. A crash or an error in between leaves a slot
unused until midnight, and a reservation until the half hour's reservations are compared with its tasks. Other things
are counted apart, and none is given back. (One transaction with the record would cost twice the write units and fail
under parallel submits, which all write this one item.)
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from vidu_relay.domain.budget import NO_BUDGET, Budget
from vidu_relay.domain.limit_errors import (
    BudgetReachedError,
    DailyCapReachedError,
    DailyUploadsReachedError,
    HourlyLimitReachedError,
)
from vidu_relay.domain.money import NO_MONEY, money_text
from vidu_relay.domain.utc_day import (
    DAY_MS,
    bucket_of,
    earlier_days,
    next_day,
    seconds_left_of_day,
    seconds_left_of_month,
)

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["DailyQuota", "quota_key"]

HOUR_MS = 3_600_000
DAY, HOUR = ("cap#", "%Y-%m-%d"), ("hour#", "%Y-%m-%dT%H")
"""Prefix of an item of counters, and how its key names the period."""
KEEP_DAYS = 40
"""Longer than a month: the budget of a month is compared with the sum of its days."""
EARLIER_SECONDS = 60.0
"""How long the sum of a month's earlier days is kept. They change where a bill differs from its reservation."""
TRIES = 8
OLD: Any = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
PAUSE_SECONDS = 0.05
"""At most, before a write is tried again that met a transaction."""

UPLOADS_PER_TASK = 10
"""Upload forms a day, times the daily cap: a task has 7 images at most, and some uploads are repeated."""


class DailyQuota:
    """The counters of tasks, money and uploads. `once` is a client that sends each call a single time."""

    def __init__(
        self,
        client: DynamoDBClient,
        table_name: str,
        *,
        once: DynamoDBClient,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._table = table_name
        self._once = once
        self._sleep = sleep
        self._monotonic = monotonic
        self._earlier: dict[tuple[str, int], tuple[float, Decimal]] = {}

    def take(
        self,
        tenant_id: str,
        cap: int,
        now: int,
        *,
        price: Decimal = NO_MONEY,
        budget: Budget = NO_BUDGET,
    ) -> int:
        """Take one of the tenant's `cap` slots of the UTC day that `now` (ms) is in, and reserve `price` of its budget.

        The moment that counts as the task's: `now`, or the next midnight where the day was closed meanwhile. Raises
        `DailyCapReachedError` or `BudgetReachedError` if nothing is left: then nothing was taken.
        """
        bound, period = self._bound(tenant_id, now, budget)
        found = self._update(
            self._client,
            quota_key(tenant_id, now),
            **_taking(cap, bound, now, tasks=1, price=price, bucket=f", taken_{bucket_of(now)} :price"),
        )
        if found is None:
            return now
        if "closed" in found:
            return self.take(tenant_id, cap, next_day(now), price=price, budget=budget)
        raise _refusal(found, cap, (period, bound or NO_MONEY), budget, now, tasks=1, price=price)

    def take_batch(
        self,
        put: Callable[[int], Mapping[str, Any]],
        tenant_id: str,
        cap: int,
        now: int,
        *,
        tasks: int,
        price: Decimal,
        budget: Budget,
    ) -> Mapping[str, Any] | None:
        """Take slots for a batch's tasks and reserve their price together, in one transaction with the batch's record.

        `put` gives the write of a record with this moment, under a condition. None, or the item that did not meet that
        condition. Raises as `take` does, with all or nothing taken. No half hour counts the reservation: the record
        accounts for it.
        """
        bound, period = self._bound(tenant_id, now, budget)
        taking = _taking(cap, bound, now, tasks=tasks, price=price)
        record, counters = self._transact(put(now), quota_key(tenant_id, now), taking)
        if record is not None or counters is None:
            return record
        if "closed" in counters:
            following = next_day(now)
            return self.take_batch(put, tenant_id, cap, following, tasks=tasks, price=price, budget=budget)
        raise _refusal(counters, cap, (period, bound or NO_MONEY), budget, now, tasks=tasks, price=price)

    def settle_batch(
        self, put: Mapping[str, Any], tenant_id: str, now: int, *, tasks: int, price: Decimal
    ) -> Mapping[str, Any] | None:
        """Return slots and money that a batch took at `now` and does not need, in one transaction with its record.

        Less than nothing takes more. None, or the item that did not meet the condition of `put`: then nothing changed.
        """
        returning = {
            "UpdateExpression": f"SET {_EXPIRES} ADD accepted :tasks, committed :price",
            "ExpressionAttributeValues": {
                ":tasks": {"N": str(-tasks)},
                ":price": {"N": money_text(-price)},
                ":end": _end(now),
            },
        }
        return self._transact(put, quota_key(tenant_id, now), returning)[0]

    def take_upload(self, tenant_id: str, cap: int, now: int) -> None:
        """Take one of the day's uploads: `UPLOADS_PER_TASK` for each task of the tenant's daily `cap`.

        Raises `DailyUploadsReachedError` if none is left.
        """
        most = cap * UPLOADS_PER_TASK
        if self._count("uploads", quota_key(tenant_id, now), most, now) is not None:
            raise DailyUploadsReachedError(most, seconds_left_of_day(now))

    def take_hourly(self, what: str, tenant_id: str, most: int, now: int) -> None:
        """Take one of the tenant's `most` in the UTC hour that `now` is in; `what` names them and their counter.

        Raises `HourlyLimitReachedError` if none is left.
        """
        if self._count(what, quota_key(tenant_id, now, HOUR), most, now) is not None:
            raise HourlyLimitReachedError(what, most, (HOUR_MS - now % HOUR_MS) // 1000 + 1)

    def read(self, tenant_id: str, now: int) -> tuple[int, Decimal, Decimal]:
        """Of the UTC day that `now` (ms) is in: its tasks, what they have come to, and what the month has come to."""
        reply = self._client.get_item(TableName=self._table, Key=quota_key(tenant_id, now))
        found = reply.get("Item", {})
        today = Decimal(found.get("committed", {}).get("N", "0"))
        return int(found.get("accepted", {}).get("N", "0")), today, today + self._sum(tenant_id, earlier_days(now))

    def give_back(self, tenant_id: str, now: int, price: Decimal = NO_MONEY) -> None:
        """Return the slot and the price taken at `now`: the task existed already.

        Sent once: repeated after a lost reply, it could lower the counters twice and let a task past the cap. If the
        call itself is lost, one slot stays taken until midnight, and the price until the half hour is compared. After
        that nothing is returned: the comparison has done it.
        """
        self._update(
            self._once,
            quota_key(tenant_id, now),
            UpdateExpression=f"ADD accepted :minus, committed :back, taken_{bucket_of(now)} :back",
            ConditionExpression="accepted > :none AND (attribute_not_exists(verified) OR verified < :bucket)",
            ExpressionAttributeValues={
                ":minus": {"N": "-1"},
                ":back": {"N": money_text(-price)},
                ":none": {"N": "0"},
                ":bucket": {"N": str(bucket_of(now))},
            },
        )

    def _count(self, counter: str, key: dict[str, Any], most: int, now: int) -> dict[str, Any] | None:
        """Raise a counter that may have `most`: None, or the item of a counter that has them."""
        return self._update(
            self._client,
            key,
            UpdateExpression=f"SET {_EXPIRES} ADD #counter :one",
            ConditionExpression=":most > :none AND (attribute_not_exists(#counter) OR #counter < :most)",
            ExpressionAttributeNames={"#counter": counter},
            ExpressionAttributeValues={
                ":one": {"N": "1"},
                ":none": {"N": "0"},
                ":most": {"N": str(most)},
                ":end": _end(now),
            },
        )

    def _transact(
        self, put: Mapping[str, Any], key: dict[str, Any], change: Mapping[str, Any]
    ) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
        """Put a record and change an item of counters, or nothing: of both the item that did not meet its condition."""
        update = {"TableName": self._table, "Key": key, **change, **OLD}
        writes: list[Any] = [{"Put": {**put, **OLD}}, {"Update": update}]
        error = self._write(lambda: self._client.transact_write_items(TransactItems=writes))
        reasons: list[Any] = list(error.response["CancellationReasons"]) if error else [{}, {}]
        record, counters = (
            reason.get("Item", {}) if reason.get("Code") == "ConditionalCheckFailed" else None for reason in reasons
        )
        return record, counters

    def _bound(self, tenant_id: str, now: int, budget: Budget) -> tuple[Decimal | None, str]:
        """What the day's tasks may cost together, and whether the day's or the month's budget says so."""
        if budget.monthly is None:
            return budget.daily, "day"
        left = budget.monthly - self._spent_before(tenant_id, now)
        return (budget.daily, "day") if budget.daily is not None and budget.daily <= left else (left, "month")

    def _spent_before(self, tenant_id: str, now: int) -> Decimal:
        """What the month's earlier days have come to (consistent), at most a minute old."""
        today = now // DAY_MS
        read_at, spent = self._earlier.get((tenant_id, today), (None, NO_MONEY))
        if read_at is not None and self._monotonic() - read_at < EARLIER_SECONDS:
            return spent
        earlier = earlier_days(now)
        if earlier:
            self._close(tenant_id, earlier[-1])
        read_at, spent = self._monotonic(), self._sum(tenant_id, earlier)
        self._earlier = {key: value for key, value in self._earlier.items() if key[1] == today}
        self._earlier[tenant_id, today] = read_at, spent
        return spent

    def _close(self, tenant_id: str, day: int) -> None:
        """Let no task count for a day any more: one that is about to counts for the next."""
        self._update(
            self._client,
            quota_key(tenant_id, day),
            UpdateExpression=f"SET closed = :yes, {_EXPIRES}",
            ConditionExpression=_OPEN,
            ExpressionAttributeValues={":yes": {"BOOL": True}, ":end": _end(day)},
        )

    def _sum(self, tenant_id: str, days: list[int]) -> Decimal:
        keys, total = [quota_key(tenant_id, day) for day in days], NO_MONEY
        while keys:
            asked: Any = {self._table: {"Keys": keys, "ConsistentRead": True, "ProjectionExpression": "committed"}}
            reply = self._client.batch_get_item(RequestItems=asked)
            for item in reply["Responses"].get(self._table, []):
                total += Decimal(item.get("committed", {}).get("N", "0"))
            left: Any = reply["UnprocessedKeys"]
            keys = left[self._table]["Keys"] if self._table in left else []
            if keys:
                self._sleep(PAUSE_SECONDS)
        return total

    def _update(self, client: DynamoDBClient, key: dict[str, Any], **arguments: Any) -> dict[str, Any] | None:
        """Change an item of counters: None, or the item that did not meet the condition."""
        call: dict[str, Any] = {"TableName": self._table, "Key": key, **arguments, **OLD}
        error = self._write(lambda: client.update_item(**call))
        current: dict[str, Any] | None = dict[str, Any](error.response).get("Item", {}) if error else None
        return current

    def _write(self, write: Callable[[], object]) -> ClientError | None:
        """Write, again where it meets a transaction: a bill is booked on the day's item. The error of a condition."""
        for attempt in range(1, TRIES + 1):
            try:
                write()
            except ClientError as error:
                reasons: list[Any] = list(error.response.get("CancellationReasons", []))
                codes = {error.response["Error"]["Code"], *(reason.get("Code") for reason in reasons)}
                if codes & {"ConditionalCheckFailedException", "ConditionalCheckFailed"}:
                    return error
                if not codes & {"TransactionConflictException", "TransactionConflict"} or attempt == TRIES:
                    raise
                self._sleep(random.uniform(0, PAUSE_SECONDS))  # noqa: S311 - not a secret
            else:
                return None
        raise AssertionError("unreachable")


_OPEN = "attribute_not_exists(closed)"
_EXPIRES = "expires_at = if_not_exists(expires_at, :end)"


def _taking(
    cap: int, bound: Decimal | None, now: int, *, tasks: int, price: Decimal, bucket: str = ""
) -> dict[str, Any]:
    """The update that takes slots and money if they are left; `bound` is what the day's tasks may cost together."""
    values = {":left": str(cap - tasks), ":none": "0", ":tasks": str(tasks), ":price": money_text(price)}
    condition = f":left >= :none AND (attribute_not_exists(accepted) OR accepted <= :left) AND {_OPEN}"
    if bound is not None:
        values[":room"] = money_text(bound - price)
        condition += " AND :room >= :none AND (attribute_not_exists(committed) OR committed <= :room)"
    return {
        "UpdateExpression": f"SET {_EXPIRES} ADD accepted :tasks, committed :price{bucket}",
        "ConditionExpression": condition,
        "ExpressionAttributeValues": {**{name: {"N": value} for name, value in values.items()}, ":end": _end(now)},
    }


def _refusal(
    found: Mapping[str, Any],
    cap: int,
    bound: tuple[str, Decimal],
    budget: Budget,
    now: int,
    *,
    tasks: int,
    price: Decimal,
) -> DailyCapReachedError | BudgetReachedError:
    """Why these counters let no more through; `bound` is what the day's tasks may cost, and by which budget."""
    left = max(0, cap - int(found.get("accepted", {}).get("N", "0")))
    if left < tasks:
        return DailyCapReachedError(cap, seconds_left_of_day(now), tasks=tasks, left=left)
    period, most = bound
    whole = budget.daily if period == "day" else budget.monthly
    free = max(NO_MONEY, most - Decimal(found.get("committed", {}).get("N", "0")))
    seconds = seconds_left_of_day(now) if period == "day" else seconds_left_of_month(now)
    amounts = [money_text(amount) for amount in (whole or NO_MONEY, free, price)]
    return BudgetReachedError(period, amounts[0], amounts[1], amounts[2], seconds, tasks=tasks)


def _end(now: int) -> dict[str, str]:
    return {"N": str((now // DAY_MS + KEEP_DAYS) * DAY_MS // 1000)}


def quota_key(tenant_id: str, now: int, period: tuple[str, str] = DAY) -> dict[str, Any]:
    """The key of a tenant's counters of the UTC day, or hour, that a moment (ms) is in."""
    prefix, form = period
    return {"pk": {"S": f"{prefix}{tenant_id}#{time.strftime(form, time.gmtime(now / 1000))}"}}
