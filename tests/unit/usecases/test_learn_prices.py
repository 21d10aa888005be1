"""Prices are what the provider billed for the same parameters within 30 days: the median is shown, the highest kept."""

from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.unit.account import mock_aws, new_account
from tests.unit.builders import NOW, new_task
from vidu_relay.adapters.learned_prices import LearnedPrices
from vidu_relay.domain.billing import BillingState
from vidu_relay.domain.ledger import LedgerRow, ledger_row
from vidu_relay.domain.price import LearnedPrice
from vidu_relay.domain.price_learning import MAX_COMBINATIONS, MAX_COSTS, Bills, learned_prices
from vidu_relay.usecases.learn_prices import learn_prices

DAY_MS = 86_400_000
TODAY = "2027-01-15"
MODEL = "viduq2_pro_fast_reference2video"


def row(cost: str | None, *, days: int = 0, **changes: Any) -> LedgerRow:
    made = ledger_row(new_task(created_at=NOW - days * DAY_MS), NOW)
    bill: dict[str, Any] = {
        "model": MODEL,
        "parameters": {"duration": 5},
        "status": "completed",
        "state": BillingState.SETTLED,
        "cost": None if cost is None else Decimal(cost),
    }
    return replace(made, **{**bill, **changes})


def bills_of(*rows: LedgerRow) -> Bills:
    bills = Bills()
    for each in rows:
        bills.add(each)
    return bills


def priced(median: str, highest: str, tasks: int) -> LearnedPrice:
    return LearnedPrice(Decimal(median), Decimal(highest), tasks)


def by_duration(bills: Bills) -> dict[str, LearnedPrice]:
    """The learned prices, named by what tells the combinations of these tests apart."""
    days = [day for found in bills.by_model().values() for day in found.values()]
    return {name.split("duration=")[1].split("|")[0]: price for name, price in learned_prices(days).items()}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], {}),
        ([row("0.2")], {"5": priced("0.2", "0.2", 1)}),
        ([row("0.1"), row("0.3"), row("0.2")], {"5": priced("0.2", "0.3", 3)}),
        ([row("0.1"), row("0.3")], {"5": priced("0.3", "0.3", 2)}),
        ([row("0.1"), row("0.1", days=1), row("0.9", days=1)], {"5": priced("0.1", "0.9", 3)}),
        (
            [row("0.2"), row("0.4", parameters={"duration": 8})],
            {"5": priced("0.2", "0.2", 1), "8": priced("0.4", "0.4", 1)},
        ),
        ([row(None), row("0"), row("0.5", status="failed"), row("0.5", model="unknown")], {}),
    ],
)
def test_price_of_a_combination_is_what_its_videos_cost(
    rows: list[LedgerRow], expected: dict[str, LearnedPrice]
) -> None:
    assert by_duration(bills_of(*rows)) == expected


def test_many_amounts_are_kept_by_few_that_err_upwards() -> None:
    bills = bills_of(*(row(f"{number}") for number in range(1, 1001)))
    ((day,),) = (found.values() for found in bills.by_model().values())
    (costs,) = day.values()
    assert (len(costs), sum(costs.values()), max(costs)) == (MAX_COSTS, 1000, Decimal(1000))
    price = by_duration(bills)["5"]
    assert Decimal(501) <= price.median <= Decimal(551)


def test_combinations_with_most_tasks_are_kept() -> None:
    names = {f"{number:04}": Counter({Decimal(1): 1 + (number == 1234)}) for number in range(1235)}
    kept = learned_prices([names])
    assert (len(kept), "1234" in kept, "0000" in kept, "1233" in kept) == (MAX_COMBINATIONS, True, True, False)


def test_prices_of_thirty_days_are_written_for_the_reader_and_older_bills_forgotten() -> None:
    with mock_aws():
        account = new_account()
        table = account.clients["dynamodb"]
        book = LearnedPrices(table, account.table)

        def learn(*rows: LedgerRow, today: str = TODAY, up: bool = False) -> int:
            return learn_prices(bills_of(*rows), book, today=today, time_is_up=lambda: up)

        assert learn(row("0.2"), row("0.2", days=1)) == 1
        assert learn(row("0.2"), row("0.2", days=1)) == 0
        assert learn(row("9"), up=True) == 0
        assert learn(row("0.2"), row("0.3")) == 1, "a day is replaced, not added to"
        item = table.get_item(TableName=account.table, Key={"pk": {"S": f"learned#gateway#{MODEL}"}})["Item"]
        (found,) = item["combinations"]["M"].values()
        assert found == {"M": {"median": {"S": "0.2"}, "highest": {"S": "0.3"}, "tasks": {"N": "3"}}}
        assert int(item["expires_at"]["N"]) == 1_802_563_200, "thirty days after the UTC day began"
        later = str(date.fromisoformat(TODAY) + timedelta(29))
        assert len(book.days(("gateway", MODEL), later)) == 1
        learn(row("0.7", created_at=NOW + 29 * DAY_MS), today=later)
        prices = table.get_item(TableName=account.table, Key={"pk": {"S": f"learned#gateway#{MODEL}"}})["Item"]
        ((price,),) = (prices["combinations"]["M"].values(),)
        assert price["M"]["tasks"] == {"N": "3"}, "the first of these days is out of the period"
