"""One change of a task, written once, also if other functions write at the same time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain.errors import RemoteTaskOwnedError, StaleTaskError, TransactionConflictError
from vidu_relay.domain.lifecycle import without_ids
from vidu_relay.domain.task import Task
from vidu_relay.observability import Metric, count, logger

__all__ = ["save_with_retry"]

MAX_TRIES = 8
CONFLICT_PAUSE_SECONDS = 0.05


def save_with_retry(store: TaskStore, task: Task, change: Callable[[Task], Task], *, all_or_none: bool = False) -> Task:
    """Apply a pure change and write it; when the record has moved on, apply it to what it is now.

    Remote ids that the change adds become the task's own before. One that is another task's is left out and counted,
    unless it is the id that the task would be read by: then `RemoteTaskOwnedError` is raised. With `all_or_none`, for
    ids that may be another task's, they become its own in the same transaction or not at all. A change that returns the
    task it was given is not written. Raises `StaleTaskError` if the record is gone or changes at each try.
    """
    refused: tuple[str, ...] = ()
    for tries in range(MAX_TRIES):
        changed = change(task)
        if changed is task:
            return task
        if refused:
            changed = without_ids(changed, refused)
        learned = tuple(name for name in changed.remote_ids if name not in task.remote_ids)
        try:
            if all_or_none:
                return store.save(changed, learned)
            store.own(task, learned)
            return store.save(changed)
        except RemoteTaskOwnedError as error:
            if all_or_none or error.remote_id == changed.remote_id:
                raise
            logger.error("remote_id_already_owned", task_id=task.task_id, remote_id=error.remote_id)
            count(Metric.REMOTE_ID_CONFLICT)
            refused = (*refused, error.remote_id)
        except TransactionConflictError:
            time.sleep(CONFLICT_PAUSE_SECONDS * 2**tries * random.random())  # noqa: S311 - spreads writers
        except StaleTaskError:
            current = store.get(task.task_id)
            if current is None:
                raise
            task = current
    raise StaleTaskError(task.task_id)
