"""Look at a task again soon: something is known to have happened that the provider's API does not show yet."""

from __future__ import annotations

from vidu_relay.adapters.task_poller import TaskPoller
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain import lifecycle
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.usecases.ports import Clock
from vidu_relay.usecases.record_change import record_change

__all__ = ["DONE", "watch_now"]

DONE = frozenset({Status.GENERATED, Status.COMPLETED, Status.FAILED, Status.CANCELED})
"""The states in which the provider has nothing more to tell."""


def watch_now(task: Task, *, store: TaskStore, poller: TaskPoller, clock: Clock) -> Task:
    """Take the lease and start `poll_task`, which looks until it is over; the task as it stands after."""
    leased = record_change(
        store, task, lambda there: lifecycle.take_lease(there, now=clock()) if there.status not in DONE else there
    )
    if leased.status not in DONE:
        poller.start(leased.task_id, leased.lease)
    return leased
