"""Say when to look at an open task again, by how long such tasks of its tenant took lately."""

from __future__ import annotations

from collections.abc import Mapping

from botocore.exceptions import BotoCoreError, ClientError

from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain.polling import MAX_INTERVAL_MS, SLOW_INTERVAL_MS
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.observability import logger
from vidu_relay.usecases.ports import Clock, clock

__all__ = ["RecentTasks", "advise_retry"]

SAMPLE = 25
"""So many of a tenant's latest tasks are looked at."""
KEEP_MS = 300_000
MAX_TENANTS = 200
LEAST_SECONDS = 5
USUAL_MS = 120_000
"""Until the video is generated, where no such task is known; off-peak `SLOW_INTERVAL_MS`."""

Kind = tuple[object, bool]
"""The model, and whether off-peak."""


class RecentTasks:
    """How long tasks took from their acceptance to the generated video: read once in five minutes for each tenant."""

    def __init__(self, store: TaskStore, clock: Clock = clock) -> None:
        self._store = store
        self.clock = clock
        self._known: dict[str, tuple[int, Mapping[Kind, int]]] = {}

    def usual_ms(self, task: Task) -> int:
        """The median of the latest tasks of the same tenant, model and mode."""
        now = self.clock()
        read_at, found = self._known.get(task.tenant_id, (0, {}))
        if now >= read_at + KEEP_MS:
            if len(self._known) >= MAX_TENANTS:
                self._known.clear()
            found = {**found, **self._read(task.tenant_id)}  # after many submissions the latest tasks are all open
            self._known[task.tenant_id] = now, found
        return found.get(_kind(task), SLOW_INTERVAL_MS if task.off_peak else USUAL_MS)

    def _read(self, tenant_id: str) -> Mapping[Kind, int]:
        took: dict[Kind, list[int]] = {}
        try:
            keys = self._store.list_keys(tenant_id, limit=SAMPLE)
            for task in self._store.get_many(task_id for _, task_id in keys).values():
                if task.generated_at is not None and task.tenant_id == tenant_id:
                    took.setdefault(_kind(task), []).append(task.generated_at - task.created_at)
        except (ClientError, BotoCoreError):
            logger.warning("recent_tasks_not_read")  # the task itself was read: it is shown with the usual advice
        return {kind: sorted(every)[len(every) // 2] for kind, every in took.items()}


def advise_retry(task: Task, recent: RecentTasks) -> int | None:
    """In how many seconds to look at the task again: 5 at least, 15 minutes at most (off-peak an hour); None once it is
    settled.

    A task that takes longer than usual is looked at after a twentieth of its age, one whose copy failed when the next
    is due.
    """
    if task.settled:
        return None
    now = recent.clock()
    if task.status is Status.GENERATED:
        wait = task.due_at - now if task.delivery and task.due_at else 0
    else:
        age = now - task.created_at
        wait = max(recent.usual_ms(task) - age, age // 20)
    return max(LEAST_SECONDS, -(-min(wait, SLOW_INTERVAL_MS if task.off_peak else MAX_INTERVAL_MS) // 1000))


def _kind(task: Task) -> Kind:
    return task.request.get("model"), task.off_peak
