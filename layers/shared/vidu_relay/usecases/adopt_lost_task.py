"""Find the remote task whose id our create call lost: named by a callback, proven by our own read."""

from __future__ import annotations

from collections.abc import Iterable

from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain import lifecycle
from vidu_relay.domain.errors import ConfigurationError, ProviderUnavailableError, RemoteTaskClaimedError
from vidu_relay.domain.snapshot import ProviderSnapshot
from vidu_relay.domain.task import Task
from vidu_relay.domain.watching import WatchPolicy
from vidu_relay.observability import Metric, count, logger
from vidu_relay.usecases.ports import Clock, Provider
from vidu_relay.usecases.record_change import record_change

__all__ = ["adopt_lost_task"]


def adopt_lost_task(
    task: Task,
    ids: Iterable[str],
    *,
    store: TaskStore,
    provider: Provider,
    policy: WatchPolicy,
    clock: Clock,
    source: str,
) -> Task:
    """Adopt the first of these ids that is ours; the task as it stands after.

    The caller has seen to it that no create call of the task can still be running. An id is ours if the provider's
    API reads it with our key, it was created during the attempts, and no other task owns it. Ids that prove not to be
    ours are struck from the task's hints; those that cannot be read stay.
    """
    foreign: list[str] = []
    for remote_id in ids:
        try:
            snapshot = provider.read(remote_id)
        except (ProviderUnavailableError, ConfigurationError) as error:
            # an id that the provider's API does not know, the provider being unwell, our key missing: it stays a hint
            logger.warning("claimed_id_not_readable", reason=str(error))
            continue
        if _claim(task, snapshot, store, policy):
            logger.info("lost_task_adopted", remote_id=remote_id)
            count(Metric.LOST_TASK_ADOPTED)
            return _record(task, snapshot, store, policy, clock, source)
        foreign.append(remote_id)
    count(Metric.LOST_TASK_NOT_FOUND)
    return record_change(store, task, lambda there: lifecycle.drop_hints(there, tuple(foreign)))


def _claim(task: Task, snapshot: ProviderSnapshot, store: TaskStore, policy: WatchPolicy) -> bool:
    if not lifecycle.adoption_fits(task, snapshot):
        logger.warning("claimed_id_does_not_fit", remote_id=snapshot.remote_id)
        return False
    forget_at = policy.forget_at(policy.late_until(task.deadline_at))
    try:
        store.claim_remote(task.provider, snapshot.remote_id, task.task_id, forget_at)
    except RemoteTaskClaimedError:
        logger.warning("claimed_id_is_another_tasks", remote_id=snapshot.remote_id)
        return False
    return True


def _record(
    task: Task, snapshot: ProviderSnapshot, store: TaskStore, policy: WatchPolicy, clock: Clock, source: str
) -> Task:
    def adopt(there: Task) -> Task:
        if there.remote_id is not None or there.status not in lifecycle.LOSABLE or there.attempt != task.attempt:
            return there  # known by now, or settled, or another attempt has begun
        return lifecycle.record_created(there, snapshot, now=clock(), source=source, policy=policy)

    return record_change(store, task, adopt)
