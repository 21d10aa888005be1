"""What the provider billed, and the prices learned from it, in the task table.

billed#<provider>#<model>#<yyyy-mm-dd>   bills: a map from `domain.price.combination` to a map from the cost, as decimal
                                         text, to the number of tasks
learned#<provider>#<model>               combinations: a map from `domain.price.combination` to {median, highest,
                                         tasks}, amounts as decimal text

Both are forgotten `domain.price_learning.DAYS` after their latest day.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from vidu_relay.domain.money import money_text
from vidu_relay.domain.price import LearnedPrice
from vidu_relay.domain.price_learning import DAYS, DayOfBills, ModelKey

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

__all__ = ["LearnedPrices"]

PAUSE_SECONDS = 0.05


class LearnedPrices:
    """Reads and writes what was billed, and writes prices. `adapters.price_book` reads them."""

    def __init__(self, client: DynamoDBClient, table_name: str, sleep: Callable[[float], None] = time.sleep) -> None:
        self._client = client
        self._table = table_name
        self._sleep = sleep

    def days(self, key: ModelKey, last: str) -> dict[str, DayOfBills]:
        """The bills of a model for the `DAYS` UTC days up to `last`, by day."""
        newest = date.fromisoformat(last)
        keys = [_day_key(key, str(newest - timedelta(number))) for number in range(DAYS)]
        found: dict[str, DayOfBills] = {}
        while keys:
            asked: Any = {self._table: {"Keys": keys}}
            reply: Any = self._client.batch_get_item(RequestItems=asked)
            for item in reply["Responses"].get(self._table, []):
                bills = {name: _costs(costs["M"]) for name, costs in item["bills"]["M"].items()}
                found[item["pk"]["S"].rpartition("#")[2]] = bills
            keys = reply["UnprocessedKeys"].get(self._table, {}).get("Keys", [])
            if keys:
                self._sleep(PAUSE_SECONDS)
        return found

    def write_day(self, key: ModelKey, day: str, bills: DayOfBills) -> None:
        """Replace the bills of a model and UTC day."""
        shown = {
            name: {"M": {money_text(cost): {"N": str(tasks)} for cost, tasks in costs.items()}}
            for name, costs in bills.items()
        }
        self._put({**_day_key(key, day), "bills": {"M": shown}}, day)

    def write_prices(self, key: ModelKey, last: str, prices: Mapping[str, LearnedPrice]) -> None:
        """Replace the prices of a model, as learned up to the UTC day `last`."""
        shown = {
            name: {
                "M": {
                    "median": {"S": money_text(price.median)},
                    "highest": {"S": money_text(price.highest)},
                    "tasks": {"N": str(price.tasks)},
                }
            }
            for name, price in prices.items()
        }
        self._put({"pk": {"S": f"learned#{key[0]}#{key[1]}"}, "combinations": {"M": shown}}, last)

    def _put(self, item: dict[str, Any], day: str) -> None:
        end = datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC) + timedelta(DAYS)
        self._client.put_item(TableName=self._table, Item={**item, "expires_at": {"N": str(int(end.timestamp()))}})


def _day_key(key: ModelKey, day: str) -> dict[str, Any]:
    return {"pk": {"S": f"billed#{key[0]}#{key[1]}#{day}"}}


def _costs(costs: Mapping[str, Any]) -> dict[Decimal, int]:
    return {Decimal(cost): int(tasks["N"]) for cost, tasks in costs.items()}
