"""Twice an hour: compare reservations with tasks; once an hour also bills, the provider's books and the day's CSV."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from vidu_relay import aws
from vidu_relay.adapters.books import BooksStore
from vidu_relay.adapters.event_bus import EventBus
from vidu_relay.adapters.learned_prices import LearnedPrices
from vidu_relay.adapters.ledger import Ledger
from vidu_relay.adapters.ledger_files import LedgerFiles
from vidu_relay.adapters.reservations import Reservations
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.tenant_directory import TenantDirectory
from vidu_relay.observability import observed
from vidu_relay.settings import ReconcileSpendingSettings, load
from vidu_relay.usecases.compare_books import BooksDependencies
from vidu_relay.usecases.ports import clock
from vidu_relay.usecases.reconcile_spending import SpendingDependencies, reconcile_spending
from vidu_relay.usecases.verify_reservations import ReservationDependencies
from vidu_relay.wiring import provider_accounts, provider_books, providers

if TYPE_CHECKING:
    from aws_lambda_powertools.utilities.typing import LambdaContext

settings = load(ReconcileSpendingSettings)
table = aws.client("dynamodb")
store = TaskStore(table, settings.table_name)
ledger = Ledger(table, settings.ledger_table)
results = BooksStore(table, settings.table_name)
accounts = provider_accounts(settings)
named = providers(accounts)


def books_of(name: str) -> BooksDependencies:
    """What comparing the books of a provider takes."""
    bus = EventBus(aws.client("events"), settings.event_bus_name)
    return BooksDependencies(named(name), provider_books(name, accounts), results, store, bus)


deps = SpendingDependencies(
    reservations=ReservationDependencies(
        directory=TenantDirectory(table, settings.table_name),
        reservations=Reservations(table, settings.table_name),
        store=store,
        ledger=ledger,
    ),
    ledger=ledger,
    prices=LearnedPrices(table, settings.table_name),
    results=results,
    files=LedgerFiles(aws.lazy_s3(), settings.inbox_bucket),
    providers=lambda: dict.fromkeys((settings.provider_name, *accounts.others())),
    books=books_of,
)

MARGIN_MS = 30_000


@observed
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    now = clock()
    whole = event.get("now") is True or datetime.fromtimestamp(now / 1000, UTC).minute < 30
    return reconcile_spending(
        deps, now=now, whole=whole, time_is_up=lambda: context.get_remaining_time_in_millis() < MARGIN_MS
    )
