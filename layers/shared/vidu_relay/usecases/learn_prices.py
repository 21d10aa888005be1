"""Learn prices from bills: each model's days that changed are written, then its prices of the last 30 days."""

from __future__ import annotations

from collections.abc import Callable

from vidu_relay.adapters.learned_prices import LearnedPrices
from vidu_relay.domain.price_learning import Bills, learned_prices

__all__ = ["learn_prices"]


def learn_prices(bills: Bills, book: LearnedPrices, *, today: str, time_is_up: Callable[[], bool]) -> int:
    """Replace the stored bills of the days in `bills`, which holds them whole; the number of models that changed.

    A day is written before the prices that it changes, so a run that ends in between is made up for by the next: it
    writes the prices of every model with bills.
    """
    changed = 0
    for key, days in bills.by_model().items():
        if time_is_up():
            break
        known = book.days(key, today)
        fresh = {day: found for day, found in days.items() if known.get(day) != found}
        for day, found in fresh.items():
            book.write_day(key, day, found)
        book.write_prices(key, today, learned_prices({**known, **days}.values()))
        changed += bool(fresh)
    return changed
