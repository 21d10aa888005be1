"""One change of a task, written once, whoever else is writing."""

from __future__ import annotations

from collections.abc import Callable

from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain.errors import StaleTaskError
from vidu_relay.domain.task import Task

__all__ = ["record_change"]

MAX_TRIES = 8


def record_change(store: TaskStore, task: Task, change: Callable[[Task], Task]) -> Task:
    """Apply a pure change and write it; when somebody else wrote first, apply it to what they wrote.

    A change that returns the task it was given is not written. Raises `StaleTaskError` if the record is gone or
    will not hold still.
    """
    for _ in range(MAX_TRIES):
        changed = change(task)
        if changed is task:
            return task
        try:
            return store.save(changed)
        except StaleTaskError:
            there = store.get(task.task_id)
            if there is None:
                raise
            task = there
    raise StaleTaskError(task.task_id)
