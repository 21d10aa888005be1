"""Find the remote task whose id our create call did not learn: under a candidate id, proven by our own read."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain import submission
from vidu_relay.domain.errors import (
    ConfigurationError,
    ProviderUnavailableError,
    RemoteTaskNotFoundError,
    RemoteTaskOwnedError,
)
from vidu_relay.domain.polling import PollingPolicy
from vidu_relay.domain.snapshot import ProviderSnapshot
from vidu_relay.domain.submission import Match
from vidu_relay.domain.task import Task
from vidu_relay.observability import Metric, count, logger
from vidu_relay.usecases.ports import Clock, Providers, spread
from vidu_relay.usecases.save_with_retry import save_with_retry

__all__ = ["reconcile_task"]


class ReconcileDependencies(Protocol):
    """What reconciling needs, of the dependencies of a callback or a check."""

    @property
    def store(self) -> TaskStore: ...

    @property
    def providers(self) -> Providers: ...

    @property
    def policy(self) -> PollingPolicy: ...

    @property
    def clock(self) -> Clock: ...


def reconcile_task(task: Task, ids: tuple[str, ...], deps: ReconcileDependencies, *, source: str) -> Task:
    """Attach the first of these remote tasks that is ours; the task as it stands after.

    The caller has made sure that no create call of the task can still be running. A remote task is ours if the provider
    shows it to our key, it fits the attempts (`submission.match_candidate`), and no other task owns any id that its
    reply names. An id of another task is dropped; one that cannot be read, or proves nothing yet, is kept.
    """
    anothers, missing, shown = list[str](), list[str](), list[str]()
    replied = {candidate.remote_id for candidate in task.candidates if candidate.replied}
    for remote_id in ids:
        try:
            snapshot = deps.providers(task.provider).read(remote_id)
        except RemoteTaskNotFoundError:
            missing.append(remote_id)
            continue
        except (ProviderUnavailableError, ConfigurationError) as error:
            logger.warning("candidate_not_readable", reason=str(error))
            continue
        match submission.match_candidate(task, snapshot, replied=remote_id in replied):
            case Match.OURS:
                try:
                    return _attach(task, _named(snapshot), deps, source)
                except RemoteTaskOwnedError:
                    logger.warning("candidate_is_owned", remote_id=remote_id)
                    anothers.append(remote_id)
            case Match.ANOTHERS:
                anothers.append(remote_id)
            case Match.UNPROVEN:
                shown.append(remote_id)
                logger.warning("candidate_not_proven", remote_id=remote_id, clock_offset_ms=snapshot.clock_offset_ms)
    count(Metric.CANDIDATE_NOT_RECONCILED)
    jitter = spread()

    def noted(current: Task) -> Task:
        left = submission.note_shown(submission.drop_candidates(current, tuple(anothers)), tuple(shown))
        return submission.note_missing(left, tuple(missing), now=deps.clock(), jitter=jitter, policy=deps.policy)

    return save_with_retry(deps.store, task, noted)


def _named(snapshot: ProviderSnapshot) -> ProviderSnapshot:
    """The snapshot under the first id that its reply names."""
    return replace(snapshot, remote_id=snapshot.named_ids[0]) if snapshot.named_ids else snapshot


def _attach(task: Task, snapshot: ProviderSnapshot, deps: ReconcileDependencies, source: str) -> Task:
    def attached(current: Task) -> Task:
        token = current.attempt.token if current.attempt else None
        ours = task.attempt is not None and token == task.attempt.token
        if current.status not in submission.UNCONFIRMED or current.remote_id is not None or not ours:
            return current  # known by now, or settled, or another attempt has begun
        return submission.record_created(current, snapshot, now=deps.clock(), source=source, policy=deps.policy)

    changed = save_with_retry(deps.store, task, attached, all_or_none=True)
    if changed.remote_id == snapshot.remote_id:
        logger.info("unconfirmed_create_reconciled", remote_id=snapshot.remote_id)
        count(Metric.UNCONFIRMED_CREATE_RECONCILED)
    return changed
