"""Cancel a task, as far as that can still be done."""

from __future__ import annotations

from dataclasses import dataclass

from vidu_relay.adapters.task_poller import TaskPoller
from vidu_relay.adapters.task_store import TaskStore
from vidu_relay.domain import lifecycle
from vidu_relay.domain.errors import (
    CancelNotSupportedError,
    CancelRefusedError,
    ConfigurationError,
    InvalidRequestError,
    ProviderUnavailableError,
)
from vidu_relay.domain.identifiers import TASK_ID
from vidu_relay.domain.polling import PollingPolicy
from vidu_relay.domain.states import Status
from vidu_relay.domain.task import Task
from vidu_relay.observability import Metric, count, logger
from vidu_relay.usecases.ports import Clock, Providers, clock
from vidu_relay.usecases.read_remote_task import read_remote_task
from vidu_relay.usecases.save_with_retry import save_with_retry
from vidu_relay.usecases.start_polling import start_polling

__all__ = ["CancelDependencies", "cancel_task"]

AT_PROVIDER = frozenset({Status.SUBMITTED, Status.PROCESSING})


@dataclass(frozen=True, slots=True)
class CancelDependencies:
    """What a cancel needs."""

    store: TaskStore
    providers: Providers
    poller: TaskPoller
    policy: PollingPolicy
    clock: Clock = clock


def cancel_task(task_id: str, tenant_id: str, deps: CancelDependencies) -> Task | None:
    """Cancel a task; the task as it stands after, None if this tenant has no such task. Safe to repeat.

    `canceled` is written only if nothing was submitted, or our own read of the provider shows it. A task whose cancel
    was accepted and is not shown yet is returned unchanged and polled. A task that expired while the provider still
    works on it is canceled at the provider and stays `expired`. Raises `InvalidRequestError`
    (`submission_underway`, `task_already_settled`, `cancel_not_supported`, `cancel_refused`) where it cannot be
    canceled, and `ProviderUnavailableError` where the provider's answer was lost.
    """
    task = deps.store.get(task_id) if TASK_ID.fullmatch(task_id) else None
    if task is None or task.tenant_id != tenant_id:
        return None
    logger.append_keys(task_id=task.task_id, tenant_id=task.tenant_id)
    task = save_with_retry(
        deps.store,
        task,
        lambda current: lifecycle.cancel_unsubmitted(current, now=deps.clock(), policy=deps.policy),
    )
    if _is_open(task):
        return _cancel_at_provider(task, deps)
    if task.status is Status.CANCELED:
        return task
    if task.status in (Status.ACCEPTED, Status.SUBMITTING):
        raise InvalidRequestError(
            "submission_underway",
            "The create call of this task is under way, or ended without an answer: it may exist at the provider. "
            "Try again later.",
        )
    raise _over(task)


def _cancel_at_provider(task: Task, deps: CancelDependencies) -> Task:
    try:
        deps.providers(task.provider).cancel(task.remote_id or "")
    except CancelNotSupportedError as error:
        raise InvalidRequestError(
            "cancel_not_supported",
            f"The provider {task.provider!r} has no call that cancels a task. This one goes on.",
        ) from error
    except CancelRefusedError as refusal:
        logger.info("cancel_refused", reason=refusal.code)
        after = _still_open(_refreshed(task, deps))
        if after.status is Status.CANCELED:
            return after  # canceled before, by another caller or by a call whose answer was lost
        raise InvalidRequestError(
            "cancel_refused", f"The provider does not cancel this task: {refusal.message} ({refusal.code})"
        ) from refusal
    except ProviderUnavailableError as error:
        logger.warning("cancel_unanswered", reason=str(error))
        after = _still_open(_refreshed(task, deps))
        if after.status is Status.CANCELED:
            return after
        if after.status in AT_PROVIDER:
            start_polling(after, store=deps.store, poller=deps.poller, clock=deps.clock)
        raise
    after = _refreshed(task, deps)
    if after.status in AT_PROVIDER:
        return start_polling(after, store=deps.store, poller=deps.poller, clock=deps.clock)
    return after


def _refreshed(task: Task, deps: CancelDependencies) -> Task:
    """What the provider shows now, written; the task as it was if it cannot be read."""
    try:
        snapshot = read_remote_task(task, deps.providers)
    except (ProviderUnavailableError, ConfigurationError) as error:
        logger.warning("provider_read_failed", reason=str(error))
        count(Metric.READ_BACK_FAILED)
        return task
    return save_with_retry(
        deps.store,
        task,
        lambda current: lifecycle.apply_snapshot(
            current, snapshot, now=deps.clock(), source="cancel", policy=deps.policy
        ),
    )


def _still_open(task: Task) -> Task:
    """The task, if the provider may still work on it or it is canceled. Raises `InvalidRequestError` otherwise."""
    if not _is_open(task) and task.status is not Status.CANCELED:
        raise _over(task)
    return task


def _is_open(task: Task) -> bool:
    """Whether the provider may still work on the task: also on one that expired and is still read."""
    late = task.status is Status.EXPIRED and task.remote_id is not None and task.due_at is not None
    return late or task.status in AT_PROVIDER


def _over(task: Task) -> InvalidRequestError:
    return InvalidRequestError("task_already_settled", f"The task is {task.status.value}: there is nothing to cancel.")
