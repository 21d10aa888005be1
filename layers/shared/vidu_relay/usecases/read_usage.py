"""What a tenant's tasks cost in a period, from the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING

from vidu_relay.adapters.daily_quota import DailyQuota
from vidu_relay.adapters.ledger import Ledger
from vidu_relay.domain.budget import Budget
from vidu_relay.domain.errors import InvalidRequestError
from vidu_relay.domain.ledger import LedgerRow
from vidu_relay.domain.money import money_text
from vidu_relay.domain.usage import read_period, usage_of
from vidu_relay.usecases.ports import Clock, clock

if TYPE_CHECKING:
    from vidu_relay.domain import money_documents

__all__ = ["MAX_ROWS", "read_today", "read_usage"]

MAX_ROWS = 10_000
"""Of one answer: 6 MB of the ledger, for which the CPU that comes with 256 MB takes some ten seconds."""


def read_usage(tenant_id: str, query: Mapping[str, str], ledger: Ledger, clock: Clock = clock) -> money_documents.Usage:
    """The usage of one tenant. `query` is the query string's, unchecked: `from`, `to` and `group_by`.

    Raises `InvalidRequestError`: `invalid_query` as `read_period` does, `period_too_large` above `MAX_ROWS` tasks.
    """
    period = read_period(query, datetime.fromtimestamp(clock() / 1000, UTC).date())
    rows = list(islice(_rows(tenant_id, period.days, ledger), MAX_ROWS + 1))
    if len(rows) > MAX_ROWS:
        raise InvalidRequestError(
            "period_too_large", f"The period has more than {MAX_ROWS} tasks: ask for fewer days at once."
        )
    return usage_of(rows, period)


def read_today(
    tenant_id: str, daily_cap: int, budget: Budget, quota: DailyQuota, clock: Clock = clock
) -> money_documents.UsageToday:
    """What the tenant has had today, and what it may have."""
    tasks, today, month = quota.read(tenant_id, clock())
    return {
        "tasks": tasks,
        "daily_task_cap": daily_cap,
        "committed_usd": money_text(today),
        "daily_budget_usd": None if budget.daily is None else money_text(budget.daily),
        "month_committed_usd": money_text(month),
        "monthly_budget_usd": None if budget.monthly is None else money_text(budget.monthly),
    }


def _rows(tenant_id: str, days: list[str], ledger: Ledger) -> Iterator[LedgerRow]:
    for day in days:
        yield from ledger.rows(tenant_id, day)
