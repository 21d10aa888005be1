"""What tasks cost together: sums of ledger rows by day, model or status, and rows as CSV with FOCUS columns."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from vidu_relay.domain.billing import BillingState
from vidu_relay.domain.errors import InvalidRequestError
from vidu_relay.domain.ledger import LedgerRow
from vidu_relay.domain.money import NO_MONEY, money_text

if TYPE_CHECKING:
    from vidu_relay.domain import money_documents

__all__ = ["MAX_DAYS", "Grouping", "Period", "focus_csv", "read_period", "usage_of"]

MAX_DAYS = 100
OLDEST_DAYS = 400
DEFAULT_DAYS = 30
NAMES = ("from", "to", "group_by")


class Grouping(StrEnum):
    """What the sums are made by."""

    DAY = "day"
    MODEL = "model"
    STATUS = "status"


_KEYS: Mapping[Grouping, Callable[[LedgerRow], str]] = {
    Grouping.DAY: lambda row: row.day,
    Grouping.MODEL: lambda row: row.model,
    Grouping.STATUS: lambda row: row.status,
}


@dataclass(frozen=True, slots=True)
class Period:
    """UTC days of creation, both included, and what their tasks are grouped by."""

    first: date
    last: date
    grouping: Grouping

    @property
    def days(self) -> list[str]:
        """Each day as `YYYY-MM-DD`, the oldest first."""
        return [str(self.first + timedelta(number)) for number in range((self.last - self.first).days + 1)]


def read_period(query: Mapping[str, str], today: date) -> Period:
    """The period that a query string asks for: `from`, `to` and `group_by`; the last 30 days by day without them.

    Raises `InvalidRequestError` (`invalid_query`) for another name, a malformed or future date, `from` after `to`, more
    than 100 days at once and more than 400 days back.
    """
    for name in query:
        if name not in NAMES:
            raise _refused(f"There is no parameter {name[:40]!r}; known are: {', '.join(NAMES)}.")
    last = _date("to", query, today)
    first = _date("from", query, last - timedelta(DEFAULT_DAYS - 1))
    if first > last:
        raise _refused(f"`from` ({first}) must not be after `to` ({last}).")
    if last > today:
        raise _refused(f"`to` must not be after today, {today} (UTC).")
    if (last - first).days >= MAX_DAYS:
        raise _refused(f"At most {MAX_DAYS} days are read at once: these are {(last - first).days + 1}.")
    if (today - first).days > OLDEST_DAYS:
        raise _refused(f"`from` must not be before {today - timedelta(OLDEST_DAYS)}, {OLDEST_DAYS} days ago.")
    by = query.get("group_by", Grouping.DAY)
    if by not in list(Grouping):
        raise _refused(f"`group_by` must be one of {', '.join(Grouping)}.")
    return Period(first, last, Grouping(by))


def _date(name: str, query: Mapping[str, str], default: date) -> date:
    text = query.get(name)
    if text is None:
        return default
    try:
        found = date.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or str(found) != text:
        raise _refused(f"`{name}` must be a date such as 2026-11-30 (UTC).")
    return found


def _refused(detail: str) -> InvalidRequestError:
    return InvalidRequestError("invalid_query", detail)


@dataclass(slots=True)
class _Sum:
    tasks: dict[BillingState, int] = field(default_factory=lambda: dict.fromkeys(BillingState, 0))
    amounts: dict[str, Decimal] = field(default_factory=dict)

    def add(self, row: LedgerRow) -> None:
        self.tasks[row.state] += 1
        kind = row.state.value
        if row.state is BillingState.SETTLED:
            kind = "unstated" if row.cost is None else "cost"
        self.amounts[kind] = self.amounts.get(kind, NO_MONEY) + row.counted

    def shown(self) -> money_documents.UsageSum:
        def amount(kind: str) -> str:
            return money_text(self.amounts.get(kind, NO_MONEY))

        return {
            "tasks": sum(self.tasks.values()),
            "billing": {state.value: number for state, number in self.tasks.items()},
            "cost_usd": amount("cost"),
            "reserved_usd": amount("reserved"),
            "uncertain_usd": amount("uncertain"),
            "unstated_usd": amount("unstated"),
        }


def usage_of(rows: Iterable[LedgerRow], period: Period) -> money_documents.Usage:
    """The sums of rows: of each group, in the order of their names, and of all."""
    total, groups = _Sum(), dict[str, _Sum]()
    for row in rows:
        total.add(row)
        groups.setdefault(_KEYS[period.grouping](row), _Sum()).add(row)
    return {
        "from": str(period.first),
        "to": str(period.last),
        "group_by": period.grouping.value,
        "groups": [{"group": name, **groups[name].shown()} for name in sorted(groups)],
        "total": total.shown(),
    }


_COLUMNS: Mapping[str, Callable[[LedgerRow], str | int | None]] = {
    "BilledCost": lambda row: money_text(row.cost or NO_MONEY),
    "BillingCurrency": lambda row: "USD",  # noqa: ARG005 - the same for all
    "BillingPeriodEnd": lambda row: f"{_next_month(row.day)}T00:00:00Z",
    "BillingPeriodStart": lambda row: f"{row.day[:7]}-01T00:00:00Z",
    "ChargeCategory": lambda row: "Usage",  # noqa: ARG005
    "ChargePeriodEnd": lambda row: f"{date.fromisoformat(row.day) + timedelta(1)}T00:00:00Z",
    "ChargePeriodStart": lambda row: f"{row.day}T00:00:00Z",
    "ConsumedQuantity": lambda row: 1,  # noqa: ARG005
    "ConsumedUnit": lambda row: "Tasks",  # noqa: ARG005
    "ProviderName": lambda row: row.provider,
    "ResourceId": lambda row: row.task_id,
    "ServiceCategory": lambda row: "AI and Machine Learning",  # noqa: ARG005
    "ServiceName": lambda row: "Video generation",  # noqa: ARG005
    "SkuId": lambda row: row.model,
    "SubAccountId": lambda row: row.tenant_id,
    "x_BillingState": lambda row: row.state.value,
    "x_CountedCost": lambda row: money_text(row.counted),
    "x_Credits": lambda row: row.credits,
    "x_ExternalId": lambda row: row.external_id,
    "x_Kind": lambda row: row.kind,
    "x_Labels": lambda row: json.dumps(row.labels, ensure_ascii=False, sort_keys=True) if row.labels else None,
    "x_Parameters": lambda row: ";".join(f"{name}={row.parameters[name]}" for name in sorted(row.parameters)),
    "x_PriceBasis": lambda row: row.price_basis,
    "x_ReservedCost": lambda row: None if row.reserved is None else money_text(row.reserved),
    "x_Status": lambda row: row.status,
}
"""Columns of FOCUS 1.0 (focus.finops.org), and ours, which that specification wants to begin with `x_`.

A cost that is not known is 0 in `BilledCost`, which may not be empty: `x_CountedCost` is what budgets count for it.
"""


def focus_csv(rows: Iterable[LedgerRow]) -> str:
    """Rows as CSV with a header; lines end in `\\r\\n` (RFC 4180)."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(_COLUMNS)
    writer.writerows([value(row) for value in _COLUMNS.values()] for row in rows)
    return text.getvalue()


def _next_month(day: str) -> date:
    return (date.fromisoformat(f"{day[:7]}-01") + timedelta(31)).replace(day=1)
