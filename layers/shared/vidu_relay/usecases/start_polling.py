"""Start `poll_task` for a task at once: a check is needed before the sweep would find it."""

from __future__ import annotations

from vidu_relay.adapters.task_poller import TaskPoller
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain import lifecycle
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.usecases.ports import Clock
from vidu_relay.usecases.save_with_retry import save_with_retry

__all__ = ["DONE", "start_polling"]

DONE = frozenset({Status.GENERATED, Status.COMPLETED, Status.FAILED, Status.CANCELED})
"""The states in which no read of the provider is needed."""


def start_polling(task: Task, *, store: TaskStore, poller: TaskPoller, clock: Clock) -> Task:
    """Take the lease and start an execution, which checks until it is over; the task as it stands after."""
    leased = save_with_retry(
        store,
        task,
        lambda current: lifecycle.take_lease(current, now=clock()) if current.status not in DONE else current,
    )
    if leased.status not in DONE:
        poller.start(leased.task_id, leased.lease)
    return leased
