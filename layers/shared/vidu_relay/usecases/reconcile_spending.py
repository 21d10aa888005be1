"""The parts of the reconciliation of spending, each on its own: one that fails does not keep back the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from vidu_relay.adapters.books import BooksStore
from vidu_relay.adapters.learned_prices import LearnedPrices
from vidu_relay.adapters.ledger import Ledger
from vidu_relay.adapters.ledger_files import LedgerFiles
from vidu_relay.domain.ledger import day_of
from vidu_relay.domain.price_learning import Bills
from vidu_relay.domain.provider_books import Spending
from vidu_relay.domain.utc_day import DAY_MS
from vidu_relay.observability import logger
from vidu_relay.usecases.compare_books import BooksDependencies, compare_books, new_spending
from vidu_relay.usecases.export_ledger import export_ledger
from vidu_relay.usecases.learn_prices import learn_prices
from vidu_relay.usecases.verify_reservations import ReservationDependencies, verify_reservations

__all__ = ["ReconciliationFailedError", "SpendingDependencies", "reconcile_spending"]

ROWS_PER_LOOK = 500


class ReconciliationFailedError(Exception):
    """Parts of a run failed; the message names them, and the log says why. The next run repeats them."""


@dataclass(frozen=True, slots=True)
class SpendingDependencies:
    """What a run takes. `providers` names those that have a key; `books` makes what comparing one of them takes."""

    reservations: ReservationDependencies
    ledger: Ledger
    prices: LearnedPrices
    results: BooksStore
    files: LedgerFiles
    providers: Callable[[], Iterable[str]]
    books: Callable[[str], BooksDependencies]


def reconcile_spending(
    deps: SpendingDependencies, *, now: int, whole: bool, time_is_up: Callable[[], bool]
) -> dict[str, Any]:
    """Compare reservations; if `whole`, also learn prices, write the ledger's files and compare the books.

    What there is no time for is left to the next run. Raises `ReconciliationFailedError` at the end if a part failed.
    """
    done: dict[str, Any] = {}
    failed: list[str] = []

    def part(name: str, run: Callable[[], Any]) -> None:
        try:
            done[name] = run()
        except Exception:  # noqa: BLE001 - logged, and raised at the end
            logger.exception("reconciliation_failed", part=name)
            failed.append(name)

    part("reservations", lambda: _verified(deps, time_is_up))
    if whole:
        part("files", lambda: export_ledger(deps.ledger, deps.files, deps.results, now=now, time_is_up=time_is_up))
        part("bills", lambda: _compare_bills(deps, now, time_is_up, part))
    logger.info("spending_reconciled", **done, failed=failed)
    if failed:
        raise ReconciliationFailedError(", ".join(failed))
    return done


def _verified(deps: SpendingDependencies, time_is_up: Callable[[], bool]) -> dict[str, Any]:
    found = verify_reservations(deps.reservations, time_is_up=time_is_up)
    return {"verified": found.verified, "left": found.left, "freed_usd": str(found.freed)}


def _compare_bills(
    deps: SpendingDependencies, now: int, time_is_up: Callable[[], bool], part: Callable[[str, Callable[[], Any]], None]
) -> int:
    """Read the ledger's last two days once, for prices and books; the number of rows. Nothing follows from a part."""
    bills = Bills()
    compared = [(books, new_spending(books)) for books in map(deps.books, deps.providers())]
    readers = [bills.add, *(spending.add for _, spending in compared)]
    rows = 0
    for day in (day_of(now - DAY_MS), day_of(now)):
        for row in deps.ledger.rows(None, day):
            if rows % ROWS_PER_LOOK == 0 and time_is_up():
                logger.warning("ledger_not_read", rows=rows)
                return rows
            rows += 1
            for read in readers:
                read(row)
    part("models_learned", lambda: learn_prices(bills, deps.prices, today=day_of(now), time_is_up=time_is_up))
    for books, spending in compared:
        part(f"books_{spending.provider}", partial(_compared, books, spending, time_is_up))
    return rows


def _compared(books: BooksDependencies, spending: Spending, time_is_up: Callable[[], bool]) -> str:
    result = compare_books(spending, books, time_is_up=time_is_up)
    return result["fault"] or ("compared" if result["books"] else "shows none")
