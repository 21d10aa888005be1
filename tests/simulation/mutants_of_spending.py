"""Mutants of reservation and settlement. Those of a single rule: `test_ledger.py`, `test_reservations.py`."""

from decimal import Decimal
from typing import Any

from tests.simulation.mutants import I, Patch, mutant, scenario, schedules, wrap
from tests.simulation.scenarios import book, book_again, generated, submit, then
from vidu_relay.adapters.daily_quota import DailyQuota, quota_key
from vidu_relay.adapters.ledger import Ledger
from vidu_relay.domain import price
from vidu_relay.domain.budget import Budget
from vidu_relay.domain.ledger import LedgerRow
from vidu_relay.domain.limit_errors import BudgetReachedError


@mutant(scenario(submit), I.SPENDING)
def reserve_twice(patch: Patch) -> None:
    def mutated(take: Any, *given: Any, price: Decimal, **more: Any) -> Any:
        return take(*given, price=2 * price, **more)

    wrap(patch, DailyQuota, "take", mutated)


@mutant(scenario(submit), I.SPENDING)
def reserve_nothing_for_an_unknown_price(patch: Patch) -> None:
    wrap(patch, price, "_dearest", lambda *_: Decimal(0))


@mutant(schedules("two requests for the last of the budget"), I.SPENDING)
def check_the_budget_before_reserving(patch: Patch) -> None:
    """Two calls, so that another request may come between them."""

    def mutated(take: Any, quota: Any, tenant: str, cap: int, now: int, *, price: Decimal, budget: Budget) -> Any:
        key = quota_key(tenant, now)
        item = quota._client.get_item(TableName=quota._table, Key=key, ConsistentRead=True).get("Item", {})
        committed = Decimal(item.get("committed", {"N": "0"})["N"])
        if budget.daily is not None and committed + price > budget.daily:
            raise BudgetReachedError("day", str(budget.daily), "0", str(price), 1)
        return take(quota, tenant, cap, now, price=price)

    wrap(patch, DailyQuota, "take", mutated)


@mutant(schedules("the same request twice"), I.SPENDING)
def give_back_twice(patch: Patch) -> None:
    def mutated(give_back: Any, quota: Any, tenant: str, now: int, price: Decimal) -> None:
        give_back(quota, tenant, now, 2 * price)

    wrap(patch, DailyQuota, "give_back", mutated)


@mutant(scenario(then(generated, book, book_again())), I.SPENDING)
def settle_twice(patch: Patch) -> None:
    """A state that is recorded already changes the counter once more."""

    def mutated(record: Any, ledger: Any, row: LedgerRow, **more: Any) -> bool:
        written: bool = record(ledger, row, **more)
        for addition in () if written else ledger._additions(row, row.counted - row.first_counted):
            ledger._client.update_item(**addition["Update"])
        return written

    wrap(patch, Ledger, "record", mutated)


@mutant(scenario(then(generated, book, book_again(0, 1))), I.SPENDING)
def settle_an_older_version(patch: Patch) -> None:
    wrap(patch, Ledger, "record", lambda _, ledger, row, **__: ledger._settle(row, ledger._read(row)))


@mutant(scenario(then(generated, book)), I.SPENDING)
def settle_nothing(patch: Patch) -> None:
    """A bill replaces its reservation in the ledger alone."""
    wrap(patch, Ledger, "_additions", lambda *_: ())
