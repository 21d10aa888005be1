"""Read a task's remote task with our own key, and accept the reply only if it is about that task."""

from __future__ import annotations

from vidu_relay.domain.errors import ProviderUnavailableError
from vidu_relay.domain.lifecycle import shows_another_task
from vidu_relay.domain.snapshot import ProviderSnapshot
from vidu_relay.domain.task import Task
from vidu_relay.observability import Metric, count, logger
from vidu_relay.usecases.ports import Providers

__all__ = ["read_remote_task"]


def read_remote_task(task: Task, providers: Providers) -> ProviderSnapshot:
    """What its provider shows of a task whose remote id is known.

    Raises `ProviderUnavailableError` also for a reply about another remote task, which is counted, and
    `ConfigurationError` without a key.
    """
    snapshot = providers(task.provider).read(task.remote_id or "")
    if shows_another_task(task, snapshot):
        logger.error("read_shows_another_task", remote_id=task.remote_id, named=list(snapshot.named_ids))
        count(Metric.READ_SHOWS_ANOTHER_TASK)
        raise ProviderUnavailableError("the provider answered the read with another task")
    return snapshot
