"""What a tenant may spend: a budget in US dollars for each UTC day, and one for each month."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from vidu_relay.domain.money import money_text, parse_money

__all__ = ["BUDGET_FIELDS", "NO_BUDGET", "Budget", "budget_fields", "read_budget"]

BUDGET_FIELDS = ("daily_budget_usd", "monthly_budget_usd")
"""Names of the two amounts in records and in what the authorizer hands on: text, absent for no bound."""


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that a tenant's tasks of a UTC day and of a UTC month may cost together; None for no bound.

    A task counts for the day on which it was accepted: with its reservation, and with its cost once that is known. A
    budget of zero accepts nothing.
    """

    daily: Decimal | None = None
    monthly: Decimal | None = None


NO_BUDGET = Budget()
"""No bound on money. The daily cap of tasks holds all the same."""


def read_budget(fields: Mapping[str, Any]) -> Budget:
    """The budget in `BUDGET_FIELDS`.

    Raises `ValueError` for an amount that is none: an unreadable budget must not become no budget.
    """
    daily, monthly = (None if fields.get(name) is None else parse_money(fields[name], name) for name in BUDGET_FIELDS)
    return Budget(daily, monthly)


def budget_fields(budget: Budget) -> dict[str, str]:
    """A budget as `read_budget` reads it."""
    amounts = zip(BUDGET_FIELDS, (budget.daily, budget.monthly), strict=True)
    return {name: money_text(amount) for name, amount in amounts if amount is not None}
