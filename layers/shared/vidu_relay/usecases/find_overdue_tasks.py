"""The sweep: find overdue tasks, take their leases, and have each checked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError

from vidu_relay.adapters.check_function import CheckFunction
from vidu_relay.adapters.task_poller import TaskPoller
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain.polling import LEASE_MS
from vidu_relay.observability import Metric, count, gauge, logger
from vidu_relay.usecases.ports import Clock, clock

__all__ = ["SweepResult", "find_overdue_tasks"]


@dataclass(frozen=True, slots=True)
class SweepResult:
    """What a sweep did. `oldest_seconds` is how long the longest overdue task has been due."""

    started: int
    failed: int
    oldest_seconds: int


def find_overdue_tasks(
    store: TaskStore,
    poller: TaskPoller,
    checker: CheckFunction,
    *,
    time_is_up: Callable[[], bool],
    clock: Clock = clock,
) -> SweepResult:
    """One sweep over the due index; tasks that do not fit into the time are left to the next.

    A task that is polled slowly gets a single check, every other one an execution, which polls on. A task that fails
    is counted and does not delay the others: it is found again, at the latest when its lease lapses.
    """
    started = failed = oldest = 0
    for task_id, due_at in store.find_due(clock()):
        now = clock()
        oldest = max(oldest, now - due_at)
        lease = None
        try:
            lease = store.take_lease(task_id, due_at, now + LEASE_MS)
            if lease is not None:
                oldest = max(oldest, now - lease.due_since)
                if lease.polled_slowly:
                    checker.start(task_id, lease.number)
                else:
                    poller.start(task_id, lease.number)
                started += 1
        except (ClientError, BotoCoreError):
            logger.exception("poller_not_started", task_id=task_id, tenant_id=lease.tenant_id if lease else None)
            failed += 1
        if time_is_up():
            logger.warning("sweep_cut_short")
            break
    count(Metric.POLLERS_STARTED, started)
    count(Metric.POLLERS_NOT_STARTED, failed)
    if oldest:
        gauge(Metric.OLDEST_OVERDUE_SECONDS, oldest // 1000)
    return SweepResult(started, failed, oldest // 1000)
