"""Free what was reserved for tasks that were never recorded: a function died between the two writes.

For each half hour that is over, what was taken of a tenant's budget is compared with what its tasks have reserved. The
counters are read before the tasks: a task that comes in between makes the comparison err upwards, or fail and be
repeated by the next run. Bills do not change what a half hour has taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal

from vidu_relay.adapters.ledger import Ledger
from vidu_relay.adapters.reservations import DayOfReservations, Reservations
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.adapters.tenant_directory import TenantDirectory
from vidu_relay.domain.ledger import day_of
from vidu_relay.domain.money import NO_MONEY, read_money
from vidu_relay.domain.utc_day import BUCKET_MS, DAY_MS
from vidu_relay.observability import logger
from vidu_relay.usecases.ports import Clock, clock

__all__ = ["ReservationDependencies", "VerifiedReservations", "verify_reservations"]

SETTLE_MS = 300_000
"""Longer than any function runs that takes a reservation and records its task, or gives it back."""
PAGE = 500


@dataclass(frozen=True, slots=True)
class ReservationDependencies:
    """What comparing takes."""

    directory: TenantDirectory
    reservations: Reservations
    store: TaskStore
    ledger: Ledger
    clock: Clock = clock


@dataclass(frozen=True, slots=True)
class VerifiedReservations:
    """How many half hours of tenants were compared, how many were left to the next run, and what was freed."""

    verified: int
    left: int
    freed: Decimal


def verify_reservations(deps: ReservationDependencies, *, time_is_up: Callable[[], bool]) -> VerifiedReservations:
    """Compare the half hours of today and yesterday that are over and not compared yet, as far as there is time."""
    tenants, now = deps.directory.list_ids(), deps.clock()
    today = now // DAY_MS * DAY_MS
    verified, left, freed = 0, 0, NO_MONEY
    for day in (today - DAY_MS, today):
        for counters in deps.reservations.read(tenants, day):
            ended = counters.ended(now - SETTLE_MS)
            for done, bucket in enumerate(ended):
                if time_is_up():
                    left += len(ended) - done
                    break
                reserved = _reserved(counters, bucket, deps)
                if not deps.reservations.correct(counters, bucket, reserved):
                    left += len(ended) - done  # `verified` is the latest one: the next run begins with this
                    break
                verified += 1
                freed += counters.taken[bucket] - reserved
                if reserved != counters.taken[bucket]:
                    logger.warning(
                        "reservations_corrected",
                        tenant_id=counters.tenant_id,
                        taken=str(counters.taken[bucket]),
                        reserved=str(reserved),
                    )
    return VerifiedReservations(verified, left, freed)


def _reserved(counters: DayOfReservations, bucket: int, deps: ReservationDependencies) -> Decimal:
    """What the tenant's tasks of a half hour have reserved, without those of batches: no half hour counts them.

    Where that is less than was taken, tasks that only the ledger shows count too: the index of tasks may be late, and a
    record may be gone.
    """
    first = counters.day + bucket * BUCKET_MS
    last = first + BUCKET_MS - 1
    total, seen = NO_MONEY, set[str]()
    for ids in _pages(counters.tenant_id, (first, last), deps.store):
        tasks = deps.store.get_many(ids)
        seen |= tasks.keys()
        reserved = (task.reserved_usd for task in tasks.values() if task.batch_id is None)
        total += sum((read_money(amount) or NO_MONEY for amount in reserved), NO_MONEY)
    if total < counters.taken[bucket]:
        for row in deps.ledger.rows(counters.tenant_id, day_of(first)):
            if first <= row.created_at <= last and row.task_id not in seen and row.batch_id is None:
                total += row.first_counted
    return total


def _pages(tenant_id: str, created: tuple[int, int], store: TaskStore) -> Iterator[list[str]]:
    keys = store.list_keys(tenant_id, limit=PAGE, created=created)
    while keys:
        yield [task_id for _, task_id in keys]
        keys = store.list_keys(tenant_id, limit=PAGE, after=keys[-1], created=created) if len(keys) == PAGE else []
