"""What the provider billed for each combination of parameters, by UTC day, and the prices that follow from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from vidu_relay.domain.catalogue import Choice, find_model
from vidu_relay.domain.ledger import LedgerRow
from vidu_relay.domain.price import LearnedPrice, combination
from vidu_relay.domain.states import Status

__all__ = ["DAYS", "Bills", "DayOfBills", "ModelKey", "learned_prices"]

DAYS = 30
"""Bills of so many days make a price."""
MAX_COSTS = 20
"""Different amounts that are kept of a combination and day."""
MAX_COMBINATIONS = 300
"""Combinations that are kept of a model, those with the most tasks: a table's item has 400 KB at most."""
MADE = frozenset({Status.GENERATED.value, Status.COMPLETED.value})

ModelKey = tuple[str, str]
"""Provider and model id."""
DayOfBills = Mapping[str, Mapping[Decimal, int]]
"""By combination: how many tasks cost how much, in US dollars."""


@dataclass(slots=True)
class Bills:
    """Collects the bills of rows, by model and UTC day of creation."""

    _found: dict[ModelKey, dict[str, dict[str, Counter[Decimal]]]] = field(default_factory=dict)

    def add(self, row: LedgerRow) -> None:
        """Count a row whose video was made and paid for. A bill of zero is no price: the next one may not be zero."""
        model = find_model(row.model)
        if row.status not in MADE or not row.cost or model is None:
            return
        limits_of = row.provider if row.provider in model.offers else next(iter(model.offers))
        name = combination(Choice(model, row.provider, limits_of), row.parameters)
        day = self._found.setdefault((row.provider, row.model), {}).setdefault(row.day, {})
        day.setdefault(name, Counter())[row.cost] += 1

    def by_model(self) -> dict[ModelKey, dict[str, DayOfBills]]:
        """The bills by model, then by day, within the bounds of this module."""
        return {key: {day: _bounded(bills) for day, bills in days.items()} for key, days in self._found.items()}


def learned_prices(days: Iterable[DayOfBills]) -> dict[str, LearnedPrice]:
    """The prices that the bills of days make. Of two bills in the middle the median is the higher one."""
    merged: dict[str, Counter[Decimal]] = {}
    for day in days:
        for name, costs in day.items():
            merged.setdefault(name, Counter()).update(costs)
    return {name: _price(costs) for name, costs in _most_used(merged).items()}


def _price(costs: Mapping[Decimal, int]) -> LearnedPrice:
    tasks, passed = sum(costs.values()), 0
    for cost in sorted(costs):
        passed += costs[cost]
        if passed > tasks // 2:
            return LearnedPrice(cost, max(costs), tasks)
    raise ValueError("there are no bills")


def _bounded(bills: Mapping[str, Counter[Decimal]]) -> DayOfBills:
    return {name: _grouped(costs) for name, costs in _most_used(bills).items()}


def _most_used(bills: Mapping[str, Counter[Decimal]]) -> dict[str, Counter[Decimal]]:
    names = sorted(bills, key=lambda name: (-bills[name].total(), name))[:MAX_COMBINATIONS]
    return {name: bills[name] for name in names}


def _grouped(costs: Counter[Decimal]) -> Mapping[Decimal, int]:
    """At most `MAX_COSTS` amounts: neighbors count as the highest of them, so the highest of all stays."""
    if len(costs) <= MAX_COSTS:
        return dict(costs)
    size, highest = -(-costs.total() // MAX_COSTS), max(costs)
    found: dict[Decimal, int] = {}
    gathered = 0
    for cost in sorted(costs):
        gathered += costs[cost]
        if gathered >= size or cost == highest:
            found[cost], gathered = gathered, 0
    return found
