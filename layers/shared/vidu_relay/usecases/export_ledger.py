"""Once a day the ledger as CSV: a file for each UTC day, written again while its bills may change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from vidu_relay.adapters.books import BooksStore
from vidu_relay.adapters.ledger import Ledger
from vidu_relay.adapters.ledger_files import LedgerFiles
from vidu_relay.domain.usage import focus_csv

__all__ = ["export_ledger"]

BEGINS_HOUR = 1
"""UTC. By then the stream has brought the last tasks of the day."""
REWRITTEN_DAYS = 4
"""Yesterday and the days before on which a late video can still settle a task."""


def export_ledger(
    ledger: Ledger, files: LedgerFiles, results: BooksStore, *, now: int, time_is_up: Callable[[], bool]
) -> list[str]:
    """Write the days before `now` (ms) that may have changed, oldest first; the days written, none on most runs.

    A run that ends early is made up for by the next one, which writes all of them.
    """
    moment = datetime.fromtimestamp(now / 1000, UTC)
    days = [str((moment - timedelta(number)).date()) for number in range(REWRITTEN_DAYS, 0, -1)]
    if moment.hour < BEGINS_HOUR or results.exported() >= days[-1]:
        return []
    for day in days:
        if time_is_up():
            return []
        files.write(day, focus_csv(ledger.rows(None, day)))
    results.note_export(days[-1])
    return days
